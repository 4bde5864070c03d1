#include "core/ack_ledger.hpp"

#include "core/assert.hpp"

namespace penstock {

void ack_ledger::receive(sequence last, std::uint64_t bytes, wall_time arrived) {
  assert_that(last > received_, "sequences rise");
  received_ = last;
  bytes_ += bytes;
  arrivals_.push_back({last, bytes, arrived});
}

std::uint64_t ack_ledger::open_chunk(sequence last, std::uint32_t parts) {
  assert_that(last > chunked_ && last <= received_, "a chunk takes what was received and is in no chunk yet");
  assert_that(parts > 0, "a chunk has parts");
  chunked_ = last;
  chunks_.push_back({last, parts});
  return first_chunk_ + chunks_.size() - 1;
}

std::optional<sequence> ack_ledger::commit_part(std::uint64_t number, std::uint64_t messages) {
  if (number < first_chunk_ || number >= first_chunk_ + chunks_.size())
    return std::nullopt;
  auto& committed = chunks_[number - first_chunk_];
  assert_that(committed.parts > 0, "a chunk has as many parts as are committed");
  --committed.parts;
  committed.committed += messages;
  committed_ahead_ += messages;
  const auto before = released_;
  while (!chunks_.empty() && chunks_.front().parts == 0) {
    released_ = chunks_.front().last;
    committed_ahead_ -= chunks_.front().committed;
    chunks_.pop_front();
    ++first_chunk_;
  }
  while (!arrivals_.empty() && arrivals_.front().last <= released_) {
    bytes_ -= arrivals_.front().bytes;
    arrivals_.pop_front();
  }
  if (released_ == before)
    return std::nullopt;
  return released_;
}

std::optional<wall_time> ack_ledger::oldest() const {
  if (arrivals_.empty())
    return std::nullopt;
  return arrivals_.front().at;
}

} // namespace penstock
