#include "nodes/node.hpp"

#include "nodes/check.hpp"
#include "nodes/dead_letter_routes.hpp"
#include "nodes/pipeline.hpp"
#include "nodes/run_file.hpp"
#include "nodes/version.hpp"
#include "storage/store.hpp"
#include "telemetry/log.hpp"
#include "web/http_server.hpp"
#include "web/routes.hpp"

#include <caf/exit_reason.hpp>
#include <fmt/format.h>

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

/// Tables that do not fit are a broken configuration, told before anything starts; a database that is away is not.
result<void> check_tables(const config::configuration& configuration) {
  std::string wrong;
  const auto note = [&](const std::string& direction, const std::string& name, const result<void>& checked) {
    if (checked)
      return;
    if (disposition_of(checked.error().code) == disposition::fatal)
      wrong += (wrong.empty() ? "" : "\n") + (direction + "." + name + ": " + checked.error().message);
    else
      log::warning(component, name, "the database is not ready ({}); going on, it is tried again",
                   checked.error().to_string());
  };
  for (const auto& [name, pipeline] : configuration.ingest) {
    auto store = storage::open(configuration.databases.at(pipeline.database));
    note("ingest", name, store ? (*store)->prepare(storage::table_of(pipeline)) : result<void>{store.error()});
  }
  for (const auto& [name, pipeline] : configuration.publish)
    note("publish", name, try_source(configuration, pipeline));
  if (!wrong.empty())
    return error{errc::configuration, wrong};
  return {};
}

} // namespace

struct node::impl {
  explicit impl(config::configuration given)
    : configuration(std::move(given)), board(identity(configuration)), directory(board) {}

  config::configuration configuration;
  std::optional<data_lock> lock;
  telemetry::board board;
  actors::actor_directory directory;
  std::map<std::string, std::shared_ptr<mqtt::embedded_broker>> embedded_brokers;
  mqtt::io_thread io;
  system_config system_configuration;
  std::optional<node_context> context;
  std::optional<caf::actor_system> system;
  caf::actor root;
  web::http_server http;

  result<void> start_brokers();
  result<void> start_http();
  result<void> tell_ports() const;
};

result<void> node::impl::start_brokers() {
  for (auto& [name, broker] : configuration.brokers) {
    if (!broker.embedded)
      continue;
    mqtt::embedded_broker_options options;
    options.directory = configuration.data / ("broker-" + name);
    options.port = broker.port;
    auto process = std::make_shared<mqtt::embedded_broker>(std::move(options));
    auto port = process->start();
    if (!port)
      return error{port.error().code, "broker " + name + ": " + port.error().message};
    broker.host = "127.0.0.1";
    broker.port = *port;
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
  add_dead_letter_routes(http, configuration);
  if (auto started = http.start(*configuration.node.http); !started)
    return started;
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
  for (const auto& [name, broker] : configuration.brokers) {
    const auto embedded = embedded_brokers.find(name);
    file.brokers[name] = {broker.host, broker.port, embedded == embedded_brokers.end() ? 0 : embedded->second->pid()};
  }
  return write_run_file(configuration.data, file);
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
    remove_run_file(self.configuration.data);
}

result<void> node::start(std::function<void(std::optional<std::string>)> on_end) {
  auto& self = *impl_;
  std::error_code failure;
  std::filesystem::create_directories(self.configuration.data, failure);
  if (failure)
    return error{errc::configuration, "cannot make " + self.configuration.data.string() + ": " + failure.message()};
  auto lock = data_lock::acquire(self.configuration.data);
  if (!lock)
    return lock.error();
  self.lock.emplace(std::move(*lock));
  if (auto checked = check_tables(self.configuration); !checked)
    return checked;
  if (auto started = self.start_brokers(); !started)
    return started;
  self.context.emplace(node_context{self.configuration, node_id(self.configuration.data), self.board, self.io,
                                    self.directory, self.embedded_brokers});
  self.system.emplace(self.system_configuration);
  self.root = start_root(*self.system, *self.context);
  self.root->attach_functor([on_end = std::move(on_end)](const caf::error& reason) {
    on_end(reason == caf::exit_reason::user_shutdown ? std::nullopt : std::optional{to_text(reason)});
  });
  if (auto started = self.start_http(); !started)
    return started;
  return self.tell_ports();
}

void node::stop() { caf::anon_send_exit(impl_->root, caf::exit_reason::user_shutdown); }

std::string node::account_text() const {
  std::string text;
  for (const auto& pipeline : impl_->board.snapshot().pipelines) {
    const auto& account = pipeline.account;
    text +=
      fmt::format("{}: received {} = committed {} + duplicate {} + dead-lettered {} + rejected {} + in flight {}\n",
                  pipeline.name, account.received, account.committed, account.duplicate, account.dead_lettered,
                  account.rejected_total(), account.in_flight);
  }
  return text;
}

} // namespace penstock::nodes
