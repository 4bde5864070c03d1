#include "telemetry/board.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace penstock::telemetry {

namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const wall_time noon{std::chrono::sys_days{std::chrono::year{2026} / 3 / 1} + 12h};
const monotonic start{1'000s};

snapshot look(const board& board) { return board.snapshot(noon, start); }

} // namespace

TEST(account, is_balanced_only_if_everything_is_accounted_for) {
  account one{.received = 10,
              .committed = 4,
              .duplicate = 2,
              .dead_lettered = 1,
              .rejected = {{"redelivery", 2}},
              .in_flight = 1};
  EXPECT_TRUE(one.balanced());
  one.in_flight = 0;
  EXPECT_FALSE(one.balanced());
}

TEST(board, adds_up_what_a_shard_reports) {
  board board;
  const auto shard = board.shard("telemetry", 0);
  shard->apply({.received = 10, .in_flight = 10}, start);
  shard->apply({.received = 5, .committed = 8, .duplicate = 1, .dead_lettered = 1, .in_flight = 5}, start);
  const account expected{
    .received = 15, .committed = 8, .duplicate = 1, .dead_lettered = 1, .rejected = {}, .in_flight = 5};
  EXPECT_EQ(look(board).pipelines.at(0).shards.at(0).account, expected);
  EXPECT_TRUE(expected.balanced());
}

TEST(board, does_not_hide_an_account_that_does_not_add_up) {
  board board;
  board.shard("telemetry", 0)->apply({.received = 10, .in_flight = 9}, start);
  EXPECT_FALSE(look(board).pipelines.at(0).account.balanced());
}

TEST(board, a_restarted_ingestor_rejects_what_its_predecessor_had_in_flight) {
  board board;
  const auto shard = board.shard("telemetry", 0);
  shard->begin();
  shard->apply({.received = 10, .committed = 4, .in_flight = 6}, start);
  shard->unacknowledged(600, noon - 3s);
  shard->credit(99);
  shard->connected(false, false, 5);
  shard->begin();
  const auto after = look(board).pipelines.at(0).shards.at(0);
  EXPECT_EQ(after.account.in_flight, 0u);
  EXPECT_EQ(after.account.rejected.at("redelivery"), 6u);
  EXPECT_TRUE(after.account.balanced());
  EXPECT_FALSE(after.connection.connected);
  EXPECT_EQ(after.credit, 0u);
  EXPECT_EQ(after.unacknowledged_bytes, 0u);
  EXPECT_EQ(after.lag, 0ms);
  shard->apply({.received = 6, .duplicate = 6, .in_flight = 0}, start);
  EXPECT_TRUE(look(board).pipelines.at(0).account.balanced());
}

TEST(board, a_first_start_rejects_nothing) {
  board board;
  board.shard("telemetry", 0)->begin();
  EXPECT_THAT(look(board).pipelines.at(0).account.rejected, IsEmpty());
}

