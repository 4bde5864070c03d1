#include "config/edit.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::config {

namespace {

using ::testing::HasSubstr;

const std::vector<std::string> content{"table: T", "detect:", "  poll: 1s"};

std::string added(const std::string& text, const std::string& name = "New") {
  auto made = add_publish(text, name, content);
  if (!made) {
    ADD_FAILURE() << made.error().to_string();
    return {};
  }
  return *made;
}

std::string removed(const std::string& text, const std::string& name) {
  auto made = remove_publish(text, name);
  if (!made) {
    ADD_FAILURE() << made.error().to_string();
    return {};
  }
  return *made;
}

TEST(edit, a_table_is_added_behind_the_others_with_their_indentation) {
  EXPECT_EQ(added("publish:\n  A:\n    table: a\n"),
            "publish:\n  A:\n    table: a\n  New:\n    table: T\n    detect:\n      poll: 1s\n");
  EXPECT_EQ(added("publish:\n    A:\n        table: a\nlog: {level: info}\n"),
            "publish:\n    A:\n        table: a\n    New:\n        table: T\n        detect:\n            poll: 1s\n"
            "log: {level: info}\n");
  EXPECT_EQ(added("publish:\n    A:\n      table: a\n"),
            "publish:\n    A:\n      table: a\n    New:\n      table: T\n      detect:\n        poll: 1s\n");
}

TEST(edit, a_missing_section_is_made_at_the_end_and_indented_as_the_others_are) {
  EXPECT_EQ(added("log:\n  level: info\n"),
            "log:\n  level: info\npublish:\n  New:\n    table: T\n    detect:\n      poll: 1s\n");
  EXPECT_EQ(added("log:\n    level: info"), "log:\n    level: info\npublish:\n    New:\n        table: T\n"
                                            "        detect:\n            poll: 1s\n");
  EXPECT_EQ(added("log: {level: info}\n# the end\n"),
            "log: {level: info}\n# the end\npublish:\n  New:\n    table: T\n    detect:\n      poll: 1s\n");
  EXPECT_EQ(added(" log: {level: info}\n"),
            " log: {level: info}\n publish:\n   New:\n     table: T\n     detect:\n       poll: 1s\n");
}

TEST(edit, an_empty_section_takes_a_table) {
  const std::string made = "\n  New:\n    table: T\n    detect:\n      poll: 1s\n";
  for (const std::string empty : {"publish:", "publish: {}", "publish: { }", "publish: ~", "publish: null"})
    EXPECT_EQ(added(empty + "\nlog: {level: info}\n"), "publish:" + made + "log: {level: info}\n") << empty;
  EXPECT_EQ(added("publish: {}  # none yet\n"), "publish:  # none yet" + made);
  EXPECT_EQ(added("publish:  # none yet"), "publish:  # none yet" + made);
  EXPECT_EQ(added("publish:\n  # TableA was here\n\nlog: {level: info}\n"),
            "publish:\n  # TableA was here" + made + "\nlog: {level: info}\n");
}

TEST(edit, comments_and_blank_lines_stay_where_they_are) {
  EXPECT_EQ(
    added("# top\n\npublish:   # the tables\n  # the first\n  A: {table: a}   # in one line\n\n  # more to come\n"
          "\n# of the log\nlog: {level: info}\n"),
    "# top\n\npublish:   # the tables\n  # the first\n  A: {table: a}   # in one line\n\n  # more to come\n"
    "  New:\n    table: T\n    detect:\n      poll: 1s\n"
    "\n# of the log\nlog: {level: info}\n");
}

TEST(edit, texts_over_several_lines_are_not_cut_through) {
  const std::string made = "  New:\n    table: T\n    detect:\n      poll: 1s\n";
  for (const std::string tail :
       {"  A:\n    where: |\n      a = 1\n\n      # no comment\n    table: a\n",
        "  A:\n    where: |\n      a = 1\n\n      # no comment\n", "  A: {table: a,\n      key: [b,\n        c]}\n"})
    EXPECT_EQ(added("publish:\n" + tail + "log: {level: info}\n"), "publish:\n" + tail + made + "log: {level: info}\n");
}

TEST(edit, line_ends_are_those_of_the_file) {
  EXPECT_EQ(added("publish:\r\n  A:\r\n    table: a\r\n"),
            "publish:\r\n  A:\r\n    table: a\r\n  New:\r\n    table: T\r\n"
            "    detect:\r\n      poll: 1s\r\n");
}

TEST(edit, what_was_added_is_removed_without_a_trace) {
  for (const std::string text : {"publish:\n  A:\n    table: a\n\n  # B\n  B: {table: b}\nlog: {level: info}\n",
                                 "publish: {}\n", "# none\npublish: {}  # none\n  # none\nlog: {level: info}\n",
                                 "publish:\n    A:\n        table: a\n\n\n# end\n"})
    EXPECT_EQ(removed(added(text), "New"), text) << text;
}

TEST(edit, a_table_is_removed_wherever_it_stands) {
  const std::string text = "publish:\n  # of A\n  A:\n    table: a  # here\n    # inside\n    where: |\n      x\n\n"
                           "  # of B\n  B: {table: b,\n      key: c}\n\n  C:\n    table: c\nlog: {level: info}\n";
  EXPECT_EQ(removed(text, "A"), "publish:\n  # of A\n\n  # of B\n  B: {table: b,\n      key: c}\n\n  C:\n    table: c\n"
                                "log: {level: info}\n");
  EXPECT_EQ(removed(text, "B"),
            "publish:\n  # of A\n  A:\n    table: a  # here\n    # inside\n    where: |\n      x\n\n"
            "  # of B\n\n  C:\n    table: c\nlog: {level: info}\n");
  EXPECT_EQ(removed(text, "C"),
            "publish:\n  # of A\n  A:\n    table: a  # here\n    # inside\n    where: |\n      x\n\n"
            "  # of B\n  B: {table: b,\n      key: c}\n\nlog: {level: info}\n");
}

TEST(edit, a_section_that_has_become_empty_can_be_loaded) {
  EXPECT_EQ(removed("publish:  # tables\n  A:\n    table: a\n", "A"), "publish: {}  # tables\n");
}

TEST(edit, what_is_written_in_braces_is_left_to_a_person) {
  for (const std::string text : {R"({"publish": {"A": {"table": "a"}}})", "publish: {A: {table: a}}\n",
                                 "publish: {A: {table: a},\n  B: {table: b}}\n"}) {
    const auto added = add_publish(text, "New", content);
    ASSERT_FALSE(added) << text;
    EXPECT_EQ(added.error().code, errc::unsupported);
    EXPECT_THAT(added.error().message, HasSubstr("by hand"));
    EXPECT_EQ(remove_publish(text, "A").error().code, errc::unsupported) << text;
  }
}

TEST(edit, what_cannot_be_edited_safely_is_not_edited) {
  // The value goes on where it should not; the file ends for the parser; the file is none.
  for (const std::string text : {"publish:\n  A: {table: a,\nkey: b}\nlog: {level: info}\n",
                                 "log: {level: info}\n...\n", "- a\n", "", "a: [\n"}) {
    const auto made = add_publish(text, "New", content);
    ASSERT_FALSE(made) << *made;
    EXPECT_EQ(made.error().code, errc::unsupported) << text;
  }
}

TEST(edit, a_name_that_is_there_or_missing_is_said) {
  EXPECT_THAT(add_publish("publish:\n  A: {table: a}\n", "A", content).error().message, HasSubstr("in line 2"));
  EXPECT_THAT(remove_publish("publish:\n  A: {table: a}\n", "B").error().message, HasSubstr("no publish.B"));
  EXPECT_THAT(remove_publish("log: {level: info}\n", "B").error().message, HasSubstr("no publish.B"));
}

} // namespace

} // namespace penstock::config
