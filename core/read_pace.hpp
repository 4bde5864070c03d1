// How long a reader of a busy stream waits before its next read, so that one read brings many messages.
#pragma once

#include "core/types.hpp"

#include <chrono>
#include <cstddef>

namespace penstock {

/// A wait that grows with the rate of arrival: nothing for a trickle, `pause_max` for a flood. It trades latency that
/// nobody notices (a message waits half a pause on average) for bursts that cost less a message.
class read_pace {
public:
  explicit read_pace(std::chrono::microseconds pause_max) : pause_max_(pause_max) {}

  /// After a read that brought `messages` at `now`: how long to wait before the next one.
  std::chrono::microseconds after_read(std::size_t messages, monotonic now);

private:
  std::chrono::microseconds pause_max_;
  monotonic last_{};
  double rate_ = 0; ///< messages a second, smoothed over about eight reads
};

} // namespace penstock
