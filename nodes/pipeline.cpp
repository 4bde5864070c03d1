#include "nodes/pipeline.hpp"

#include "actors/batch_writer.hpp"
#include "actors/embedded_broker.hpp"
#include "actors/ingestor.hpp"
#include "actors/mqtt_session.hpp"
#include "actors/presence.hpp"
#include "nodes/version.hpp"

#include <algorithm>

namespace penstock::nodes {

using namespace actors;

namespace {

supervisor_config supervised(const node_context& context, std::string name) {
  supervisor_config config;
  config.name = std::move(name);
  config.restarts_max = context.configuration.supervision.restarts_max;
  config.window = context.configuration.supervision.window;
  return config;
}

child_spec supervisor_of(node_context& context, supervisor_config config, std::vector<child_spec> children) {
  child_spec spec;
  spec.name = config.name;
  spec.kind = "supervisor";
  // Its children have their own time; this is for a supervisor that hangs.
  spec.stop_timeout = std::chrono::seconds{30};
  spec.start = [config = std::move(config), children = std::move(children),
                directory = &context.directory](caf::actor_system& system) -> caf::actor {
    return system.spawn(supervisor, config, children, directory);
  };
  return spec;
}

child_spec writer_of(node_context& context, const config::ingest& pipeline) {
  batch_writer_config config;
  config.name = pipeline.name + "/batch-writer";
  config.table = storage::table_of(pipeline);
  config.records_max = pipeline.batch.records_max;
  config.demand_max = std::max(2 * pipeline.batch.records_max, 1'000u);
  config.open = [database = context.configuration.databases.at(pipeline.database)] { return storage::open(database); };
  config.board = context.board.pipeline(pipeline.name);
  child_spec spec;
  spec.name = config.name;
  spec.kind = batch_writer_state::name;
  spec.start = [config](caf::actor_system& system) {
    return caf::actor_cast<caf::actor>(system.spawn<caf::detached>(batch_writer, config));
  };
  return spec;
}

child_spec ingestor_of(node_context& context, const config::ingest& pipeline, std::uint32_t shard) {
  ingestor_config config;
  config.name = pipeline.name + "/ingestor/" + std::to_string(shard);
  config.pipeline = pipeline;
  config.shard = shard;
  config.open_session = mqtt_sessions(context.io, context.configuration.brokers.at(pipeline.broker), pipeline, shard);
  config.board = context.board.shard(pipeline.name, shard);
  config.pipeline_board = context.board.pipeline(pipeline.name);
  child_spec spec;
  spec.name = config.name;
  spec.kind = ingestor_state::name;
  spec.start = [config](caf::actor_system& system) {
    return caf::actor_cast<caf::actor>(system.spawn(ingestor, config));
  };
  return spec;
}

void announce(const caf::actor& writer, const caf::actor& ingestor) {
  if (writer && ingestor)
    caf::anon_send(ingestor, messages::writer_atom_v, caf::actor_cast<caf::strong_actor_ptr>(writer));
}

} // namespace

child_spec ingest_pipeline(node_context& context, const config::ingest& pipeline) {
  std::vector<child_spec> children{writer_of(context, pipeline)};
  for (std::uint32_t shard = 0; shard < pipeline.shards; ++shard)
    children.push_back(ingestor_of(context, pipeline, shard));

  std::vector<std::string> ingestors;
  ingestors.reserve(pipeline.shards);
  for (std::size_t i = 1; i < children.size(); ++i)
    ingestors.push_back(children[i].name);
  auto config = supervised(context, pipeline.name);
  config.on_start = [writer = children.front().name, ingestors](const std::string& child, const auto& find) {
    if (child != writer)
      return announce(find(writer), find(child));
    for (const auto& each : ingestors)
      announce(find(writer), find(each));
  };
  return supervisor_of(context, std::move(config), std::move(children));
}

caf::actor start_root(caf::actor_system& system, node_context& context) {
  std::vector<child_spec> children;
  children.reserve(context.embedded_brokers.size() + context.configuration.ingest.size() + 1);
  for (const auto& [name, process] : context.embedded_brokers)
    children.push_back(embedded_broker_child(name, process, context.board));
  for (const auto& [unused, pipeline] : context.configuration.ingest)
    children.push_back(ingest_pipeline(context, pipeline));
  if (context.configuration.control)
    children.push_back(presence_child(
      {context.node_id, std::string{version()}, context.configuration, &context.board, &context.directory}));
  auto config = supervised(context, "root");
  return system.spawn(supervisor, std::move(config), std::move(children), &context.directory);
}

} // namespace penstock::nodes
