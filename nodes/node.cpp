#include "nodes/node.hpp"

#include "actors/links.hpp"
#include "cluster/membership.hpp"
#include "cluster/neighbours.hpp"
#include "cluster/shards.hpp"
#include "config/findings.hpp"
#include "config/reload.hpp"
#include "config/session_fate.hpp"
#include "nodes/agent_child.hpp"
#include "nodes/check.hpp"
#include "nodes/dead_letter_routes.hpp"
#include "nodes/pipeline.hpp"
#include "nodes/placed_shards.hpp"
#include "nodes/run_file.hpp"
#include "nodes/section_digests.hpp"
#include "nodes/version.hpp"
#include "storage/cluster_state.hpp"
#include "storage/own_tables.hpp"
#include "storage/store.hpp"
#include "telemetry/log.hpp"
#include "web/http_server.hpp"
#include "web/routes.hpp"

#include <caf/exit_reason.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <unistd.h>

namespace penstock::nodes {

namespace {

constexpr const char* component = "node";

struct system_config : caf::actor_system_config {
  system_config() {
    messages::add_to(*this);
    // The default policy, stealing, costs 8 % of a core when idle.
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-throughput", std::size_t{300});
  }
};

telemetry::node_status identity(const config::configuration& configuration) {
  return {configuration.node.name, std::string{version()}, wall_now()};
}

/// What is wrong with the tables of the pipelines that `wanted` names. Tables that do not fit are a broken
/// configuration, told before anything starts; a database that is away is not.
template <class Wanted>
std::vector<std::string> wrong_tables(const config::configuration& configuration, const Wanted& wanted) {
  std::vector<std::string> wrong;
  const auto note = [&](const std::string& direction, const std::string& name, const result<void>& checked) {
    if (checked)
      return;
    if (disposition_of(checked.error().code) == disposition::fatal)
      wrong.push_back(direction + "." + name + ": " + checked.error().message);
    else
      log::warning(component, name, "the database is not ready ({}); going on, it is tried again",
                   checked.error().to_string());
  };
  for (const auto& [name, pipeline] : configuration.ingest) {
    if (!wanted("ingest", name))
      continue;
    auto store = storage::open(configuration.databases.at(pipeline.database));
    note("ingest", name, store ? (*store)->prepare(storage::table_of(pipeline)) : result<void>{store.error()});
  }
  for (const auto& [name, pipeline] : configuration.publish) {
    if (!wanted("publish", name))
      continue;
    note("publish", name, try_source(configuration, pipeline));
  }
  return wrong;
}

std::string in_lines(const std::vector<std::string>& texts) {
  std::string all;
  for (const auto& text : texts)
    all += (all.empty() ? "" : "\n") + text;
  return all;
}

std::string equation(const std::string& pipeline, const telemetry::account& account) {
  return fmt::format("{}: received {} = committed {} + duplicate {} + dead-lettered {} + rejected {} + in flight {}",
                     pipeline, account.received, account.committed, account.duplicate, account.dead_lettered,
                     account.rejected_total(), account.in_flight);
}

} // namespace

struct node::impl {
  using part = config::part_change;

  explicit impl(config::configuration given)
    : configuration(std::move(given)), board(identity(configuration)), directory(board) {}

  config::configuration configuration; ///< as it was read, but for what waits for the next start
  /// The same with the ports of embedded brokers, for any thread.
  std::atomic<std::shared_ptr<const config::configuration>> in_force;
  std::optional<data_lock> lock;
  telemetry::board board;
  actors::actor_directory directory;
  std::map<std::string, std::shared_ptr<mqtt::embedded_broker>> embedded_brokers;
  std::map<std::string, std::uint16_t> embedded_ports;
  mqtt::io_thread io;
  system_config system_configuration;
  std::string id;                          ///< nodes/run_file.hpp
  std::shared_ptr<cluster::leases> leases; ///< null: there is no cluster
  std::optional<caf::actor_system> system;
  caf::actor root;
  web::http_server http;
  std::atomic<std::uint16_t> http_port = 0; ///< once it listens

  result<void> start_brokers();
  result<void> start_http();
  result<void> tell_ports() const;
  void put_in_force();
  node_context context() {
    return {in_force.load(), [this] { return in_force.load(); }, id, board, io, directory, embedded_brokers, leases};
  }
  actors::child_spec membership_child(const std::string& instance);

