#include "core/ack_ledger.hpp"
#include "core/backoff.hpp"
#include "core/demand_ledger.hpp"
#include "core/restart_budget.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace penstock {

using namespace std::chrono_literals;

namespace {
const wall_time start{};
const monotonic begin{};
} // namespace

TEST(ack_ledger, releases_nothing_before_the_first_commit) {
  ack_ledger ledger;
  ledger.receive(10, 100, start);
  EXPECT_EQ(ledger.open_chunk(10), 1u);
  EXPECT_EQ(ledger.in_flight(), 10u);
  EXPECT_EQ(ledger.released(), 0u);
}

TEST(ack_ledger, holds_back_a_later_commit_until_the_earlier_one) {
  ack_ledger ledger;
  ledger.receive(10, 100, start);
  ledger.receive(30, 100, start + 1s);
  const auto first = ledger.open_chunk(10);
  const auto second = ledger.open_chunk(30);
  EXPECT_EQ(ledger.commit_part(second, 20), std::nullopt);
  EXPECT_EQ(ledger.in_flight(), 10u);
  EXPECT_EQ(ledger.unreleased(), 30u);
  EXPECT_EQ(ledger.commit_part(first, 10), 30u);
  EXPECT_EQ(ledger.unreleased(), 0u);
  EXPECT_EQ(ledger.in_flight(), 0u);
}

TEST(ack_ledger, waits_for_every_part_of_a_chunk) {
  ack_ledger ledger;
  ledger.receive(5, 100, start);
  const auto chunk = ledger.open_chunk(5, 2);
  EXPECT_EQ(ledger.commit_part(chunk, 2), std::nullopt);
  EXPECT_EQ(ledger.in_flight(), 3u);
  EXPECT_EQ(ledger.commit_part(chunk, 3), 5u);
  EXPECT_EQ(ledger.in_flight(), 0u);
}

TEST(ack_ledger, ignores_a_repeated_commit) {
  ack_ledger ledger;
  ledger.receive(5, 100, start);
  const auto chunk = ledger.open_chunk(3);
  EXPECT_EQ(ledger.commit_part(chunk, 3), 3u);
  EXPECT_EQ(ledger.commit_part(chunk, 3), std::nullopt);
  EXPECT_EQ(ledger.commit_part(chunk + 5, 1), std::nullopt);
  EXPECT_EQ(ledger.in_flight(), 2u);
}

TEST(ack_ledger, knows_when_the_oldest_in_flight_arrived) {
  ack_ledger ledger;
  EXPECT_EQ(ledger.oldest(), std::nullopt);
  ledger.receive(5, 100, start);
  ledger.receive(9, 100, start + 1s);
  const auto half = ledger.open_chunk(4);
  const auto rest = ledger.open_chunk(9);
  ledger.commit_part(half, 4);
  EXPECT_EQ(ledger.bytes(), 200u);
  EXPECT_EQ(ledger.oldest(), start); // message 5 is still open
  ledger.commit_part(rest, 5);
  EXPECT_EQ(ledger.bytes(), 0u);
  EXPECT_EQ(ledger.oldest(), std::nullopt);
}

TEST(ack_ledger, refuses_a_chunk_of_what_never_arrived) {
  ack_ledger ledger;
  ledger.receive(5, 100, start);
  EXPECT_THROW(ledger.open_chunk(6), assertion_failed);
  EXPECT_THROW(ledger.receive(5, 100, start), assertion_failed);
}

TEST(ack_ledger, releases_a_prefix_in_order_whatever_the_order_of_commits) {
  std::mt19937 random{7};
  for (int round = 0; round < 200; ++round) {
    ack_ledger ledger;
    std::vector<std::pair<std::uint64_t, sequence>> chunks;
    std::vector<std::uint64_t> sizes;
    sequence last = 0;
    for (int i = 0; i < 20; ++i) {
      sizes.push_back(1 + random() % 9);
      last += sizes.back();
      ledger.receive(last, 100, start);
      chunks.emplace_back(ledger.open_chunk(last), last);
    }
    auto order = chunks;
    std::shuffle(order.begin(), order.end(), random);
    std::vector<bool> committed(chunks.size() + 1);
    auto uncommitted = last;
    for (const auto& [chunk, unused] : order) {
      ledger.commit_part(chunk, sizes[chunk - 1]);
      uncommitted -= sizes[chunk - 1];
      committed[chunk - 1] = true;
      sequence expected = 0;
      for (std::size_t i = 0; committed[i]; ++i)
        expected = chunks[i].second;
      ASSERT_EQ(ledger.released(), expected);
      ASSERT_EQ(ledger.unreleased(), last - expected);
      ASSERT_EQ(ledger.in_flight(), uncommitted);
    }
  }
}

TEST(demand_ledger, refuses_to_spend_more_than_was_granted) {
  demand_ledger demand;
  demand.grant(3);
  demand.spend(2);
  EXPECT_EQ(demand.available(), 1u);
  EXPECT_THROW(demand.spend(2), assertion_failed);
  demand.reset();
  EXPECT_EQ(demand.available(), 0u);
}

TEST(backoff, doubles_up_to_its_cap_with_jitter_over_the_upper_half) {
  backoff waits{100ms, 1000ms, 42};
  for (const auto step : {100, 200, 400, 800, 1000, 1000}) {
    const auto wait = waits.next().count();
    EXPECT_GE(wait, step / 2);
    EXPECT_LE(wait, step);
  }
  waits.reset();
  EXPECT_LE(waits.next(), 100ms);
}

TEST(backoff, is_deterministic_for_a_seed_and_differs_between_seeds) {
  backoff a{1000ms, 1000ms, 1}, b{1000ms, 1000ms, 1}, c{1000ms, 1000ms, 2};
  EXPECT_EQ(a.next(), b.next());
  EXPECT_NE(a.next(), c.next());
}

TEST(restart_budget, is_overspent_only_within_the_window) {
  restart_budget budget{2, 10s};
  EXPECT_TRUE(budget.spend(begin));
  EXPECT_TRUE(budget.spend(begin + 1s));
  EXPECT_FALSE(budget.spend(begin + 2s));
  EXPECT_TRUE(budget.spend(begin + 10s)); // the first one has left the window
  EXPECT_FALSE(budget.spend(begin + 10s + 500ms));
}

} // namespace penstock
