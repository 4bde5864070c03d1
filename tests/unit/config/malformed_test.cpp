// Whatever stands in the file, the loader answers with problems, soon, and without deep recursion.
#include "tests/unit/config/support.hpp"

#include <functional>

namespace penstock::config {

using namespace test;

namespace {

constexpr std::size_t most = 1u << 20;

std::string repeated(const std::string& part, std::size_t bytes = most / 8) {
  std::string text;
  while (text.size() + part.size() <= bytes)
    text += part;
  return text;
}

std::string numbered(const std::function<std::string(std::size_t)>& part, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i)
    text += part(i);
  return text;
}

std::string number_of(std::size_t i) { return std::to_string(i); }

TEST(malformed, is_answered_with_problems) {
  const std::vector<std::string> texts{
    repeated("["),
    repeated("{"),
    repeated("- "),
    repeated("? "),
    repeated("[a: "),
    repeated("{a: "),
    repeated("{? "),
    repeated(":"),
    repeated(": "),
    repeated("\n"),
    repeated("\t"),
    repeated("&a "),
    repeated("*a "),
    repeated("!a "),
    repeated("%A\n"),
    repeated("---\n"),
    repeated("#"),
    repeated(","),
    repeated("\""),
    repeated("'"),
    repeated("\"a\","),
    repeated("]"),
    repeated("}"),
    repeated("|\n"),
    repeated("a "),
    repeated("a\n"),
    repeated("\r"),
    repeated("${"),
    "[" + repeated("1,") + "]",
    "{" + repeated("a,") + "}",
    "log: " + repeated("x"),
    "log: \"" + repeated("x\\n") + "\"",
    "log: {level: \"" + repeated("${X}") + "\"}",
    "log: {level: \"" + repeated("$") + "\"}",
    repeated("x") + ": 1",
    std::string(1'000, '\0'),
    "\xef\xbb\xbf\xef\xbb\xbf",
    "\xfe\xff\0d",
    repeated("\xff"),
    "a: \xc3",
    "a: \xed\xa0\x80",
    "a: b: c",
    "a: |",
    "a: >-",
    "- - - a",
    "@",
    "`",
    "%YAML 9.9\n---\na: b",
    "!<tag> a",
    "a: &",
    "a: *",
    "*a",
    "&a",
    "{a: [}",
    numbered([](std::size_t i) { return std::string(i, ' ') + "a:\n"; }, 1'000),
    numbered([](std::size_t i) { return "k" + number_of(i) + ": 1\n"; }, 80'000),
    "brokers: {" + numbered([](std::size_t i) { return "b" + number_of(i) + ": {x: 1},"; }, 50'000) + "}",
    "brokers: {" + numbered([](std::size_t i) { return "b" + number_of(i) + ": {x: 1},"; }, 1'000) + "}",
    repeated("[", most - 64),
    repeated("x\n", most - 64),
    repeated("a", most + 1),
  };
  for (const std::string& text : texts)
    EXPECT_FALSE(problems_of(text).empty()) << text.substr(0, 40);
}

TEST(malformed, nesting_has_a_limit_with_a_place) {
  std::string text = "log: ";
  for (int i = 0; i < 40; ++i)
    text += "[";
  text += "x";
  for (int i = 0; i < 40; ++i)
    text += "]";
  const auto problems = problems_of(text);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].column, 37u);
  EXPECT_NE(problems[0].text.find("deeper than 32 levels"), std::string::npos);
}

TEST(malformed, a_large_configuration_is_still_a_configuration) {
  const std::size_t many = 1'000;
  std::string text = "brokers: {b: {embedded: true}}\ndatabases: {d: {url: 'sqlite:x'}}\ningest:\n";
  text += numbered(
    [](std::size_t i) {
      return "  p" + number_of(i) + ": {broker: b, database: d, table: t" + number_of(i) +
             ", topics: ['a/{x}'], key: [k], columns: {k: {from: topic.x, type: text}}}\n";
    },
    many);
  EXPECT_EQ(loaded(text).ingest.size(), many);
}

/// Every prefix, and every place with a character that means something to YAML, of a good configuration.
TEST(malformed, cutting_and_changing_a_good_configuration_never_throws) {
  const std::string good = pipeline_with();
  for (std::size_t length = 0; length <= good.size(); ++length)
    static_cast<void>(problems_of(good.substr(0, length)));
  std::size_t refused = 0;
  for (std::size_t at = 0; at < good.size(); at += 3) {
    for (const char c : std::string{"{}[]\"':,&*!|>%#?-\n\t\0$\xff", 21}) {
      std::string changed = good;
      changed[at] = c;
      refused += problems_of(changed).empty() ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 100u);
}

} // namespace

} // namespace penstock::config
