// What the node knows of itself, for people: actors write here, and /metrics, /status, `penstock status` and the
// control topic read it. Lives as long as the process, so that a restarted actor goes on counting, and a stalled one
// can still be looked at. Thread-safe. Writers hold a shard_board or pipeline_board and look nothing up; calls are
// meant per burst and per commit, not per message.
#pragma once

#include "core/histogram.hpp"
#include "core/rate_meter.hpp"
#include "core/types.hpp"
#include "telemetry/alert_status.hpp"
#include "telemetry/component_status.hpp"
#include "telemetry/database_board.hpp"
#include "telemetry/link_board.hpp"
#include "telemetry/process.hpp"
#include "telemetry/publish_board.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::telemetry {

/// Changes to the conservation counters of one shard, made as one: nobody sees half of it.
struct account_delta {
  std::uint64_t received = 0;
  std::uint64_t committed = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t dead_lettered = 0;
  std::uint64_t in_flight = 0;   ///< not a delta: what the ack ledger holds after the change
  std::uint64_t incarnation = 0; ///< of `begin`; a former one is not heard any more. 0: whichever it is
};

/// received = committed + duplicate + dead_lettered + rejected + in_flight, if all is well.
struct account {
  std::uint64_t received = 0;
  std::uint64_t committed = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t dead_lettered = 0;
  std::map<std::string, std::uint64_t> rejected; ///< by reason
  std::uint64_t in_flight = 0;                   ///< measured, never computed as the difference

  std::uint64_t rejected_total() const;
  bool balanced() const;
  account& operator+=(const account& other);
  friend bool operator==(const account&, const account&) = default;
};

struct writer_status : worker_status {
  std::uint32_t lane = 0;
  bool alarm = false; ///< it has not been able to write for longer than alarm_after
  std::uint64_t queue_frames = 0;
  std::uint64_t queue_records = 0;
  std::uint64_t commits = 0;
  std::uint64_t commit_records = 0; ///< in all commits: rows, duplicates and letters
};

// What a reader gets: plain values.
// -------------------------------------------------------------------------------------

struct shard_status {
  std::uint32_t shard = 0;
  telemetry::account account;
  connection_status connection;
  bool paused = false;
  std::uint64_t credit = 0; ///< records that the writer is ready to take and that are not yet sent
  std::uint64_t unacknowledged_bytes = 0;
  std::chrono::milliseconds lag{0}; ///< age of the oldest unacknowledged message; 0: none
  double received_rate = 0;         ///< a second, over the last ten
  double committed_rate = 0;        ///< rows, duplicates and letters
};

/// Of sessions that no shard has any more.
struct retirement_status {
  std::uint64_t sessions = 0; ///< that are still to be ended
  shard_status drained;       ///< what comes of all of them; its number says nothing
};

struct pipeline_status {
  std::string name;
  telemetry::account account; ///< the sum over the shards and what is retired; of the shards rates, credit and bytes
  std::uint64_t credit = 0;
  std::uint64_t unacknowledged_bytes = 0;
  std::chrono::milliseconds lag{0}; ///< the longest of the shards
  double received_rate = 0;
  double committed_rate = 0;
  writer_status writer;               ///< of all lanes together: the worst state, and the sums
  std::vector<writer_status> writers; ///< by lane
  histogram latency;                  ///< arrival to commit, in microseconds, since the process started
  std::vector<shard_status> shards;   ///< by number
  retirement_status retirement;
};

struct actor_status {
  std::string name;
  std::string kind;
  bool alive = false;
  std::uint64_t restarts = 0;
  std::string last_failure; ///< why it last ended; stays after the restart; empty: it never failed
};

struct broker_status {
  std::string name;
  std::int64_t pid = 0; ///< 0: not running
  std::uint16_t port = 0;
};

struct database_status {
  std::string name;
  std::uint32_t connections = 0; ///< that the pipelines of the node have open
  std::optional<std::uint32_t> connections_max;
};

struct node_status {
  std::string name;
  std::string version;
  wall_time started;
};

/// How the configuration was read again while the process runs.
struct configuration_status {
  std::uint64_t reads = 0; ///< since the start
  std::optional<wall_time> read_at;
  bool taken = true;                           ///< false: the node goes on as it was before
  std::string outcome;                         ///< of the last time: what was changed, or what is wrong
  std::map<std::string, std::string> sections; ///< digests of what is in force (nodes/section_digests.hpp)
};

