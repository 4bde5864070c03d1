#include "core/rate_meter.hpp"

#include <gtest/gtest.h>

namespace penstock {

namespace {
monotonic at(double seconds) {
  return monotonic{} + std::chrono::duration_cast<monotonic::duration>(std::chrono::duration<double>(1'000 + seconds));
}
} // namespace

TEST(rate_meter, is_zero_before_anything_happened) { EXPECT_EQ(rate_meter{}.per_second(at(0)), 0); }

TEST(rate_meter, shows_a_steady_rate) {
  rate_meter meter;
  for (int tenth = 0; tenth < 300; ++tenth)
    meter.add(50, at(0.1 * tenth));
  EXPECT_NEAR(meter.per_second(at(30)), 500, 5);
  EXPECT_NEAR(meter.per_second(at(29.95)), 500, 5);
}

TEST(rate_meter, a_burst_at_the_start_counts_as_one_second) {
  rate_meter meter;
  meter.add(1'000, at(0.2));
  EXPECT_DOUBLE_EQ(meter.per_second(at(0.2)), 1'000);
  EXPECT_DOUBLE_EQ(meter.per_second(at(1.2)), 1'000);
  EXPECT_DOUBLE_EQ(meter.per_second(at(4.2)), 250);
}

TEST(rate_meter, forgets_what_is_older_than_its_window) {
  rate_meter meter;
  meter.add(1'000, at(0));
  EXPECT_GT(meter.per_second(at(9)), 0);
  EXPECT_EQ(meter.per_second(at(11)), 0);
  EXPECT_EQ(meter.per_second(at(1'000)), 0);
}

TEST(rate_meter, a_bucket_is_used_again_after_a_gap) {
  rate_meter meter;
  meter.add(1'000, at(0));
  meter.add(10, at(11 * 3));
  EXPECT_LE(meter.per_second(at(11 * 3)), 1.0 + 1e-9);
}

TEST(rate_meter, follows_a_change_within_the_window) {
  rate_meter meter;
  for (int second = 0; second < 20; ++second)
    meter.add(second < 10 ? 100 : 900, at(second));
  EXPECT_NEAR(meter.per_second(at(20)), 900, 1);
}

} // namespace penstock
