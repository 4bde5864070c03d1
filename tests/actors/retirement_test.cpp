// What is recorded of sessions, and how those are ended that no shard has any more.
#include "tests/support/pipeline_fixture.hpp"

#include <gmock/gmock.h>

namespace penstock::actors {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using purpose = session_request::purpose;

namespace {

struct retirement_test : testing::pipeline_fixture {
  retirement_test() {
    pipeline.broker = "main";
    fate = [](const session_record& session) {
      return session.shard == 0 ? config::session_fate{}
                                : config::session_fate{config::session_fate::kind::retired, "p"};
    };
  }

  static std::string id_of(std::uint32_t shard) { return "penstock-test-p-1-" + std::to_string(shard); }

  void record(std::uint32_t shard, std::vector<std::string> filters, bool settled = true) {
    auto& known = database->sessions[{id_of(shard), "main"}];
    known = {id_of(shard), "main", "p", shard, "readings", std::move(filters), 1, settled};
  }
  bool recorded(std::uint32_t shard) const { return database->sessions.contains({id_of(shard), "main"}); }
  const session_record& recorded_of(std::uint32_t shard) const { return database->sessions.at({id_of(shard), "main"}); }

  std::uint64_t left() { return board.snapshot().pipelines.at(0).retirement.sessions; }

  /// Its shard 0 is settled, and shards 1 to `last` are to be retired.
  void start_retiring(std::uint32_t last = 1) {
    record(0, {"t/+"});
    for (std::uint32_t shard = 1; shard <= last; ++shard)
      record(shard, {"$share/penstock-test-p/t/+"});
    spawn_writer();
    spawn_retirer(broker);
    settle();
  }

  /// The session is drained and about to be ended when something `happens`.
  template <class Event>
  void drain_and(const Event& happens) {
    start_retiring();
    broker->connect();
    settle();
    broker->hold_pause = true;
    broker->drain();
    settle();
    happens();
    settle();
    broker->hold_pause = false;
    broker->pause_done();
    settle();
  }

