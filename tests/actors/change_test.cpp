// Rows that logical decoding tells of: net 0 of the poller, and the nets behind it.
#include "tests/support/publish_fixture.hpp"

#include <gmock/gmock.h>

namespace penstock::actors {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

namespace {

using kind = storage::changed_row::kind;

class change_test : public testing::publish_fixture {
public:
  change_test() {
    pipeline.detect.changes = config::change_source::logical;
    pipeline.on_update = config::update_rule::publish;
  }
  void insert(std::int64_t id, const std::string& monitor = "m") {
    table->rows[id] = monitor;
    log->change(id, kind::insert, monitor);
  }
  void update(std::int64_t id, const std::string& monitor) {
    table->rows[id] = monitor;
    log->change(id, kind::update, monitor);
  }
  std::vector<std::string> topics() const {
    std::vector<std::string> all;
    for (const auto& each : script->published)
      all.push_back(each.topic);
    return all;
  }
  /// The process ends without a word, and another takes over.
  void kill() {
    caf::anon_send_exit(poller, caf::exit_reason::kill);
    for (const auto& each : publishers)
      caf::anon_send_exit(each, caf::exit_reason::kill);
    publishers.clear();
    settle();
  }
};

} // namespace

TEST_F(change_test, each_version_is_published_as_the_change_made_it) {
  begin();
  insert(1, "a");
  update(1, "b");
  update(1, "c");
  pass(5s);
  EXPECT_THAT(topics(), ElementsAre("t/a", "t/b", "t/c"));
  EXPECT_THAT(published_ids(), ElementsAre("1", "1/000000000000006e", "1/0000000000000078"));
  EXPECT_EQ(records->records.size(), 3u);
}

TEST_F(change_test, updates_are_passed_over_where_nobody_asked_for_them) {
  pipeline.on_update = config::update_rule::ignore;
  begin();
  insert(1, "a");
  update(1, "b");
  pass(5s);
  EXPECT_THAT(topics(), ElementsAre("t/a"));
}

TEST_F(change_test, a_query_never_comes_before_the_log) {
  begin();
  log->told = false; // the server is slow
  insert(1, "a");
  update(1, "b");
  pass(10s);
  EXPECT_THAT(script->published, IsEmpty());
  log->told = true;
  pass(1s);
  EXPECT_THAT(topics(), ElementsAre("t/a", "t/b"));
}

TEST_F(change_test, rows_of_which_the_log_does_not_tell_are_found_by_queries) {
  rows(1, 3); // from before the slot
  begin();
  pass(3s);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2", "3"));
  rows(4, 4);
  pass(3s);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2", "3", "4"));
  EXPECT_EQ(status().found_late, 4u);
}

TEST_F(change_test, a_row_that_an_update_made_wanted_is_not_sent_as_an_insert_too) {
  begin();
  table->rows[1] = "b"; // its insert fulfilled no condition
  log->change(1, kind::update, "b");
  pass(10s);
  EXPECT_THAT(topics(), ElementsAre("t/b"));
}

TEST_F(change_test, the_slot_advances_to_the_end_of_what_is_claimed_and_no_further) {
  begin(false, 2);
  for (std::int64_t id = 1; id <= 5; ++id)
    insert(id);
  pass(1s);
  ASSERT_THAT(published_ids(), ElementsAre("1", "2"));
  EXPECT_LE(log->confirmed, 120u);
  for (std::uint64_t seq = 1; seq <= 5; ++seq) {
    script->received(seq);
    script->done(seq);
    settle();
  }
  pass(3s);
  EXPECT_THAT(script->published, SizeIs(5));
  EXPECT_EQ(log->confirmed, log->place);
}

TEST_F(change_test, a_row_that_waits_for_its_shard_holds_the_slot_and_no_other_row) {
  pipeline.shards = 2;
  spawn_poller();
  spawn_publisher();
  spawn_publisher(1); // is never connected
  script->connect(false);
  settle();
  const auto before = log->place;
  insert(1, "a");
  insert(2, "b");
  pass(5s);
  EXPECT_THAT(published_ids(), ElementsAre("2"));
  EXPECT_LE(log->confirmed, before);
}

TEST_F(change_test, the_log_is_read_only_by_who_has_all_shards) {
  pipeline.shards = 2;
  spawn_poller();
  spawn_publisher();
  insert(1, "a");
  insert(2, "b");
  pass(2s);
  EXPECT_EQ(log->opened, 0u);
  spawn_publisher(1);
  for (const std::uint32_t shard : {0u, 1u})
    script_of(shard)->connect(false);
  pass(2s);
  EXPECT_THAT(published_ids(0), ElementsAre("2"));
  EXPECT_THAT(published_ids(1), ElementsAre("1"));
  const auto confirmed = log->confirmed;
  caf::anon_send_exit(publishers[0], caf::exit_reason::user_shutdown);
  settle();
  insert(3, "a");
  pass(8s); // what is in flight has its time
  EXPECT_THAT(published_ids(1), ElementsAre("1"));
  EXPECT_EQ(log->confirmed, confirmed);
  EXPECT_EQ(log->readers, 0u);
}

TEST_F(change_test, a_transaction_is_confirmed_as_a_whole) {
  begin(false, 10);
  const auto before = log->place;
  for (std::int64_t id = 1; id <= 5; ++id) {
    table->rows[id] = "m";
    log->change(id, kind::insert, "m", false);
  }
  pass(1s);
  EXPECT_THAT(script->published, SizeIs(5)); // piece by piece: it is committed, or it would not be told
  EXPECT_LE(log->confirmed, before);
  insert(6);
  pass(3s);
  EXPECT_EQ(log->confirmed, log->place);
}

TEST_F(change_test, the_log_is_read_no_further_than_there_is_room) {
  begin(false, 4);
  for (std::int64_t id = 1; id <= 100; ++id)
    insert(id);
  pass(5s);
  EXPECT_THAT(script->published, SizeIs(4));
  EXPECT_LE(log->read_at_once, 4u);
}

TEST_F(change_test, what_a_former_process_had_claimed_is_told_again_and_dropped) {
  begin(false, 3);
  for (std::int64_t id = 1; id <= 6; ++id)
    insert(id, "a");
  update(1, "b");
  pass(1s);
  ASSERT_THAT(published_ids(), ElementsAre("1", "2", "3"));
  kill();
  log->confirmed = 0; // a crash comes before the confirmation
  begin(true, 100);
  pass(5s);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2", "3", "4", "5", "6", "1/00000000000000a0"));
  EXPECT_EQ(status().repeats_avoided, 3u);
  EXPECT_EQ(records->records.size(), 7u);
}

TEST_F(change_test, a_failed_commit_confirms_nothing) {
  begin();
  records->commit_failure = error{errc::database_busy, "locked"};
  insert(1);
  pass(3s);
  EXPECT_LE(log->confirmed, 100u);
  records->commit_failure.reset();
  pass(10s);
  script->connect(true);
  pass(1s);
  EXPECT_THAT(published_ids(), ElementsAre("1"));
}

TEST_F(change_test, a_stream_that_fails_is_opened_again) {
  begin();
  log->failure = error{errc::connection_lost, "gone"};
  insert(1);
  pass(3s);
  EXPECT_EQ(status().last_error, "connection_lost: gone");
  log->failure.reset();
  pass(10s);
  script->connect(true);
  pass(1s);
  EXPECT_THAT(published_ids(), ElementsAre("1"));
  EXPECT_GE(log->opened, 2u);
  EXPECT_EQ(log->readers, 1u);
}

TEST_F(change_test, a_fenced_poller_lets_go_of_the_slot) {
  begin();
  EXPECT_EQ(log->readers, 1u);
  ++records->shards.at(0).epoch;
  pass(3s);
  EXPECT_EQ(log->readers, 0u);
}

TEST_F(change_test, a_poller_that_was_cut_off_by_its_successor_does_not_fight_for_the_slot) {
  begin();
  const auto epoch = ++records->shards.at(0).epoch;
  log->failure = error{errc::connection_lost, "terminated"};
  insert(1);
  pass(3s);
  EXPECT_EQ(records->shards.at(0).epoch, epoch);
  EXPECT_EQ(status().state, telemetry::writer_state::stopped);
}

TEST_F(change_test, while_it_is_paused_the_slot_keeps_the_log_and_says_so) {
  begin();
  caf::anon_send(poller, messages::pause_atom_v);
  settle();
  insert(1);
  pass(30s);
  EXPECT_THAT(script->published, IsEmpty());
  EXPECT_EQ(status().slot, "slot");
  EXPECT_GT(status().slot_lag_bytes, 0u);
  caf::anon_send(poller, messages::resume_atom_v);
  pass(1s);
  EXPECT_THAT(published_ids(), ElementsAre("1"));
}

TEST_F(change_test, a_slot_that_was_lost_is_counted_and_inserts_are_found) {
  begin();
  insert(1);
  pass(5s);
  script->received(1);
  script->done(1);
  settle();
  kill();
  table->rows[2] = "m"; // while there was no slot
  log->made_anew = true;
  log->confirmed = log->place;
  begin(true);
  pass(5s);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2"));
  EXPECT_EQ(status().slots_lost, 1u);
}

} // namespace penstock::actors
