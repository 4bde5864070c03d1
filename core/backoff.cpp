#include "core/backoff.hpp"

#include "core/assert.hpp"

#include <algorithm>

namespace penstock {

namespace {

/// splitmix64 (Steele, Lea and Flood 2014): enough for jitter, and the same on every machine.
std::uint64_t next_random(std::uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

} // namespace

backoff::backoff(milliseconds min, milliseconds max, std::uint64_t seed)
  : min_(min), max_(max), step_(min), random_(seed) {
  assert_that(min.count() > 0 && min <= max, "0 < min <= max of a backoff");
}

backoff::milliseconds backoff::next() {
  const auto half = step_.count() / 2;
  const auto jitter =
    static_cast<std::int64_t>(next_random(random_) % static_cast<std::uint64_t>(step_.count() - half + 1));
  step_ = std::min(step_ * 2, max_);
  return milliseconds{half + jitter};
}

} // namespace penstock
