#include "core/read_pace.hpp"

#include <algorithm>

namespace penstock {

namespace {
/// Below it nothing waits: the next message is further away than a pause could bridge.
constexpr double rate_min = 2'000;
/// 10,000 messages a second wait 2 ms, and come 20 a read.
constexpr double pause_us_per_rate = 0.2;
constexpr double smoothing = 0.125;
/// After a silence the past says nothing.
constexpr auto silence = std::chrono::milliseconds{100};
} // namespace

std::chrono::microseconds read_pace::after_read(std::size_t messages, monotonic now) {
  const auto since = std::chrono::duration<double>(now - last_).count();
  const bool fresh = last_ == monotonic{} || now - last_ > silence;
  last_ = now;
  if (fresh || since <= 0) {
    rate_ = 0;
    return std::chrono::microseconds{0};
  }
  rate_ += smoothing * (static_cast<double>(messages) / since - rate_);
  if (rate_ < rate_min)
    return std::chrono::microseconds{0};
  return std::min(pause_max_, std::chrono::microseconds{static_cast<std::int64_t>(rate_ * pause_us_per_rate)});
}

} // namespace penstock
