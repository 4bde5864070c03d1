#include "actors/layout.hpp"
#include "decode/decoder.hpp"
#include "tests/support/pipeline_fixture.hpp"

#include <gmock/gmock.h>

namespace penstock::actors {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

namespace {

using ingest_test = testing::pipeline_fixture;

/// A batch-writer that only demands what the test says, and notes what it gets.
struct scripted_writer_state {
  std::vector<std::uint32_t> frames; ///< messages in each
  std::vector<std::uint64_t> chunks;
  messages::ingestor_actor ingestor;
  std::uint64_t attach = 0; ///< the number of the last one
  bool detached = false;
};

messages::batch_writer_actor::behavior_type
scripted_writer(messages::batch_writer_actor::stateful_pointer<scripted_writer_state> self,
                std::shared_ptr<scripted_writer_state> seen) {
  set_quiet_handlers(self);
  return {
    [](messages::attach_atom, const messages::ingestor_actor&, std::uint64_t) {},
    [](messages::attach_atom, const messages::ingestor_actor&, std::uint64_t, std::uint16_t) {},
    [seen](messages::attach_atom, const messages::ingestor_actor& ingestor, std::uint64_t, std::uint16_t,
           std::uint64_t attach) {
      seen->ingestor = ingestor;
      seen->attach = attach;
    },
    [seen](messages::detach_atom, const messages::ingestor_actor&) { seen->detached = true; },
    [](messages::write_atom, const record::frame&, const messages::ingestor_actor&) {},
    [seen](messages::write_atom, const record::frame& frame, const messages::ingestor_actor&, std::uint64_t,
           std::uint64_t) {
      const std::vector types{column_type::text};
      auto view = record::frame_view::open(frame, types);
      seen->frames.push_back(static_cast<std::uint32_t>((*view)->rows() + (*view)->letters()));
      seen->chunks.push_back((*view)->chunk());
    },
    [self](messages::enlist_atom, const session_record& session, const messages::ingestor_actor& from) {
      self->send(from, session);
    },
    [](messages::settle_atom, const session_record&) {},
    [](messages::sessions_atom, const messages::ingestor_actor&) {},
    [](messages::commit_atom) {},
    [](messages::retry_atom) {},
    [](messages::check_atom) {},
  };
}

struct demand_test : testing::pipeline_fixture {
  std::shared_ptr<scripted_writer_state> seen = std::make_shared<scripted_writer_state>();
  messages::ingestor_actor ingestor;

