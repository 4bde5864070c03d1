// Events per second over the last ten seconds, in one-second buckets. Time is an argument and does not run backwards.
// Not thread-safe.
#pragma once

#include "core/types.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace penstock {

class rate_meter {
public:
  static constexpr std::int64_t window_seconds = 10;

  void add(std::uint64_t count, monotonic now);
  /// The mean of the last ten seconds and the running one; of the time since the first `add` (but at least a second)
  /// where that is shorter.
  double per_second(monotonic now) const;

private:
  struct bucket {
    std::int64_t second = -1;
    std::uint64_t count = 0;
  };
  std::array<bucket, window_seconds + 1> buckets_{};
  std::optional<monotonic> first_;
};

} // namespace penstock
