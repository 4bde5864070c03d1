// All that is random in a simulation: the same seed gives the same numbers everywhere.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace penstock::sim {

/// SplitMix64.
class dice {
public:
  explicit dice(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    auto mixed = state_ += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
  }
  /// 0 to `end` - 1; 0 where `end` is 0.
  std::size_t below(std::size_t end) { return end == 0 ? 0 : static_cast<std::size_t>(next() % end); }
  bool chance(unsigned of_a_thousand) { return below(1'000) < of_a_thousand; }
  std::chrono::milliseconds between(std::chrono::milliseconds least, std::chrono::milliseconds most) {
    return least + std::chrono::milliseconds{below(static_cast<std::size_t>((most - least).count()) + 1)};
  }

private:
  std::uint64_t state_;
};

} // namespace penstock::sim
