#include "nodes/demo.hpp"

#include "nodes/child_process.hpp"
#include "nodes/command_support.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/run_file.hpp"
#include "nodes/verify.hpp"
#include "web/http_client.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <ostream>
#include <thread>
#include <unistd.h>

namespace penstock::nodes {

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr const char* configuration_text =
  R"(# Made by `penstock demo`. Run it by hand:  penstock run --config THIS_FILE
data: ./data
node: {name: demo, http: 127.0.0.1:0}
brokers:
  main: {embedded: true, port: 0}
databases:
  telemetry: {url: "sqlite:telemetry.db"}
ingest:
  telemetry:
    broker: main
    topics: ["users/{user_id}/devices/{device_id}/telemetry"]
    qos: 1
    shards: 2
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

  /// On every way out the node stops gracefully, and with it its mosquitto.
  ~demonstration() {
    if (node_) {
      node_->signal(SIGTERM);
      node_->wait(30s);
    }
  }
  demonstration(const demonstration&) = delete;
  demonstration& operator=(const demonstration&) = delete;

  int run();

private:
  std::string file(const char* name) const { return (folder_ / name).string(); }
  bool start_node();
  bool start_load();
  void show_line();
  void kill_node();
  int verdict();
  int fail(const std::string& what, const char* log);

  const demo_options& options_;
  std::filesystem::path folder_;
  std::ostream& out_;
  std::ostream& err_;
  std::optional<child_process> node_;
  std::optional<child_process> load_;
  std::string url_;
  steady_clock::time_point began_;
};

int demonstration::fail(const std::string& what, const char* log) {
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

bool demonstration::start_node() {
  auto started =
    child_process::start({this_program().string(), "run", "--config", file("demo.yaml")}, folder_ / "node.log");
  if (!started)
    return false;
  node_.emplace(std::move(*started));
  for (const auto deadline = steady_clock::now() + 20s; steady_clock::now() < deadline;) {
    const auto up = read_run_file(folder_ / "data");
    if (up && up->pid == node_->pid()) {
      url_ = "http://" + up->http;
      return true;
    }
    if (node_->wait(50ms))
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

void demonstration::show_line() {
  const auto second = std::chrono::duration_cast<std::chrono::seconds>(steady_clock::now() - began_).count();
  const auto answer = web::http_get(url_ + "/status", 900ms);
  if (!answer) {
    out_ << fmt::format("{:>4}s   the node does not answer: {}\n", second, answer.error().to_string()) << std::flush;
    return;
  }
  const auto json = nlohmann::json::parse(answer->body, nullptr, false);
  if (json.is_discarded())
    return;
  const auto& pipeline = json.at("pipelines").at("telemetry");
  const auto& account = pipeline.at("account");
  out_ << fmt::format("{:>4}s {:>12} {:>12} {:>14} {:>10} {:>12} {:>9} ms\n", second,
                      with_commas(pipeline.at("received_per_second").get<std::uint64_t>()),
                      with_commas(pipeline.at("committed_per_second").get<std::uint64_t>()),
                      with_commas(account.at("committed").get<std::uint64_t>()),
                      with_commas(account.at("duplicate").get<std::uint64_t>()),
                      with_commas(account.at("in_flight").get<std::uint64_t>()),
                      pipeline.at("lag_ms").get<std::uint64_t>())
       << std::flush;
}

void demonstration::kill_node() {
  out_ << "       --- kill -9 " << node_->pid()
       << ": the node dies with messages in its hands; the devices go on publishing ---\n"
       << std::flush;
  node_->signal(SIGKILL);
  node_->wait(5s);
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

int demonstration::run() {
  std::ofstream{folder_ / "demo.yaml"} << configuration_text;
  interrupt interrupted;
  if (!start_node())
    return fail("the node did not start", "node.log");
  if (!start_load())
    return fail("the devices did not start", "load.log");
  out_ << fmt::format("{} devices publish {} messages/s (QoS 1) to mosquitto; Penstock writes them to SQLite\n"
                      "and acknowledges each after its commit. 1 % are sent twice, 0.1 % are malformed.\n"
                      "The counters are those of the running process.\n"
                      "Status of the node: {}/status   Folder: {}\n\n"
                      "       received/s  committed/s      committed  duplicate    in flight          lag\n",
                      with_commas(options_.devices), with_commas(options_.rate), url_, folder_.string())
       << std::flush;
  began_ = steady_clock::now();
  bool kill_due = options_.kill;
  while (!load_->wait(0ms) && interrupted.count() == 0) {
    std::this_thread::sleep_for(1s);
    show_line();
    if (kill_due && steady_clock::now() - began_ > std::chrono::seconds{options_.seconds} / 2) {
      kill_due = false;
      kill_node();
      if (!start_node())
        return fail("the node did not start again", "node.log");
      out_ << "       --- started again: the broker delivers what was not acknowledged ---\n" << std::flush;
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
