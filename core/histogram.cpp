#include "core/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace penstock {

// A value of n bits keeps its highest precision_bits + 1 bits: the lower ones are within 1/32 of it.
std::size_t histogram::index_of(std::uint64_t value) {
  const auto bits = static_cast<unsigned>(std::bit_width(value));
  if (bits <= precision_bits)
    return value;
  const unsigned shift = bits - precision_bits - 1;
  return (static_cast<std::size_t>(shift) << precision_bits) + static_cast<std::size_t>(value >> shift);
}

std::uint64_t histogram::highest_of(std::size_t index) {
  if (index < (std::size_t{2} << precision_bits))
    return index;
  const std::size_t shift = (index >> precision_bits) - 1;
  const std::uint64_t kept = index - (shift << precision_bits);
  return (kept << shift) + ((std::uint64_t{1} << shift) - 1);
}

std::uint64_t histogram::middle_of(std::size_t index) {
  const std::uint64_t below = index == 0 ? 0 : highest_of(index - 1) + 1;
  return below + (highest_of(index) - below) / 2;
}

void histogram::record(std::uint64_t value, std::uint64_t count) {
  if (count == 0)
    return;
  buckets_[index_of(value)] += count;
  count_ += count;
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value) * static_cast<double>(count);
}

void histogram::merge(const histogram& other) {
  for (std::size_t index = 0; index < buckets_count; ++index)
    buckets_[index] += other.buckets_[index];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

std::uint64_t histogram::percentile(double fraction) const {
  const auto total = static_cast<double>(count_);
  const auto rank = static_cast<std::uint64_t>(std::clamp(std::ceil(fraction * total), 1.0, std::max(total, 1.0)));
  std::uint64_t seen = 0;
  for (std::size_t index = 0; index < buckets_count; ++index) {
    seen += buckets_[index];
    if (seen >= rank)
      return std::min(middle_of(index), max_);
  }
  return max_;
}

std::uint64_t histogram::count_at_most(std::uint64_t limit) const {
  std::uint64_t seen = 0;
  const std::size_t last = index_of(limit);
  for (std::size_t index = 0; index <= last; ++index)
    seen += buckets_[index];
  return seen;
}

} // namespace penstock
