#include "telemetry/metrics.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <deque>
#include <limits>
#include <utility>

namespace penstock::telemetry {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using label_list = std::vector<ClientMetric::Label>;

/// One family of counters or gauges. The board has the values: nothing is counted twice, and there is no global
/// registry.
class family {
public:
  family(std::string name, std::string help, MetricType type) {
    family_.name = std::move(name);
    family_.help = std::move(help);
    family_.type = type;
  }

  void add(label_list labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (family_.type == MetricType::Counter)
      metric.counter.value = value;
    else
      metric.gauge.value = value;
    family_.metric.push_back(std::move(metric));
  }

  void add(label_list labels, std::uint64_t value) { add(std::move(labels), static_cast<double>(value)); }
  void add(label_list labels, bool value) { add(std::move(labels), value ? 1.0 : 0.0); }

  /// Of microseconds, in seconds.
  void add(label_list labels, const histogram& values) {
    static constexpr std::array<std::uint64_t, 14> bounds{500,       1'000,     2'500,      5'000,      10'000,
                                                          25'000,    50'000,    100'000,    250'000,    1'000'000,
                                                          2'500'000, 5'000'000, 30'000'000, 300'000'000};
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.histogram.sample_count = values.count();
    metric.histogram.sample_sum = values.sum() * 1e-6;
    for (const auto bound : bounds)
      metric.histogram.bucket.push_back({values.count_at_most(bound), static_cast<double>(bound) * 1e-6});
    metric.histogram.bucket.push_back({values.count(), std::numeric_limits<double>::infinity()});
    family_.metric.push_back(std::move(metric));
  }

  MetricFamily take() { return std::move(family_); }

private:
  MetricFamily family_;
};

/// Families in the order in which they are asked for.
class exposition {
public:
  family& counter(std::string name, std::string help) {
    return families_.emplace_back(std::move(name), std::move(help), MetricType::Counter);
  }
  family& gauge(std::string name, std::string help) {
    return families_.emplace_back(std::move(name), std::move(help), MetricType::Gauge);
  }
  family& histogram(std::string name, std::string help) {
    return families_.emplace_back(std::move(name), std::move(help), MetricType::Histogram);
  }

