#include "nodes/check.hpp"

#include "config/load.hpp"
#include "config/session_fate.hpp"
#include "mqtt/client.hpp"
#include "nodes/exit_codes.hpp"
#include "security/tls_context.hpp"
#include "storage/replication_slot.hpp"
#include "storage/source.hpp"
#include "storage/store.hpp"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <ostream>
#include <unistd.h>

namespace penstock::nodes {

namespace {

/// Connects with a session of its own that ends with the connection, so that nothing of a running node is disturbed.
result<void> try_broker(const config::broker& broker) {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<mqtt::connection_state> state;
  mqtt::io_thread io;
  mqtt::client_options options;
  options.broker = broker;
  options.client_id = "penstock-check-" + std::to_string(::getpid());
  options.clean_start = true;
  mqtt::client_handlers handlers;
  handlers.on_burst = [](const std::shared_ptr<const mqtt::burst>&) {};
  handlers.on_published = [](std::span<const mqtt::completion>) {};
  handlers.on_state = [&](const mqtt::connection_state& now) {
    const std::lock_guard lock{mutex};
    if (!state)
      state = now;
    changed.notify_one();
  };
  mqtt::client client{io, std::move(options), std::move(handlers)};
  client.start();
  std::unique_lock lock{mutex};
  const auto limit = broker.connect_timeout + std::chrono::seconds{1};
  if (!changed.wait_for(lock, limit, [&] { return state.has_value(); }))
    return error{errc::timed_out, "no answer within " + std::to_string(limit.count()) + " ms"};
  if (state->connected)
    return {};
  return state->reason.value_or(error{errc::connection_refused, "closed"});
}

/// What `run` does about sessions that no shard has any more.
std::vector<std::string> outlooks(const config::configuration& configuration, const std::string& database,
                                  const std::vector<session_record>& sessions) {
  using kind = config::session_fate::kind;
  std::vector<std::string> all;
  for (const auto& session : sessions) {
    const auto fate = config::fate_of(configuration, database, session);
    if (fate.what == kind::retired)
      all.push_back("session " + session.client_id + " at broker " + session.broker +
                    ": no shard has it any more; pipeline " + fate.pipeline + " drains and ends it");
    else if (fate.what == kind::ownerless)
      all.push_back("warning: session " + session.client_id + " at broker " + session.broker +
                    " keeps messages that no pipeline can store; configure pipeline " + session.pipeline +
                    " again, or end the session (docs: delivery, sessions)");
  }
  return all;
}

/// Opens the database and compares the tables, creating what `run` would create. `told`: what else there is to say.
result<void> try_database(const config::configuration& configuration, const config::database& database,
                          std::vector<std::string>& told) {
  auto store = storage::open(database);
  if (!store)
    return store.error();
  for (const auto& [unused, pipeline] : configuration.ingest)
    if (pipeline.database == database.name)
      if (auto prepared = (*store)->prepare(storage::table_of(pipeline)); !prepared)
        return prepared.error();
  auto sessions = (*store)->sessions();
  if (!sessions)
    return sessions.error();
  told = outlooks(configuration, database.name, *sessions);
  return {};
}

result<void> try_replica(const config::database& database) {
  auto store = storage::open(database, storage::access::read_only);
  return store ? (*store)->ping() : result<void>{store.error()};
}

int try_connections(const config::configuration& configuration, std::ostream& out) {
  int code = exit_done;
  const auto report = [&](const std::string& what, const result<void>& tried) {
    out << what << ": " << (tried ? std::string{"ok"} : tried.error().to_string()) << '\n' << std::flush;
    if (!tried && (tried.error().code == errc::schema_mismatch || tried.error().code == errc::unsupported))
      code = exit_configuration;
    else if (!tried && code == exit_done)
      code = exit_unavailable;
  };
  for (const auto& [name, broker] : configuration.brokers) {
    if (broker.embedded)
      out << "broker " << name << ": embedded, `penstock run` starts it\n";
    else
      report("broker " + name + " (" + broker.host + ":" + std::to_string(broker.port) + ")", try_broker(broker));
  }
  std::error_code ignored;
  std::filesystem::create_directories(configuration.data, ignored);
  for (const auto& [name, database] : configuration.databases) {
    std::vector<std::string> told;
    report("database " + name, try_database(configuration, database, told));
    for (const auto& line : told)
      out << "  " << line << '\n';
    if (database.read_address)
      report("database " + name + ", replica", try_replica(database));
  }
  for (const auto& [name, pipeline] : configuration.publish)
    report("publish " + name + " (table " + pipeline.table + ")", try_source(configuration, pipeline));
  return code;
}

std::string counted(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

} // namespace

result<void> try_source(const config::configuration& configuration, const config::publish& pipeline) {
  const auto& database = configuration.databases.at(pipeline.database);
  if (const auto source = storage::open_source(database, pipeline); !source)
    return source.error();
  return pipeline.detect.changes == config::change_source::logical ? storage::check_logical(database, pipeline)
                                                                   : result<void>{};
}

bool load_or_report(const std::filesystem::path& file, const std::string& node, config::configuration& configuration,
                    std::ostream& err, std::vector<config::problem>* warnings) {
  config::load_options how;
  how.node = node;
  how.warnings = warnings;
  return load_or_report(file, how, configuration, err);
}

bool load_or_report(const std::filesystem::path& file, const config::load_options& how,
                    config::configuration& configuration, std::ostream& err) {
  auto loaded = config::load_file(file, how);
  if (auto* good = std::get_if<config::configuration>(&loaded)) {
    configuration = std::move(*good);
    return true;
  }
  const auto& problems = std::get<std::vector<config::problem>>(loaded);
  for (const auto& problem : problems)
    err << problem.to_string() << '\n';
  err << problems.size() << (problems.size() == 1 ? " problem" : " problems") << "; nothing was started\n";
  return false;
}

int check(const check_options& options, std::ostream& out, std::ostream& err) {
  config::configuration configuration;
  std::vector<config::problem> warnings;
  if (!load_or_report(options.config, options.node, configuration, err, &warnings))
    return exit_configuration;
  const auto& node = configuration.node;
  if (configuration.cluster && !node.name.empty()) {
    if (!configuration.nodes.contains(node.name))
      err << "warning: the file does not list node '" << node.name << "': `penstock run` needs its --address too\n";
    // Whether certificate and key belong together, OpenSSL says.
    if (const auto& tls = configuration.cluster->tls; !(tls == config::tls{}))
      if (const auto context = security::client_context(tls); !context) {
        err << "cluster.tls: " << context.error().message << '\n';
        return exit_configuration;
      }
  }
  for (const auto& warning : warnings)
    err << "warning: " << warning.to_string() << '\n';
  const auto pipelines = configuration.ingest.size() + configuration.publish.size();
  out << options.config.string() << ": ok, "
      << (configuration.node.name.empty() ? counted(configuration.nodes.size(), "node")
                                          : "node " + configuration.node.name)
      << ", " << counted(pipelines, "pipeline") << '\n';
  return options.connect ? try_connections(configuration, out) : exit_done;
}

int config_show(const config_show_options& options, std::ostream& out, std::ostream& err) {
  config::configuration configuration;
  if (!load_or_report(options.config, options.node, configuration, err))
    return exit_configuration;
  out << config::show(configuration, options.json);
  return exit_done;
}

} // namespace penstock::nodes
