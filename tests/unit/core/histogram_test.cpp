#include "core/histogram.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace penstock {

TEST(histogram, is_empty_at_first) {
  const histogram values;
  EXPECT_EQ(values.count(), 0u);
  EXPECT_EQ(values.percentile(0.5), 0u);
  EXPECT_EQ(values.max(), 0u);
}

TEST(histogram, is_exact_for_small_values) {
  histogram values;
  for (std::uint64_t value = 0; value < 32; ++value)
    values.record(value);
  EXPECT_EQ(values.percentile(0.0), 0u);
  EXPECT_EQ(values.percentile(0.5), 15u);
  EXPECT_EQ(values.percentile(1.0), 31u);
}

TEST(histogram, percentiles_are_within_two_per_cent_of_the_sorted_values) {
  std::mt19937_64 random{7};
  std::lognormal_distribution<double> spread{9, 2};
  histogram values;
  std::vector<std::uint64_t> sorted;
  for (int round = 0; round < 20'000; ++round) {
    sorted.push_back(static_cast<std::uint64_t>(spread(random)));
    values.record(sorted.back());
  }
  std::sort(sorted.begin(), sorted.end());
  for (const double fraction : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const auto rank = static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(sorted.size()))) - 1;
    const auto exact = static_cast<double>(sorted[rank]);
    EXPECT_NEAR(static_cast<double>(values.percentile(fraction)), exact, exact * 0.017) << fraction;
  }
  EXPECT_EQ(values.max(), sorted.back());
}

TEST(histogram, takes_the_largest_value_there_is) {
  histogram values;
  values.record(std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(values.max(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_GE(static_cast<double>(values.percentile(0.5)), 0.98 * 18446744073709551615.0);
}

TEST(histogram, never_reports_more_than_the_largest_value) {
  histogram values;
  values.record(1'000'001, 5);
  EXPECT_LE(values.percentile(0.5), 1'000'001u);
  EXPECT_LE(values.percentile(1.0), 1'000'001u);
}

TEST(histogram, merging_is_recording_both) {
  histogram one;
  histogram other;
  histogram both;
  for (std::uint64_t value = 1; value < 5'000; value += 7) {
    (value % 2 ? one : other).record(value, 3);
    both.record(value, 3);
  }
  one.merge(other);
  EXPECT_EQ(one.count(), both.count());
  EXPECT_EQ(one.sum(), both.sum());
  EXPECT_EQ(one.max(), both.max());
  for (const double fraction : {0.1, 0.5, 0.9})
    EXPECT_EQ(one.percentile(fraction), both.percentile(fraction));
}

TEST(histogram, counts_what_is_at_most_a_limit_and_never_less_for_a_higher_one) {
  histogram values;
  for (std::uint64_t value = 0; value < 10'000; ++value)
    values.record(value);
  EXPECT_EQ(values.count_at_most(10), 11u);
  EXPECT_NEAR(static_cast<double>(values.count_at_most(5'000)), 5'000, 5'000 * 0.032);
  std::uint64_t before = 0;
  for (std::uint64_t limit = 0; limit < 20'000; limit += 13) {
    EXPECT_GE(values.count_at_most(limit), before);
    before = values.count_at_most(limit);
  }
  EXPECT_EQ(values.count_at_most(20'000), values.count());
}

TEST(histogram, recording_nothing_changes_nothing) {
  histogram values;
  values.record(100, 0);
  EXPECT_EQ(values.count(), 0u);
  EXPECT_EQ(values.max(), 0u);
}

} // namespace penstock