TEST(board, a_pipeline_is_the_sum_of_its_shards) {
  board board;
  for (const std::uint32_t number : {0u, 1u}) {
    const auto shard = board.shard("telemetry", number);
    shard->apply({.received = 100, .committed = 60, .in_flight = 40}, start);
    shard->credit(7);
    shard->unacknowledged(1'000, noon - std::chrono::milliseconds{250 * (number + 1)});
  }
  const auto pipeline = look(board).pipelines.at(0);
  EXPECT_EQ(pipeline.account.received, 200u);
  EXPECT_EQ(pipeline.account.in_flight, 80u);
  EXPECT_EQ(pipeline.credit, 14u);
  EXPECT_EQ(pipeline.unacknowledged_bytes, 2'000u);
  EXPECT_EQ(pipeline.lag, 500ms);
  EXPECT_DOUBLE_EQ(pipeline.received_rate, 200);
  EXPECT_DOUBLE_EQ(pipeline.committed_rate, 120);
}

TEST(board, a_connection_counts_while_it_is_open) {
  board board;
  const auto database = board.database("plant", 20);
  const auto connections = [&] { return look(board).databases.at(0).connections; };
  {
    const auto one = database->opened();
    const auto other = database->opened();
    EXPECT_EQ(connections(), 2u);
  }
  EXPECT_EQ(connections(), 0u);
  EXPECT_EQ(board.database("plant"), database);
  EXPECT_EQ(look(board).databases.at(0).connections_max, 20u);
}

TEST(board, the_age_of_the_oldest_row_grows_while_nobody_says_anything) {
  board board;
  const auto poller = board.publish("TableA");
  const auto oldest_at = [&](wall_time now) { return board.snapshot(now, start).publishes.at(0).oldest; };
  EXPECT_EQ(oldest_at(noon), 0ms);
  poller->oldest(noon);
  EXPECT_EQ(oldest_at(noon + 9s), 9s);
  EXPECT_EQ(oldest_at(noon - 1s), 0ms) << "the clock that wrote it is ahead";
  poller->oldest(std::nullopt);
  EXPECT_EQ(oldest_at(noon + 9s), 0ms);
}

TEST(board, lag_grows_with_time_and_ends_with_the_last_acknowledgement) {
  board board;
  const auto shard = board.shard("telemetry", 0);
  const auto lag_at = [&](wall_time now) { return board.snapshot(now, start).pipelines.at(0).lag; };
  EXPECT_EQ(lag_at(noon), 0ms);
  shard->unacknowledged(10, noon);
  EXPECT_EQ(lag_at(noon + 1'500ms), 1'500ms);
  EXPECT_EQ(lag_at(noon + 9'000ms), 9'000ms);
  EXPECT_EQ(lag_at(noon - 5s), 0ms) << "the clock was set back";
  shard->unacknowledged(0, std::nullopt);
  EXPECT_EQ(lag_at(noon + 10'000ms), 0ms);
}

TEST(board, counts_connections_and_lost_sessions_over_restarts) {
  board board;
  const auto shard = board.shard("telemetry", 0);
  shard->connected(false, false, 5);
  shard->disconnected("connection_lost: reset by peer");
  EXPECT_EQ(look(board).pipelines.at(0).shards.at(0).connection.reason, "connection_lost: reset by peer");
  shard->begin();
  shard->connected(false, true, 4);
  const auto connection = look(board).pipelines.at(0).shards.at(0).connection;
  EXPECT_TRUE(connection.connected);
  EXPECT_EQ(connection.connects, 2u);
  EXPECT_EQ(connection.sessions_lost, 1u);
  EXPECT_EQ(connection.protocol, 4);
  EXPECT_EQ(connection.reason, "");
}

TEST(board, shows_the_writer) {
  board board;
  const auto writer = board.writer("telemetry", 0);
  EXPECT_EQ(look(board).pipelines.at(0).writer.state, writer_state::waiting);
  writer->running();
  writer->queue(3, 900);
  writer->commit(500);
  writer->commit(300);
  writer->failed("database_busy: locked", noon);
  board.pipeline("telemetry")->latency(2ms, 500);
  board.pipeline("telemetry")->latency(-1ms, 1);
  const auto pipeline = look(board).pipelines.at(0);
  EXPECT_EQ(pipeline.writer.state, writer_state::running);
  EXPECT_EQ(pipeline.writer.queue_frames, 3u);
  EXPECT_EQ(pipeline.writer.queue_records, 900u);
  EXPECT_EQ(pipeline.writer.commits, 2u);
  EXPECT_EQ(pipeline.writer.commit_records, 800u);
  EXPECT_EQ(pipeline.writer.last_error, "database_busy: locked");
  EXPECT_EQ(pipeline.writer.last_error_at, noon);
  EXPECT_EQ(pipeline.latency.count(), 501u);
  EXPECT_NEAR(static_cast<double>(pipeline.latency.percentile(0.5)), 2'000, 40);
}

TEST(board, shows_the_writers_of_a_pipeline_together_by_the_worst_of_them) {
  board board;
  const auto first = board.writer("telemetry", 0);
  const auto second = board.writer("telemetry", 1);
  for (const auto& each : {first, second}) {
    each->running();
    each->commit(500);
    each->queue(1, 100);
  }
  EXPECT_EQ(look(board).pipelines.at(0).writer.state, writer_state::running);
  second->waiting("database_busy: locked");
  second->failed("database_busy: locked", noon);
  second->alarm();
  const auto pipeline = look(board).pipelines.at(0);
  EXPECT_EQ(pipeline.writer.state, writer_state::waiting);
  EXPECT_EQ(pipeline.writer.reason, "database_busy: locked");
  EXPECT_TRUE(pipeline.writer.alarm);
  EXPECT_EQ(pipeline.writer.commits, 2u);
  EXPECT_EQ(pipeline.writer.queue_records, 200u);
  EXPECT_EQ(pipeline.writer.last_error_at, noon);
  EXPECT_EQ(pipeline.writers.at(0).state, writer_state::running);
  EXPECT_THAT(ready(look(board)).reasons, ElementsAre("telemetry: writer 1 is waiting: database_busy: locked"));
  second->running();
  EXPECT_FALSE(look(board).pipelines.at(0).writer.alarm);
}

TEST(board, counts_an_actors_restarts_and_keeps_its_last_failure) {
  board board;
  board.actor_up("telemetry/writer", "batch-writer");
  board.actor_down("telemetry/writer", "killed");
  EXPECT_FALSE(look(board).actors.at(0).alive);
  board.actor_up("telemetry/writer", "batch-writer");
  const auto actor = look(board).actors.at(0);
  EXPECT_TRUE(actor.alive);
  EXPECT_EQ(actor.restarts, 1u);
  EXPECT_EQ(actor.kind, "batch-writer");
  EXPECT_EQ(actor.last_failure, "killed");
  board.actor_down("telemetry/writer", "");
  EXPECT_EQ(look(board).actors.at(0).last_failure, "killed") << "a meant end is no failure";
  board.actor_down("nobody", "killed");
  EXPECT_EQ(look(board).actors.size(), 1u);
}

TEST(board, hands_out_the_same_board_for_the_same_name) {
  board board;
  EXPECT_EQ(board.shard("a", 1), board.shard("a", 1));
  EXPECT_NE(board.shard("a", 1), board.shard("b", 1));
  EXPECT_EQ(board.pipeline("a"), board.pipeline("a"));
}

TEST(ready, needs_every_shard_and_every_writer) {
  board board;
  const auto first = board.shard("telemetry", 0);
  const auto second = board.shard("telemetry", 1);
  const auto writer = board.writer("telemetry", 0);
  EXPECT_EQ(ready(look(board)).reasons.size(), 3u);
  first->connected(true, false, 5);
  second->connected(true, false, 5);
  writer->running();
  EXPECT_TRUE(ready(look(board)).ready);
  EXPECT_THAT(ready(look(board)).reasons, IsEmpty());
  second->disconnected("timed_out");
  writer->waiting("database_busy: locked");
  const auto verdict = ready(look(board));
  EXPECT_FALSE(verdict.ready);
  EXPECT_THAT(verdict.reasons, ElementsAre("telemetry/1 is not connected: timed_out",
                                           "telemetry: the writer is waiting: database_busy: locked"));
  writer->stopped("schema_mismatch: column time is missing");
  EXPECT_THAT(ready(look(board)).reasons.at(1), HasSubstr("stopped: schema_mismatch"));
}

TEST(board, stays_balanced_under_concurrent_updates_and_restarts) {
  board board;
  constexpr std::uint64_t rounds = 3'000;
  std::atomic<int> running = 4;
  std::vector<std::thread> ingestors;
  for (std::uint32_t number = 0; number < 4; ++number)
    ingestors.emplace_back([&board, &running, number] {
      const auto shard = board.shard("telemetry", number);
      std::uint64_t in_flight = 0;
      for (std::uint64_t round = 0; round < rounds; ++round) {
        in_flight += 10;
        shard->apply({.received = 10, .in_flight = in_flight});
        const auto done = in_flight / 2;
        in_flight -= done;
        shard->apply({.committed = done, .in_flight = in_flight});
        if (round % 100 == 99) {
          shard->begin();
          in_flight = 0;
        }
      }
      --running;
    });
  bool always_balanced = true;
  do {
    for (const auto& pipeline : board.snapshot().pipelines)
      always_balanced = always_balanced && pipeline.account.balanced();
  } while (running > 0);
  for (auto& ingestor : ingestors)
    ingestor.join();
  EXPECT_TRUE(always_balanced);
  const auto total = board.snapshot().pipelines.at(0).account;
  EXPECT_EQ(total.received, 4 * rounds * 10);
  EXPECT_GT(total.rejected_total(), 0u);
  EXPECT_TRUE(total.balanced());
}

TEST(board, knows_what_the_process_uses) {
  const auto process = look(board{}).process;
  EXPECT_GT(process.pid, 0);
  EXPECT_GT(process.resident_bytes, 1'000'000u);
  EXPECT_GE(process.cpu_seconds, 0);
}

TEST(publish_board, counts_what_is_open_anew_when_a_poller_resumes_it) {
  board board;
  const auto shard = board.publish_shard("p", 0);
  shard->apply({.claimed = 10, .sent = 4, .in_flight = 6});
  EXPECT_TRUE(board.snapshot().publishes[0].account.balanced());
  shard->begin();
  EXPECT_EQ(board.snapshot().publishes[0].account.claimed, 4u);
  EXPECT_TRUE(board.snapshot().publishes[0].account.balanced());
  shard->apply({.claimed = 6, .in_flight = 6});
  shard->apply({.sent = 6});
  EXPECT_EQ(board.snapshot().publishes[0].account.sent, 10u);
  EXPECT_TRUE(board.snapshot().publishes[0].account.balanced());
}

TEST(publish_board, hears_a_former_poller_no_more) {
  board board;
  const auto shard = board.publish_shard("p", 0);
  const auto former = shard->begin();
  shard->apply({.claimed = 3, .in_flight = 3, .incarnation = former});
  const auto current = shard->begin();
  shard->apply({.claimed = 3, .in_flight = 3, .incarnation = current});
  shard->apply({.sent = 3, .incarnation = former}); // its database has answered late
  shard->begin(former);
  const auto account = board.snapshot().publishes[0].account;
  EXPECT_EQ(account.in_flight, 3u);
  EXPECT_EQ(account.sent, 0u);
  EXPECT_TRUE(account.balanced());
}

TEST(ready, needs_every_publish_shard_and_its_poller) {
  board board;
  board.publish_shard("p", 0);
  EXPECT_EQ(ready(board.snapshot()).reasons.size(), 2u);
  board.publish_shard("p", 0)->connected(false, 5);
  board.publish("p")->running();
  EXPECT_TRUE(ready(board.snapshot()).ready);
  board.publish("p")->stopped("another process publishes");
  EXPECT_FALSE(ready(board.snapshot()).ready);
}

TEST(board, forgets_pipelines_and_shards_that_are_gone) {
  board board;
  for (const std::uint32_t number : {0u, 1u, 2u}) {
    board.shard("in", number);
    board.writer("in", number);
    board.publish_shard("out", number);
  }
  board.trim_ingest("in", 2, 1);
  board.trim_publish("out", 1);
  auto seen = look(board);
  EXPECT_EQ(seen.pipelines.at(0).shards.size(), 2u);
  EXPECT_EQ(seen.pipelines.at(0).writers.size(), 1u);
  EXPECT_EQ(seen.publishes.at(0).shards.size(), 1u);
  EXPECT_FALSE(ready(seen).ready);
  board.trim_ingest("in", 0, 0);
  board.trim_publish("out", 0);
  board.trim_ingest("never there", 0, 0);
  board.trim_publish("never there", 0);
  seen = look(board);
  EXPECT_THAT(seen.pipelines, IsEmpty());
  EXPECT_THAT(seen.publishes, IsEmpty());
  EXPECT_TRUE(ready(seen).ready);
}

TEST(board, what_is_drained_is_part_of_the_pipelines_account_and_of_no_shards) {
  board board;
  board.shard("in", 0)->apply({.received = 3, .committed = 3});
  board.retirement("in")->apply({.received = 5, .committed = 2, .dead_lettered = 1, .in_flight = 2});
  board.retirement("in")->show(7);
  const auto seen = look(board).pipelines.at(0);
  EXPECT_EQ(seen.account.received, 8u);
  EXPECT_TRUE(seen.account.balanced());
  EXPECT_EQ(seen.shards.at(0).account.received, 3u);
  EXPECT_EQ(seen.retirement.sessions, 7u);
  EXPECT_EQ(seen.retirement.drained.account.dead_lettered, 1u);
  EXPECT_THAT(unready_of(seen), ::testing::Not(::testing::Contains(::testing::HasSubstr("retir"))));
}

TEST(board, notes_what_an_operator_has_paused) {
  board board;
  const auto shard = board.shard("in", 1);
  const auto pipeline = board.publish("out");
  auto told = board.pause("", true);
  EXPECT_THAT(told.ingest, ElementsAre(std::pair{std::string{"in"}, 1u}));
  EXPECT_THAT(told.publish, ElementsAre("out"));
  EXPECT_TRUE(shard->paused() && pipeline->paused());
  EXPECT_THAT(told.retiring, ElementsAre("in"));
  EXPECT_TRUE(board.retirement("in")->paused());
  told = board.pause("out", false);
  EXPECT_THAT(told.ingest, IsEmpty());
  EXPECT_TRUE(shard->paused() && !pipeline->paused());
  told = board.pause("nobody", true);
  EXPECT_TRUE(told.ingest.empty() && told.publish.empty());
  EXPECT_EQ(look(board).pipelines.size(), 1u);
}

TEST(board, a_node_is_a_member_until_its_lease_is_over) {
  board board;
  const auto end = start + 3s;
  board.links()->membership({true, "", end});
  EXPECT_TRUE(board.snapshot(noon, end - 1ms).membership->member);
  const auto late = board.snapshot(noon, end);
  EXPECT_FALSE(late.membership->member);
  EXPECT_THAT(late.membership->reason, HasSubstr("its lease is over"));
  EXPECT_THAT(ready(late).reasons, testing::Contains(HasSubstr("the cluster: its lease is over")));
  board.links()->membership({true, "it was cut off", end});
  EXPECT_EQ(board.snapshot(noon, end).membership->reason, "it was cut off");
}

TEST(board, tells_how_the_configuration_was_read_again) {
  board board;
  EXPECT_EQ(look(board).configuration.reads, 0u);
  board.configuration_read(true, "one added", noon);
  board.configuration_read(false, "it is broken", noon);
  EXPECT_EQ(look(board).configuration.reads, 2u);
  EXPECT_FALSE(look(board).configuration.taken);
  EXPECT_EQ(look(board).configuration.outcome, "it is broken");
}

} // namespace penstock::telemetry
