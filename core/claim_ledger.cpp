#include "core/claim_ledger.hpp"

#include "core/assert.hpp"

#include <algorithm>
#include <utility>

namespace penstock {

claim_ledger::claim_ledger(std::uint16_t ids_max) {
  assert_that(ids_max > 0 && ids_max < 65'535, "between 1 and 65,534 packet ids");
  for (std::uint16_t id = 1; id <= ids_max; ++id)
    free_.push_back(id);
}

void claim_ledger::begin(std::uint64_t claimed_seq, std::uint64_t released_seq, std::uint64_t settled_seq) {
  assert_that(entries_.empty(), "a ledger begins once");
  settled_ = settled_seq;
  claimed_ = claimed_seq;
  released_ = released_seq;
  first_ = claimed_seq + 1;
}

void claim_ledger::resume_from(std::span<const claim> open) {
  for (const auto& each : open)
    resume(each);
  settled_.reset();
}

void claim_ledger::resume(claim which) {
  assert_that(which.seq <= claimed_, "a claim that is resumed was committed");
  if (entries_.empty())
    first_ = which.seq;
  assert_that(which.seq >= first_ + entries_.size(), "claims are resumed in order");
  while (first_ + entries_.size() < which.seq)
    entries_.push_back({0, state::gone});
  entries_.push_back({which.packet_id, which.seq <= released_ ? state::released : state::claimed});
  std::erase(free_, which.packet_id);
  ++open_;
}

std::size_t claim_ledger::room() const {
  const auto in_window = window_ > open_ ? window_ - open_ : 0;
  return std::min(in_window, free_.size());
}

claim_ledger::claim claim_ledger::next() {
  assert_that(room() > 0 && !settled_, "a claim needs room, and the open ones known");
  fill_up();
  const auto id = free_.front();
  free_.pop_front();
  entries_.push_back({id, state::claimed});
  ++open_;
  return {last(), id};
}

void claim_ledger::forget_from(std::uint64_t seq) {
  while (!entries_.empty() && last() >= seq && last() > claimed_) {
    free_.push_front(entries_.back().packet_id);
    entries_.pop_back();
    --open_;
  }
  std::erase_if(done_, [&](std::uint64_t each) { return each >= seq; });
}

claim_ledger::claim claim_ledger::reclaim(std::uint64_t seq) {
  auto* found = find(seq);
  assert_that(found != nullptr && found->state != state::gone && found->state != state::done, "only what is open");
  const auto id = std::exchange(found->packet_id, 0);
  done(seq);
  fill_up();
  entries_.push_back({id, state::claimed});
  ++open_;
  return {last(), id};
}

/// Of claims that were resumed, what lies behind the last one is gone.
void claim_ledger::fill_up() {
  while (!entries_.empty() && last() < claimed_)
    entries_.push_back({0, state::gone});
}

claim_ledger::entry* claim_ledger::find(std::uint64_t seq) {
  return seq < first_ || seq - first_ >= entries_.size() ? nullptr : &entries_[seq - first_];
}

bool claim_ledger::received(std::uint64_t seq) {
  auto* found = find(seq);
  if (found != nullptr && found->state == state::claimed)
    found->state = state::received;
  return found != nullptr && found->state == state::released;
}

std::uint16_t claim_ledger::packet_id(std::uint64_t seq) const {
  const bool known = seq >= first_ && seq - first_ < entries_.size();
  return known ? entries_[seq - first_].packet_id : std::uint16_t{0};
}

void claim_ledger::done(std::uint64_t seq) {
  auto* found = find(seq);
  if (found == nullptr || found->state == state::done || found->state == state::gone)
    return;
  found->state = state::done;
  done_.push_back(seq);
}

claim_ledger::progress claim_ledger::pending() const {
  progress now;
  now.claimed_seq = claimed_seq();
  now.released_seq = released_;
  now.settled_seq = settled_.value_or(first_ - 1);
  bool settled = !settled_;
  for (std::size_t index = 0; index < entries_.size() && entries_[index].state != state::claimed; ++index) {
    now.released_seq = std::max(now.released_seq, first_ + index);
    settled = settled && entries_[index].state >= state::done;
    if (settled)
      now.settled_seq = first_ + index;
  }
  auto seqs = done_;
  std::sort(seqs.begin(), seqs.end());
  for (const auto seq : seqs)
    if (!now.done_seqs.empty() && now.done_seqs.back().second + 1 == seq)
      now.done_seqs.back().second = seq;
    else
      now.done_seqs.emplace_back(seq, seq);
  now.empty = now.claimed_seq == claimed_ && now.released_seq == released_ && done_.empty();
  return now;
}

std::vector<std::uint16_t> claim_ledger::committed(const progress& written) {
  std::vector<std::uint16_t> to_release;
  for (auto seq = std::max(first_, released_ + 1); seq <= written.released_seq; ++seq) {
    auto& one = *find(seq);
    if (one.state != state::received)
      continue;
    one.state = state::released;
    to_release.push_back(one.packet_id);
  }
  released_ = std::max(released_, written.released_seq);
  claimed_ = written.claimed_seq;
  for (const auto& [from, to] : written.done_seqs)
    for (auto seq = from; seq <= to; ++seq) {
      auto& one = *find(seq);
      one.state = state::gone;
      --open_;
      if (one.packet_id != 0) // else it went on with another claim
        free_.push_back(one.packet_id);
    }
  std::erase_if(done_, [&](std::uint64_t seq) { return find(seq)->state == state::gone; });
  while (!entries_.empty() && entries_.front().state == state::gone) {
    entries_.pop_front();
    ++first_;
  }
  if (entries_.empty())
    first_ = claimed_ + 1;
  return to_release;
}

} // namespace penstock