struct snapshot {
  wall_time taken;
  node_status node;
  configuration_status configuration;
  process_status process;
  std::vector<pipeline_status> pipelines; ///< the ingest ones; by name, as are the others
  std::vector<publish_status> publishes;
  std::vector<actor_status> actors;
  std::vector<broker_status> brokers; ///< the embedded ones
  std::vector<database_status> databases;
  std::optional<membership_status> membership; ///< nothing: there is no cluster
  std::vector<link_status> links;              ///< to the other nodes of the cluster
  std::vector<alert_status> alerts;            ///< all that there are rules for, by rule and pipeline
};

/// Ready: every shard of every pipeline is connected, and every writer and poller runs.
struct readiness {
  bool ready = true;
  std::vector<std::string> reasons; ///< what is not, one line each
};
readiness ready(const snapshot& snapshot);
/// What of one pipeline is not ready, one line each.
std::vector<std::string> unready_of(const pipeline_status& pipeline);
std::vector<std::string> unready_of(const publish_status& pipeline);

/// One JSON object; docs/operation.md lists its keys, which are stable.
std::string to_json(const snapshot& snapshot, int indent = -1);

// What writers hold.
// ----------------------------------------------------------------------------------------------------

/// Written by the ingestor of one shard.
class shard_board {
public:
  explicit shard_board(std::uint32_t shard);

  /// An ingestor starts, or starts again. What its former incarnation had in flight becomes rejected{reason}: the
  /// broker will deliver it again, and it will be received anew. The connection counts as down, credit and lag as none.
  /// Returns the number of this incarnation.
  std::uint64_t begin(std::string_view reason = "redelivery");
  /// The ingestor ends, as when its shard moves. What is not committed by then becomes rejected{redelivery}.
  void end();
  void apply(const account_delta& delta, monotonic now = std::chrono::steady_clock::now());
  /// A CONNACK; `session_lost`: the broker had forgotten a session that we had.
  void connected(bool session_present, bool session_lost, std::uint8_t protocol);
  void disconnected(std::string_view reason);
  void paused(bool paused);
  bool paused() const; ///< what was asked for last: an ingestor that starts again goes by it
  void credit(std::uint64_t records);
  /// What is delivered and not yet acknowledged: its size, and when the oldest of it arrived; nothing: 0 and nullopt.
  void unacknowledged(std::uint64_t bytes, std::optional<wall_time> oldest);

  shard_status status(wall_time now, monotonic now_monotonic) const;

private:
  void drop_in_flight(std::string_view reason); ///< with the mutex

  mutable std::mutex mutex_;
  shard_status status_;
  std::uint64_t incarnation_ = 0;
  std::optional<wall_time> oldest_;
  rate_meter received_;
  rate_meter committed_;
};

/// Written by the ingestor that retires a pipeline's sessions.
class retirement_board : public shard_board {
public:
  retirement_board() : shard_board(0) {}
  /// So many are still to be ended.
  void show(std::uint64_t sessions) { sessions_ = sessions; }
  std::uint64_t sessions() const { return sessions_; }

private:
  std::atomic<std::uint64_t> sessions_ = 0;
};

/// Written by the batch-writer of one lane.
class writer_board : public worker_board<writer_status> {
public:
  explicit writer_board(std::uint32_t lane);

  void running();
  void alarm(); ///< until it runs again
  void queue(std::uint64_t frames, std::uint64_t records);
  /// A commit of `records` rows, duplicates and letters.
  void commit(std::uint64_t records);

  writer_status status() const;
};

/// Written by the ingestors of one pipeline.
class pipeline_board {
public:
  /// `count` messages were committed that long after they arrived (all messages of a burst arrive at one time).
  void latency(std::chrono::microseconds arrival_to_commit, std::uint64_t count);
  histogram latency() const;

private:
  mutable std::mutex mutex_;
  histogram latency_;
};

class board {
public:
  explicit board(node_status node = {});
  ~board();
  board(const board&) = delete;
  board& operator=(const board&) = delete;

