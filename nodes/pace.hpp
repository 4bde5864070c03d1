// How fast a load goes, and what it does by chance.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

namespace penstock::nodes {

inline double seconds_of(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

/// How much of a load is due `elapsed` seconds after its start, when its rate grows from nothing within `ramp`.
inline double share_due(double elapsed, double ramp, double rate) {
  return elapsed < ramp ? rate * elapsed * elapsed / (2 * ramp) : rate * (elapsed - ramp / 2);
}

/// How far a load has come.
struct load_progress {
  double elapsed = 0;             ///< seconds
  std::optional<double> duration; ///< seconds; it ends then
  std::optional<double> rate;     ///< a second
  std::uint64_t count = 0;        ///< it ends there
  std::uint64_t begun = 0;
  std::uint64_t done = 0;
};

/// How many seconds are left; nothing: not known yet.
inline std::optional<double> seconds_left(const load_progress& now) {
  if (now.duration)
    return *now.duration - now.elapsed;
  if (now.rate && now.begun < now.count)
    return static_cast<double>(now.count - now.begun) / *now.rate;
  if (now.done > 0)
    return static_cast<double>(now.count - std::min(now.count, now.done)) * now.elapsed / static_cast<double>(now.done);
  return std::nullopt;
}

/// Knuth's MMIX: the same for the same seed. Not thread-safe.
class dice {
public:
  explicit dice(std::uint64_t seed) : state_(seed) {}

  /// 0 <= chance < 1.
  double chance() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(state_ >> 11) / 9007199254740992.0;
  }
  bool happens(double percent) { return chance() * 100 < percent; }
  std::uint64_t below(std::uint64_t bound) { return static_cast<std::uint64_t>(chance() * static_cast<double>(bound)); }

private:
  std::uint64_t state_;
};

} // namespace penstock::nodes
