#include "nodes/ledger.hpp"
#include "publish_fixture.hpp"

namespace penstock::nodes::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class row_ledger_test : public publish_test {
protected:
  std::string problem_of(const std::string& lines) {
    std::ofstream{file("rows.csv"), std::ios::binary}
      << R"({"penstock_ledger":2,"pipeline":"p","key":["a"],"options":{}})" << '\n'
      << lines;
    const auto header = read_row_ledger(file("rows.csv"), [](std::size_t, const row_line&) { return true; });
    return header ? "none" : header.error().message;
  }
};

TEST_F(row_ledger_test, what_is_written_is_read) {
  row_ledger written{{"TableA", {"a", "b"}, {{"seed", "7"}}}};
  written.add({.committed_us = 5, .order = 3, .monitor = "m00001", .key = {"1", "with , and \""}});
  written.add(
    {.updated = true, .late = true, .committed_us = 6, .order = -4, .version = 9, .monitor = "", .key = {"2", ""}});
  ASSERT_TRUE(written.write(file("rows.csv"), true));
  const auto rows = ledger_rows();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_FALSE(rows[0].updated);
  EXPECT_FALSE(rows[0].late);
  EXPECT_EQ(rows[0].committed_us, 5);
  EXPECT_EQ(rows[0].order, 3);
  EXPECT_EQ(rows[0].version, 0);
  EXPECT_EQ(rows[0].monitor, "m00001");
  EXPECT_THAT(rows[0].key, ElementsAre("1", "with , and \""));
  EXPECT_TRUE(rows[1].updated);
  EXPECT_TRUE(rows[1].late);
  EXPECT_EQ(rows[1].order, -4);
  EXPECT_EQ(rows[1].version, 9);
  EXPECT_THAT(rows[1].key, ElementsAre("2", ""));
}

TEST_F(row_ledger_test, it_says_whether_the_load_has_ended) {
  const row_ledger written{{"TableA", {"a"}, {}}};
  const auto finished = [&] {
    return read_row_ledger(file("rows.csv"), [](std::size_t, const row_line&) { return true; })->finished;
  };
  ASSERT_TRUE(written.write(file("rows.csv"), false));
  EXPECT_FALSE(finished());
  ASSERT_TRUE(written.write(file("rows.csv"), true));
  EXPECT_TRUE(finished());
}

TEST_F(row_ledger_test, what_is_wrong_is_named_with_its_line) {
  const std::string good = "inserted,on_time,5,1,,m,x\n";
  EXPECT_EQ(problem_of(good), "none");
  EXPECT_THAT(problem_of(good + "inserted,on_time,5,1,,m\n"), HasSubstr("rows.csv:3: it has 6 fields instead of 7"));
  EXPECT_THAT(problem_of("deleted,on_time,5,1,,m,x\n"), HasSubstr("the first field"));
  EXPECT_THAT(problem_of("inserted,soon,5,1,,m,x\n"), HasSubstr("the second field"));
  EXPECT_THAT(problem_of("inserted,late,5,1,v,m,x\n"), HasSubstr("must be numbers"));
}

TEST_F(row_ledger_test, the_ledger_of_the_other_kind_is_refused_with_what_it_is_for) {
  ASSERT_TRUE((ledger{{"p", {"a"}, {}}}.write(file("rows.csv"))));
  const auto rows = read_row_ledger(file("rows.csv"), [](std::size_t, const row_line&) { return true; });
  ASSERT_FALSE(rows);
  EXPECT_THAT(rows.error().message, HasSubstr("verify --pipeline"));
  ASSERT_TRUE((row_ledger{{"p", {"a"}, {}}}.write(file("rows.csv"), true)));
  const auto messages = read_ledger(file("rows.csv"), [](std::size_t, const ledger_line&) { return true; });
  ASSERT_FALSE(messages);
  EXPECT_THAT(messages.error().message, HasSubstr("verify --topic"));
}

} // namespace
} // namespace penstock::nodes::test
