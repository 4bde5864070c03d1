#include "decode/decoder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::decode {
namespace {

using strings = std::vector<std::string_view>;

bool matches(std::string_view pattern, std::string_view topic) {
  strings values;
  return topic_pattern::parse(pattern)->match(topic, values);
}

strings levels(std::string_view pattern, std::string_view topic) {
  strings values;
  EXPECT_TRUE(topic_pattern::parse(pattern)->match(topic, values)) << pattern << " " << topic;
  return values;
}

TEST(topic_pattern, gives_the_level_of_each_name) {
  using testing::ElementsAre;
  EXPECT_THAT(levels("users/{user}/devices/{device}/telemetry", "users/u1/devices/d2/telemetry"),
              ElementsAre("u1", "d2"));
  EXPECT_THAT(levels("{a}", "x"), ElementsAre("x"));
  EXPECT_THAT(levels("{a}/+/{b}/#", "x/y/z/1/2"), ElementsAre("x", "z"));
  EXPECT_THAT(levels("{a}/{b}", "/"), ElementsAre("", ""));
}

TEST(topic_pattern, keeps_names_and_filter) {
  const auto pattern = topic_pattern::parse("a/{b}/+/{c}/#");
  ASSERT_TRUE(pattern);
  EXPECT_THAT(pattern->names(), testing::ElementsAre("b", "c"));
  EXPECT_EQ(pattern->filter(), "a/+/+/+/#");
}

TEST(topic_pattern, of_fixed_levels_matches_only_itself) {
  EXPECT_TRUE(matches("a/b", "a/b"));
  EXPECT_FALSE(matches("a/b", "a"));
  EXPECT_FALSE(matches("a/b", "a/"));
  EXPECT_FALSE(matches("a/b", "a/b/"));
  EXPECT_FALSE(matches("a/b", "a/b/c"));
  EXPECT_FALSE(matches("a/b", "a/bc"));
  EXPECT_FALSE(matches("a/b", "A/b"));
  EXPECT_FALSE(matches("a/b", "/a/b"));
}

TEST(topic_pattern, plus_takes_exactly_one_level) {
  EXPECT_TRUE(matches("a/+/c", "a/b/c"));
  EXPECT_TRUE(matches("a/+/c", "a//c"));
  EXPECT_TRUE(matches("+", "a"));
  EXPECT_TRUE(matches("a/+", "a/"));
  EXPECT_FALSE(matches("a/+", "a"));
  EXPECT_FALSE(matches("+", "/a"));
  EXPECT_TRUE(matches("/+", "/a"));
  EXPECT_FALSE(matches("a/+/c", "a/b/d/c"));
}

TEST(topic_pattern, hash_takes_all_levels_that_follow_and_the_one_above) {
  EXPECT_TRUE(matches("#", "a"));
  EXPECT_TRUE(matches("#", "a/b/c"));
  EXPECT_TRUE(matches("#", "/"));
  EXPECT_TRUE(matches("a/#", "a"));
  EXPECT_TRUE(matches("a/#", "a/"));
  EXPECT_TRUE(matches("a/#", "a/b/c"));
  EXPECT_FALSE(matches("a/#", "ab"));
  EXPECT_FALSE(matches("a/+/#", "a"));
  EXPECT_TRUE(matches("a/+/#", "a/b"));
}

TEST(topic_pattern, wildcards_in_front_take_no_topic_of_the_broker) {
  EXPECT_FALSE(matches("#", "$SYS/uptime"));
  EXPECT_FALSE(matches("+/uptime", "$SYS/uptime"));
  EXPECT_FALSE(matches("{who}/uptime", "$SYS/uptime"));
  EXPECT_TRUE(matches("$SYS/#", "$SYS/uptime"));
  EXPECT_TRUE(matches("$SYS/+", "$SYS/uptime"));
  EXPECT_TRUE(matches("a/+", "a/$b"));
  EXPECT_TRUE(matches("a/#", "a/$b"));
}

TEST(topic_pattern, that_is_wrong_is_refused) {
  for (const char* pattern : {"", "a/#/b", "a+/b", "a/{b}c", "{a}/{a}", "a/#b", "{}"})
    EXPECT_FALSE(topic_pattern::parse(pattern)) << pattern;
}

} // namespace
} // namespace penstock::decode