  void refuse(const std::vector<std::string>& problems);
  void take(const config::reload_plan& plan);
  std::optional<actors::child_spec> child_of(const part& change);
  void trim_board(const part& change);
  void tell_of_sessions(const part& change, const config::configuration& next) const;
  bool change_children(const std::vector<part>& parts);
  void add_watchers(const std::vector<part>& parts, actors::child_changes& changes);
};

result<void> node::impl::start_brokers() {
  for (const auto& [name, broker] : configuration.brokers) {
    if (!broker.embedded)
      continue;
    mqtt::embedded_broker_options options;
    options.directory = configuration.data / ("broker-" + name);
    options.port = broker.port;
    auto process = std::make_shared<mqtt::embedded_broker>(std::move(options));
    auto port = process->start();
    if (!port)
      return error{port.error().code, "broker " + name + ": " + port.error().message};
    embedded_ports[name] = *port;
    board.broker(name, process->pid(), *port);
    log::info(component, "broker/" + name, "mosquitto listens on 127.0.0.1:{} (process {})", *port, process->pid());
    embedded_brokers[name] = std::move(process);
  }
  return {};
}

result<void> node::impl::start_http() {
  if (!configuration.node.http)
    return {};
  web::kill_hook kill;
  if (configuration.node.admin)
    kill = [this](const std::string& actor) { return directory.kill(actor); };
  web::add_routes(http, board, kill);
  add_dead_letter_routes(http, [this] { return in_force.load(); });
  if (auto started = http.start(*configuration.node.http); !started)
    return started;
  http_port = http.address().port;
  log::info(component, "", "http://{} answers /healthz, /readyz, /metrics, /status and /dead-letters",
            http.address().to_string());
  return {};
}

result<void> node::impl::tell_ports() const {
  run_file file;
  file.pid = ::getpid();
  file.node = configuration.node.name;
  file.version = version();
  if (configuration.node.http)
    file.http = http.address().to_string();
  file.configuration = std::filesystem::absolute(configuration.file);
  for (const auto& [name, broker] : in_force.load()->brokers) {
    const auto embedded = embedded_brokers.find(name);
    file.brokers[name] = {broker.host, broker.port, embedded == embedded_brokers.end() ? 0 : embedded->second->pid()};
  }
  return write_run_file(config::node_folder(configuration), file);
}

void node::impl::put_in_force() {
  auto whole = std::make_shared<config::configuration>(configuration);
  for (const auto& [name, port] : embedded_ports) {
    whole->brokers.at(name).host = "127.0.0.1";
    whole->brokers.at(name).port = port;
  }
  in_force.store(std::move(whole));
  board.configuration_in_force(section_digests(configuration));
}

actors::child_spec node::impl::membership_child(const std::string& instance) {
  const auto& node = configuration.node;
  cluster::membership_config config;
  config.me.name = node.name;
  config.me.instance = instance;
  config.me.cluster = configuration.cluster->name;
  config.me.address = node.address ? node.address->to_string() : "";
  config.me.http = node.http ? node.http->to_string() : "";
  for (const auto role : node.roles)
    config.me.roles.emplace_back(config::name_of(role));
  config.me.version = std::string{version()};
  config.refresh = [this](storage::cluster_node& me) {
    const auto now = in_force.load();
    if (auto links = now->node.address; links && board.links()->port() != 0) {
      links->port = board.links()->port();
      me.address = links->to_string();
    }
    if (auto http_address = now->node.http; http_address && http_port != 0) {
      http_address->port = http_port;
      me.http = http_address->to_string();
    }
  };
  config.lease = configuration.cluster->lease;
  config.open = [database = configuration.databases.at(configuration.cluster->state)] {
    return storage::open_cluster_state(database);
  };
  config.wanted = [this] { return cluster::shards_of(*in_force.load()); };
  config.held = leases;
  config.start = [this](const storage::shard_id& shard) { return start_shard(context(), shard); };
  config.stop = [this](const storage::shard_id& shard, std::function<void()> on_done) {
    stop_shard(context(), shard, std::move(on_done));
  };
  config.on_state = [this](monotonic lease_until, const std::string& lacks) {
    board.links()->membership({true, lacks, lease_until});
  };
  config.on_seen = [this, instance](const storage::cluster_snapshot& seen) {
    leases->seen(cluster::shards_of_others(seen, instance));
    if (const auto agent = directory.find("agent"))
      caf::anon_send(agent, cluster::neighbours_of(seen, instance, leases->ours()));
  };
  config.on_released = [this] {
    if (const auto agent = directory.find("agent"))
      caf::anon_send(agent, messages::detach_atom_v);
  };
  actors::child_spec spec;
  spec.name = config.name;
  spec.kind = cluster::membership_state::name;
  spec.stop_timeout = std::chrono::seconds{30};
  spec.start = [config](caf::actor_system& system) {
    return caf::actor_cast<caf::actor>(system.spawn<caf::detached>(cluster::membership, config));
  };
  return spec;
}

node::node(config::configuration configuration) : impl_(std::make_unique<impl>(std::move(configuration))) {}

node::~node() {
  auto& self = *impl_;
  self.http.stop();
  if (self.root)
    caf::anon_send_exit(self.root, caf::exit_reason::kill);
  self.root = nullptr;
  self.system.reset(); // waits for every actor
  for (auto& [unused, process] : self.embedded_brokers)
    process->stop(std::chrono::seconds{10});
  if (self.lock)
    remove_run_file(config::node_folder(self.configuration));
}

result<void> node::start(std::function<void(std::optional<std::string>)> on_end) {
  auto& self = *impl_;
  std::error_code failure;
  const auto folder = config::node_folder(self.configuration);
  std::filesystem::create_directories(folder, failure);
  if (failure)
    return error{errc::configuration, "cannot make " + folder.string() + ": " + failure.message()};
  auto lock = data_lock::acquire(folder);
  if (!lock)
    return lock.error();
  self.lock.emplace(std::move(*lock));
  const auto wrong = wrong_tables(self.configuration, [](const char*, const std::string&) { return true; });
  if (!wrong.empty())
    return error{errc::configuration, in_lines(wrong)};
  if (auto started = self.start_brokers(); !started)
    return started;
  for (const auto& [name, database] : self.configuration.databases)
    self.board.database(name, database.kind == config::database_kind::sqlite
                                ? std::nullopt
                                : std::optional<std::uint32_t>{database.connections_max});
  self.put_in_force();
  self.id = node_id(folder);
  std::vector<actors::child_spec> last;
  if (self.configuration.cluster) {
    self.leases = std::make_shared<cluster::leases>();
    self.board.links()->membership({});
    const auto instance = storage::make_uuid();
    last.push_back(agent_child(self.configuration, instance, self.board, self.directory));
    last.push_back(self.membership_child(instance)); // ended first, so that shards are given away while all still runs
  }
  if (self.configuration.cluster) {
    // Its agent would try on and on, while shards that it takes stand still.
    if (auto free = actors::try_listen(*self.configuration.node.address); !free)
      return free;
    if (auto configured = actors::configure_links(self.system_configuration, *self.configuration.cluster); !configured)
      return configured;
  }
  self.system.emplace(self.system_configuration);
  self.root = start_root(*self.system, self.context(), std::move(last));
  self.root->attach_functor([on_end = std::move(on_end)](const caf::error& reason) {
    on_end(reason == caf::exit_reason::user_shutdown ? std::nullopt : std::optional{to_text(reason)});
  });
  if (auto started = self.start_http(); !started)
    return started;
  return self.tell_ports();
}

void node::stop() { caf::anon_send_exit(impl_->root, caf::exit_reason::user_shutdown); }

// --- a configuration that was read again
// ------------------------------------------------------------------------------

void node::impl::refuse(const std::vector<std::string>& problems) {
  for (const auto& problem : problems)
    log::error(component, "", "{}", problem);
  log::error(component, "", "the configuration was read again and has {} {}; the node goes on as before",
             problems.size(), problems.size() == 1 ? "problem" : "problems");
  board.configuration_read(false, in_lines(problems));
}

std::optional<actors::child_spec> node::impl::child_of(const part& change) {
  if (change.what == part::kind::removed)
    return std::nullopt;
  if (change.section == "ingest")
    return ingest_pipeline(context(), configuration.ingest.at(change.name));
  return publish_pipeline(context(), configuration.publish.at(change.name));
}

/// Who watches over what has changed: the alerter over all of it.
void node::impl::add_watchers(const std::vector<part>& parts, actors::child_changes& changes) {
  const auto has = [&](const char* section) {
    return std::any_of(parts.begin(), parts.end(), [&](const part& each) { return each.section == section; });
  };
  const auto all = watchers(context());
  const auto replace = [&](const char* name) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.name == name; });
    changes.children.push_back({name, found == all.end() ? std::nullopt : std::optional{*found}});
  };
  if (has("control"))
    replace("presence");
  if (has("control") || has("alerts"))
    replace("presence/alerts");
  if (!parts.empty())
    replace("alerter");
}

