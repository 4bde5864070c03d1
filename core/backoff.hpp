// How long to wait before the next attempt.
#pragma once

#include <chrono>
#include <cstdint>

namespace penstock {

/// Exponential backoff, capped, with full jitter over the upper half: attempt n waits between half and all of
/// min * 2^n, at most max. Deterministic for a seed.
class backoff {
public:
  using milliseconds = std::chrono::milliseconds;

  /// 0 < min <= max.
  backoff(milliseconds min, milliseconds max, std::uint64_t seed);

  /// The wait before the next attempt; doubles the one after it.
  milliseconds next();
  /// After a success: starts again at min.
  void reset() { step_ = min_; }

private:
  milliseconds min_;
  milliseconds max_;
  milliseconds step_;
  std::uint64_t random_;
};

} // namespace penstock
