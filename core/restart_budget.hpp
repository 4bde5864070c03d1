// How many restarts a supervisor allows before it gives up.
#pragma once

#include "core/types.hpp"

#include <chrono>
#include <cstddef>
#include <deque>

namespace penstock {

/// At most `restarts_max` restarts within any `window`.
class restart_budget {
public:
  restart_budget(std::size_t restarts_max, std::chrono::milliseconds window)
    : restarts_max_(restarts_max), window_(window) {}

  /// Notes a restart at `now` (never earlier than the last call's). False: the budget is overspent.
  bool spend(monotonic now);

  std::size_t spent() const { return restarts_.size(); } ///< within the window, as of the last `spend`

private:
  std::size_t restarts_max_;
  std::chrono::milliseconds window_;
  std::deque<monotonic> restarts_;
};

} // namespace penstock