void node::impl::trim_board(const part& change) {
  const bool gone = change.what == part::kind::removed;
  if (change.section == "ingest") {
    const auto now = configuration.ingest.find(change.name);
    board.trim_ingest(change.name, gone ? 0 : now->second.shards, gone ? 0 : now->second.writers);
  } else if (change.section == "publish") {
    board.trim_publish(change.name, gone ? 0 : configuration.publish.at(change.name).shards);
  }
}

/// The broker keeps an ingest pipeline's sessions, whoever is there to read them.
void node::impl::tell_of_sessions(const part& change, const config::configuration& next) const {
  if (change.section != "ingest" || change.what != part::kind::removed)
    return;
  const auto& gone = configuration.ingest.at(change.name);
  session_record session;
  session.pipeline = gone.name;
  session.broker = gone.broker;
  session.table = gone.table;
  session.filters = config::filters_of(gone);
  const auto fate = config::fate_of(next, gone.database, session);
  if (fate.what == config::session_fate::kind::retired)
    log::info(component, change.name, "its MQTT sessions are retired by pipeline {}", fate.pipeline);
  else
    log::warning(component, change.name,
                 "its MQTT sessions stay with the broker, which keeps messages for them until the pipeline is "
                 "there again, or until somebody ends them there");
}

/// False: the tree has ended, or is about to.
bool node::impl::change_children(const std::vector<part>& parts) {
  auto changes = std::make_shared<actors::child_changes>();
  const auto add = [&](const part& change) {
    if (!change.name.empty())
      changes->children.push_back({change.name, child_of(change)});
  };
  // A pipeline that has changed its direction goes before it comes.
  for (const auto& each : parts)
    if (each.what == part::kind::removed)
      add(each);
  for (const auto& each : parts)
    if (each.what != part::kind::removed)
      add(each);
  add_watchers(parts, *changes);
  auto done = std::make_shared<std::promise<void>>();
  auto finished = done->get_future();
  changes->on_done = [done = std::move(done)] { done->set_value(); };
  caf::anon_send(root, actors::child_changes_ptr{std::move(changes)});
  // Whoever drops the message, or ends before it is done, breaks the promise.
  try {
    finished.get();
    return true;
  } catch (const std::future_error&) {
    return false;
  }
}

