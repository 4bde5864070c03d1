#include "nodes/received_rows.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::nodes::test {
namespace {

row_line row(std::int64_t id, const std::string& monitor = "m00001") {
  return {.committed_us = 1'000 * id, .order = id, .monitor = monitor, .key = {std::to_string(id)}};
}

class received_rows_test : public testing::Test {
protected:
  void expect(const std::vector<row_line>& lines) {
    received_.begin();
    for (std::size_t i = 0; i < lines.size(); ++i)
      received_.expect(i + 2, lines[i]);
    received_.seal();
  }
  void come(std::int64_t id, std::int64_t version = 0, bool again = false) {
    received_.add(row_fingerprint({std::to_string(id)}, version), 1'000 * id + 500, again);
  }
  row_counts counts() const { return received_.counts(); }

  received_rows received_;
};

TEST_F(received_rows_test, all_received_once_and_in_order_is_complete) {
  expect({row(1), row(2), row(3, "m00002")});
  EXPECT_FALSE(received_.complete());
  for (const int id : {1, 2, 3})
    come(id);
  EXPECT_TRUE(received_.complete());
  EXPECT_EQ(counts().rows, 3u);
  EXPECT_EQ(counts().received, 3u);
  EXPECT_EQ(counts().missing, 0u);
  EXPECT_EQ(counts().repeated, 0u);
  EXPECT_EQ(counts().reordered, 0u);
  EXPECT_TRUE(received_.offenders().empty());
  EXPECT_EQ(received_.lags().count(), 3u);
  EXPECT_EQ(received_.lags().max(), 500u);
}

TEST_F(received_rows_test, what_does_not_come_is_missing_and_what_is_not_known_is_foreign) {
  expect({row(1), row(2)});
  come(2);
  come(7);
  received_.add_unreadable();
  EXPECT_EQ(counts().missing, 1u);
  EXPECT_EQ(counts().foreign, 1u);
  EXPECT_EQ(counts().unreadable, 1u);
  EXPECT_EQ(counts().messages, 3u);
  const auto offenders = received_.offenders();
  ASSERT_EQ(offenders.size(), 1u);
  EXPECT_EQ(offenders[0].what, "missing");
  EXPECT_EQ(offenders[0].line, 2u);
}

TEST_F(received_rows_test, a_message_more_is_repeated_unless_the_broker_says_that_it_sends_it_again) {
  expect({row(1)});
  come(1);
  come(1, 0, true);
  EXPECT_EQ(counts().repeated, 0u);
  EXPECT_EQ(counts().redelivered, 1u);
  come(1);
  EXPECT_EQ(counts().repeated, 1u);
  EXPECT_EQ(received_.offenders().front().what, "repeated");
}

TEST_F(received_rows_test, order_counts_within_a_monitor_only) {
  expect({row(1), row(2, "m00002"), row(3), row(4, "m00002")});
  for (const int id : {4, 1, 3})
    come(id);
  EXPECT_EQ(counts().reordered, 0u);
  come(2);
  EXPECT_EQ(counts().reordered, 1u);
  EXPECT_EQ(received_.offenders().front().what, "reordered");
  EXPECT_EQ(received_.offenders().front().line, 3u);
}

TEST_F(received_rows_test, rows_that_were_committed_late_may_come_late_but_the_others_may_not_come_behind_them) {
  auto late = row(1);
  late.late = true;
  auto later = row(3);
  later.late = true;
  expect({late, row(2), later, row(4)});
  for (const int id : {2, 1})
    come(id);
  EXPECT_EQ(counts().late, 1u);
  EXPECT_EQ(counts().reordered, 0u);
  come(4);
  come(3);
  EXPECT_EQ(counts().late, 2u);
  EXPECT_EQ(counts().reordered, 0u);
}

TEST_F(received_rows_test, rows_without_a_monitor_have_no_order) {
  expect({row(1, ""), row(2, "")});
  come(2);
  come(1);
  EXPECT_EQ(counts().reordered, 0u);
}

TEST_F(received_rows_test, each_version_comes_once_and_only_the_last_one_must) {
  auto first = row(1);
  first.version = 10;
  auto second = first;
  second.updated = true;
  second.version = 12;
  auto third = second;
  third.version = 15;
  expect({first, second, third});
  come(1, 12);
  EXPECT_FALSE(received_.complete());
  EXPECT_EQ(counts().missing, 1u);
  come(1, 15);
  EXPECT_TRUE(received_.complete());
  EXPECT_EQ(counts().superseded, 1u);
  EXPECT_EQ(counts().reordered, 0u);
  come(1, 10);
  EXPECT_EQ(counts().reordered, 1u);
  EXPECT_EQ(counts().superseded, 0u);
}

TEST_F(received_rows_test, an_updated_row_keeps_its_order_and_comes_when_it_is_updated) {
  auto first = row(1);
  first.version = 1;
  auto second = row(2);
  second.version = 2;
  auto update = first;
  update.updated = true;
  update.version = 3;
  expect({first, second, update});
  come(1, 1);
  come(2, 2);
  come(1, 3);
  EXPECT_TRUE(received_.complete());
  EXPECT_EQ(counts().reordered, 0u);
}

TEST_F(received_rows_test, what_came_before_the_ledger_was_finished_is_held_against_the_new_one) {
  expect({});
  come(1);
  come(2);
  EXPECT_EQ(counts().foreign, 2u);
  expect({row(1), row(2)});
  EXPECT_TRUE(received_.complete());
  EXPECT_EQ(counts().foreign, 0u);
}

TEST_F(received_rows_test, a_time_in_the_key_counts_in_every_form) {
  EXPECT_EQ(row_fingerprint({"2026-11-25T10:00:00.5Z"}, 0), row_fingerprint({"1795600800500000"}, 0));
  EXPECT_EQ(row_fingerprint({"2026-11-25T10:00:00.5"}, 0), row_fingerprint({"1795600800500000"}, 0));
  EXPECT_NE(row_fingerprint({"1", "23"}, 0), row_fingerprint({"12", "3"}, 0));
  EXPECT_NE(row_fingerprint({"1"}, 2), row_fingerprint({"1"}, 0));
}

TEST_F(received_rows_test, only_ten_of_a_kind_are_named) {
  std::vector<row_line> rows;
  for (int id = 1; id <= 50; ++id)
    rows.push_back(row(id));
  expect(rows);
  for (int id = 1; id <= 20; ++id) {
    come(id);
    come(id);
  }
  EXPECT_EQ(counts().repeated, 20u);
  EXPECT_EQ(counts().missing, 30u);
  EXPECT_EQ(received_.offenders().size(), 20u);
}

} // namespace
} // namespace penstock::nodes::test