  void restart_writer() {
    caf::anon_send_exit(writer, caf::exit_reason::kill);
    settle();
    spawn_writer();
    settle();
  }
};

} // namespace

// --- a shard's session ---

TEST_F(retirement_test, a_session_is_recorded_before_it_is_opened) {
  database->session_failures = {{errc::database_busy, "locked"}};
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  EXPECT_FALSE(broker->open);
  pass(100ms);
  ASSERT_TRUE(broker->open);
  EXPECT_THAT(recorded_of(0).filters, ElementsAre("t/+"));
  EXPECT_FALSE(recorded_of(0).settled);
  broker->connect();
  broker->settle();
  settle();
  EXPECT_TRUE(recorded_of(0).settled);
}

TEST_F(retirement_test, a_session_is_unsubscribed_from_what_former_configurations_left_there) {
  record(0, {"old/#", "t/+"});
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  ASSERT_EQ(broker->requests.size(), 1u);
  EXPECT_THAT(broker->requests[0].record.filters, ElementsAre("t/+"));
  EXPECT_THAT(broker->requests[0].stale, ElementsAre("old/#"));
  EXPECT_EQ(broker->requests[0].what, purpose::receive);
  EXPECT_THAT(recorded_of(0).filters, ElementsAre("t/+", "old/#"));
  broker->connect();
  broker->settle();
  settle();
  EXPECT_THAT(recorded_of(0).filters, ElementsAre("t/+"));
}

TEST_F(retirement_test, what_the_broker_does_not_give_up_stays_recorded) {
  record(0, {"old/#"});
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  broker->connect();
  broker->settle("old/# (not authorised)");
  settle();
  EXPECT_THAT(recorded_of(0).filters, ElementsAre("t/+", "old/#"));
  EXPECT_FALSE(recorded_of(0).settled);
}

TEST_F(retirement_test, what_was_confirmed_while_there_was_no_writer_is_recorded_by_the_next) {
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  caf::anon_send_exit(writer, caf::exit_reason::kill);
  settle();
  broker->connect();
  broker->settle();
  settle();
  EXPECT_FALSE(recorded_of(0).settled);
  spawn_writer();
  settle();
  EXPECT_TRUE(recorded_of(0).settled);
}

TEST_F(retirement_test, an_owner_that_was_only_paused_does_not_settle_what_its_successor_has_enlisted) {
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  auto successors = recorded_of(0);
  successors.filters = {"t/+", "new/+"};
  ++successors.epoch;
  database->sessions[{id_of(0), "main"}] = successors;
  broker->connect();
  broker->settle();
  settle();
  EXPECT_EQ(recorded_of(0), successors);
}

TEST_F(retirement_test, a_writer_of_a_former_version_keeps_no_record_and_holds_nobody_up) {
  link_version = 2;
  record(1, {"t/+"});
  spawn_writer();
  spawn_ingestor(broker);
  auto other = std::make_shared<testing::broker_script>();
  spawn_retirer(other);
  settle();
  EXPECT_TRUE(broker->started);
  EXPECT_FALSE(recorded(0));
  EXPECT_FALSE(other->open);
}

// Nodes of both versions during an upgrade.
TEST_F(retirement_test, a_session_that_was_opened_without_a_record_gets_one_from_the_next_writer) {
  link_version = 2;
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  broker->connect();
  broker->settle();
  settle();
  caf::anon_send_exit(writer, caf::exit_reason::kill);
  settle();
  link_version = messages::link_version;
  spawn_writer();
  settle();
  ASSERT_TRUE(recorded(0));
  EXPECT_TRUE(recorded_of(0).settled);
  EXPECT_EQ(broker->requests.size(), 1u);
}

// --- sessions that no shard has any more ---

TEST_F(retirement_test, a_session_is_drained_ended_and_forgotten) {
  start_retiring();
  ASSERT_EQ(broker->requests.size(), 1u);
  EXPECT_EQ(broker->requests[0].record.client_id, id_of(1));
  EXPECT_THAT(broker->requests[0].record.filters, IsEmpty());
  EXPECT_THAT(broker->requests[0].stale, ElementsAre("$share/penstock-test-p/t/+"));
  EXPECT_EQ(broker->requests[0].what, purpose::drain);
  EXPECT_EQ(left(), 1u);
  broker->connect();
  broker->deliver("t/1", payloads(1, 3));
  settle();
  EXPECT_EQ(database->rows.size(), 3u);
  EXPECT_EQ(broker->released.back(), 3u);
  EXPECT_EQ(account().committed, 3u);
  EXPECT_TRUE(account().balanced());
  broker->settle();
  settle();
  EXPECT_TRUE(recorded(1)) << "what the broker has is not all there yet";
  broker->drain();
  settle();
  EXPECT_TRUE(broker->forgotten);
  EXPECT_FALSE(recorded(1));
  EXPECT_TRUE(recorded(0));
  EXPECT_EQ(left(), 0u);
  EXPECT_FALSE(broker->open);
}

TEST_F(retirement_test, none_is_retired_before_the_pipelines_own_subscriptions_are_confirmed) {
  record(0, {"t/+"}, false);
  record(1, {"$share/penstock-test-p/t/+"});
  spawn_writer();
  spawn_retirer(broker);
  settle();
  pass(2s);
  EXPECT_FALSE(broker->open);
  EXPECT_EQ(left(), 1u);
  record(0, {"other/+"}); // confirmed by a former configuration
  pass(2s);
  EXPECT_FALSE(broker->open);
  record(0, {"t/+"});
  pass(1s);
  EXPECT_TRUE(broker->open);
}

TEST_F(retirement_test, sessions_are_retired_one_after_the_other_and_each_acknowledges_its_own_messages) {
  start_retiring(2);
  for (std::uint32_t shard = 1; shard <= 2; ++shard) {
    ASSERT_EQ(broker->requests.size(), shard);
    EXPECT_EQ(broker->requests.back().record.client_id, id_of(shard));
    broker->connect();
    broker->released.clear();
    broker->deliver("t/1", payloads(static_cast<int>(shard) * 10, static_cast<int>(shard) * 10 + 4));
    settle();
    EXPECT_THAT(broker->released, ElementsAre(5u)) << "the sequences of a session begin at 1";
    broker->drain();
    settle();
    EXPECT_FALSE(recorded(shard));
  }
  EXPECT_EQ(database->rows.size(), 10u);
}

TEST_F(retirement_test, a_broker_of_mqtt_3_1_1_ends_the_session_with_a_connect) {
  start_retiring();
  broker->connect(4);
  broker->drain();
  settle();
  ASSERT_EQ(broker->requests.size(), 2u);
  EXPECT_EQ(broker->requests[1].what, purpose::forget);
  EXPECT_EQ(broker->requests[1].record.client_id, id_of(1));
  EXPECT_TRUE(recorded(1));
  broker->connect(4);
  settle();
  EXPECT_FALSE(recorded(1));
  EXPECT_FALSE(broker->open);
}

TEST_F(retirement_test, one_whose_end_the_broker_may_not_have_heard_of_is_retired_again) {
  drain_and([this] { broker->disconnect(); });
  EXPECT_FALSE(broker->forgotten);
  EXPECT_TRUE(recorded(1));
  ASSERT_EQ(broker->requests.size(), 2u);
  EXPECT_EQ(broker->requests[1].what, purpose::drain);
}

TEST_F(retirement_test, a_message_that_comes_after_all_keeps_the_session) {
  drain_and([this] { broker->deliver("t/1", payloads(1, 1)); });
  EXPECT_FALSE(broker->forgotten);
  EXPECT_TRUE(recorded(1));
  EXPECT_EQ(database->rows.size(), 1u);
}

TEST_F(retirement_test, a_session_that_cannot_be_connected_lets_the_next_one_have_its_turn) {
  start_retiring(2);
  EXPECT_EQ(broker->requests.back().record.client_id, id_of(1));
  pass(10s);
  EXPECT_EQ(broker->requests.back().record.client_id, id_of(2));
  broker->connect();
  broker->drain();
  settle();
  EXPECT_FALSE(recorded(2));
  EXPECT_TRUE(recorded(1));
  EXPECT_FALSE(broker->open);
  pass(30s); // it is tried again
  EXPECT_EQ(broker->requests.back().record.client_id, id_of(1));
}

TEST_F(retirement_test, a_session_that_is_connected_is_drained_for_as_long_as_it_takes) {
  start_retiring();
  broker->connect();
  pass(60s);
  EXPECT_TRUE(broker->open);
  EXPECT_EQ(broker->requests.size(), 1u);
}

TEST_F(retirement_test, a_writer_that_is_replaced_meanwhile_changes_nothing) {
  start_retiring();
  broker->connect();
  broker->deliver("t/1", payloads(1, 3));
  settle();
  restart_writer();
  EXPECT_EQ(broker->requests.size(), 1u);
  broker->deliver("t/1", payloads(4, 6));
  settle();
  EXPECT_EQ(broker->released.back(), 6u);
  broker->drain();
  settle();
  EXPECT_FALSE(recorded(1));
}

TEST_F(retirement_test, what_was_enlisted_again_meanwhile_stays_recorded) {
  start_retiring();
  broker->connect();
  ++database->sessions[{id_of(1), "main"}].epoch; // a node whose file still has the shard
  broker->drain();
  settle();
  EXPECT_TRUE(recorded(1));
}

TEST_F(retirement_test, at_its_end_it_stores_what_it_has_and_leaves_the_session) {
  start_retiring();
  broker->connect();
  broker->deliver("t/1", payloads(1, 3));
  caf::anon_send_exit(retirer, caf::exit_reason::user_shutdown);
  settle();
  EXPECT_EQ(broker->released.back(), 3u);
  EXPECT_TRUE(broker->stopped);
  EXPECT_FALSE(broker->forgotten);
  EXPECT_TRUE(recorded(1));
}

} // namespace penstock::actors