void node::impl::take(const config::reload_plan& plan) {
  for (const auto& each : plan.parts)
    tell_of_sessions(each, plan.next);
  configuration = plan.next;
  put_in_force();
  log::set_level(log::level_from(configuration.log.level).value_or(log::level::info));
  for (const auto& each : plan.parts)
    if (each.what == part::kind::changed)
      trim_board(each);
  if (!change_children(plan.parts))
    return;
  for (const auto& pipeline : board.snapshot().pipelines)
    if (!configuration.ingest.contains(pipeline.name))
      log::info(component, pipeline.name, "{}", equation(pipeline.name, pipeline.account));
  for (const auto& each : plan.parts)
    if (each.what == part::kind::removed)
      trim_board(each);
  if (auto told = tell_ports(); !told)
    log::warning(component, "", "{}", told.error().to_string());
  std::vector<std::string> waiting;
  waiting.reserve(plan.at_next_start.size());
  for (const auto& each : plan.at_next_start)
    waiting.push_back(each.path);
  if (!waiting.empty())
    log::warning(component, "", "at the next start: {}", config::list_of(waiting));
  log::info(component, "", "configuration read again: {}", plan.to_text());
  board.configuration_read(true, plan.to_text() +
                                   (waiting.empty() ? "" : "; at the next start: " + config::list_of(waiting)));
}

void node::reload(const config::load_result& read, const std::vector<config::problem>& warnings) {
  auto& self = *impl_;
  const auto* wanted = std::get_if<config::configuration>(&read);
  if (wanted == nullptr) {
    std::vector<std::string> problems;
    for (const auto& problem : std::get<std::vector<config::problem>>(read))
      problems.push_back(problem.to_string());
    return self.refuse(problems);
  }
  if (wanted->data != self.configuration.data)
    return self.refuse({wanted->file.string() + ": data: a node cannot move while it runs; it works in " +
                        self.configuration.data.string()});
  const auto plan = config::plan_reload(self.configuration, *wanted);
  const auto wrong = wrong_tables(plan.next, [&](const std::string& section, const std::string& name) {
    return std::any_of(plan.parts.begin(), plan.parts.end(),
                       [&](const auto& each) { return each.section == section && each.name == name; });
  });
  if (!wrong.empty())
    return self.refuse(wrong);
  for (const auto& warning : warnings)
    log::warning(component, "", "{}", warning.to_string());
  self.take(plan);
}

std::string node::account_text() const {
  std::string text;
  for (const auto& pipeline : impl_->board.snapshot().pipelines)
    text += equation(pipeline.name, pipeline.account) + "\n";
  return text;
}

} // namespace penstock::nodes
