// The keys here are an interface: docs/operation.md lists them, and scripts read them. Only add.
#include "telemetry/board.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace penstock::telemetry {

namespace {

using json = nlohmann::ordered_json;

std::string rfc3339(wall_time time) {
  const auto second = std::chrono::floor<std::chrono::seconds>(time);
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time - second).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(second)),
                     milliseconds);
}

double one_decimal(double value) { return std::round(value * 10) / 10; }

json of(const account& account) {
  json rejected = json::object();
  for (const auto& [reason, count] : account.rejected)
    rejected[reason] = count;
  return {{"received", account.received},           {"committed", account.committed}, {"duplicate", account.duplicate},
          {"dead_lettered", account.dead_lettered}, {"rejected", rejected},           {"in_flight", account.in_flight},
          {"balanced", account.balanced()}};
}

json of(const shard_status& shard) {
  const auto& connection = shard.connection;
  return {{"shard", shard.shard},
          {"account", of(shard.account)},
          {"connected", connection.connected},
          {"connection_reason", connection.reason},
          {"session_present", connection.session_present},
          {"protocol", connection.protocol},
          {"connects", connection.connects},
          {"sessions_lost", connection.sessions_lost},
          {"paused", shard.paused},
          {"credit", shard.credit},
          {"unacknowledged_bytes", shard.unacknowledged_bytes},
          {"lag_ms", shard.lag.count()},
          {"received_per_second", one_decimal(shard.received_rate)},
          {"committed_per_second", one_decimal(shard.committed_rate)}};
}

json of(const retirement_status& retirement) {
  const auto& drained = retirement.drained;
  return {{"sessions", retirement.sessions},
          {"connected", drained.connection.connected},
          {"connection_reason", drained.connection.reason},
          {"account", of(drained.account)}};
}

json of(const writer_status& writer) {
  return {{"lane", writer.lane},
          {"state", name_of(writer.state)},
          {"reason", writer.reason},
          {"alarm", writer.alarm},
          {"queue_frames", writer.queue_frames},
          {"queue_records", writer.queue_records},
          {"commits", writer.commits},
          {"commit_records", writer.commit_records},
          {"last_error", writer.last_error},
          {"last_error_at", writer.last_error_at ? json(rfc3339(*writer.last_error_at)) : json(nullptr)}};
}

json of(const link_status& link) {
  return {{"address", link.address},
          {"up", link.up},
          {"reason", link.reason},
          {"since", link.since ? json(rfc3339(*link.since)) : json(nullptr)},
          {"version", link.version}};
}

json of(const histogram& latency) {
  const auto milliseconds = [](std::uint64_t microseconds) { return static_cast<double>(microseconds) / 1'000; };
  return {{"count", latency.count()},
          {"p50", milliseconds(latency.percentile(0.5))},
          {"p90", milliseconds(latency.percentile(0.9))},
          {"p99", milliseconds(latency.percentile(0.99))},
          {"max", milliseconds(latency.max())}};
}

json of(const pipeline_status& pipeline) {
  json shards = json::array();
  for (const auto& shard : pipeline.shards)
    shards.push_back(of(shard));
  json writer = nullptr;
  if (!pipeline.writers.empty()) {
    writer = of(pipeline.writer);
    writer.erase("lane");
  }
  json writers = json::array();
  for (const auto& lane : pipeline.writers)
    writers.push_back(of(lane));
  return {{"account", of(pipeline.account)},
          {"received_per_second", one_decimal(pipeline.received_rate)},
          {"committed_per_second", one_decimal(pipeline.committed_rate)},
          {"lag_ms", pipeline.lag.count()},
          {"credit", pipeline.credit},
          {"unacknowledged_bytes", pipeline.unacknowledged_bytes},
          {"latency_ms", of(pipeline.latency)},
          {"writer", writer},
          {"writers", writers},
          {"shards", shards},
          {"retirement", of(pipeline.retirement)}};
}

json of(const publish_account& account) {
  return {{"claimed", account.claimed}, {"sent", account.sent},           {"refused", account.refused},
          {"held", account.held},       {"in_flight", account.in_flight}, {"balanced", account.balanced()}};
}

json of(const publish_shard_status& shard) {
  const auto& connection = shard.connection;
  return {{"shard", shard.shard},
          {"account", of(shard.account)},
          {"reclaimed", shard.reclaimed},
          {"connected", connection.connected},
          {"connection_reason", connection.reason},
          {"session_present", connection.session_present},
          {"protocol", connection.protocol},
          {"connects", connection.connects},
          {"sessions_lost", connection.sessions_lost},
          {"window", shard.window},
          {"backlog", shard.backlog},
          {"sent_per_second", one_decimal(shard.sent_rate)},
          {"lag_ms", of(shard.lag)}};
}

/// null where queries find the rows.
json slot_of(const publish_status& pipeline) {
  if (pipeline.slot.empty())
    return nullptr;
  return {{"name", pipeline.slot}, {"lag_bytes", pipeline.slot_lag_bytes}, {"lost", pipeline.slots_lost}};
}

json of(const publish_status& pipeline) {
  json shards = json::array();
  for (const auto& shard : pipeline.shards)
    shards.push_back(of(shard));
  return {{"account", of(pipeline.account)},
          {"state", name_of(pipeline.state)},
          {"reason", pipeline.reason},
          {"paused", pipeline.paused},
          {"last_error", pipeline.last_error},
          {"last_error_at", pipeline.last_error_at ? json(rfc3339(*pipeline.last_error_at)) : json(nullptr)},
          {"sent_per_second", one_decimal(pipeline.sent_rate)},
          {"lag_ms", of(pipeline.lag)},
          {"oldest_ms", pipeline.oldest.count()},
          {"backlog", pipeline.backlog},
          {"reclaimed", pipeline.reclaimed},
          {"repeats_avoided", pipeline.repeats_avoided},
          {"found_late", pipeline.found_late},
          {"gaps", pipeline.gaps},
          {"gaps_given_up", pipeline.gaps_given_up},
          {"slot", slot_of(pipeline)},
          {"polls", pipeline.polls},
          {"commits", pipeline.commits},
          {"tracking_rows", pipeline.tracking_rows},
          {"shards", shards}};
}

json of(const alert_status& alert) {
  return {{"rule", alert.rule},     {"pipeline", alert.pipeline},    {"state", name_of(alert.state)},
          {"metric", alert.metric}, {"value", alert.value},          {"threshold", alert.threshold},
          {"unit", alert.unit},     {"since", rfc3339(alert.since)}, {"text", alert.text}};
}

} // namespace

