#include "storage/read_ahead.hpp"

#include <algorithm>
#include <future>
#include <iterator>
#include <utility>

namespace penstock::storage {

namespace {

using rows = std::vector<source_row>;

class read_ahead_source final : public source {
public:
  explicit read_ahead_source(std::unique_ptr<source> inner) : inner_(std::move(inner)) {}

  path newest() const override { return inner_->newest(); }
  void begin_behind(const std::string& position) override {
    idle().begin_behind(position);
    ready_ = rows{}; // it may not know of it
  }
  result<rows> read(path along, const std::string& behind, std::size_t rows_max) override;
  result<rows> read_ids(std::span<const id_range> ranges, std::size_t rows_max) override {
    return idle().read_ids(ranges, rows_max);
  }
  result<rows> read_records(std::span<const std::string> record_ids) override {
    return idle().read_records(record_ids);
  }
  result<rows> read_changes(std::span<const changed_row> changes) override { return idle().read_changes(changes); }
  result<std::string> end(path along) override { return idle().end(along); }
  result<bool> is_before(const std::string& left, const std::string& right) override {
    return idle().is_before(left, right);
  }
  std::string earlier(const std::string& position, std::chrono::milliseconds before) override {
    return inner_->earlier(position, before);
  }

private:
  /// The connection, once nobody else uses it.
  source& idle() {
    if (next_.valid())
      ready_ = next_.get();
    return *inner_;
  }
  result<rows> take(const std::string& behind, std::size_t rows_max);

  std::unique_ptr<source> inner_;
  std::string behind_;             ///< of what is read ahead
  result<rows> ready_ = rows{};    ///< what was read ahead
  std::future<result<rows>> next_; ///< what is being read; ends before the connection does
};

/// Of what was read ahead, if it is what is asked for.
result<rows> read_ahead_source::take(const std::string& behind, std::size_t rows_max) {
  idle();
  auto all = std::exchange(ready_, rows{});
  if (!all || behind != behind_)
    return behind == behind_ ? all : rows{};
  if (all->size() > rows_max) {
    const auto rest = all->begin() + static_cast<std::ptrdiff_t>(rows_max);
    ready_ = rows{std::make_move_iterator(rest), std::make_move_iterator(all->end())};
    all->erase(rest, all->end());
    behind_ = all->back().position;
  }
  return all;
}

result<rows> read_ahead_source::read(path along, const std::string& behind, std::size_t rows_max) {
  if (along != newest())
    return idle().read(along, behind, rows_max);
  auto found = take(behind, rows_max);
  if (!found)
    return found;
  if (found->size() < rows_max) {
    // It may have been read some time ago: whether there is more is asked now.
    auto more = inner_->read(along, found->empty() ? behind : found->back().position, rows_max - found->size());
    if (!more)
      return more;
    std::move(more->begin(), more->end(), std::back_inserter(*found));
  }
  if (found->size() == rows_max && ready_->empty()) {
    behind_ = found->back().position;
    next_ = std::async(std::launch::async,
                       [this, along, behind = behind_, rows_max] { return inner_->read(along, behind, rows_max); });
  }
  return found;
}

} // namespace

std::unique_ptr<source> read_ahead(std::unique_ptr<source> rows) {
  return std::make_unique<read_ahead_source>(std::move(rows));
}

} // namespace penstock::storage
