// Shards that come to a poller and go from it: their publishers attach and detach.
#include "tests/support/publish_fixture.hpp"

#include <gmock/gmock.h>

namespace penstock::actors {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class shards_test : public testing::publish_fixture {
public:
  shards_test() { pipeline.shards = 2; }

  /// Rows of shard 0, and of shard 1.
  void rows_of_both(std::int64_t first, std::int64_t last) {
    for (auto id = first; id <= last; ++id)
      table->rows[id] = id % 2 == 0 ? "b" : "a";
  }
  void begin_with(std::initializer_list<std::uint32_t> shards) {
    spawn_poller();
    for (const auto shard : shards)
      come(shard);
  }
  void come(std::uint32_t shard) {
    spawn_publisher(shard);
    if (!script_of(shard)->open)
      return;
    script_of(shard)->connect(true);
    settle();
  }
  void answer(std::uint32_t shard, std::uint64_t seq) {
    script_of(shard)->received(seq);
    settle();
    script_of(shard)->done(seq);
    settle();
  }
  void go(std::size_t publisher) {
    caf::anon_send_exit(publishers.at(publisher), caf::exit_reason::user_shutdown);
    settle();
  }
  void crash() {
    caf::anon_send_exit(poller, caf::exit_reason::kill);
    for (const auto& each : publishers)
      caf::anon_send_exit(each, caf::exit_reason::kill);
    publishers.clear();
    settle();
  }
  void begin_with_shards(std::uint32_t shards, std::initializer_list<std::uint32_t> here) {
    pipeline.shards = shards;
    spawn_poller();
    for (const auto shard : here)
      spawn_publisher(shard);
    pass(500ms);
  }
  void connect(std::uint32_t shard) {
    script_of(shard)->connect(true);
    settle();
  }
};

TEST_F(shards_test, a_shard_that_goes_ends_what_is_in_flight_and_leaves_the_rest) {
  begin_with({0, 1});
  rows_of_both(1, 3);
  pass(200ms);
  EXPECT_THAT(published_ids(1), ElementsAre("1", "3"));
  answer(1, 1);
  go(1);
  EXPECT_FALSE(script_of(1)->stopped);
  rows_of_both(4, 7);
  pass(200ms);
  EXPECT_THAT(published_ids(0), ElementsAre("2", "4", "6"));
  EXPECT_THAT(published_ids(1), ElementsAre("1", "3"));
  answer(1, 2);
  pass(100ms);
  EXPECT_TRUE(script_of(1)->stopped);
  EXPECT_EQ(records->count("sent"), 2u);
  pass(3s);
  EXPECT_EQ(records->shards.at(1).cursors.at(0).floor, storage::position_of(3));
  EXPECT_EQ(records->shards.at(0).cursors.at(0).floor, storage::position_of(7));
  EXPECT_TRUE(status().account.balanced());
}

TEST_F(shards_test, a_shard_whose_broker_does_not_answer_is_let_go_in_time) {
  begin_with({0, 1});
  rows_of_both(1, 1);
  pass(200ms);
  go(1);
  pass(3s);
  EXPECT_FALSE(script_of(1)->stopped);
  pass(3s);
  EXPECT_TRUE(script_of(1)->stopped);
  EXPECT_EQ(records->count("claimed"), 1u);
  // The next owner goes on with it.
  come(1);
  pass(200ms);
  ASSERT_THAT(script_of(1)->resumed, SizeIs(1));
  EXPECT_EQ(script_of(1)->resumed[0].message.payload, "payload 1");
  EXPECT_EQ(records->shards.at(1).epoch, 2u);
  EXPECT_EQ(records->shards.at(0).epoch, 1u);
}

TEST_F(shards_test, a_shard_that_comes_gets_its_rows_and_nothing_is_sent_twice) {
  for (const std::uint8_t qos : {1, 2}) {
    pipeline.qos = qos;
    records->records.clear();
    records->shards.clear();
    other_scripts.clear();
    script->published.clear();
    table->rows.clear();
    begin_with({0});
    rows_of_both(1, 8);
    pass(200ms);
    answer(0, 1);
    EXPECT_THAT(published_ids(0), ElementsAre("2", "4", "6", "8"));
    come(1);
    pass(200ms);
    EXPECT_EQ(script_of(1)->open, qos == 2); // with QoS 1 the rows in flight are nowhere but here
    for (const std::uint64_t seq : {2u, 3u, 4u})
      answer(0, seq);
    pass(100ms);
    if (qos == 1) {
      script_of(1)->connect(true);
      pass(100ms);
    }
    EXPECT_THAT(published_ids(1), ElementsAre("1", "3", "5", "7"));
    rows_of_both(9, 10);
    pass(200ms);
    EXPECT_THAT(published_ids(0), ElementsAre("2", "4", "6", "8", "10"));
    EXPECT_THAT(published_ids(1), ElementsAre("1", "3", "5", "7", "9"));
    EXPECT_TRUE(status().account.balanced());
    crash();
  }
}

TEST_F(shards_test, a_shard_is_adopted_once_its_lease_holds_and_again_only_when_it_was_confirmed) {
  bool held = false;
  monotonic confirmed{};
  holds = [&](std::uint32_t, monotonic since) { return held && confirmed >= since; };
  begin_with({0});
  rows_of_both(2, 2);
  pass(1s);
  EXPECT_TRUE(records->shards.empty());
  held = true;
  confirmed = system.clock().now();
  pass(1s);
  ASSERT_TRUE(script->open);
  script->connect(true);
  pass(200ms);
  EXPECT_THAT(published_ids(0), ElementsAre("2"));
  records->shards.at(0).epoch = 7; // another owns it now
  rows_of_both(4, 4);
  pass(2s);
  EXPECT_FALSE(script->open);
  pass(5s);
  EXPECT_EQ(records->shards.at(0).epoch, 7u);
  confirmed = system.clock().now();
  pass(6s);
  EXPECT_EQ(records->shards.at(0).epoch, 8u);
  EXPECT_TRUE(script->open);
}

TEST_F(shards_test, what_was_in_flight_in_a_shard_that_another_has_taken_is_not_its_own_any_more) {
  bool lost = false;
  holds = [&](std::uint32_t shard, monotonic) { return shard == 0 || !lost; };
  begin_with({0, 1});
  rows_of_both(1, 4);
  pass(200ms);
  EXPECT_EQ(status().account.in_flight, 4u);
  records->shards.at(1).epoch = 7; // another owns it now
  lost = true;
  pass(10s);
  script->connect(true);
  go(1);
  pass(1s);
  EXPECT_TRUE(status().account.balanced());
  EXPECT_EQ(status().account.in_flight, 2u);
}

TEST_F(shards_test, without_its_lease_nothing_more_is_claimed) {
  bool held = true;
  holds = [&](std::uint32_t, monotonic) { return held; };
  begin_with({0});
  rows_of_both(2, 2);
  pass(200ms);
  held = false;
  rows_of_both(4, 4);
  pass(2s);
  EXPECT_THAT(published_ids(0), ElementsAre("2"));
  answer(0, 1);
  EXPECT_EQ(records->count("sent"), 1u);
  held = true;
  pass(2s);
  EXPECT_THAT(published_ids(0), ElementsAre("2", "4"));
}

// --- rows that were dealt to shards in another way before
// ------------------------------------------------------------

TEST_F(shards_test, with_fewer_shards_what_was_claimed_comes_to_its_end_first) {
  begin_with({0, 1});
  rows_of_both(1, 4);
  pass(200ms);
  script_of(1)->received(1); // its release is committed, and nothing is heard of it any more
  settle();
  crash();
  rows_of_both(5, 6);
  begin_with_shards(1, {0});
  ASSERT_TRUE(script_of(0)->dialled);
  ASSERT_TRUE(script_of(1)->dialled);
  connect(0);
  EXPECT_THAT(script_of(0)->resumed, SizeIs(2));
  answer(0, 1);
  answer(0, 2);
  pass(1s);
  EXPECT_THAT(published_ids(0), ElementsAre("2", "4"));
  connect(1);
  ASSERT_THAT(script_of(1)->resumed, SizeIs(2));
  EXPECT_EQ(script_of(1)->resumed[0].state, mqtt::resumed_state::released);
  script_of(1)->done(1);
  answer(1, 2);
  EXPECT_FALSE(script_of(1)->forgotten);
  pass(500ms);
  EXPECT_TRUE(script_of(1)->forgotten);
  EXPECT_FALSE(script_of(1)->open);
  connect(0);
  pass(200ms);
  EXPECT_THAT(published_ids(0), ElementsAre("2", "4", "5", "6"));
  EXPECT_EQ(records->count("sent"), 4u);
  EXPECT_TRUE(status().account.balanced());
}

TEST_F(shards_test, with_more_shards_no_row_overtakes_one_that_was_claimed_before) {
  pipeline.shards = 1;
  begin_with({0});
  rows_of_both(1, 1);
  pass(200ms);
  crash();
  rows_of_both(2, 3);
  begin_with_shards(2, {0, 1});
  connect(0);
  EXPECT_FALSE(script_of(1)->open); // it would begin with row 3 of the monitor whose row 1 is not sent
  answer(0, 1);
  pass(500ms);
  connect(0);
  connect(1);
  pass(200ms);
  EXPECT_THAT(published_ids(0), ElementsAre("1", "2"));
  EXPECT_THAT(published_ids(1), ElementsAre("3"));
}

TEST_F(shards_test, what_a_former_shard_claimed_is_finished_where_shard_0_is) {
  pipeline.shards = 3;
  table->rows = {{1, "a"}, {2, "b"}, {3, "c"}}; // shards 1, 2, 0
  begin_with({0, 1, 2});
  pass(200ms);
  crash();
  bool first = false;
  holds = [&](std::uint32_t shard, monotonic) { return shard == 1 || first; };
  begin_with_shards(2, {0, 1});
  EXPECT_FALSE(script_of(2)->open);
  EXPECT_TRUE(script_of(1)->open); // its own
  EXPECT_EQ(status().state, telemetry::writer_state::waiting);
  EXPECT_THAT(status().reason, HasSubstr("claims of shard 0, 2"));
  first = true;
  pass(500ms);
  EXPECT_TRUE(script_of(0)->open);
  EXPECT_TRUE(script_of(2)->open);
  first = false; // it goes elsewhere, and what is open with it
  pass(500ms);
  EXPECT_FALSE(script_of(2)->open);
  EXPECT_FALSE(script_of(2)->forgotten);
}

TEST_F(shards_test, claims_that_another_node_makes_meanwhile_are_not_waited_for) {
  begin_with({0, 1});
  rows_of_both(1, 2);
  pass(200ms);
  crash();
  holds = [](std::uint32_t shard, monotonic) { return shard == 0; };
  runs_elsewhere = [](std::uint32_t shard) { return shard == 1; };
  begin_with_shards(1, {0});
  connect(0);
  answer(0, 1);
  pass(1s);
  EXPECT_FALSE(script_of(1)->open);
  EXPECT_EQ(status().state, telemetry::writer_state::waiting);
  auto& claim = records->records.at("1/").claim; // done with, and it claims the next row
  claim.seq = records->shards.at(1).claimed_seq = 2;
  pass(500ms);
  connect(0);
  rows_of_both(3, 3);
  pass(200ms);
  EXPECT_THAT(published_ids(0), ElementsAre("2", "3"));
  EXPECT_EQ(status().state, telemetry::writer_state::running);
}

TEST_F(shards_test, claims_that_a_node_with_another_file_leaves_at_its_death_are_finished) {
  begin_with({0, 1});
  rows_of_both(1, 1);
  pass(200ms);
  crash();
  bool alive = true;
  holds = [](std::uint32_t shard, monotonic) { return shard == 0; };
  runs_elsewhere = [&](std::uint32_t shard) { return alive && shard == 1; };
  auto& claim = records->records.at("1/").claim;
  claim.seq = records->shards.at(1).claimed_seq = 2; // it claims on
  begin_with_shards(1, {0});
  claim.seq = records->shards.at(1).claimed_seq = 3;
  pass(500ms);
  connect(0);
  rows_of_both(2, 2);
  pass(200ms);
  EXPECT_THAT(published_ids(0), ElementsAre("2"));
  EXPECT_FALSE(script_of(1)->open);
  alive = false;
  pass(3s);
  EXPECT_TRUE(script_of(1)->dialled);
  connect(1);
  ASSERT_THAT(script_of(1)->resumed, SizeIs(1));
  answer(1, 3);
  pass(1s);
  EXPECT_TRUE(script_of(1)->forgotten);
  rows_of_both(3, 3);
  pass(200ms);
  EXPECT_THAT(published_ids(0), ElementsAre("2", "3"));
}

TEST_F(shards_test, a_process_that_ends_while_it_finishes_former_claims_leaves_their_session) {
  begin_with({0, 1});
  rows_of_both(1, 1);
  pass(200ms);
  crash();
  begin_with_shards(1, {0});
  connect(1);
  caf::anon_send_exit(poller, caf::exit_reason::user_shutdown);
  pass(10s);
  EXPECT_FALSE(script_of(1)->open);
  EXPECT_FALSE(script_of(1)->forgotten);
  publishers.clear();
  begin_with_shards(1, {0});
  connect(1);
  answer(1, 1);
  pass(500ms);
  EXPECT_TRUE(script_of(1)->forgotten);
}

} // namespace penstock::actors
