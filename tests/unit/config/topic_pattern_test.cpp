#include "config/topic_pattern.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::config {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace {

using kind = topic_pattern::level::kind;
using level = topic_pattern::level;

TEST(topic_pattern, has_levels_names_and_a_filter) {
  const auto pattern = topic_pattern::parse("users/{user_id}/+/devices/{device_id}/#");
  ASSERT_TRUE(pattern);
  EXPECT_THAT(pattern->levels(),
              ElementsAre(level{kind::text, "users"}, level{kind::name, "user_id"}, level{kind::one, ""},
                          level{kind::text, "devices"}, level{kind::name, "device_id"}, level{kind::rest, ""}));
  EXPECT_THAT(pattern->names(), ElementsAre("user_id", "device_id"));
  EXPECT_EQ(pattern->filter(), "users/+/+/devices/+/#");
}

TEST(topic_pattern, is_a_topic_once_its_names_have_values) {
  const auto pattern = topic_pattern::parse("a/{node}//{rule}/+/#");
  ASSERT_TRUE(pattern);
  EXPECT_EQ(pattern->topic({{"node", "n1"}, {"rule", "slow"}, {"other", "x"}}), "a/n1//slow/+/#");
  EXPECT_EQ(pattern->topic({{"node", "n1"}}), "a/n1//{rule}/+/#");
}

TEST(topic_pattern, levels_may_be_empty) {
  for (const char* text : {"/", "a//b", "/a", "a/", "#", "+", "a", "$SYS/broker/+"}) {
    const auto pattern = topic_pattern::parse(text);
    ASSERT_TRUE(pattern) << text;
    EXPECT_EQ(pattern->filter(), text);
  }
  EXPECT_EQ(topic_pattern::parse("a//b")->levels().size(), 3u);
  EXPECT_EQ(topic_pattern::parse("a/")->levels().size(), 2u);
}

TEST(topic_pattern, says_what_is_wrong) {
  const auto problem_of = [](std::string_view text) {
    const auto made = topic_pattern::parse(text);
    return made ? std::string{} : made.error().message;
  };
  EXPECT_THAT(problem_of(""), HasSubstr("empty"));
  EXPECT_THAT(problem_of("a/#/b"), HasSubstr("last level"));
  EXPECT_THAT(problem_of("#/"), HasSubstr("last level"));
  EXPECT_THAT(problem_of("a+/b"), HasSubstr("whole levels"));
  EXPECT_THAT(problem_of("a/b#"), HasSubstr("whole levels"));
  EXPECT_THAT(problem_of("##"), HasSubstr("whole levels"));
  for (const char* text : {"a/{b", "a/b}", "{}", "{a}{b}", "{a b}", "{1}", "x{a}", "{a}x", "{", "}"})
    EXPECT_THAT(problem_of(text), HasSubstr("{NAME} stands for a whole level")) << text;
  EXPECT_THAT(problem_of("{a}/{a}"), HasSubstr("twice"));
  EXPECT_THAT(problem_of("$share/g/t"), HasSubstr("$share"));
  EXPECT_THAT(problem_of(std::string_view{"a\0b", 3}), HasSubstr("character 0"));
  EXPECT_THAT(problem_of(std::string(65'536, 'a')), HasSubstr("65535"));
  EXPECT_EQ(problem_of(std::string(65'535, 'a')), "");
}

} // namespace

} // namespace penstock::config
