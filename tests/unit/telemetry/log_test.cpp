#include "telemetry/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <functional>
#include <sstream>

namespace penstock::log {

namespace {

using testing::HasSubstr;
using testing::Not;

std::string captured(const options& options, const std::function<void()>& body) {
  init(options);
  testing::internal::CaptureStderr();
  body();
  flush();
  init({});
  return testing::internal::GetCapturedStderr();
}

} // namespace

TEST(log, writes_a_line_for_people) {
  const auto out = captured({}, [] { info("ingestor", "telemetry/ingestor/0", "{} messages from {}", 3, "main"); });
  EXPECT_THAT(out, HasSubstr("info"));
  EXPECT_THAT(out, HasSubstr("telemetry/ingestor/0: 3 messages from main\n"));
}

TEST(log, names_the_component_where_there_is_no_actor) {
  EXPECT_THAT(captured({}, [] { warning("http", "", "busy"); }), HasSubstr("http: busy\n"));
}

TEST(log, leaves_out_what_is_below_its_level) {
  const auto body = [] {
    debug("x", "", "quiet");
    error("x", "", "loud");
  };
  const auto out = captured({.minimum = level::warning}, body);
  EXPECT_THAT(out, Not(HasSubstr("quiet")));
  EXPECT_THAT(out, HasSubstr("loud"));
  EXPECT_THAT(captured({.minimum = level::trace}, body), HasSubstr("quiet"));
}

TEST(log, the_level_can_be_changed_while_it_runs) {
  EXPECT_THAT(captured({},
                       [] {
                         set_level(level::debug);
                         debug("x", "", "now");
                       }),
              HasSubstr("now"));
}

TEST(log, json_lines_are_valid_json_whatever_is_in_them) {
  const std::string nasty = "a \"quoted\" \\ line\nand another\x01 \xff\xfe %v {} end";
  const auto out = captured({.format = format::json}, [&] {
    error("writer", "telemetry/writer", "{}", nasty);
    info("http", "", "plain");
  });
  std::istringstream lines{out};
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const auto first = nlohmann::json::parse(line);
  EXPECT_EQ(first["level"], "error");
  EXPECT_EQ(first["component"], "writer");
  EXPECT_EQ(first["actor"], "telemetry/writer");
  EXPECT_THAT(first["message"].get<std::string>(), HasSubstr("a \"quoted\" \\ line\nand another\x01"));
  EXPECT_THAT(first["time"].get<std::string>(), testing::MatchesRegex("....-..-..T..:..:..[.]......Z"));
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(nlohmann::json::parse(line)["message"], "plain");
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(log, a_peers_text_cannot_forge_a_line_or_steer_the_terminal) {
  const auto out = captured({}, [] { info("x", "", "{}", "one\n2026 error forged\x1b[2J"); });
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
  EXPECT_THAT(out, HasSubstr("one\\n2026 error forged\\x1b[2J"));
}

TEST(log, an_argument_that_cannot_be_formatted_does_not_throw) {
  const auto out = captured({}, [] {
    const int value = 1;
    vwrite(level::info, "x", "", "bad {:s} pattern", fmt::make_format_args(value));
  });
  EXPECT_THAT(out, HasSubstr("bad {:s} pattern"));
}

TEST(log, levels_have_the_words_of_the_configuration) {
  for (const auto one : {level::trace, level::debug, level::info, level::warning, level::error})
    EXPECT_EQ(level_from(name_of(one)), one);
  EXPECT_EQ(level_from("loud"), std::nullopt);
}

} // namespace penstock::log
