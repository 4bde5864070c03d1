#include "core/read_pace.hpp"

#include <gtest/gtest.h>

namespace penstock {

using namespace std::chrono_literals;

namespace {
/// The pause that a steady stream of `rate` messages a second settles at, each read taking 50 us.
std::chrono::microseconds settled(double rate, std::chrono::microseconds pause_max = 4ms) {
  read_pace pace{pause_max};
  monotonic now = monotonic{} + 1s;
  double waiting = 0;
  std::chrono::microseconds pause{0};
  for (int i = 0; i < 2'000; ++i) {
    const auto step = pause + 50us;
    now += step;
    waiting += rate * std::chrono::duration<double>(step).count();
    const auto read = static_cast<std::size_t>(waiting);
    waiting -= static_cast<double>(read);
    if (read > 0)
      pause = pace.after_read(read, now);
  }
  return pause;
}
} // namespace

TEST(read_pace, a_trickle_is_read_at_once) {
  EXPECT_EQ(settled(100), 0us);
  EXPECT_EQ(settled(1'000), 0us);
}

TEST(read_pace, the_pause_grows_with_the_rate_up_to_its_limit) {
  const auto moderate = settled(10'000);
  EXPECT_GT(moderate, 1ms);
  EXPECT_LT(moderate, 3ms);
  EXPECT_EQ(settled(100'000), 4ms);
  EXPECT_EQ(settled(100'000, 500us), 500us);
}

TEST(read_pace, after_a_silence_the_first_message_does_not_make_the_next_wait) {
  read_pace pace{4ms};
  monotonic now = monotonic{} + 1s;
  for (int i = 0; i < 100; ++i)
    pace.after_read(100, now += 1ms);
  EXPECT_GT(pace.after_read(100, now += 1ms), 0us);
  EXPECT_EQ(pace.after_read(1, now + 1s), 0us);
}

} // namespace penstock
