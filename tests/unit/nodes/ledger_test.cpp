#include "fixture.hpp"

namespace penstock::nodes::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ledger_test : public nodes_test {
protected:
  void write_text(const std::string& text) { std::ofstream{file("ledger.csv"), std::ios::binary} << text; }

  std::vector<ledger_line> read() {
    std::vector<ledger_line> lines;
    const auto header = read_ledger(file("ledger.csv"), [&](std::size_t, const ledger_line& line) {
      lines.push_back(line);
      return true;
    });
    EXPECT_TRUE(header) << header.error().message;
    return lines;
  }

  std::string problem_of(const std::string& text) {
    write_text(text);
    const auto header = read_ledger(file("ledger.csv"), [](std::size_t, const ledger_line&) { return true; });
    if (header)
      return "none";
    EXPECT_EQ(header.error().code, errc::configuration);
    return header.error().message;
  }

  static constexpr const char* header = R"({"penstock_ledger":1,"pipeline":"p","key":["a","b"],"options":{}})"
                                        "\n";
};

TEST_F(ledger_test, what_is_written_is_read) {
  ledger written{{"telemetry", {"a", "b"}, {{"seed", "7"}}}};
  written.add(false, at_second(1), {"1", "plain"});
  written.add(true, at_second(2), {"abcdef"});
  written.add(false, at_second(3), {"with , and \"quotes\"", "line\nbreak"});
  written.add(false, at_second(4), {"", ""});
  written.acknowledge(0);
  written.add_copy(0);
  written.visible(2, at_second(9));
  ASSERT_TRUE(written.write(file("ledger.csv")));

  const auto header = read_ledger(file("ledger.csv"), [](std::size_t, const ledger_line&) { return false; });
  ASSERT_TRUE(header);
  EXPECT_EQ(header->pipeline, "telemetry");
  EXPECT_THAT(header->key, ElementsAre("a", "b"));
  EXPECT_EQ(header->options.at("seed"), "7");

  const auto lines = read();
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_TRUE(lines[0].acknowledged);
  EXPECT_EQ(lines[0].copies, 2u);
  EXPECT_EQ(lines[0].published_us, at_second(1).time_since_epoch().count());
  EXPECT_EQ(lines[0].visible_us, 0);
  EXPECT_THAT(lines[0].values, ElementsAre("1", "plain"));
  EXPECT_TRUE(lines[1].malformed);
  EXPECT_FALSE(lines[1].acknowledged);
  EXPECT_THAT(lines[1].values, ElementsAre("abcdef"));
  EXPECT_EQ(lines[2].visible_us, at_second(9).time_since_epoch().count());
  EXPECT_THAT(lines[2].values, ElementsAre("with , and \"quotes\"", "line\nbreak"));
  EXPECT_THAT(lines[3].values, ElementsAre("", ""));
}

TEST_F(ledger_test, an_empty_load_makes_a_ledger_too) {
  ASSERT_TRUE((ledger{{"p", {"a"}, {}}}.write(file("ledger.csv"))));
  EXPECT_TRUE(read().empty());
}

TEST_F(ledger_test, what_is_wrong_is_named_with_its_line) {
  const std::string good = "sent,acknowledged,5,1,,x,y\n";
  EXPECT_THAT(problem_of(""), HasSubstr("empty"));
  EXPECT_THAT(problem_of("time,user\n"), HasSubstr("ledger.csv:1: this is not a ledger"));
  EXPECT_THAT(problem_of("{\"penstock_ledger\":2}\n"), HasSubstr("version 2"));
  EXPECT_THAT(problem_of("{\"penstock_ledger\":1}\n"), HasSubstr("needs pipeline"));
  EXPECT_THAT(problem_of(header + good + "\n" + good), HasSubstr("ledger.csv:3: it has 1 fields"));
  EXPECT_THAT(problem_of(header + good + good + "lost,acknowledged,5,1,,x,y\n"), HasSubstr(":4: the first field"));
  EXPECT_THAT(problem_of(header + std::string{"sent,maybe,5,1,,x,y\n"}), HasSubstr(":2: the second field"));
  EXPECT_THAT(problem_of(header + std::string{"sent,unconfirmed,5a,1,,x,y\n"}), HasSubstr("must be numbers"));
  EXPECT_THAT(problem_of(header + std::string{"sent,unconfirmed,5,1,soon,x,y\n"}),
              HasSubstr("must be a number or empty"));
  EXPECT_THAT(problem_of(header + std::string{"sent,unconfirmed,5,1,,x\n"}), HasSubstr("1 values instead of 2"));
  EXPECT_THAT(problem_of(header + std::string{"malformed,unconfirmed,5,1,,x,y\n"}), HasSubstr("2 values instead of 1"));
  EXPECT_THAT(problem_of(header + good + "sent,unconfirmed,5,1,,\"x,y\n" + good), HasSubstr(":3: a quote"));
  EXPECT_THAT(problem_of(header + good + "sent,unconfirmed,5,1,,x,y"), HasSubstr(":3: the line is cut off"));
  EXPECT_EQ(problem_of(header + good), "none");
}

TEST_F(ledger_test, a_lost_quote_in_a_long_file_ends_the_reading_soon) {
  std::string text = header + std::string{"sent,unconfirmed,5,1,,\"x,y\n"};
  for (int i = 0; i < 100'000; ++i)
    text += "sent,acknowledged,5,1,,x,y\n";
  EXPECT_THAT(problem_of(text), HasSubstr(":2: a quote"));
}

TEST_F(ledger_test, a_folder_that_is_not_there_is_an_error_and_leaves_nothing) {
  const auto written = ledger{{"p", {"a"}, {}}}.write(file("nowhere/ledger.csv"));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, errc::configuration);
}

} // namespace
} // namespace penstock::nodes::test
