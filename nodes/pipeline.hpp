// The supervision tree and the wiring of a node: read this first.
//
//   root                          one_for_one; stops all its children together
//   ├── broker/NAME               embedded mosquitto, for each that is configured
//   ├── NAME                      an ingest pipeline: one_for_one
//   │   ├── NAME/batch-writer/0   one connection to the database a lane, a thread of its own
//   │   ├── NAME/ingestor/0       one MQTT session a shard
//   │   ├── NAME/ingestor/1 ...
//   │   ├── NAME/ingestor/retiring  ends sessions that no shard has any more
//   │   └── NAME/archiver         deletes what is older than `retention`, where configured
//   ├── NAME                      a publish pipeline: one_for_one
//   │   ├── NAME/poller           reads the source and writes the tracking table, a thread of its own
//   │   ├── NAME/publisher/0      one MQTT session a shard
//   │   ├── NAME/publisher/1 ...
//   │   └── NAME/archiver         counts the tracking records, and moves old ones to the archive, where configured
//   ├── presence                  status and control topic, where configured
//   ├── presence/alerts           alert topics, where they have another broker
//   └── alerter                   holds what the board shows against the alert rules
//
// A configuration that is read again (node::reload) has the root stop and start the pipelines that have changed.
//
// A child that fails is restarted alone, and announced to its siblings: ingestors keep what they hold when a
// batch-writer fails, and send it again to the next one; publishers begin anew with a new poller, from what is
// committed. A pipeline that keeps failing fails as a whole, and is
// restarted by the root; a root that keeps failing ends the process (exit code 70).
#pragma once

#include "actors/directory.hpp"
#include "actors/supervisor.hpp"
#include "cluster/leases.hpp"
#include "config/config.hpp"
#include "mqtt/client.hpp"
#include "mqtt/embedded_broker.hpp"
#include "telemetry/board.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace penstock::nodes {

/// What actors share; outlives the actor system's actors. A copy is cheap, and stays with its configuration.
struct node_context {
  std::shared_ptr<const config::configuration> configuration; ///< in force; embedded brokers have their ports
  /// The one in force by then: pipelines that a reload does not touch stay with theirs.
  std::function<std::shared_ptr<const config::configuration>()> configuration_now;
  std::string node_id; ///< nodes/run_file.hpp
  telemetry::board& board;
  mqtt::io_thread& io;
  actors::actor_directory& directory;
  std::map<std::string, std::shared_ptr<mqtt::embedded_broker>> embedded_brokers;
  std::shared_ptr<cluster::leases> leases; ///< null: there is no cluster, and all shards run here

  bool runs(const storage::shard_id& shard) const { return !leases || leases->owns(shard); }
};

/// The supervisor of one ingest pipeline.
actors::child_spec ingest_pipeline(const node_context& context, const config::ingest& pipeline);

/// The supervisor of one publish pipeline.
actors::child_spec publish_pipeline(const node_context& context, const config::publish& pipeline);

/// The children of a pipeline's supervisor that run a shard, or a lane (cluster/shards.hpp).
std::vector<actors::child_spec> children_of(const node_context& context, const storage::shard_id& shard);

/// "presence", "presence/alerts" and "alerter", as far as the configuration has them.
std::vector<actors::child_spec> watchers(const node_context& context);

/// The whole tree; `last` is started last, and ended first.
caf::actor start_root(caf::actor_system& system, const node_context& context,
                      std::vector<actors::child_spec> last = {});

} // namespace penstock::nodes
