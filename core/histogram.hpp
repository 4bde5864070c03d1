// How values are distributed, in constant memory: buckets of equal width within each power of two, so that a percentile
// is off by at most 1.6 % (values below 32 are exact). Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace penstock {

class histogram {
public:
  void record(std::uint64_t value, std::uint64_t count = 1);
  void merge(const histogram& other);

  std::uint64_t count() const { return count_; }
  double sum() const { return sum_; }
  std::uint64_t max() const { return max_; } ///< exact; 0 when empty
  /// The value that `fraction` (0 to 1) of the values do not exceed; 0 when empty; never above max().
  std::uint64_t percentile(double fraction) const;
  /// How many values are at most `limit`; off by the width of the bucket that `limit` falls into.
  std::uint64_t count_at_most(std::uint64_t limit) const;

private:
  static constexpr unsigned precision_bits = 5;
  static constexpr std::size_t buckets_count = (64 - precision_bits + 1) << precision_bits;
  static std::size_t index_of(std::uint64_t value);
  static std::uint64_t highest_of(std::size_t index);
  static std::uint64_t middle_of(std::size_t index);

  std::array<std::uint64_t, buckets_count> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
  double sum_ = 0;
};

} // namespace penstock
