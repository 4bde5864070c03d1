#include "core/time_text.hpp"

#include <gtest/gtest.h>

#include <random>

namespace penstock {
namespace {

using std::chrono::microseconds;

/// Microseconds since 1970, or -1 where the text is refused.
std::int64_t parsed(std::string_view text) {
  const auto time = parse_rfc3339(text);
  return time ? time->time_since_epoch().count() : -1;
}

TEST(time_text, reads_every_form) {
  constexpr std::int64_t base = 1'700'000'000'000'000;
  EXPECT_EQ(parsed("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(parsed("2023-11-14T22:13:20Z"), base);
  EXPECT_EQ(parsed("2023-11-14t22:13:20z"), base);
  EXPECT_EQ(parsed("2023-11-14 22:13:20Z"), base);
  EXPECT_EQ(parsed("2023-11-14T22:13:20+00:00"), base);
  EXPECT_EQ(parsed("2023-11-14T22:13:20-00:00"), base);
  EXPECT_EQ(parsed("2023-11-15T03:43:20+05:30"), base);
  EXPECT_EQ(parsed("2023-11-14T14:13:20-08:00"), base);
  EXPECT_EQ(parsed("2023-11-15T22:12:20+23:59"), base);
  EXPECT_EQ(parsed("2023-11-14T22:13:20.5Z"), base + 500'000);
  EXPECT_EQ(parsed("2023-11-14T22:13:20.123456Z"), base + 123'456);
  EXPECT_EQ(parsed("2023-11-14T22:13:20.000001+00:00"), base + 1);
  EXPECT_EQ(parsed("2023-11-14T22:13:20.1234569999999999999999999Z"), base + 123'456);
  EXPECT_EQ(parsed("2024-02-29T00:00:00Z"), 1'709'164'800'000'000);
}

TEST(time_text, rounds_times_before_1970_to_the_past) {
  EXPECT_EQ(parse_rfc3339("1969-12-31T23:59:59.9999999Z"), wall_time{microseconds{-1}});
  EXPECT_EQ(parse_rfc3339("1969-12-31T23:59:59Z"), wall_time{microseconds{-1'000'000}});
}

TEST(time_text, takes_the_leap_second_for_the_next_one) {
  EXPECT_EQ(parsed("2016-12-31T23:59:60Z"), parsed("2017-01-01T00:00:00Z"));
  EXPECT_EQ(parsed("2016-12-31T15:59:60.25-08:00"), parsed("2017-01-01T00:00:00.25Z"));
  EXPECT_EQ(parsed("2016-12-31T22:59:60Z"), -1);
  EXPECT_EQ(parsed("2016-12-31T23:59:61Z"), -1);
}

TEST(time_text, keeps_to_years_of_four_digits) {
  EXPECT_TRUE(parse_rfc3339("0000-01-01T00:00:00Z"));
  EXPECT_TRUE(parse_rfc3339("9999-12-31T23:59:59.999999Z"));
  EXPECT_FALSE(parse_rfc3339("0000-01-01T00:00:00+00:01"));
  EXPECT_FALSE(parse_rfc3339("9999-12-31T23:59:60Z"));
  EXPECT_FALSE(parse_rfc3339("9999-12-31T23:59:59-00:01"));
}

TEST(time_text, refuses_what_is_no_time) {
  for (const std::string_view text : {"",
                                      "yesterday",
                                      "2023-11-14",
                                      "2023-11-14T22:13:20",
                                      "2023-11-14T22:13Z",
                                      "2023-11-14T22:13:20.Z",
                                      "2023-11-14T22:13:20,5Z",
                                      "2023-11-14T22:13:20.5",
                                      "2023-11-14T22:13:20ZZ",
                                      "2023-11-14T22:13:20Z ",
                                      " 2023-11-14T22:13:20Z",
                                      "2023-11-14  22:13:20Z",
                                      "2023-11-14T22:13:20+0100",
                                      "2023-11-14T22:13:20+01",
                                      "2023-11-14T22:13:20+24:00",
                                      "2023-11-14T22:13:20+01:60",
                                      "2023-11-14T22:13:20+-1:00",
                                      "2023-02-29T00:00:00Z",
                                      "1900-02-29T00:00:00Z",
                                      "2023-04-31T00:00:00Z",
                                      "2023-00-10T00:00:00Z",
                                      "2023-13-10T00:00:00Z",
                                      "2023-01-00T00:00:00Z",
                                      "2023-01-32T00:00:00Z",
                                      "2023-01-01T24:00:00Z",
                                      "2023-01-01T00:60:00Z",
                                      "-023-01-01T00:00:00Z",
                                      "2023-1-01T00:00:000Z",
                                      "2023/01/01T00:00:00Z",
                                      "2023-01-01T00.00.00Z",
                                      "20x3-01-01T00:00:00Z"})
    EXPECT_FALSE(parse_rfc3339(text)) << text;
}

TEST(time_text, writes_utc_with_six_digits) {
  EXPECT_EQ(format_rfc3339(wall_time{}), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(format_rfc3339(wall_time{microseconds{1'700'000'000'123'456}}), "2023-11-14T22:13:20.123456Z");
  EXPECT_EQ(format_rfc3339(wall_time{microseconds{-1}}), "1969-12-31T23:59:59.999999Z");
}

TEST(time_text, writes_years_of_any_length) {
  EXPECT_EQ(format_rfc3339(*parse_rfc3339("9999-12-31T23:59:59.999999Z") + microseconds{1}),
            "+10000-01-01T00:00:00.000000Z");
  EXPECT_EQ(format_rfc3339(*parse_rfc3339("0000-01-01T00:00:00Z") - microseconds{1}), "-1-12-31T23:59:59.999999Z");
  EXPECT_EQ(format_rfc3339(wall_time::max()), "+294247-01-10T04:00:54.775807Z");
  EXPECT_EQ(format_rfc3339(wall_time::min()), "-290308-12-21T19:59:05.224192Z");
}

TEST(time_text, reads_back_what_it_writes) {
  std::mt19937_64 random{1};
  const auto first = parse_rfc3339("0000-01-01T00:00:00Z")->time_since_epoch().count();
  const auto last = parse_rfc3339("9999-12-31T23:59:59.999999Z")->time_since_epoch().count();
  std::uniform_int_distribution<std::int64_t> any{first, last};
  for (int i = 0; i < 100'000; ++i) {
    const wall_time time{microseconds{any(random)}};
    ASSERT_EQ(parse_rfc3339(format_rfc3339(time)), time) << format_rfc3339(time);
  }
}

} // namespace
} // namespace penstock
