#include "core/claim_ledger.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace penstock {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

claim_ledger ready(std::uint16_t ids = 3) {
  claim_ledger ledger{ids};
  ledger.begin(0, 0, 0);
  ledger.resume_from({});
  ledger.window(ids);
  return ledger;
}

/// Writes what is pending; returns the packet ids to be released.
std::vector<std::uint16_t> commit(claim_ledger& ledger) { return ledger.committed(ledger.pending()); }

TEST(claim_ledger, has_no_room_without_a_session) {
  claim_ledger ledger{10};
  ledger.begin(0, 0, 0);
  EXPECT_EQ(ledger.room(), 0u);
  ledger.window(4);
  EXPECT_EQ(ledger.room(), 4u);
}

TEST(claim_ledger, numbers_claims_behind_those_of_the_former_owner) {
  claim_ledger ledger{10};
  ledger.begin(41, 41, 41);
  ledger.resume_from({});
  ledger.window(10);
  EXPECT_EQ(ledger.next().seq, 42u);
  EXPECT_EQ(ledger.next().seq, 43u);
}

TEST(claim_ledger, releases_only_what_was_received_and_committed) {
  auto ledger = ready();
  const auto first = ledger.next();
  const auto second = ledger.next();
  EXPECT_THAT(commit(ledger), IsEmpty());
  EXPECT_FALSE(ledger.received(first.seq));
  EXPECT_THAT(commit(ledger), ElementsAre(first.packet_id));
  EXPECT_FALSE(ledger.received(second.seq));
  EXPECT_THAT(commit(ledger), ElementsAre(second.packet_id));
}

TEST(claim_ledger, the_watermark_waits_for_the_oldest_claim) {
  auto ledger = ready();
  const auto first = ledger.next();
  const auto second = ledger.next();
  commit(ledger);
  ledger.received(second.seq);
  EXPECT_EQ(ledger.pending().released_seq, 0u);
  EXPECT_THAT(commit(ledger), IsEmpty());
  ledger.received(first.seq);
  EXPECT_EQ(ledger.pending().released_seq, second.seq);
  EXPECT_THAT(commit(ledger), ElementsAre(first.packet_id, second.packet_id));
}

TEST(claim_ledger, a_packet_id_is_free_only_when_the_end_is_committed) {
  auto ledger = ready(1);
  const auto claim = ledger.next();
  commit(ledger);
  ledger.received(claim.seq);
  commit(ledger);
  ledger.done(claim.seq);
  EXPECT_EQ(ledger.room(), 0u);
  const auto pending = ledger.pending();
  EXPECT_THAT(pending.done_seqs, ElementsAre(Pair(claim.seq, claim.seq)));
  EXPECT_EQ(pending.settled_seq, claim.seq);
  EXPECT_EQ(ledger.room(), 0u);
  ledger.committed(pending);
  EXPECT_EQ(ledger.room(), 1u);
  EXPECT_EQ(ledger.open(), 0u);
}

TEST(claim_ledger, the_packet_id_that_was_free_for_longest_is_next) {
  auto ledger = ready(3);
  ledger.window(1);
  std::vector<std::uint16_t> ids;
  for (int round = 0; round < 4; ++round) {
    const auto claim = ledger.next();
    ids.push_back(claim.packet_id);
    commit(ledger);
    ledger.done(claim.seq);
    commit(ledger);
  }
  EXPECT_THAT(ids, ElementsAre(1, 2, 3, 1));
}

TEST(claim_ledger, reports_ends_as_ranges) {
  auto ledger = ready(5);
  for (int count = 0; count < 5; ++count)
    ledger.next();
  commit(ledger);
  for (const std::uint64_t seq : {5, 1, 2})
    ledger.done(seq);
  const auto pending = ledger.pending();
  EXPECT_THAT(pending.done_seqs, ElementsAre(Pair(1, 2), Pair(5, 5)));
  EXPECT_EQ(pending.settled_seq, 2u);
  ledger.committed(pending);
  EXPECT_EQ(ledger.open(), 2u);
}

