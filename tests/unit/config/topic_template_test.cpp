#include "config/topic_template.hpp"

#include <gmock/gmock.h>

namespace penstock::config {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace {

using part = topic_template::part;

std::vector<part> parts_of(std::string_view text) {
  const auto made = topic_template::parse(text);
  return made ? made->parts() : std::vector<part>{};
}

std::string refusal_of(std::string_view text) {
  const auto made = topic_template::parse(text);
  return made ? "" : made.error().message;
}

TEST(topic_template, is_fixed_texts_and_columns) {
  EXPECT_THAT(parts_of("a/b"), ElementsAre(part{false, "a/b"}));
  EXPECT_THAT(parts_of("{A}"), ElementsAre(part{true, "A"}));
  EXPECT_THAT(parts_of("a/{Monitor Id}-{B.c}/d"), ElementsAre(part{false, "a/"}, part{true, "Monitor Id"},
                                                              part{false, "-"}, part{true, "B.c"}, part{false, "/d"}));
  EXPECT_THAT(parts_of("{A}{+#$}"), ElementsAre(part{true, "A"}, part{true, "+#$"}));
  EXPECT_THAT(parts_of("/$a"), ElementsAre(part{false, "/$a"}));
}

TEST(topic_template, says_what_is_wrong) {
  using namespace std::string_view_literals;
  EXPECT_THAT(refusal_of(""), HasSubstr("must not be empty"));
  EXPECT_THAT(refusal_of(std::string(65'536, 'a')), HasSubstr("at most 65535 bytes"));
  EXPECT_THAT(refusal_of("a\0b"sv), HasSubstr("the character 0"));
  EXPECT_THAT(refusal_of("$SYS/{A}"), HasSubstr("the broker's own"));
  EXPECT_THAT(refusal_of("a/+/{A}"), HasSubstr("+ and # are for subscriptions"));
  EXPECT_THAT(refusal_of("{A}#"), HasSubstr("+ and # are for subscriptions"));
  for (const char* text : {"a{", "a}", "{A", "{A{B}}", "A}b{", "{A}}"})
    EXPECT_THAT(refusal_of(text), HasSubstr("every { needs its }")) << text;
  EXPECT_THAT(refusal_of("a/{}"), HasSubstr("between { and }"));
}

bool may_match(std::string_view topic, std::string_view pattern) {
  return topic_template::parse(topic)->may_match(*topic_pattern::parse(pattern));
}

TEST(topic_template, may_match_where_some_value_of_its_columns_does) {
  EXPECT_TRUE(may_match("a/b", "a/b"));
  EXPECT_TRUE(may_match("a/{X}", "a/{y}"));
  EXPECT_TRUE(may_match("a/{X}", "a/fixed"));
  EXPECT_TRUE(may_match("a/m{X}-{Y}n", "a/mxn-n"));
  EXPECT_TRUE(may_match("{X}", "+"));
  EXPECT_TRUE(may_match("a/{X}/c", "#"));
  EXPECT_TRUE(may_match("a/{X}", "a/+/#"));
  EXPECT_TRUE(may_match("/a", "+/a"));
}

TEST(topic_template, matches_no_other_pattern) {
  EXPECT_FALSE(may_match("a/b", "a/c"));
  EXPECT_FALSE(may_match("a/b", "a/b/c"));
  EXPECT_FALSE(may_match("a/{X}/c", "a/+"));
  EXPECT_FALSE(may_match("a/m{X}", "a/n"));
  EXPECT_FALSE(may_match("a/{X}n", "a/m"));
  EXPECT_FALSE(may_match("a/ab{X}ba", "a/aba"));
  EXPECT_FALSE(may_match("a/{X}", "b/#"));
}

} // namespace

} // namespace penstock::config