std::string to_json(const alert_status& alert, std::string_view node) {
  json payload{{"node", node}};
  payload.update(of(alert));
  return payload.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string to_json(const snapshot& snapshot, int indent) {
  const auto& node = snapshot.node;
  const auto verdict = ready(snapshot);
  bool balanced = true;
  json pipelines = json::object();
  for (const auto& pipeline : snapshot.pipelines) {
    pipelines[pipeline.name] = of(pipeline);
    balanced = balanced && pipeline.account.balanced();
  }
  json publishes = json::object();
  for (const auto& pipeline : snapshot.publishes) {
    publishes[pipeline.name] = of(pipeline);
    balanced = balanced && pipeline.account.balanced();
  }
  json alerts = json::array();
  for (const auto& alert : snapshot.alerts)
    if (alert.state == alert_state::raised)
      alerts.push_back(of(alert));
  json databases = json::object();
  for (const auto& database : snapshot.databases)
    databases[database.name] = {
      {"connections", database.connections},
      {"connections_max", database.connections_max ? json(*database.connections_max) : json(nullptr)}};
  json actors = json::object();
  for (const auto& actor : snapshot.actors)
    actors[actor.name] = {
      {"kind", actor.kind}, {"alive", actor.alive}, {"restarts", actor.restarts}, {"last_failure", actor.last_failure}};
  json brokers = json::object();
  for (const auto& broker : snapshot.brokers)
    brokers[broker.name] = {{"pid", broker.pid}, {"port", broker.port}};
  json links = json::object();
  for (const auto& link : snapshot.links)
    links[link.peer] = of(link);
  json cluster = {{"links", links}};
  if (snapshot.membership) {
    cluster["member"] = snapshot.membership->member;
    cluster["reason"] = snapshot.membership->reason;
  }
  const auto uptime = std::chrono::duration<double>(snapshot.taken - node.started).count();
  const auto& read = snapshot.configuration;
  const json configuration = {{"reads", read.reads},
                              {"read_at", read.read_at ? json(rfc3339(*read.read_at)) : json(nullptr)},
                              {"taken", read.taken},
                              {"outcome", read.outcome},
                              {"sections", read.sections}};
  const json status = {{"node",
                        {{"name", node.name},
                         {"version", node.version},
                         {"started", rfc3339(node.started)},
                         {"uptime_seconds", one_decimal(uptime)},
                         {"pid", snapshot.process.pid},
                         {"cpu_seconds", snapshot.process.cpu_seconds},
                         {"resident_bytes", snapshot.process.resident_bytes}}},
                       {"configuration", configuration},
                       {"taken", rfc3339(snapshot.taken)},
                       {"ready", verdict.ready},
                       {"not_ready", verdict.reasons},
                       {"balanced", balanced},
                       {"alerts", alerts},
                       {"pipelines", pipelines},
                       {"publish", publishes},
                       {"actors", actors},
                       {"brokers", brokers},
                       {"cluster", cluster},
                       {"databases", databases}};
  // Reasons quote what peers sent, which need not be UTF-8.
  return status.dump(indent, ' ', false, json::error_handler_t::replace);
}

} // namespace penstock::telemetry
