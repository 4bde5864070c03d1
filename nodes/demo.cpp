#include "nodes/demo.hpp"

#include "mqtt/embedded_broker.hpp"
#include "nodes/child_process.hpp"
#include "nodes/command_support.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/run_file.hpp"
#include "nodes/verify.hpp"
#include "web/http_client.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace penstock::nodes {

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr const char* one_node = R"(# Made by `penstock demo`. Run it by hand:  penstock run --config THIS_FILE
data: ./data
node: {name: demo, http: 127.0.0.1:0}
brokers:
  main: {embedded: true, port: 0}
databases:
  telemetry: {url: "sqlite:telemetry.db"}
)";

constexpr const char* many_nodes = R"(# Made by `penstock demo --nodes`: several processes share one file.
data: ./data
cluster: {name: demo, state: state, lease: 1s}
)";

constexpr const char* shared = R"(brokers:
  main: {url: "mqtt://127.0.0.1:BROKER"}
databases:
  telemetry: {url: "sqlite:telemetry.db"}
  state: {url: "sqlite:state.db"}   # who is there, and who owns what: in a file of its own, as commits are long
)";

constexpr const char* pipeline_text = R"(ingest:
  telemetry:
    broker: main
    topics: ["users/{user_id}/devices/{device_id}/telemetry"]
    qos: 1
    shards: SHARDS
    format: json
    database: telemetry
    table: raw_telemetry
    key: [time, user_id, device_id, sequence_id]
    columns:
      time:        {from: payload.time, type: timestamp}
      user_id:     {from: topic.user_id, type: text}
      device_id:   {from: topic.device_id, type: text}
      sequence_id: {from: payload.sequence_id, type: integer}
      temperature: {from: payload.temperature, type: real, optional: true}
      battery:     {from: payload.battery, type: integer, optional: true}
      extra_data:  {from: payload.rest, type: json}
)";

std::string with(std::string text, const std::string& word, std::uint64_t value) {
  const auto at = text.find(word);
  return at == std::string::npos ? text : text.replace(at, word.size(), std::to_string(value));
}

std::string name_of_node(std::uint64_t number) { return std::string(1, static_cast<char>('a' + number)); }

/// A folder that is deleted at the end, unless the user named it.
class workplace {
public:
  explicit workplace(std::filesystem::path wanted) : path_(std::move(wanted)), keep_(!path_.empty()) {
    if (keep_) {
      std::filesystem::create_directories(path_);
      return;
    }
    auto name = (std::filesystem::temp_directory_path() / "penstock-demo-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr)
      path_ = name;
  }
  ~workplace() {
    std::error_code ignored;
    if (!keep_ && !path_.empty())
      std::filesystem::remove_all(path_, ignored);
  }
  workplace(const workplace&) = delete;
  workplace& operator=(const workplace&) = delete;
  const std::filesystem::path& path() const { return path_; }
  bool kept() const { return keep_; }

private:
  std::filesystem::path path_;
  bool keep_;
};

class demonstration {
public:
  demonstration(const demo_options& options, std::filesystem::path folder, std::ostream& out, std::ostream& err)
    : options_(options), folder_(std::move(folder)), out_(out), err_(err) {}

  /// On every way out the nodes stop gracefully, and with them mosquitto.
  ~demonstration() {
    for (auto& node : nodes_)
      node.process.signal(SIGTERM);
    for (auto& node : nodes_)
      node.process.wait(30s);
  }
  demonstration(const demonstration&) = delete;
  demonstration& operator=(const demonstration&) = delete;

  int run();

private:
  struct running_node {
    std::string name; ///< of the cluster; empty: the only one
    child_process process;
    std::string url;
  };
  /// Sums over the nodes.
  struct figures {
    std::uint64_t received_rate = 0, committed_rate = 0, committed = 0, duplicate = 0, in_flight = 0, lag_ms = 0;
    std::string places; ///< "a 2+1  b 2+0": sessions and writers
    std::string writer; ///< the node that writes
  };

  std::string file(const std::string& name) const { return (folder_ / name).string(); }
  bool is_cluster() const { return options_.nodes > 1; }
  result<void> write_configuration();
  bool start_node(const std::string& name, bool joins = false);
  bool start_load();
  void introduce();
  figures look() const;
  void show_line();
  void kill_node();
  int verdict();
  int fail(const std::string& what, const std::string& log);