  /// Made on the first call, and from then on shown and asked for by `ready`: declare all of a pipeline's shards before
  /// its actors start.
  std::shared_ptr<pipeline_board> pipeline(const std::string& name);
  std::shared_ptr<writer_board> writer(const std::string& pipeline, std::uint32_t lane);
  std::shared_ptr<shard_board> shard(const std::string& pipeline, std::uint32_t shard);
  std::shared_ptr<retirement_board> retirement(const std::string& pipeline);
  std::shared_ptr<publish_board> publish(const std::string& pipeline);
  std::shared_ptr<publish_shard_board> publish_shard(const std::string& pipeline, std::uint32_t shard);

  std::shared_ptr<database_board> database(const std::string& name,
                                           std::optional<std::uint32_t> connections_max = std::nullopt);

  /// In a cluster: a shard or a lane runs here, or does not any more. Then it is not shown, but its account stays in
  /// its pipeline's.
  void place(const std::string& pipeline, std::uint32_t shard, bool here);
  void place_writer(const std::string& pipeline, std::uint32_t lane, bool here);
  /// Shards and writers from these numbers on are not shown any more; with no shards the pipeline as a whole.
  void trim_ingest(const std::string& pipeline, std::uint32_t shards, std::uint32_t writers);
  void trim_publish(const std::string& pipeline, std::uint32_t shards);

  /// Notes that an operator has paused the pipeline of this name, or all where it is empty; or that they go on.
  struct told {
    std::vector<std::pair<std::string, std::uint32_t>> ingest; ///< shards
    std::vector<std::string> retiring;                         ///< ingest pipelines
    std::vector<std::string> publish;
  };
  told pause(const std::string& pipeline, bool pause);

  /// An actor runs. The second `up` of a name and every later one is a restart.
  void actor_up(const std::string& name, std::string_view kind);
  /// It ended; `reason` is empty where it was meant to.
  void actor_down(const std::string& name, std::string_view reason);
  /// It does not come back, nor do those whose names begin with its own and a slash.
  void forget_actors(const std::string& name);

  /// Digests of the sections of the configuration that is in force.
  void configuration_in_force(std::map<std::string, std::string> sections);
  /// The configuration was read again.
  void configuration_read(bool taken, std::string outcome, wall_time now = wall_now());

  /// An embedded broker runs (pid) or not (0).
  void broker(const std::string& name, std::int64_t pid, std::uint16_t port);

  /// The agent writes there.
  std::shared_ptr<link_board> links() const { return links_; }

  /// From the alerter: what it last saw.
  void alerts(std::vector<alert_status> seen);

  telemetry::snapshot snapshot() const; ///< now
  telemetry::snapshot snapshot(wall_time now, monotonic now_monotonic) const;

private:
  struct pipeline_slot {
    std::shared_ptr<pipeline_board> pipeline;
    std::shared_ptr<retirement_board> retirement;
    std::map<std::uint32_t, std::shared_ptr<writer_board>> writers;
    std::map<std::uint32_t, std::shared_ptr<shard_board>> shards;
    std::set<std::uint32_t> writers_elsewhere;
    std::set<std::uint32_t> elsewhere; ///< shards
  };
  struct publish_slot {
    std::shared_ptr<publish_board> pipeline = std::make_shared<publish_board>();
    std::map<std::uint32_t, std::shared_ptr<publish_shard_board>> shards;
    std::set<std::uint32_t> elsewhere;
  };
  pipeline_slot& slot_of(const std::string& pipeline);
  static pipeline_status status_of(const std::string& name, const pipeline_slot& slot, wall_time now,
                                   monotonic now_monotonic);
  static publish_status status_of(const std::string& name, const publish_slot& slot, wall_time now,
                                  monotonic now_monotonic);

  const node_status node_;
  mutable std::mutex mutex_;
  configuration_status configuration_;
  std::map<std::string, pipeline_slot> pipelines_;
  std::map<std::string, publish_slot> publishes_;
  std::map<std::string, actor_status> actors_;
  std::map<std::string, broker_status> brokers_;
  std::map<std::string, std::shared_ptr<database_board>> databases_;
  std::shared_ptr<link_board> links_ = std::make_shared<link_board>();
  std::vector<alert_status> alerts_;
};

} // namespace penstock::telemetry
