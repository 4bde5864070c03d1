#include "core/id_frontier.hpp"

#include "core/assert.hpp"

#include <algorithm>

namespace penstock {

id_frontier::id_frontier(std::chrono::milliseconds late_for, std::size_t gaps_max)
  : late_for_(late_for), gaps_max_(gaps_max) {
  assert_that(gaps_max > 0, "at least one gap is remembered");
}

void id_frontier::begin(std::int64_t floor) { high_ = floor; }

void id_frontier::add(id_range range, monotonic now) {
  gaps_.push_back({range, now});
  if (gaps_.size() <= gaps_max_)
    return;
  gaps_.pop_front();
  ++given_up_;
}

void id_frontier::read(std::span<const std::int64_t> ids, monotonic now) {
  for (const auto id : ids) {
    if (high_) {
      assert_that(id > *high_, "ids are read in rising order");
      if (id - 1 > *high_)
        add({*high_ + 1, id - 1}, now);
    }
    high_ = id;
  }
}

void id_frontier::filled(std::int64_t id) {
  const auto found = std::lower_bound(gaps_.begin(), gaps_.end(), id,
                                      [](const gap& each, std::int64_t value) { return each.range.last < value; });
  if (found == gaps_.end() || id < found->range.first)
    return;
  const auto whole = *found;
  if (whole.range.first == whole.range.last) {
    gaps_.erase(found);
  } else if (id == whole.range.first) {
    ++found->range.first;
  } else if (id == whole.range.last) {
    --found->range.last;
  } else {
    found->range.last = id - 1;
    gaps_.insert(found + 1, {{id + 1, whole.range.last}, whole.seen});
  }
}

std::vector<id_range> id_frontier::ask(std::size_t count, monotonic now) {
  while (!gaps_.empty() && now - gaps_.front().seen > late_for_) {
    gaps_.pop_front();
    ++given_up_;
  }
  const auto newest = gaps_.size() > count ? count / 2 : gaps_.size();
  const auto others = gaps_.size() - newest;
  std::vector<id_range> wanted;
  for (count = others == 0 ? 0 : count - newest; wanted.size() < count; ++asked_) {
    if (asked_ >= others)
      asked_ = 0;
    wanted.push_back(gaps_[asked_].range);
  }
  for (auto index = others; index < gaps_.size(); ++index)
    wanted.push_back(gaps_[index].range);
  return wanted;
}

std::optional<std::int64_t> id_frontier::floor() const {
  return gaps_.empty() ? high_ : std::optional{gaps_.front().range.first - 1};
}

} // namespace penstock
