#include "nodes/pipeline.hpp"

#include "actors/alerter.hpp"
#include "actors/archiver.hpp"
#include "actors/batch_writer.hpp"
#include "actors/embedded_broker.hpp"
#include "actors/ingestor.hpp"
#include "actors/mqtt_session.hpp"
#include "actors/pipeline_actors.hpp"
#include "actors/poller.hpp"
#include "actors/presence.hpp"
#include "actors/publisher.hpp"
#include "cluster/shards.hpp"
#include "config/session_fate.hpp"
#include "nodes/version.hpp"
#include "storage/read_ahead.hpp"
#include "storage/tracking_archive.hpp"

#include <algorithm>
#include <iterator>

namespace penstock::nodes {

using namespace actors;

namespace {

supervisor_config supervised(const node_context& context, std::string name) {
  supervisor_config config;
  config.name = std::move(name);
  config.restarts_max = context.configuration->supervision.restarts_max;
  config.window = context.configuration->supervision.window;
  return config;
}

/// `children` is asked at each start: in a cluster, shards come and go.
child_spec supervisor_of(const node_context& context, supervisor_config config,
                         std::function<std::vector<child_spec>()> children) {
  child_spec spec;
  spec.name = config.name;
  spec.kind = "supervisor";
  // Its children have their own time; this is for a supervisor that hangs.
  spec.stop_timeout = std::chrono::seconds{30};
  spec.start = [config = std::move(config), children = std::move(children),
                directory = &context.directory](caf::actor_system& system) -> caf::actor {
    return system.spawn(supervisor, config, children(), directory);
  };
  return spec;
}

/// An actor that is started with its configuration. `Options`: caf::detached for one with a thread of its own.
template <class State, caf::spawn_options Options = caf::no_spawn_options, class Behaviour, class Config>
child_spec child_of(Behaviour behaviour, Config config) {
  child_spec spec;
  spec.name = config.name;
  spec.kind = State::name;
  spec.start = [behaviour, config = std::move(config)](caf::actor_system& system) {
    return caf::actor_cast<caf::actor>(system.spawn<Options>(behaviour, config));
  };
  return spec;
}

child_spec writer_of(const node_context& context, const config::ingest& pipeline, std::uint32_t lane) {
  const auto& database = context.configuration->databases.at(pipeline.database);
  batch_writer_config config;
  config.name = writer_name(pipeline.name, lane);
  config.lane = lane;
  config.table = storage::table_of(pipeline);
  config.records_max = pipeline.batch.records_max;
  config.demand_max = std::max(2 * pipeline.batch.records_max, 1'000u);
  config.open = [database, letters = pipeline.dead_letters, board = context.board.database(database.name)] {
    return storage::open(database, storage::access::read_write, letters, board);
  };
  config.board = context.board.writer(pipeline.name, lane);
  config.alarm_after = database.alarm_after;
  return child_of<batch_writer_state, caf::detached>(batch_writer, config);
}

std::function<config::broker(const std::string&)> broker_of(const node_context& context) {
  return [now = context.configuration_now](const std::string& name) { return now()->brokers.at(name); };
}

/// Take-over works both ways: who was cut off by a successor and dialled again would cut that one off.
dial_rule may_dial(const node_context& context) {
  if (!context.leases)
    return {};
  return [leases = context.leases](const session_record& session, bool taken_over, monotonic since) {
    const storage::shard_id shard{session.pipeline, session.shard};
    return taken_over ? leases->holds(shard, since, std::chrono::steady_clock::now()) : leases->owns(shard);
  };
}

child_spec ingestor_of(const node_context& context, const config::ingest& pipeline, std::uint32_t shard) {
  ingestor_config config;
  config.name = ingestor_name(pipeline.name, shard);
  config.pipeline = pipeline;
  config.shard = shard;
  config.open_session = mqtt_sessions(context.io, broker_of(context), pipeline, may_dial(context));
  config.board = context.board.shard(pipeline.name, shard);
  config.pipeline_board = context.board.pipeline(pipeline.name);
  return child_of<ingestor_state>(ingestor, config);
}

/// Whoever takes a session over that is being retired has it in his configuration: it is his.
bool not_taken_over(const session_record&, bool taken_over, monotonic) { return !taken_over; }

/// The ingestor that retires the pipeline's sessions.
child_spec retiring_of(const node_context& context, const config::ingest& pipeline) {
  retirement_config retirement;
  retirement.board = context.board.retirement(pipeline.name);
  retirement.fate = [now = context.configuration_now, database = pipeline.database](const session_record& session) {
    return config::fate_of(*now(), database, session);
  };
  if (context.leases)
    retirement.runs_elsewhere = [leases = context.leases, now = context.configuration_now,
                                 name = pipeline.name](const session_record& session) {
      // That of a former broker is another session of a shard that runs, as it should.
      const auto own = now()->ingest.find(name);
      const bool is_shard =
        session.pipeline == name && own != now()->ingest.end() && session.shard < own->second.shards;
      return !is_shard && leases->is_anothers({session.pipeline, session.shard});
    };
  const auto& all = context.configuration->ingest;
  retirement.tells_of_ownerless = std::find_if(all.begin(), all.end(), [&](const auto& each) {
                                    return each.second.database == pipeline.database;
                                  })->first == pipeline.name;
  ingestor_config config;
  config.name = retiring_name(pipeline.name);
  config.pipeline = pipeline;
  config.open_session = mqtt_sessions(context.io, broker_of(context), pipeline, not_taken_over);
  config.board = retirement.board;
  config.pipeline_board = context.board.pipeline(pipeline.name);
  config.retirement = std::move(retirement);
  return child_of<ingestor_state>(ingestor, config);
}

bool keeps_for_a_time(const config::ingest& pipeline) {
  return pipeline.retention.count() > 0 || pipeline.dead_letters.retention.count() > 0;
}

child_spec archiver_of(const node_context& context, const config::ingest& pipeline) {
  storage::row_retention kept;
  kept.table = storage::table_of(pipeline);
  kept.rows = pipeline.retention;
  kept.column = pipeline.retention_column;
  kept.letters = pipeline.dead_letters.retention;
  archiver_config config;
  config.name = pipeline.name + "/archiver";
  config.work = "rows and dead letters deleted that were older than they are kept";
  config.open = [database = context.configuration->databases.at(pipeline.database),
                 board = context.board.database(pipeline.database),
                 kept]() -> result<std::unique_ptr<storage::retention_task>> {
    auto store = storage::open(database, storage::access::read_write, {}, board);
    if (!store)
      return store.error();
    return storage::make_row_retention(*std::move(store), kept);
  };
  return child_of<archiver_state, caf::detached>(archiver, config);
}

/// But for its board.
publisher_config publisher_of(const node_context& context, const config::publish& pipeline, std::uint32_t shard) {
  publisher_config config;
  config.name = publisher_name(pipeline.name, shard);
  config.shard = shard;
  config.open_session =
    publish_sessions(context.io, context.configuration->brokers.at(pipeline.broker), pipeline, shard);
  config.id_only_in_properties =
    pipeline.qos == 1 && std::none_of(pipeline.fields.begin(), pipeline.fields.end(), [](const auto& field) {
      return field.from == config::published_field::kind::id;
    });
  return config;
}

child_spec publisher_child(const node_context& context, const config::publish& pipeline, std::uint32_t shard) {
  auto config = publisher_of(context, pipeline, shard);
  config.board = context.board.publish_shard(pipeline.name, shard);
  return child_of<publisher_state>(publisher, std::move(config));
}

const config::database& tracking_database(const node_context& context, const config::publish& pipeline) {
  const auto& name = pipeline.tracking.database.empty() ? pipeline.database : pipeline.tracking.database;
  return context.configuration->databases.at(name);
}

child_spec poller_of(const node_context& context, const config::publish& pipeline) {
  poller_config config;
  config.name = poller_name(pipeline.name);
  config.pipeline = pipeline;
  const auto& source = context.configuration->databases.at(pipeline.database);
  const auto& tracking = tracking_database(context, pipeline);
  config.open_source = [database = source, pipeline,
                        board = context.board.database(source.name)]() -> result<std::unique_ptr<storage::source>> {
    auto rows = storage::open_source(database, pipeline, board);
    if (!rows)
      return rows;
    if (pipeline.detect.changes == config::change_source::logical)
      return rows; // queries are the safety net there
    return storage::read_ahead(*std::move(rows));
  };
  config.open_tracking = [database = tracking, pipeline, board = context.board.database(tracking.name)] {
    return storage::open_tracking(database, pipeline, board);
  };
  if (pipeline.detect.changes == config::change_source::logical)
    config.open_changes = [database = source, pipeline, board = context.board.database(source.name)](
                            const std::string& installation, std::function<void()> on_more) {
      return storage::open_changes(database, pipeline, installation, std::move(on_more), board);
    };
  else if (pipeline.detect.notify == config::notification::automatic)
    config.watch_source = [database = source, table = pipeline.table,
                           board = context.board.database(source.name)](std::function<void()> on_change) {
      return storage::watch_changes(database, table, std::move(on_change), board);
    };
  config.board = context.board.publish(pipeline.name);
  for (std::uint32_t shard = 0; shard < pipeline.shards; ++shard)
    config.shards.push_back(context.board.publish_shard(pipeline.name, shard));
  if (context.leases) {
    config.holds = [leases = context.leases, name = pipeline.name](std::uint32_t shard, monotonic since) {
      return leases->holds({name, shard}, since, std::chrono::steady_clock::now());
    };
    config.runs_elsewhere = [leases = context.leases, name = pipeline.name](std::uint32_t shard) {
      return leases->is_anothers({name, shard});
    };
  }
  config.former_shard = [context, pipeline](std::uint32_t shard) {
    auto former = publisher_of(context, pipeline, shard);
    former.is_former = true;
    return former;
  };
  return child_of<poller_state, caf::detached>(poller, config);
}

child_spec archiver_of(const node_context& context, const config::publish& pipeline) {
  storage::record_retention kept;
  kept.after = pipeline.archive.after;
  kept.keep = pipeline.archive.keep;
  kept.open_source = [database = context.configuration->databases.at(pipeline.database), pipeline,
                      board = context.board.database(pipeline.database)] {
    return storage::open_source(database, pipeline, board);
  };
  kept.on_count = [board = context.board.publish(pipeline.name)](std::uint64_t records) {
    board->tracking_rows(records);
  };
  archiver_config config;
  config.name = pipeline.name + "/archiver";
  config.work = "tracking records moved to the archive, or deleted from it";
  const auto& tracking = tracking_database(context, pipeline);
  config.open = [database = tracking, pipeline, board = context.board.database(tracking.name),
                 kept]() -> result<std::unique_ptr<storage::retention_task>> {
    auto archive = storage::open_tracking_archive(database, pipeline, board);
    if (!archive)
      return archive.error();
    return storage::make_record_retention(*std::move(archive), kept);
  };
  return child_of<archiver_state, caf::detached>(archiver, config);
}

/// What is done once for a pipeline goes with its first shard, or lane.
std::vector<child_spec> lane_children(const node_context& context, const config::ingest& pipeline, std::uint32_t lane) {
  std::vector<child_spec> children{writer_of(context, pipeline, lane)};
  if (lane == 0 && keeps_for_a_time(pipeline))
    children.push_back(archiver_of(context, pipeline));
  return children;
}

std::vector<child_spec> shard_children(const node_context& context, const config::ingest& pipeline,
                                       std::uint32_t shard) {
  std::vector<child_spec> children{ingestor_of(context, pipeline, shard)};
  if (shard == 0)
    children.push_back(retiring_of(context, pipeline));
  return children;
}

std::vector<child_spec> shard_children(const node_context& context, const config::publish& pipeline,
                                       std::uint32_t shard) {
  std::vector<child_spec> children{publisher_child(context, pipeline, shard)};
  if (shard == 0)
    children.push_back(archiver_of(context, pipeline));
  return children;
}

void append(std::vector<child_spec>& all, std::vector<child_spec> some) {
  std::move(some.begin(), some.end(), std::back_inserter(all));
}

} // namespace

child_spec ingest_pipeline(const node_context& context, const config::ingest& pipeline) {
  for (std::uint32_t lane = 0; lane < pipeline.writers; ++lane) {
    context.board.writer(pipeline.name, lane);
    context.board.place_writer(pipeline.name, lane, context.runs({cluster::lanes_of(pipeline.name), lane}));
  }
  for (std::uint32_t shard = 0; shard < pipeline.shards; ++shard) {
    context.board.shard(pipeline.name, shard);
    context.board.place(pipeline.name, shard, context.runs({pipeline.name, shard}));
  }
  auto config = supervised(context, pipeline.name);
  config.on_start = announce_writers(pipeline.name, pipeline.shards, pipeline.writers, context.directory);
  return supervisor_of(context, std::move(config), [context, pipeline] {
    std::vector<child_spec> children;
    for (std::uint32_t lane = 0; lane < pipeline.writers; ++lane)
      if (context.runs({cluster::lanes_of(pipeline.name), lane}))
        append(children, lane_children(context, pipeline, lane));
    for (std::uint32_t shard = 0; shard < pipeline.shards; ++shard)
      if (context.runs({pipeline.name, shard}))
        append(children, shard_children(context, pipeline, shard));
    return children;
  });
}

child_spec publish_pipeline(const node_context& context, const config::publish& pipeline) {
  for (std::uint32_t shard = 0; shard < pipeline.shards; ++shard) {
    context.board.publish_shard(pipeline.name, shard);
    context.board.place(pipeline.name, shard, context.runs({pipeline.name, shard}));
  }
  auto config = supervised(context, pipeline.name);
  config.on_start = announce_poller(pipeline.name, pipeline.shards);
  return supervisor_of(context, std::move(config), [context, pipeline] {
    std::vector<child_spec> children{poller_of(context, pipeline)};
    for (std::uint32_t shard = 0; shard < pipeline.shards; ++shard)
      if (context.runs({pipeline.name, shard}))
        append(children, shard_children(context, pipeline, shard));
    return children;
  });
}

std::vector<child_spec> children_of(const node_context& context, const storage::shard_id& shard) {
  const auto& configuration = *context.configuration;
  const auto pipeline = cluster::pipeline_of(shard);
  const auto publish = configuration.publish.find(pipeline);
  if (publish != configuration.publish.end() && shard.shard < publish->second.shards)
    return shard_children(context, publish->second, shard.shard);
  const auto ingest = configuration.ingest.find(pipeline);
  if (ingest == configuration.ingest.end())
    return {};
  if (cluster::is_lane(shard))
    return shard.shard < ingest->second.writers ? lane_children(context, ingest->second, shard.shard)
                                                : std::vector<child_spec>{};
  return shard.shard < ingest->second.shards ? shard_children(context, ingest->second, shard.shard)
                                             : std::vector<child_spec>{};
}

/// The alerts share the connection of the presence where they have the same broker.
std::vector<child_spec> watchers(const node_context& context) {
  const auto& configuration = *context.configuration;
  const auto& control = configuration.control;
  const auto& alerts = configuration.alerts;
  std::vector<child_spec> children;
  const auto add = [&](const char* name, mqtt::presence_options options) {
    children.push_back(presence_child({name, std::move(options), &context.board, &context.directory}));
  };
  const auto& brokers = configuration.brokers;
  if (control)
    add("presence", mqtt::presence_options_of(*control, brokers.at(control->broker), context.node_id,
                                              configuration.node.name, std::string{version()}));
  const bool shared = control && control->broker == alerts.broker;
  if (!alerts.broker.empty() && !shared)
    add("presence/alerts", mqtt::alert_options_of(brokers.at(alerts.broker), context.node_id, configuration.node.name,
                                                  std::string{version()}));
  auto config = alerter_config_of(configuration);
  config.board = &context.board;
  config.directory = &context.directory;
  if (!alerts.broker.empty())
    config.presence = shared ? "presence" : "presence/alerts";
  if (!config.rules.empty())
    children.push_back(child_of<alerter_state>(alerter, config));
  return children;
}

caf::actor start_root(caf::actor_system& system, const node_context& context, std::vector<child_spec> last) {
  std::vector<child_spec> children;
  children.reserve(context.embedded_brokers.size() + context.configuration->ingest.size() +
                   context.configuration->publish.size() + 3);
  for (const auto& [name, process] : context.embedded_brokers)
    children.push_back(embedded_broker_child(name, process, context.board));
  for (const auto& [unused, pipeline] : context.configuration->ingest)
    children.push_back(ingest_pipeline(context, pipeline));
  for (const auto& [unused, pipeline] : context.configuration->publish)
    children.push_back(publish_pipeline(context, pipeline));
  for (auto& child : watchers(context))
    children.push_back(std::move(child));
  auto config = supervised(context, "root");
  config.stop_in_reverse = !last.empty();
  append(children, std::move(last));
  return system.spawn(supervisor, std::move(config), std::move(children), &context.directory);
}

} // namespace penstock::nodes
