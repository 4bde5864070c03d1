#include "nodes/row_dealer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace penstock::nodes::test {
namespace {

wall_time at(std::int64_t microseconds) { return wall_time{std::chrono::microseconds{microseconds}}; }

std::vector<row_transaction> all_of(row_dealer& dealer, std::size_t writers) {
  std::vector<row_transaction> dealt;
  for (std::size_t writer = 0; const auto next = dealer.reserve(); writer = (writer + 1) % writers) {
    dealt.push_back(dealer.deal(writer, next->rows, at(1'000)));
    if (!dealt.back().rolled_back)
      dealer.committed(writer, dealt.back());
  }
  return dealt;
}

TEST(row_dealer, deals_exactly_the_count_with_rising_ids_and_times) {
  row_dealer dealer{{.count = 5'000, .rate = {}, .monitors = 7, .writers = 3, .last_id = 41}, {}};
  std::int64_t id = 41;
  std::int64_t time = 0;
  std::size_t rows = 0;
  for (const auto& transaction : all_of(dealer, 3))
    for (const auto& row : transaction.rows) {
      EXPECT_EQ(row.id, ++id);
      EXPECT_GT(row.time_us, time);
      EXPECT_LT(row.monitor, 7u);
      time = row.time_us;
      ++rows;
    }
  EXPECT_EQ(rows, 5'000u);
}

TEST(row_dealer, a_monitor_belongs_to_one_writer) {
  row_dealer dealer{{.count = 5'000, .rate = {}, .monitors = 10, .writers = 3}, {}};
  std::vector<std::set<std::uint64_t>> monitors(3);
  std::size_t writer = 0;
  for (const auto& transaction : all_of(dealer, 3)) {
    for (const auto& row : transaction.rows)
      monitors[writer].insert(row.monitor);
    writer = (writer + 1) % 3;
  }
  EXPECT_THAT(monitors[0], testing::ElementsAre(0, 3, 6, 9));
  EXPECT_THAT(monitors[1], testing::ElementsAre(1, 4, 7));
  EXPECT_THAT(monitors[2], testing::ElementsAre(2, 5, 8));
}

TEST(row_dealer, shares_are_of_the_transactions_and_what_is_rolled_back_does_not_count) {
  row_dealer dealer{{.count = 50'000, .rate = {}, .late_percent = 10, .updates_percent = 20, .rollbacks_percent = 10},
                    {}};
  std::size_t late = 0;
  std::size_t updates = 0;
  std::size_t rolled_back = 0;
  std::size_t rows = 0;
  const auto dealt = all_of(dealer, 1);
  for (const auto& transaction : dealt) {
    late += transaction.late;
    updates += transaction.updates;
    rolled_back += transaction.rolled_back;
    rows += transaction.rolled_back ? 0 : transaction.rows.size();
    EXPECT_FALSE(transaction.rows.empty());
  }
  EXPECT_EQ(rows, 50'000u);
  const auto all = static_cast<double>(dealt.size());
  EXPECT_NEAR(static_cast<double>(late) / all, 0.1 * 0.9 * 0.8, 0.03);
  EXPECT_NEAR(static_cast<double>(updates) / all, 0.2, 0.04);
  EXPECT_NEAR(static_cast<double>(rolled_back) / all, 0.1, 0.03);
}

TEST(row_dealer, an_update_is_of_rows_that_are_there_with_a_higher_version) {
  row_dealer dealer{{.count = 10'000, .rate = {}, .updates_percent = 50}, {}};
  std::map<std::int64_t, std::int64_t> versions;
  std::int64_t highest = 0;
  for (const auto& transaction : all_of(dealer, 1))
    for (const auto& row : transaction.rows) {
      EXPECT_EQ(versions.contains(row.id), transaction.updates);
      EXPECT_GT(row.version, highest);
      versions[row.id] = highest = row.version;
    }
}

TEST(row_dealer, a_rate_says_when_and_keeps_transactions_small) {
  row_dealer dealer{{.count = 1'000, .rate = 100.0}, {}};
  monotonic last{};
  while (const auto next = dealer.reserve()) {
    EXPECT_LE(next->rows, 2u);
    EXPECT_GE(next->due, last);
    last = next->due;
  }
  EXPECT_NEAR(std::chrono::duration<double>(last - monotonic{}).count(), 9.99, 0.01);
}

} // namespace
} // namespace penstock::nodes::test
