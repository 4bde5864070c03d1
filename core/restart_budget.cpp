#include "core/restart_budget.hpp"

namespace penstock {

bool restart_budget::spend(monotonic now) {
  while (!restarts_.empty() && restarts_.front() + window_ <= now)
    restarts_.pop_front();
  if (restarts_.size() >= restarts_max_)
    return false;
  restarts_.push_back(now);
  return true;
}

} // namespace penstock
