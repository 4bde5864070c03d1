// Whether it is time to tell somebody. A value that is over its threshold for long enough raises an alert; one that has
// not been over it for `alert_clear_after` clears it. So an alert does not flap while its value plays around the
// threshold. Pure: time is an argument and does not run backwards.
#pragma once

#include "core/types.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>

namespace penstock {

enum class alert_state : std::uint8_t {
  unknown, ///< at the beginning: not over the threshold for long enough, nor under it
  raised,
  cleared,
};
std::string_view name_of(alert_state state) noexcept; ///< "raised", ...

/// How long a value is not over its threshold, before the alert is cleared.
inline constexpr std::chrono::seconds alert_clear_after{10};

class alert {
public:
  /// `hold`: how long a value is over its threshold, before the alert is raised; 0: once is enough. `state`: of the
  /// same alert, in a former life.
  explicit alert(std::chrono::milliseconds hold, alert_state state = alert_state::unknown)
    : hold_(hold), state_(state) {}

  /// True: the state has changed. What lies between two looks counts as the later one.
  bool look(bool over, monotonic now);
  alert_state state() const { return state_; }

private:
  std::chrono::milliseconds hold_;
  alert_state state_;
  bool over_ = false;
  std::optional<monotonic> since_; ///< it is as over_ says
};

/// The share that a part has of a whole that grows, within a window of time.
class share_meter {
public:
  static constexpr std::chrono::seconds window{60};

  /// How many there have been up to now. At least a second apart, or the memory is not bounded.
  void sample(std::uint64_t part, std::uint64_t whole, monotonic now);
  /// 0 to 1: of what came between the last sample and the one a window before it, or the first; 0: nothing came.
  double share() const;

private:
  struct counts {
    monotonic at;
    std::uint64_t part = 0;
    std::uint64_t whole = 0;
  };
  std::deque<counts> samples_;
};

} // namespace penstock