  const demo_options& options_;
  std::filesystem::path folder_;
  std::ostream& out_;
  std::ostream& err_;
  std::optional<mqtt::embedded_broker> broker_; ///< of a cluster; otherwise it is the node's
  std::vector<running_node> nodes_;
  std::optional<child_process> load_;
  steady_clock::time_point began_;
};

result<void> demonstration::write_configuration() {
  auto text = std::string{one_node};
  if (is_cluster()) {
    mqtt::embedded_broker_options options;
    options.directory = folder_ / "broker";
    broker_.emplace(std::move(options));
    const auto port = broker_->start();
    if (!port)
      return port.error();
    text = std::string{many_nodes} + "nodes:\n";
    for (std::uint64_t number = 0; number < options_.nodes; ++number)
      text += "  " + name_of_node(number) + ": {address: 127.0.0.1:0, http: 127.0.0.1:0}\n";
    text += with(shared, "BROKER", *port);
  }
  text += with(pipeline_text, "SHARDS", 2 * options_.nodes);
  std::ofstream{folder_ / "demo.yaml"} << text;
  return {};
}

int demonstration::fail(const std::string& what, const std::string& log) {
  err_ << what << "; the end of its log:\n";
  std::ifstream lines{folder_ / log};
  std::vector<std::string> tail;
  for (std::string line; std::getline(lines, line);) {
    tail.push_back(line);
    if (tail.size() > 10)
      tail.erase(tail.begin());
  }
  for (const auto& line : tail)
    err_ << "  " << line << '\n';
  return exit_unavailable;
}

/// `joins`: the file does not list it.
bool demonstration::start_node(const std::string& name, bool joins) {
  std::vector<std::string> command{this_program().string(), "run", "--config", file("demo.yaml")};
  if (is_cluster())
    command.insert(command.end(), {"--node", name});
  if (joins)
    command.insert(command.end(), {"--address", "127.0.0.1:0", "--http", "127.0.0.1:0"});
  auto started = child_process::start(command, folder_ / ("node" + name + ".log"));
  if (!started)
    return false;
  auto& node = nodes_.emplace_back(running_node{name, std::move(*started), {}});
  const auto folder = folder_ / "data" / (is_cluster() ? "nodes/" + name : std::string{});
  for (const auto deadline = steady_clock::now() + 20s; steady_clock::now() < deadline;) {
    const auto up = read_run_file(folder);
    if (up && up->pid == node.process.pid()) {
      node.url = "http://" + up->http;
      return true;
    }
    if (node.process.wait(50ms))
      return false;
  }
  return false;
}

bool demonstration::start_load() {
  auto started = child_process::start({this_program().string(), "load", "--config", file("demo.yaml"), "--devices",
                                       std::to_string(options_.devices), "--rate", std::to_string(options_.rate),
                                       "--count", std::to_string(options_.rate * options_.seconds), "--malformed",
                                       "0.1", "--duplicates", "1", "--ledger", file("ledger.csv")},
                                      folder_ / "load.log");
  if (!started)
    return false;
  load_.emplace(std::move(*started));
  return true;
}

demonstration::figures demonstration::look() const {
  figures all;
  for (const auto& node : nodes_) {
    const auto answer = web::http_get(node.url + "/status", 900ms);
    const auto json = answer ? nlohmann::json::parse(answer->body, nullptr, false) : nlohmann::json{};
    if (!json.is_object()) {
      all.places += "  " + node.name + " does not answer";
      continue;
    }
    const auto& pipeline = json.at("pipelines").at("telemetry");
    const auto& account = pipeline.at("account");
    all.received_rate += pipeline.at("received_per_second").get<std::uint64_t>();
    all.committed_rate += pipeline.at("committed_per_second").get<std::uint64_t>();
    all.committed += account.at("committed").get<std::uint64_t>();
    all.duplicate += account.at("duplicate").get<std::uint64_t>();
    all.in_flight += account.at("in_flight").get<std::uint64_t>();
    all.lag_ms = std::max(all.lag_ms, pipeline.at("lag_ms").get<std::uint64_t>());
    all.places += fmt::format("  {} {}+{}", node.name, pipeline.at("shards").size(), pipeline.at("writers").size());
  }
  return all;
}

void demonstration::show_line() {
  const auto second = std::chrono::duration_cast<std::chrono::seconds>(steady_clock::now() - began_).count();
  const auto now = look();
  out_ << fmt::format("{:>4}s {:>12} {:>12} {:>14} {:>10} {:>12} {:>9} ms{}\n", second, with_commas(now.received_rate),
                      with_commas(now.committed_rate), with_commas(now.committed), with_commas(now.duplicate),
                      with_commas(now.in_flight), now.lag_ms, is_cluster() ? now.places : std::string{})
       << std::flush;
}

/// Of a cluster the one that writes.
void demonstration::kill_node() {
  const auto writer = look().writer;
  auto found = std::find_if(nodes_.begin(), nodes_.end(), [&](const auto& each) { return each.name == writer; });
  if (found == nodes_.end())
    found = std::prev(nodes_.end());
  auto& node = *found;
  out_ << fmt::format("       --- kill -9 {}: {} dies with messages in its hands; the devices go on publishing ---\n",
                      node.process.pid(), is_cluster() ? "node " + node.name : std::string{"the node"})
       << std::flush;
  node.process.signal(SIGKILL);
  node.process.wait(5s);
  nodes_.erase(found);
  std::this_thread::sleep_for(1s);
}

int demonstration::verdict() {
  verify_options verify_with;
  verify_with.config = file("demo.yaml");
  verify_with.pipeline = "telemetry";
  verify_with.ledger = file("ledger.csv");
  verify_with.wait = 60s;
  out_ << "\nEvery message that a device sent, held against the database (penstock verify):\n\n" << std::flush;
  return verify(verify_with, out_, err_);
}

void demonstration::introduce() {
  const auto devices = with_commas(options_.devices);
  const auto rate = with_commas(options_.rate);
  if (is_cluster())
    out_ << fmt::format(
      "{} devices publish {} messages/s (QoS 1) to mosquitto. {} processes share the {} sessions that receive them;\n"
      "one of them writes to SQLite. Each message is acknowledged after its commit, wherever it came in.\n",
      devices, rate, options_.nodes, 2 * options_.nodes);
  else
    out_ << fmt::format("{} devices publish {} messages/s (QoS 1) to mosquitto; Penstock writes them to SQLite\n"
                        "and acknowledges each after its commit.\n",
                        devices, rate);
  out_ << "1 % are sent twice, 0.1 % are malformed. The counters are those of the running "
       << (is_cluster() ? "processes.\n" : "process.\n");
  for (const auto& node : nodes_)
    out_ << fmt::format("Status of {}: {}/status\n", is_cluster() ? "node " + node.name : std::string{"the node"},
                        node.url);
  out_ << fmt::format("Folder: {}\n\n", folder_.string())
       << "       received/s  committed/s      committed  duplicate    in flight          lag"
       << (is_cluster() ? "     sessions+writers\n" : "\n") << std::flush;
}

int demonstration::run() {
  if (auto written = write_configuration(); !written) {
    err_ << written.error().to_string() << '\n';
    return exit_unavailable;
  }
  interrupt interrupted;
  for (std::uint64_t number = 0; number < options_.nodes; ++number) {
    const auto name = is_cluster() ? name_of_node(number) : std::string{};
    if (!start_node(name))
      return fail("a node did not start", "node" + name + ".log");
  }
  if (!start_load())
    return fail("the devices did not start", "load.log");
  introduce();
  began_ = steady_clock::now();
  bool kill_due = options_.kill;
  while (!load_->wait(0ms) && interrupted.count() == 0) {
    std::this_thread::sleep_for(1s);
    show_line();
    if (kill_due && steady_clock::now() - began_ > std::chrono::seconds{options_.seconds} / 2) {
      kill_due = false;
      kill_node();
      const auto name = is_cluster() ? name_of_node(options_.nodes) : std::string{};
      if (!start_node(name, is_cluster()))
        return fail("the node did not start again", "node" + name + ".log");
      out_ << (is_cluster() ? "       --- node " + name +
                                " joins, which the file does not list; the shards of the dead "
                                "one are taken when its lease is over ---\n"
                            : "       --- started again: the broker delivers what was not acknowledged ---\n")
           << std::flush;
    }
  }
  if (interrupted.count() > 0) {
    load_->signal(SIGINT);
    load_->wait(10s);
  }
  if (load_->wait(0ms).value_or(exit_unavailable) == exit_unavailable)
    return fail("the devices could not publish", "load.log");
  return verdict();
}

} // namespace

int demo(const demo_options& options, std::ostream& out, std::ostream& err) {
  const workplace folder{options.data};
  if (folder.path().empty()) {
    err << "cannot make a folder in " << std::filesystem::temp_directory_path() << '\n';
    return exit_unavailable;
  }
  const int code = demonstration{options, folder.path(), out, err}.run();
  if (folder.kept())
    out << "\nLook at it: sqlite3 " << (folder.path() / "data" / "telemetry.db").string()
        << " 'SELECT * FROM raw_telemetry LIMIT 5'\n";
  return code;
}

} // namespace penstock::nodes