  template <class... Content>
  void send_from(const messages::batch_writer_actor& sender, Content... content) {
    ingestor->enqueue(caf::actor_cast<caf::strong_actor_ptr>(sender), caf::make_message_id(),
                      caf::make_message(std::move(content)...), nullptr);
  }
  void attach(std::uint32_t records) {
    writer = system.spawn(scripted_writer, seen);
    ingestor = spawn_ingestor(broker);
    settle();
    send_from(writer, messages::attached{0, "installation", records});
    settle();
  }
  void demand(std::uint32_t records) {
    send_from(writer, messages::demand{0, records});
    settle();
  }
  void commit(std::uint64_t chunk, std::uint32_t stored) {
    caf::anon_send(ingestor, messages::committed{0, chunk, stored, 0, 0});
    settle();
  }
};

} // namespace

TEST_F(demand_test, no_session_is_opened_before_the_database_is) {
  writer = system.spawn(scripted_writer, seen);
  ingestor = spawn_ingestor(broker);
  settle();
  EXPECT_FALSE(broker->open);
  const auto reason = [this] { return board.snapshot().pipelines.at(0).shards.at(0).connection.reason; };
  EXPECT_EQ(reason(), "waits for the answer of a batch-writer");
  send_from(writer, messages::attached{0, "installation", 5});
  settle();
  EXPECT_EQ(reason(), "connecting");
  EXPECT_TRUE(broker->started);
  ASSERT_EQ(broker->requests.size(), 1u);
  EXPECT_EQ(broker->requests.front().record.client_id, "penstock-installation-p-1-0");
}

TEST_F(demand_test, nothing_is_sent_without_demand_and_never_more_than_was_demanded) {
  attach(3);
  broker->deliver("t/1", payloads(1, 10));
  settle();
  EXPECT_THAT(seen->frames, ElementsAre(3));
  demand(2);
  EXPECT_THAT(seen->frames, ElementsAre(3, 2));
  demand(100);
  EXPECT_THAT(seen->frames, ElementsAre(3, 2, 5));
  EXPECT_TRUE(broker->released.empty());
}

TEST_F(demand_test, a_frame_takes_what_waits_from_several_bursts_up_to_the_batch_limit) {
  attach(0);
  broker->deliver("t/1", payloads(1, 60));
  broker->deliver("t/1", payloads(61, 120));
  settle();
  demand(1'000);
  EXPECT_THAT(seen->frames, ElementsAre(100, 20));
}

TEST_F(demand_test, acknowledgements_are_released_in_order_of_arrival) {
  attach(10);
  broker->deliver("t/1", payloads(1, 2));
  settle();
  broker->deliver("t/1", payloads(3, 6));
  settle();
  ASSERT_THAT(seen->frames, ElementsAre(2, 4));
  commit(seen->chunks[1], 4);
  EXPECT_THAT(broker->released, IsEmpty());
  commit(seen->chunks[0], 2);
  EXPECT_THAT(broker->released, ElementsAre(6));
}

TEST_F(demand_test, a_commit_that_is_reported_twice_counts_once) {
  attach(10);
  broker->deliver("t/1", payloads(1, 2));
  settle();
  commit(seen->chunks[0], 2);
  commit(seen->chunks[0], 2);
  EXPECT_THAT(broker->released, ElementsAre(2));
  EXPECT_EQ(account().committed, 2u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(demand_test, a_new_writer_gets_what_the_former_one_never_confirmed) {
  attach(10);
  broker->deliver("t/1", payloads(1, 4));
  settle();
  caf::anon_send_exit(writer, caf::exit_reason::kill);
  settle();
  demand(1); // from nobody: it is not spent on a frame of four
  seen = std::make_shared<scripted_writer_state>();
  writer = system.spawn(scripted_writer, seen);
  introduce(ingestor);
  settle();
  EXPECT_THAT(seen->frames, IsEmpty());
  send_from(writer, messages::attached{0, "installation", 10});
  settle();
  EXPECT_THAT(seen->frames, ElementsAre(4));
  EXPECT_EQ(broker->requests.size(), 1u); // the session lived on
  commit(seen->chunks[0], 4);
  EXPECT_THAT(broker->released, ElementsAre(4));
}

TEST_F(demand_test, what_a_former_writer_demands_is_not_spent_on_the_new_one) {
  attach(10);
  const auto former = writer;
  const auto ends = testing::ended_at_scope_exit{caf::actor_cast<caf::actor>(former)};
  auto seen_by_new = std::make_shared<scripted_writer_state>();
  writer = system.spawn(scripted_writer, seen_by_new);
  introduce(ingestor);
  settle();
  send_from(former, messages::demand{0, 10});
  send_from(former, messages::attached{0, "installation", 10});
  broker->deliver("t/1", payloads(1, 4));
  settle();
  EXPECT_THAT(seen_by_new->frames, IsEmpty());
  EXPECT_THAT(seen->frames, IsEmpty());
}

TEST_F(demand_test, a_second_answer_to_an_attach_doubles_no_demand) {
  attach(10);
  broker->deliver("t/1", payloads(1, 4));
  settle();
  // It was announced, another in its place, and it again: it answers twice, before it has seen what was sent.
  send_from(writer, messages::attached{0, "installation", 10});
  broker->deliver("t/1", payloads(5, 20));
  settle();
  EXPECT_THAT(seen->frames, ElementsAre(4, 6));
}

TEST_F(demand_test, a_writer_that_is_silent_is_attached_to_again_and_sent_what_it_does_not_have) {
  attach(10);
  for (const int first : {1, 3, 6}) {
    broker->deliver("t/1", payloads(first, first + 1));
    settle();
  }
  ASSERT_EQ(seen->attach, 1u);
  pass(20s); // for the first half of it it was not silent
  ASSERT_EQ(seen->attach, 2u);
  EXPECT_THAT(seen->chunks, ElementsAre(1, 2, 3));
  broker->deliver("t/1", payloads(8, 9));
  settle(); // behind the attach: its batch-writer does not know of it when it answers
  send_from(writer, messages::held{{0, "installation", 10}, 1, {}}); // to an attach of before
  settle();
  EXPECT_THAT(seen->chunks, ElementsAre(1, 2, 3, 4));
  send_from(writer, messages::held{{0, "installation", 6}, 2, {1, 3}});
  settle();
  EXPECT_THAT(seen->chunks, ElementsAre(1, 2, 3, 4, 2));
  broker->deliver("t/1", payloads(10, 19));
  settle();
  EXPECT_THAT(seen->frames, ElementsAre(2, 2, 2, 2, 2, 2)); // without the one that is lost, ten messages
}

TEST_F(demand_test, a_writer_that_is_heard_of_is_not_attached_to_again) {
  attach(10);
  for (int i = 0; i < 10; ++i) {
    pass(4s);
    demand(0);
  }
  EXPECT_EQ(seen->attach, 1u);
}

TEST_F(demand_test, what_a_writer_that_is_to_end_still_has_goes_to_the_next_one_before_what_follows) {
  attach(10);
  broker->deliver("t/1", payloads(1, 4));
  settle();
  const auto former = writer;
  const auto ends = testing::ended_at_scope_exit{caf::actor_cast<caf::actor>(former)};
  send_from(former, messages::detach_atom_v, 0u);
  auto seen_by_next = std::make_shared<scripted_writer_state>();
  writer = system.spawn(scripted_writer, seen_by_next);
  introduce(ingestor);
  broker->deliver("t/1", payloads(5, 6));
  settle();
  send_from(writer, messages::attached{0, "installation", 10});
  settle();
  EXPECT_THAT(seen_by_next->frames, ElementsAre(4, 2));
  EXPECT_EQ(seen_by_next->chunks[0], seen->chunks[0]);
}

TEST_F(demand_test, an_ingestor_that_is_asked_to_detach_sends_nothing_more_and_waits_for_the_commits) {
  attach(10);
  broker->deliver("t/1", payloads(1, 4));
  settle();
  send_from(writer, messages::detach_atom_v, 0u);
  broker->deliver("t/1", payloads(5, 8));
  settle();
  EXPECT_THAT(seen->frames, ElementsAre(4));
  EXPECT_TRUE(seen->detached);
  commit(seen->chunks[0], 4);
  EXPECT_THAT(broker->released, ElementsAre(4));
}

TEST_F(demand_test, pause_and_resume_reach_the_session) {
  attach(10);
  caf::anon_send(ingestor, messages::pause_atom_v);
  settle();
  EXPECT_TRUE(broker->paused);
  EXPECT_TRUE(board.snapshot().pipelines.at(0).shards.at(0).paused);
  caf::anon_send(ingestor, messages::resume_atom_v);
  settle();
  EXPECT_FALSE(broker->paused);
}

TEST_F(ingest_test, messages_become_rows_and_are_then_acknowledged) {
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  broker->deliver("t/1", payloads(1, 4));
  settle();
  EXPECT_EQ(database->rows.size(), 4u);
  EXPECT_THAT(broker->released, ElementsAre(4));
  EXPECT_EQ(account().committed, 4u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(ingest_test, a_bad_message_becomes_a_dead_letter_and_is_acknowledged) {
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  broker->deliver("t/1", {R"({"id":"1"})", "not json", R"({"other":1})", R"({"id":"2"})"});
  settle();
  EXPECT_EQ(database->rows.size(), 2u);
  EXPECT_THAT(database->letters, ElementsAre("not json", R"({"other":1})"));
  EXPECT_THAT(broker->released, ElementsAre(4));
  EXPECT_EQ(account().dead_lettered, 2u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(ingest_test, what_is_there_is_committed_as_soon_as_the_writer_is_free) {
  spawn_writer(1'000);
  auto other = std::make_shared<testing::broker_script>();
  spawn_ingestor(broker);
  spawn_ingestor(other);
  settle();
  broker->deliver("t/1", payloads(1, 1));
  settle();
  EXPECT_THAT(database->commits, ElementsAre(1)); // no timer, no waiting for a full batch
  broker->deliver("t/1", payloads(2, 3));
  broker->deliver("t/1", payloads(4, 4));
  other->deliver("t/1", payloads(5, 5));
  settle();
  EXPECT_EQ(database->rows.size(), 5u);
  EXPECT_LE(database->commits.size(), 3u); // frames that were there together share a commit
}

TEST_F(ingest_test, a_commit_takes_at_most_records_max) {
  spawn_writer(1'000);
  spawn_ingestor(broker);
  settle();
  database->write_failures.push_back({errc::database_busy, "locked"});
  broker->deliver("t/1", payloads(1, 250));
  settle();
  pass(100ms);
  EXPECT_EQ(database->rows.size(), 250u);
  for (const auto messages : database->commits)
    EXPECT_LE(messages, 100u);
}

TEST_F(ingest_test, while_the_database_is_stalled_no_more_than_the_demand_is_held_and_all_lands_afterwards) {
  for (int i = 0; i < 20; ++i)
    database->write_failures.push_back({errc::database_busy, "locked"});
  spawn_writer(10);
  spawn_ingestor(broker);
  settle();
  for (int i = 0; i < 50; ++i) {
    broker->deliver("t/1", payloads(i * 10 + 1, i * 10 + 10));
    settle();
    const auto now = board.snapshot().pipelines.at(0);
    ASSERT_LE(now.writer.queue_records, 10u);
    ASSERT_TRUE(now.account.balanced());
  }
  EXPECT_EQ(account().in_flight, 500u);
  EXPECT_TRUE(broker->released.empty());
  EXPECT_EQ(board.snapshot().pipelines.at(0).writer.state, telemetry::writer_state::waiting);
  pass(120s);
  EXPECT_EQ(database->rows.size(), 500u);
  EXPECT_EQ(broker->released.back(), 500u);
  EXPECT_EQ(database->opened, 1u); // the connection was good all the time
  EXPECT_EQ(board.snapshot().pipelines.at(0).writer.state, telemetry::writer_state::running);
}

TEST_F(ingest_test, a_lost_connection_is_opened_again) {
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  database->write_failures.push_back({errc::connection_lost, "gone"});
  database->open_failures.push_back({errc::connection_refused, "not yet"});
  broker->deliver("t/1", payloads(1, 4));
  settle();
  EXPECT_TRUE(database->rows.empty());
  pass(10s);
  EXPECT_EQ(database->rows.size(), 4u);
  EXPECT_EQ(database->opened, 3u);
  EXPECT_THAT(broker->released, ElementsAre(4));
}

TEST_F(ingest_test, a_table_that_could_not_be_prepared_is_prepared_again_before_anything_is_demanded) {
  database->open_failures.push_back({errc::timed_out, "not in time"});
  database->prepare_failures.push_back({errc::database_busy, "another node prepares it"});
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  pass(10s);
  EXPECT_TRUE(broker->open);
  broker->deliver("t/1", payloads(1, 4));
  settle();
  EXPECT_EQ(database->rows.size(), 4u);
}

TEST_F(ingest_test, a_database_that_needs_a_person_is_shown_as_stopped_and_tried_again) {
  database->open_failures.push_back({errc::schema_mismatch, "column id is missing"});
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  EXPECT_EQ(board.snapshot().pipelines.at(0).writer.state, telemetry::writer_state::stopped);
  EXPECT_FALSE(broker->open);
  pass(10s);
  EXPECT_EQ(board.snapshot().pipelines.at(0).writer.state, telemetry::writer_state::running);
  EXPECT_TRUE(broker->open);
}

TEST_F(ingest_test, a_killed_writer_loses_nothing) {
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  database->write_failures.push_back({errc::database_busy, "locked"});
  broker->deliver("t/1", payloads(1, 4));
  settle();
  caf::anon_send_exit(writer, caf::exit_reason::kill);
  settle();
  broker->deliver("t/1", payloads(5, 8));
  settle();
  EXPECT_TRUE(database->rows.empty());
  spawn_writer();
  settle();
  EXPECT_EQ(database->rows.size(), 8u);
  EXPECT_EQ(broker->released.back(), 8u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(ingest_test, a_killed_ingestor_leaves_its_messages_to_the_broker_and_the_equation_holds) {
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  database->write_failures.push_back({errc::database_busy, "locked"});
  broker->deliver("t/1", payloads(1, 4));
  settle();
  caf::anon_send_exit(ingestors[0], caf::exit_reason::kill);
  settle();
  EXPECT_FALSE(broker->open);
  EXPECT_TRUE(broker->released.empty());
  pass(1s); // the frame that the writer held is committed, and its answer goes nowhere
  EXPECT_EQ(database->rows.size(), 4u);
  ingestors.clear();
  spawn_ingestor(broker);
  settle();
  broker->deliver("t/1", payloads(1, 4)); // delivered again
  settle();
  EXPECT_EQ(database->rows.size(), 4u);
  EXPECT_EQ(account().received, 8u);
  EXPECT_EQ(account().duplicate, 4u);
  EXPECT_EQ(account().rejected.at("redelivery"), 4u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(ingest_test, asked_to_stop_it_flushes_acknowledges_and_disconnects) {
  spawn_writer();
  const auto ingestor = spawn_ingestor(broker);
  settle();
  database->write_failures.push_back({errc::database_busy, "locked"});
  broker->deliver("t/1", payloads(1, 30));
  settle();
  caf::anon_send_exit(writer, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(ingestor, caf::exit_reason::user_shutdown);
  settle();
  EXPECT_TRUE(broker->paused);
  EXPECT_FALSE(broker->stopped);
  pass(1s);
  EXPECT_EQ(database->rows.size(), 30u);
  EXPECT_EQ(broker->released.back(), 30u);
  EXPECT_TRUE(broker->stopped);
  EXPECT_FALSE(broker->open); // both have ended
  caf::scoped_actor self{system};
  self->monitor(writer);
  settle();
  bool ended = false;
  self->receive([&](const caf::down_msg&) { ended = true; }, caf::after(0s) >> [] {});
  EXPECT_TRUE(ended);
}

TEST_F(ingest_test, a_burst_that_was_on_its_way_when_the_stop_came_is_committed_and_acknowledged) {
  spawn_writer();
  const auto ingestor = spawn_ingestor(broker);
  settle();
  broker->hold_pause = true;
  caf::anon_send_exit(writer, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(ingestor, caf::exit_reason::user_shutdown);
  settle();
  EXPECT_FALSE(broker->stopped);
  broker->deliver("t/1", payloads(1, 3));
  broker->pause_done();
  settle();
  EXPECT_EQ(database->rows.size(), 3u);
  EXPECT_THAT(broker->released, ElementsAre(3));
  EXPECT_EQ(account().in_flight, 0u);
  EXPECT_TRUE(broker->stopped);
}

TEST_F(ingest_test, one_that_ends_without_a_writer_leaves_its_messages_to_the_broker_and_counts_none_in_flight) {
  spawn_writer();
  const auto ingestor = spawn_ingestor(broker);
  settle();
  database->write_failures.push_back({errc::database_busy, "locked"});
  broker->deliver("t/1", payloads(1, 4));
  settle();
  caf::anon_send_exit(writer, caf::exit_reason::kill);
  caf::anon_send_exit(ingestor, caf::exit_reason::user_shutdown);
  settle();
  EXPECT_TRUE(broker->stopped);
  EXPECT_TRUE(broker->released.empty());
  EXPECT_EQ(account().in_flight, 0u);
  EXPECT_EQ(account().rejected.at("redelivery"), 4u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(ingest_test, an_ingestor_that_starts_again_is_still_paused) {
  spawn_writer();
  const auto ingestor = spawn_ingestor(broker);
  settle();
  caf::anon_send(ingestor, messages::pause_atom_v);
  settle();
  caf::anon_send_exit(ingestor, caf::exit_reason::kill);
  settle();
  broker->paused = false;
  ingestors.clear();
  spawn_ingestor(broker);
  settle();
  EXPECT_TRUE(broker->open);
  EXPECT_TRUE(broker->paused);
}

TEST_F(ingest_test, a_database_that_opens_and_refuses_every_write_is_tried_ever_less_often) {
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  database->write_failures.assign(1'000, {errc::database_unavailable, "read-only"});
  broker->deliver("t/1", payloads(1, 4));
  settle();
  pass(60s);
  EXPECT_LT(database->opened, 30u);
  EXPECT_EQ(board.snapshot().pipelines.at(0).writer.state, telemetry::writer_state::waiting);
}

TEST_F(ingest_test, a_database_that_goes_away_while_nothing_is_written_is_noticed) {
  spawn_writer();
  settle();
  EXPECT_EQ(board.snapshot().pipelines.at(0).writer.state, telemetry::writer_state::running);
  database->ping_failures.push_back({errc::connection_lost, "gone"});
  database->open_failures.assign(3, {errc::connection_refused, "not there"});
  pass(5'100ms);
  EXPECT_EQ(board.snapshot().pipelines.at(0).writer.state, telemetry::writer_state::waiting);
  pass(5s);
  EXPECT_EQ(board.snapshot().pipelines.at(0).writer.state, telemetry::writer_state::running);
  database->ping_failures.push_back({errc::database_busy, "once"}); // the checks go on
  pass(5s);
  EXPECT_TRUE(database->ping_failures.empty());
  EXPECT_EQ(board.snapshot().pipelines.at(0).writer.state, telemetry::writer_state::running);
}

TEST_F(ingest_test, an_outage_becomes_an_alarm_and_passes_with_it) {
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  database->write_failures.assign(1'000, {errc::database_busy, "locked"});
  broker->deliver("t/1", payloads(1, 4));
  settle();
  pass(50s);
  EXPECT_FALSE(board.snapshot().pipelines.at(0).writer.alarm);
  pass(20s);
  EXPECT_TRUE(board.snapshot().pipelines.at(0).writer.alarm);
  database->write_failures.clear();
  pass(10s);
  EXPECT_FALSE(board.snapshot().pipelines.at(0).writer.alarm);
  EXPECT_EQ(database->rows.size(), 4u);
}

namespace {

struct lanes_test : testing::pipeline_fixture {
  lanes_test() { pipeline.writers = 2; }
};

} // namespace

TEST_F(lanes_test, every_record_is_stored_once_and_those_of_a_key_in_one_lane) {
  spawn_writer(1'000);
  spawn_other_writer(1'000);
  spawn_ingestor(broker);
  settle();
  broker->deliver("t/1", payloads(1, 50));
  broker->deliver("t/1", payloads(1, 50)); // repeated: each finds its first in the same lane
  settle();
  EXPECT_EQ(database->rows.size() + other_database->rows.size(), 50u);
  EXPECT_GT(database->rows.size(), 5u);
  EXPECT_GT(other_database->rows.size(), 5u);
  EXPECT_EQ(broker->released.back(), 100u);
  EXPECT_EQ(account().duplicate, 50u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(lanes_test, acknowledgements_wait_for_the_slower_lane_and_the_equation_holds_meanwhile) {
  spawn_writer(1'000);
  spawn_other_writer(1'000);
  spawn_ingestor(broker);
  settle();
  other_database->write_failures.assign(5, {errc::database_busy, "locked"});
  broker->deliver("t/1", payloads(1, 50));
  settle();
  EXPECT_GT(database->rows.size(), 5u);
  EXPECT_TRUE(broker->released.empty());
  EXPECT_TRUE(account().balanced());
  EXPECT_EQ(account().in_flight, 50u - database->rows.size());
  pass(10s);
  EXPECT_THAT(broker->released, ElementsAre(50));
  EXPECT_EQ(account().committed, 50u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(lanes_test, no_more_is_sent_than_every_lane_has_demand_for) {
  spawn_writer(10);
  spawn_other_writer(10);
  spawn_ingestor(broker);
  settle();
  other_database->write_failures.assign(5, {errc::database_busy, "locked"});
  broker->deliver("t/1", payloads(1, 500));
  settle();
  const auto stalled = board.snapshot().pipelines.at(0);
  for (const auto& lane : stalled.writers)
    EXPECT_LE(lane.queue_records, 10u);
  pass(10s);
  EXPECT_EQ(database->rows.size() + other_database->rows.size(), 500u);
  EXPECT_EQ(broker->released.back(), 500u);
}

TEST_F(lanes_test, a_killed_lane_is_sent_again_what_it_had_not_confirmed) {
  spawn_writer(1'000);
  spawn_other_writer(1'000);
  spawn_ingestor(broker);
  settle();
  other_database->write_failures.push_back({errc::database_busy, "locked"});
  broker->deliver("t/1", payloads(1, 50));
  settle();
  caf::anon_send_exit(other_writer, caf::exit_reason::kill);
  settle();
  broker->deliver("t/1", payloads(51, 60)); // waits: any of it may belong to the lane that is gone
  settle();
  spawn_other_writer(1'000);
  settle();
  EXPECT_EQ(database->rows.size() + other_database->rows.size(), 60u);
  EXPECT_EQ(broker->released.back(), 60u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(ingest_test, bursts_that_come_together_make_one_frame) {
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  broker->deliver("t/1", payloads(1, 3));
  broker->deliver("t/1", payloads(4, 6));
  settle();
  EXPECT_EQ(database->with_messages.size(), 1u);
  EXPECT_EQ(database->rows.size(), 6u);
}

TEST_F(ingest_test, one_message_answers_all_frames_of_a_commit_if_its_ingestor_knows_it) {
  spawn_writer();
  settle();
  std::vector<messages::batch_committed> batches;
  std::vector<messages::committed> singles;
  std::uint32_t demanded = 0;
  const auto elsewhere = system.spawn([&](caf::event_based_actor*) -> caf::behavior {
    return {[&](const messages::batch_committed& batch) { batches.push_back(batch); },
            [&](const messages::committed& frame) { singles.push_back(frame); },
            [&](const messages::demand& more) { demanded += more.records; }, [](const messages::attached&) {}};
  });
  const auto from = caf::actor_cast<messages::ingestor_actor>(elsewhere);
  const auto layout = layout_of(storage::table_of(pipeline));
  const auto write_two = [&](int first) {
    for (int chunk = first; chunk < first + 2; ++chunk) {
      record::frame_builder builder{decode::column_types(pipeline)};
      decode::make_decoder(pipeline)->decode("t/1", payloads(chunk, chunk).front(), wall_now(), builder);
      caf::anon_send(writer, messages::write_atom_v, builder.seal("p", 0, 0, static_cast<std::uint64_t>(chunk)), from);
    }
    settle();
  };
  caf::anon_send(writer, messages::attach_atom_v, from, layout);
  write_two(1);
  EXPECT_EQ(singles.size(), 2u);
  EXPECT_EQ(demanded, 2u);
  EXPECT_THAT(batches, IsEmpty());
  caf::anon_send(writer, messages::attach_atom_v, from, layout, messages::link_version);
  write_two(3);
  EXPECT_EQ(singles.size(), 2u);
  ASSERT_EQ(batches.size(), 1u);
  ASSERT_EQ(batches[0].frames.size(), 2u);
  EXPECT_EQ(batches[0].frames[0].chunk, 3u);
  EXPECT_EQ(batches[0].frames[1].chunk, 4u);
  EXPECT_EQ(batches[0].more.records, 2u);
}

TEST_F(ingest_test, lag_is_shown_while_messages_wait) {
  database->write_failures.assign(3, {errc::database_busy, "locked"});
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  const auto now = wall_now();
  broker->deliver("t/1", payloads(1, 4), now - 7s);
  settle();
  EXPECT_GE(board.snapshot().pipelines.at(0).lag, 7s);
  pass(10s);
  EXPECT_EQ(board.snapshot().pipelines.at(0).lag, 0s);
}

TEST_F(ingest_test, what_is_behind_a_frame_that_lacks_messages_waits_or_goes_with_it_when_its_ingestor_is_lost) {
  spawn_writer();
  settle();
  std::vector<std::uint64_t> asked;
  const auto elsewhere = system.spawn([&asked](caf::event_based_actor*) -> caf::behavior {
    return {[&asked](messages::whole_atom, std::uint32_t, std::uint64_t chunk) { asked.push_back(chunk); },
            [](const messages::attached&) {}, [](const messages::committed&) {}, [](const messages::demand&) {}};
  });
  const auto from = caf::actor_cast<messages::ingestor_actor>(elsewhere);
  caf::anon_send(writer, messages::attach_atom_v, from, layout_of(storage::table_of(pipeline)));
  const auto write = [&](std::uint64_t chunk, const std::string& id, bool with_messages) {
    record::frame_builder builder{decode::column_types(pipeline)};
    builder.keep_messages(with_messages);
    decode::make_decoder(pipeline)->decode("t/1", R"({"id":")" + id + R"("})", wall_now(), builder);
    caf::anon_send(writer, messages::write_atom_v, builder.seal("p", 0, 0, chunk), from);
    settle();
  };
  database->write_failures = {{errc::row_refused, "a constraint"}};
  write(1, "a", false);
  EXPECT_THAT(asked, ElementsAre(1u));
  write(2, "b", false);
  EXPECT_THAT(database->rows, IsEmpty());
  write(1, "a", true);
  EXPECT_THAT(database->rows, ElementsAre("a", "b"));
  database->write_failures = {{errc::row_refused, "a constraint"}};
  write(3, "c", false);
  write(4, "d", false);
  caf::anon_send_exit(elsewhere, caf::exit_reason::kill);
  settle();
  EXPECT_THAT(database->rows, ElementsAre("a", "b")); // "d" would overtake "c"
}

TEST_F(ingest_test, an_ingestor_that_is_silent_for_long_holds_nothing_up) {
  spawn_writer();
  settle();
  const auto elsewhere = system.spawn([](caf::event_based_actor*) -> caf::behavior {
    return {[](messages::whole_atom, std::uint32_t, std::uint64_t) {}, [](const messages::held&) {}};
  });
  const auto from = caf::actor_cast<messages::ingestor_actor>(elsewhere);
  const auto layout = layout_of(storage::table_of(pipeline));
  caf::anon_send(writer, messages::attach_atom_v, from, layout, messages::link_version, std::uint64_t{1});
  record::frame_builder builder{decode::column_types(pipeline)};
  builder.keep_messages(false);
  decode::make_decoder(pipeline)->decode("t/1", R"({"id":"a"})", wall_now(), builder);
  database->write_failures = {{errc::row_refused, "a constraint"}};
  caf::anon_send(writer, messages::write_atom_v, builder.seal("p", 0, 0, 1), from, std::uint64_t{1}, std::uint64_t{0});
  settle();
  spawn_ingestor(broker);
  settle();
  broker->deliver("t/1", payloads(1, 3));
  settle();
  EXPECT_THAT(database->rows, IsEmpty()); // they wait for what it is asked for
  pass(70s);
  EXPECT_EQ(database->rows.size(), 3u);
  EXPECT_EQ(broker->released.back(), 3u);
  caf::anon_send_exit(elsewhere, caf::exit_reason::kill);
}

} // namespace penstock::actors
