// Shards that come to a poller and go from it: their publishers attach and detach.
#include "tests/support/publish_fixture.hpp"

#include <gmock/gmock.h>

namespace penstock::actors {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
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
    caf::anon_send_exit(poller, caf::exit_reason::kill);
    for (const auto& each : publishers)
      caf::anon_send_exit(each, caf::exit_reason::kill);
    publishers.clear();
    settle();
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

} // namespace penstock::actors
