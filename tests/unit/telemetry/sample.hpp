// A node in which something of everything has happened.
#pragma once

#include "telemetry/board.hpp"

namespace penstock::telemetry {

inline snapshot sample() {
  using namespace std::chrono_literals;
  const wall_time noon{std::chrono::sys_days{std::chrono::year{2026} / 3 / 1} + 12h};
  const monotonic start{1'000s};
  board board{{.name = "a", .version = "1.2.3", .started = noon - 90s}};
  const auto first = board.shard("telemetry", 0);
  first->apply({.received = 1'234'567, .in_flight = 67}, start);
  first->begin();
  first->apply({.received = 67, .committed = 1'234'000, .duplicate = 400, .dead_lettered = 100, .in_flight = 67},
               start);
  first->connected(true, false, 5);
  first->credit(5'000);
  first->unacknowledged(123'456, noon - 1'250ms);
  const auto second = board.shard("telemetry", 1);
  second->connected(false, true, 4);
  second->disconnected("connection_lost: reset by \"peer\"\n");
  const auto writer = board.writer("telemetry", 0);
  writer->waiting("database_busy: locked");
  writer->queue(2, 400);
  writer->commit(1'234'500);
  board.pipeline("telemetry")->latency(3ms, 1'234'000);
  board.pipeline("telemetry")->latency(40ms, 500);
  writer->failed("database_busy: locked", noon - 1s);
  board.retirement("telemetry")->show(3);
  board.actor_up("telemetry/ingestor/0", "ingestor");
  board.actor_down("telemetry/ingestor/0", "killed");
  board.actor_up("telemetry/ingestor/0", "ingestor");
  board.actor_up("telemetry/writer", "batch-writer");
  board.broker("main", 4711, 1883);
  board.links()->peer("b", "10.0.0.2:7001");
  board.links()->up("b", 1, noon - std::chrono::seconds{30});
  board.links()->peer("c", "10.0.0.3:7001");
  board.links()->down("c", "no answer in time", noon);
  board.links()->membership({false, "the state database is away"});
  const auto sent = board.publish_shard("TableA", 0);
  sent->connected(true, 5);
  sent->window(1'000);
  sent->backlog(12);
  sent->apply({.claimed = 1'234'567, .sent = 1'234'000, .refused = 60, .held = 7, .reclaimed = 5, .in_flight = 500},
              start);
  board.publish_shard("TableA", 1)->apply({.claimed = 10, .sent = 10}, start);
  board.publish_shard("TableA", 1)->disconnected("connection_lost: reset");
  const auto poller = board.publish("TableA");
  poller->waiting("database_busy: locked");
  poller->failed("database_busy: locked", noon - 1s);
  poller->polled(3, 1);
  poller->found_late(42);
  poller->repeats_avoided(4);
  poller->committed();
  poller->slot("penstock_1_tablea_2", 3u << 20);
  poller->slot_lost();
  poller->oldest(noon - 2'500ms);
  poller->tracking_rows(12'345'678);
  sent->lag(3ms);
  board.publish_shard("TableA", 1)->lag(40ms);
  const auto open = board.database("plant", 20)->opened();
  board.database("file");
  board.alerts({{.rule = "slow",
                 .pipeline = "TableA",
                 .metric = "lag",
                 .state = alert_state::raised,
                 .value = 7'200,
                 .threshold = 5'000,
                 .unit = "ms",
                 .since = noon - 3s,
                 .text = "lag 7.2 s, over 5s"},
                {.rule = "failing",
                 .pipeline = "TableA",
                 .metric = "failure_rate",
                 .state = alert_state::cleared,
                 .value = 0,
                 .threshold = 1,
                 .unit = "percent",
                 .since = noon - 60s,
                 .text = "failure_rate 0.00 %, not over 1%"}});
  auto taken = board.snapshot(noon, start);
  taken.process = {.pid = 42, .cpu_seconds = 1.5, .resident_bytes = 12'345'678};
  return taken;
}

} // namespace penstock::telemetry
