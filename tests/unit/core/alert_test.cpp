#include "core/alert.hpp"

#include <gtest/gtest.h>

namespace penstock {

namespace {

using namespace std::chrono_literals;

const monotonic start{1'000s};

/// Looks once a second, from `from` on; how often the state changes.
int changes(alert& one, bool over, std::chrono::seconds from, std::chrono::seconds seconds) {
  int count = 0;
  for (auto at = from; at < from + seconds; at += 1s)
    count += one.look(over, start + at) ? 1 : 0;
  return count;
}

} // namespace

TEST(alert, is_raised_at_once_where_nothing_else_is_asked) {
  alert one{0ms};
  EXPECT_FALSE(one.look(false, start));
  EXPECT_EQ(one.state(), alert_state::unknown);
  EXPECT_TRUE(one.look(true, start + 1s));
  EXPECT_EQ(one.state(), alert_state::raised);
  EXPECT_FALSE(one.look(true, start + 2s)) << "it is told once";
}

TEST(alert, is_raised_only_after_it_has_held_without_a_break) {
  alert one{5s};
  EXPECT_EQ(changes(one, true, 0s, 5s), 0);
  EXPECT_FALSE(one.look(false, start + 5s));
  EXPECT_EQ(changes(one, true, 6s, 5s), 0);
  EXPECT_TRUE(one.look(true, start + 11s));
}

TEST(alert, is_cleared_only_after_a_time_under_the_threshold) {
  alert one{0ms};
  one.look(true, start);
  EXPECT_EQ(changes(one, false, 1s, alert_clear_after), 0);
  EXPECT_TRUE(one.look(false, start + 1s + alert_clear_after));
  EXPECT_EQ(one.state(), alert_state::cleared);
}

TEST(alert, does_not_flap_while_the_value_plays_around_the_threshold) {
  alert one{0ms};
  int count = 0;
  for (int second = 0; second < 120; ++second)
    count += one.look(second % 9 == 0, start + std::chrono::seconds{second}) ? 1 : 0;
  EXPECT_EQ(count, 1);
  EXPECT_EQ(one.state(), alert_state::raised);
}

TEST(alert, what_was_never_over_the_threshold_is_cleared_after_a_time) {
  alert one{0ms};
  EXPECT_EQ(changes(one, false, 0s, 60s), 1);
  EXPECT_EQ(one.state(), alert_state::cleared);
}

TEST(alert, goes_on_from_a_former_life) {
  alert one{0ms, alert_state::raised};
  EXPECT_EQ(changes(one, true, 0s, 10s), 0);
  EXPECT_EQ(changes(one, false, 10s, 11s), 1);
}

TEST(share_meter, is_the_share_of_the_last_minute) {
  share_meter one;
  EXPECT_EQ(one.share(), 0);
  one.sample(100, 1'000, start);
  EXPECT_EQ(one.share(), 0) << "what was there before the first look is not known to be of the last minute";
  one.sample(100, 1'090, start + 1s);
  one.sample(110, 1'100, start + 2s);
  EXPECT_DOUBLE_EQ(one.share(), 0.1);
  for (int second = 3; second <= 61; ++second)
    one.sample(110, 1'100, start + std::chrono::seconds{second});
  EXPECT_DOUBLE_EQ(one.share(), 1) << "10 of the 10 since one second after the start";
  one.sample(110, 1'100, start + 62s);
  EXPECT_EQ(one.share(), 0);
}

TEST(share_meter, keeps_no_more_than_a_window) {
  share_meter one;
  for (int second = 0; second < 10'000; ++second)
    one.sample(0, static_cast<std::uint64_t>(second), start + std::chrono::seconds{second});
  EXPECT_EQ(one.share(), 0);
  one.sample(60, 9'999 + 60, start + 10'000s);
  EXPECT_DOUBLE_EQ(one.share(), 60.0 / 119);
}

} // namespace penstock