TEST(claim_ledger, forgets_claims_whose_transaction_did_not_take_place) {
  auto ledger = ready();
  const auto kept = ledger.next();
  commit(ledger);
  const auto lost = ledger.next();
  ledger.done(lost.seq);
  ledger.forget_from(lost.seq);
  EXPECT_EQ(ledger.open(), 1u);
  EXPECT_TRUE(ledger.pending().empty);
  const auto again = ledger.next();
  EXPECT_EQ(again.seq, lost.seq);
  EXPECT_EQ(again.packet_id, lost.packet_id);
  EXPECT_NE(again.packet_id, kept.packet_id);
}

TEST(claim_ledger, resumes_by_the_watermark) {
  claim_ledger ledger{10};
  ledger.begin(9, 5, 3);
  const std::vector<claim_ledger::claim> open{{4, 7}, {6, 2}};
  ledger.resume_from(open);
  ledger.window(10);
  EXPECT_EQ(ledger.open(), 2u);
  EXPECT_TRUE(ledger.received(4)); // released: PUBREL again, at once
  EXPECT_FALSE(ledger.received(6));
  EXPECT_THAT(commit(ledger), ElementsAre(2));
  const auto next = ledger.next();
  EXPECT_EQ(next.seq, 10u);
  EXPECT_NE(next.packet_id, 7);
  EXPECT_NE(next.packet_id, 2);
}

TEST(claim_ledger, numbers_rise_though_the_newest_claims_of_the_former_owner_had_ended) {
  claim_ledger ledger{10};
  ledger.begin(9, 5, 3);
  const std::vector<claim_ledger::claim> open{{4, 7}};
  ledger.resume_from(open);
  ledger.window(10);
  EXPECT_EQ(ledger.claimed_seq(), 9u);
  ledger.done(4);
  ledger.committed(ledger.pending());
  EXPECT_EQ(ledger.claimed_seq(), 9u);
  EXPECT_EQ(ledger.pending().settled_seq, 9u);
  EXPECT_EQ(ledger.next().seq, 10u);
}

TEST(claim_ledger, nothing_counts_as_settled_before_the_open_claims_are_known) {
  claim_ledger ledger{10};
  ledger.begin(9, 5, 3);
  EXPECT_EQ(ledger.pending().settled_seq, 3u);
  ledger.committed(ledger.pending());
  EXPECT_EQ(ledger.pending().settled_seq, 3u);
  const std::vector<claim_ledger::claim> open{{6, 2}};
  ledger.resume_from(open);
  EXPECT_EQ(ledger.pending().settled_seq, 5u);
}

TEST(claim_ledger, claims_again_under_the_same_packet_id_behind_the_watermark) {
  auto ledger = ready();
  const auto claim = ledger.next();
  commit(ledger);
  ledger.received(claim.seq);
  commit(ledger); // released
  const auto again = ledger.reclaim(claim.seq);
  EXPECT_EQ(again.packet_id, claim.packet_id);
  EXPECT_GT(again.seq, ledger.released_seq());
  EXPECT_THAT(commit(ledger), IsEmpty());
  EXPECT_EQ(ledger.open(), 1u);
  EXPECT_FALSE(ledger.received(again.seq));
  EXPECT_THAT(commit(ledger), ElementsAre(claim.packet_id));
  ledger.done(again.seq);
  commit(ledger);
  EXPECT_EQ(ledger.open(), 0u);
  EXPECT_EQ(ledger.room(), 3u);
}

TEST(claim_ledger, answers_for_claims_that_are_gone_are_of_no_interest) {
  auto ledger = ready();
  const auto claim = ledger.next();
  commit(ledger);
  ledger.done(claim.seq);
  commit(ledger);
  EXPECT_FALSE(ledger.received(claim.seq));
  ledger.done(claim.seq);
  ledger.done(99);
  EXPECT_TRUE(ledger.pending().empty);
  EXPECT_EQ(ledger.packet_id(claim.seq), 0);
}

TEST(claim_ledger, a_claim_that_ends_while_a_transaction_is_under_way_is_of_the_next) {
  auto ledger = ready();
  ledger.done(ledger.next().seq);
  const auto written = ledger.pending();
  const auto second = ledger.next();
  ledger.done(second.seq);
  ledger.committed(written);
  EXPECT_EQ(ledger.open(), 1u);
  EXPECT_THAT(ledger.pending().done_seqs, ElementsAre(Pair(second.seq, second.seq)));
  commit(ledger);
  EXPECT_EQ(ledger.open(), 0u);
}

} // namespace
} // namespace penstock