  std::string text() {
    std::vector<MetricFamily> filled;
    for (auto& one : families_)
      if (auto metrics = one.take(); !metrics.metric.empty())
        filled.push_back(std::move(metrics));
    return prometheus::TextSerializer{}.Serialize(filled);
  }

private:
  std::deque<family> families_; // references stay valid
};

/// One metric of a pipeline's shards, by pipeline and shard.
template <class Value>
void add_by_shard(family& family, const snapshot& snapshot, Value value) {
  for (const auto& pipeline : snapshot.pipelines)
    for (const auto& shard : pipeline.shards)
      family.add(label_list{{"pipeline", pipeline.name}, {"shard", std::to_string(shard.shard)}}, value(shard));
}

template <class Value>
void add_by_pipeline(family& family, const snapshot& snapshot, Value value) {
  for (const auto& pipeline : snapshot.pipelines)
    family.add(label_list{{"pipeline", pipeline.name}}, value(pipeline));
}

void add_account(exposition& out, const snapshot& snapshot) {
  add_by_shard(out.counter("penstock_received_total", "Messages that entered"), snapshot,
               [](const shard_status& shard) { return shard.account.received; });
  add_by_shard(out.counter("penstock_committed_total", "Messages whose row is committed"), snapshot,
               [](const shard_status& shard) { return shard.account.committed; });
  add_by_shard(out.counter("penstock_duplicate_total", "Messages whose row was there already"), snapshot,
               [](const shard_status& shard) { return shard.account.duplicate; });
  add_by_shard(out.counter("penstock_dead_lettered_total", "Messages that were committed as dead letters"), snapshot,
               [](const shard_status& shard) { return shard.account.dead_lettered; });
  auto& rejected = out.counter("penstock_rejected_total", "Messages that were given up, by reason");
  for (const auto& pipeline : snapshot.pipelines)
    for (const auto& shard : pipeline.shards)
      for (const auto& [reason, count] : shard.account.rejected)
        rejected.add({{"pipeline", pipeline.name}, {"shard", std::to_string(shard.shard)}, {"reason", reason}}, count);
  add_by_shard(out.gauge("penstock_in_flight", "Messages received and not yet accounted for"), snapshot,
               [](const shard_status& shard) { return shard.account.in_flight; });
}

void add_shards(exposition& out, const snapshot& snapshot) {
  add_by_shard(out.gauge("penstock_lag_seconds", "Age of the oldest unacknowledged message"), snapshot,
               [](const shard_status& shard) { return std::chrono::duration<double>(shard.lag).count(); });
  add_by_shard(out.gauge("penstock_unacknowledged_bytes", "Size of the unacknowledged messages"), snapshot,
               [](const shard_status& shard) { return shard.unacknowledged_bytes; });
  add_by_shard(out.gauge("penstock_credit", "Records that the writer is ready to take"), snapshot,
               [](const shard_status& shard) { return shard.credit; });
  add_by_shard(out.gauge("penstock_connected", "1 while the session with the broker is connected"), snapshot,
               [](const shard_status& shard) { return shard.connection.connected; });
  add_by_shard(out.gauge("penstock_paused", "1 while the shard is paused by an operator"), snapshot,
               [](const shard_status& shard) { return shard.paused; });
  add_by_shard(out.counter("penstock_connects_total", "Connections made to the broker"), snapshot,
               [](const shard_status& shard) { return shard.connection.connects; });
  add_by_shard(out.counter("penstock_sessions_lost_total", "Connections where the broker had forgotten the session"),
               snapshot, [](const shard_status& shard) { return shard.connection.sessions_lost; });
}

void add_retirement(exposition& out, const snapshot& snapshot) {
  add_by_pipeline(out.gauge("penstock_sessions_retiring", "MQTT sessions that no shard has any more, to be ended"),
                  snapshot, [](const pipeline_status& pipeline) { return pipeline.retirement.sessions; });
  add_by_pipeline(out.counter("penstock_drained_total", "Messages that came from such sessions; no shard counts them"),
                  snapshot,
                  [](const pipeline_status& pipeline) { return pipeline.retirement.drained.account.received; });
}

void add_writers(exposition& out, const snapshot& snapshot) {
  auto& state = out.gauge("penstock_writer_state", "1 for the state that the writer is in, 0 for the others");
  for (const auto& pipeline : snapshot.pipelines)
    if (!pipeline.writers.empty()) // of a cluster's nodes not all have one
      for (const auto one : {writer_state::running, writer_state::waiting, writer_state::stopped})
        state.add({{"pipeline", pipeline.name}, {"state", std::string{name_of(one)}}}, pipeline.writer.state == one);
  add_by_pipeline(
    out.gauge("penstock_writer_alarm", "1 while a writer has been unable to write for longer than alarm_after"),
    snapshot, [](const pipeline_status& pipeline) { return std::uint64_t{pipeline.writer.alarm}; });
  add_by_pipeline(out.gauge("penstock_writer_queue_frames", "Frames that wait for the writer"), snapshot,
                  [](const pipeline_status& pipeline) { return pipeline.writer.queue_frames; });
  add_by_pipeline(out.gauge("penstock_writer_queue_records", "Records that wait for the writer"), snapshot,
                  [](const pipeline_status& pipeline) { return pipeline.writer.queue_records; });
  add_by_pipeline(out.counter("penstock_commits_total", "Transactions committed"), snapshot,
                  [](const pipeline_status& pipeline) { return pipeline.writer.commits; });
  add_by_pipeline(out.counter("penstock_commit_records_total", "Records in the transactions committed"), snapshot,
                  [](const pipeline_status& pipeline) { return pipeline.writer.commit_records; });
  add_by_pipeline(out.histogram("penstock_commit_latency_seconds", "From a message's arrival to its commit"), snapshot,
                  [](const pipeline_status& pipeline) -> const histogram& { return pipeline.latency; });
}

template <class Value>
void add_by_publish_shard(family& family, const snapshot& snapshot, Value value) {
  for (const auto& pipeline : snapshot.publishes)
    for (const auto& shard : pipeline.shards)
      family.add(label_list{{"pipeline", pipeline.name}, {"shard", std::to_string(shard.shard)}}, value(shard));
}

template <class Value>
void add_by_publish(family& family, const snapshot& snapshot, Value value) {
  for (const auto& pipeline : snapshot.publishes)
    family.add(label_list{{"pipeline", pipeline.name}}, value(pipeline));
}

void add_publish_shards(exposition& out, const snapshot& snapshot) {
  using shard = publish_shard_status;
  add_by_publish_shard(out.counter("penstock_publish_claimed_total", "Rows that were claimed to be published"),
                       snapshot, [](const shard& one) { return one.account.claimed; });
  add_by_publish_shard(out.counter("penstock_publish_sent_total", "Rows that the broker has acknowledged"), snapshot,
                       [](const shard& one) { return one.account.sent; });
  add_by_publish_shard(out.counter("penstock_publish_refused_total", "Rows that can never be published, or that the"
                                                                     " broker refused"),
                       snapshot, [](const shard& one) { return one.account.refused; });
  add_by_publish_shard(out.counter("penstock_publish_held_total", "Rows whose outcome is unknown and that are held"),
                       snapshot, [](const shard& one) { return one.account.held; });
  add_by_publish_shard(out.counter("penstock_publish_reclaimed_total", "Rows that were sent again under a new claim"),
                       snapshot, [](const shard& one) { return one.reclaimed; });
  add_by_publish_shard(out.gauge("penstock_publish_in_flight", "Claims whose handshake is open"), snapshot,
                       [](const shard& one) { return one.account.in_flight; });
  add_by_publish_shard(out.gauge("penstock_publish_window", "Claims that the session allows to be in flight"), snapshot,
                       [](const shard& one) { return std::uint64_t{one.window}; });
  add_by_publish_shard(out.gauge("penstock_publish_backlog", "Rows that are read and not yet claimed"), snapshot,
                       [](const shard& one) { return one.backlog; });
  add_by_publish_shard(out.gauge("penstock_publish_connected", "1 while the session with the broker is connected"),
                       snapshot, [](const shard& one) { return one.connection.connected; });
  add_by_publish_shard(out.counter("penstock_publish_sessions_lost_total", "Connections where the broker had forgotten"
                                                                           " the session"),
                       snapshot, [](const shard& one) { return one.connection.sessions_lost; });
  add_by_publish_shard(out.histogram("penstock_publish_lag_seconds", "From a row's `order` to the broker's"
                                                                     " acknowledgement"),
                       snapshot, [](const shard& one) -> const histogram& { return one.lag; });
}

void add_publishes(exposition& out, const snapshot& snapshot) {
  add_publish_shards(out, snapshot);
  auto& state = out.gauge("penstock_poller_state", "1 for the state that the poller is in, 0 for the others");
  for (const auto& pipeline : snapshot.publishes)
    for (const auto one : {writer_state::running, writer_state::waiting, writer_state::stopped})
      state.add({{"pipeline", pipeline.name}, {"state", std::string{name_of(one)}}}, pipeline.state == one);
  add_by_publish(out.counter("penstock_poller_repeats_avoided_total", "Rows that were read again and are tracked"),
                 snapshot, [](const publish_status& one) { return one.repeats_avoided; });
  add_by_publish(out.counter("penstock_poller_found_late_total", "Rows that became visible after rows behind them"),
                 snapshot, [](const publish_status& one) { return one.found_late; });
  add_by_publish(
    out.gauge("penstock_publish_oldest_seconds", "Age of the oldest row that is read and not acknowledged"), snapshot,
    [](const publish_status& one) { return std::chrono::duration<double>(one.oldest).count(); });
  add_by_publish(out.gauge("penstock_poller_gaps", "Ranges of ids that are waited for"), snapshot,
                 [](const publish_status& one) { return one.gaps; });
  add_by_publish(out.gauge("penstock_publish_slot_lag_bytes", "Of the source's log, that its server keeps for the"
                                                              " replication slot"),
                 snapshot, [](const publish_status& one) { return one.slot_lag_bytes; });
  add_by_publish(out.counter("penstock_publish_slots_lost_total", "Replication slots that had to be made anew"),
                 snapshot, [](const publish_status& one) { return one.slots_lost; });
  add_by_publish(out.counter("penstock_poller_polls_total", "Looks at the source table"), snapshot,
                 [](const publish_status& one) { return one.polls; });
  add_by_publish(out.counter("penstock_poller_commits_total", "Transactions of the tracking table"), snapshot,
                 [](const publish_status& one) { return one.commits; });
  add_by_publish(out.gauge("penstock_publish_tracking_rows", "Records in the tracking table"), snapshot,
                 [](const publish_status& one) { return one.tracking_rows; });
}

void add_node(exposition& out, const snapshot& snapshot) {
  auto& restarts = out.counter("penstock_actor_restarts_total", "Restarts of an actor");
  auto& alive = out.gauge("penstock_actor_alive", "1 while the actor runs");
  for (const auto& actor : snapshot.actors) {
    restarts.add({{"actor", actor.name}}, actor.restarts);
    alive.add({{"actor", actor.name}}, actor.alive);
  }
  auto& connections = out.gauge("penstock_database_connections", "Connections that the pipelines have open");
  auto& connections_max = out.gauge("penstock_database_connections_max", "As configured; of servers");
  for (const auto& database : snapshot.databases) {
    connections.add({{"database", database.name}}, std::uint64_t{database.connections});
    if (database.connections_max)
      connections_max.add({{"database", database.name}}, std::uint64_t{*database.connections_max});
  }
  auto& raised = out.gauge("penstock_alerts_raised", "1 while the alert is raised");
  for (const auto& alert : snapshot.alerts)
    raised.add({{"rule", alert.rule}, {"pipeline", alert.pipeline}}, alert.state == alert_state::raised);
  auto& broker = out.gauge("penstock_broker_running", "1 while the embedded broker runs");
  for (const auto& one : snapshot.brokers)
    broker.add({{"broker", one.name}}, one.pid != 0);
  if (snapshot.membership)
    out.gauge("penstock_cluster_member", "1 while the node's lease in the cluster lasts")
      .add({}, snapshot.membership->member);
  auto& link = out.gauge("penstock_link_up", "1 while there is a link to the node");
  for (const auto& one : snapshot.links)
    link.add({{"peer", one.peer}}, one.up);
  out.gauge("penstock_ready", "1 while every shard is connected and every writer runs").add({}, ready(snapshot).ready);
  out.gauge("penstock_configuration_taken", "0 while the configuration that was read last has problems")
    .add({}, snapshot.configuration.taken);
  out.gauge("penstock_build_info", "Always 1; the labels say what runs")
    .add({{"version", snapshot.node.version}, {"node", snapshot.node.name}}, 1.0);
  out.counter("process_cpu_seconds_total", "User and system CPU time").add({}, snapshot.process.cpu_seconds);
  out.gauge("process_resident_memory_bytes", "Resident memory").add({}, snapshot.process.resident_bytes);
  out.gauge("process_start_time_seconds", "Start of the process since 1970")
    .add({}, std::chrono::duration<double>(snapshot.node.started.time_since_epoch()).count());
}

} // namespace

std::string to_prometheus(const snapshot& snapshot) {
  exposition out;
  add_account(out, snapshot);
  add_shards(out, snapshot);
  add_retirement(out, snapshot);
  add_writers(out, snapshot);
  if (!snapshot.publishes.empty())
    add_publishes(out, snapshot);
  add_node(out, snapshot);
  return out.text();
}

} // namespace penstock::telemetry
