#include "core/alert.hpp"

namespace penstock {

std::string_view name_of(alert_state state) noexcept {
  switch (state) {
  case alert_state::unknown: return "unknown";
  case alert_state::raised: return "raised";
  case alert_state::cleared: return "cleared";
  }
  return "unknown";
}

bool alert::look(bool over, monotonic now) {
  if (!since_ || over != over_)
    since_ = now;
  over_ = over;
  const auto wanted = over ? alert_state::raised : alert_state::cleared;
  const auto long_enough = over ? hold_ : std::chrono::milliseconds{alert_clear_after};
  if (state_ == wanted || now - *since_ < long_enough)
    return false;
  state_ = wanted;
  return true;
}

void share_meter::sample(std::uint64_t part, std::uint64_t whole, monotonic now) {
  samples_.push_back({now, part, whole});
  // The one before the window is where it begins.
  while (samples_.size() > 1 && samples_[1].at <= now - window)
    samples_.pop_front();
}

double share_meter::share() const {
  if (samples_.empty() || samples_.back().whole <= samples_.front().whole)
    return 0;
  const auto part = samples_.back().part - samples_.front().part;
  const auto whole = samples_.back().whole - samples_.front().whole;
  return static_cast<double>(part) / static_cast<double>(whole);
}

} // namespace penstock
