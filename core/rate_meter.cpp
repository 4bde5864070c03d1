#include "core/rate_meter.hpp"

#include <algorithm>

namespace penstock {

namespace {
std::int64_t second_of(monotonic time) {
  return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}
} // namespace

void rate_meter::add(std::uint64_t count, monotonic now) {
  if (!first_)
    first_ = now;
  const std::int64_t second = second_of(now);
  auto& slot = buckets_[static_cast<std::uint64_t>(second) % buckets_.size()];
  if (slot.second != second)
    slot = {second, 0};
  slot.count += count;
}

double rate_meter::per_second(monotonic now) const {
  if (!first_)
    return 0;
  const std::int64_t second = second_of(now);
  std::uint64_t total = 0;
  for (const auto& slot : buckets_)
    if (slot.second >= second - window_seconds && slot.second <= second)
      total += slot.count;
  using seconds = std::chrono::duration<double>;
  const double running = seconds(now.time_since_epoch()).count() - static_cast<double>(second);
  const double elapsed = seconds(now - *first_).count();
  return static_cast<double>(total) / std::clamp(elapsed, 1.0, static_cast<double>(window_seconds) + running);
}

} // namespace penstock
