#include "nodes/verify_topic.hpp"

#include "mqtt/client.hpp"
#include "nodes/check.hpp"
#include "nodes/command_support.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/message_row.hpp"
#include "nodes/received_rows.hpp"
#include "nodes/row_ledger.hpp"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <ostream>
#include <thread>

namespace penstock::nodes {

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds quiet_min = 1s; // a repeat would come meanwhile
constexpr auto look_interval = 50ms;
constexpr auto stop_wait = 3s;

struct arrived_row {
  std::optional<fingerprint> row;
  std::int64_t received_us = 0;
  bool again = false;
};

/// A session that reads rows and acknowledges them.
class subscriber {
public:
  subscriber(const config::broker& broker, const std::string& client_id, bool clean, const config::publish& pipeline);

  /// Whether the session is there (and has its subscription) within `wait`.
  bool wait_connected(std::chrono::milliseconds wait);
  mqtt::connection_state state() const;
  /// What came since the last call.
  std::vector<arrived_row> take();
  /// Disconnects properly.
  void stop();

private:
  void take_in(const mqtt::burst& burst);

  message_row rows_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  mqtt::connection_state state_;
  bool stopped_ = false;
  std::vector<arrived_row> arrived_;
  mqtt::io_thread io_;
  std::unique_ptr<mqtt::client> client_; // last, so that it goes first
};

subscriber::subscriber(const config::broker& broker, const std::string& client_id, bool clean,
                       const config::publish& pipeline)
  : rows_(pipeline) {
  mqtt::client_options options;
  options.broker = broker;
  options.broker.reconnect_max = std::min(broker.reconnect_max, config::milliseconds{1'000});
  options.client_id = client_id;
  options.clean_start = clean;
  options.subscriptions = {filter_of(pipeline)};
  options.subscription_qos = 2;
  mqtt::client_handlers handlers;
  handlers.on_burst = [this](const std::shared_ptr<const mqtt::burst>& burst) { take_in(*burst); };
  handlers.on_published = [](const auto&...) {};
  handlers.on_state = [this](const mqtt::connection_state& state) {
    const std::lock_guard lock{mutex_};
    state_ = state;
    changed_.notify_one();
  };
  client_ = std::make_unique<mqtt::client>(io_, std::move(options), std::move(handlers));
  client_->start();
}

void subscriber::take_in(const mqtt::burst& burst) {
  std::vector<arrived_row> rows;
  rows.reserve(burst.messages.size());
  for (const auto& message : burst.messages)
    rows.push_back({rows_.of(message), burst.arrived.time_since_epoch().count(), message.duplicate});
  client_->release(burst.first + burst.messages.size() - 1);
  const std::lock_guard lock{mutex_};
  arrived_.insert(arrived_.end(), rows.begin(), rows.end());
}

bool subscriber::wait_connected(std::chrono::milliseconds wait) {
  std::unique_lock lock{mutex_};
  return changed_.wait_for(lock, wait, [this] { return state_.connected; });
}

mqtt::connection_state subscriber::state() const {
  const std::lock_guard lock{mutex_};
  return state_;
}

std::vector<arrived_row> subscriber::take() {
  const std::lock_guard lock{mutex_};
  return std::exchange(arrived_, {});
}

void subscriber::stop() {
  client_->stop([this] {
    const std::lock_guard lock{mutex_};
    stopped_ = true;
    changed_.notify_one();
  });
  std::unique_lock lock{mutex_};
  changed_.wait_for(lock, stop_wait, [this] { return stopped_; });
}

std::string reason_of(const mqtt::connection_state& state) {
  return state.reason ? state.reason->to_string() : "no answer";
}

/// One look at everything, from the first message to the verdict.
class topic_verification {
public:
  topic_verification(const verify_topic_options& options, const config::publish& pipeline, subscriber& messages,
                     std::ostream& err)
    : options_(options), pipeline_(pipeline), messages_(messages), err_(err),
      session_present_(messages.state().session_present) {}

  /// Reads the ledger, if it is another one than before.
  result<void> read_ledger();
  /// Exit code.
  int run(std::ostream& out);

private:
  void take_messages();
  bool good() const;
  void show_progress();
  void print_json(std::ostream& out);
  void print_text(std::ostream& out);

  const verify_topic_options& options_;
  const config::publish& pipeline_;
  subscriber& messages_;
  std::ostream& err_;
  bool session_present_;
  received_rows received_;
  ledger_header header_;
  std::filesystem::file_time_type ledger_time_{};
  const monotonic started_ = steady_clock::now();
  monotonic last_message_ = started_;
  monotonic next_progress_ = started_ + 1s;
  std::vector<offender> offenders_;
};

result<void> topic_verification::read_ledger() {
  std::error_code code;
  const auto written = std::filesystem::last_write_time(options_.ledger, code);
  if (!code && written == ledger_time_)
    return {};
  ledger_time_ = written;
  received_.begin();
  const auto header = read_row_ledger(options_.ledger, [&](std::size_t number, const row_line& line) {
    received_.expect(number, line);
    return true;
  });
  received_.seal();
  if (!header)
    return header.error();
  if (header->pipeline != pipeline_.name || header->key != pipeline_.key)
    return error{errc::configuration, options_.ledger.string() + ": it is of pipeline " + header->pipeline +
                                        ", or of another key than pipeline " + pipeline_.name + " has"};
  header_ = *header;
  return {};
}

void topic_verification::take_messages() {
  const auto rows = messages_.take();
  if (!rows.empty())
    last_message_ = steady_clock::now();
  for (const arrived_row& one : rows) {
    if (one.row)
      received_.add(*one.row, one.received_us, one.again);
    else
      received_.add_unreadable();
  }
}

bool topic_verification::good() const {
  const auto counts = received_.counts();
  // At least once is what QoS 1 promises.
  const bool once = counts.repeated == 0 || pipeline_.qos < 2;
  return header_.finished && counts.missing == 0 && once && counts.reordered == 0;
}

int topic_verification::run(std::ostream& out) {
  while (true) {
    take_messages();
    if (const auto read = read_ledger(); !read) {
      err_ << read.error().message << '\n';
      return exit_configuration;
    }
    const bool complete = header_.finished && received_.complete();
    const auto quiet = steady_clock::now() - last_message_;
    if (quiet >= (complete ? quiet_min : std::max(quiet_min, options_.wait)))
      break;
    show_progress();
    std::this_thread::sleep_for(look_interval);
  }
  const auto state = messages_.state();
  if (!state.connected && !received_.complete()) {
    err_ << "verify: the broker cannot be reached any more: " << reason_of(state) << '\n';
    return exit_unavailable;
  }
  offenders_ = received_.offenders();
  name_offenders(offenders_, [&](const value_visitor& visit) {
    static_cast<void>(read_row_ledger(
      options_.ledger, [&](std::size_t number, const row_line& line) { return visit(number, line.key); }));
  });
  if (options_.json)
    print_json(out);
  else
    print_text(out);
  return good() ? exit_done : exit_verdict_bad;
}

void topic_verification::show_progress() {
  const auto now = steady_clock::now();
  if (now < next_progress_)
    return;
  next_progress_ += 1s;
  const auto counts = received_.counts();
  err_ << "verify: " << with_commas(counts.messages) << " messages came";
  if (header_.finished)
    err_ << ", " << with_commas(counts.missing) << " rows still missing";
  else
    err_ << ", the load has not ended yet";
  const auto state = messages_.state();
  if (!state.connected)
    err_ << " (not connected: " << reason_of(state) << ")";
  err_ << std::endl;
}

void topic_verification::print_json(std::ostream& out) {
  const auto counts = received_.counts();
  nlohmann::ordered_json offenders = nlohmann::ordered_json::array();
  for (const offender& one : offenders_)
    offenders.push_back(offender_json(one, header_.key));
  const nlohmann::ordered_json verdict = {
    {"verdict", good() ? "good" : "bad"},
    {"pipeline", pipeline_.name},
    {"ledger", options_.ledger.string()},
    {"client_id", options_.client_id},
    {"filter", filter_of(pipeline_)},
    {"finished", header_.finished},
    {"rows", counts.rows},
    {"messages", counts.messages},
    {"received", counts.received},
    {"missing", counts.missing},
    {"superseded", counts.superseded},
    {"repeated", counts.repeated},
    {"redelivered", counts.redelivered},
    {"reordered", counts.reordered},
    {"late", counts.late},
    {"foreign", counts.foreign},
    {"unreadable", counts.unreadable},
    {"lag_ms", latency_json(received_.lags())},
    {"session_present", session_present_},
    {"waited_s", std::chrono::duration<double>(steady_clock::now() - started_).count()},
    {"offenders", offenders}};
  out << verdict.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

void topic_verification::print_text(std::ostream& out) {
  const auto counts = received_.counts();
  print_count(out, "rows in the ledger", counts.rows);
  print_count(out, "messages", counts.messages);
  print_count(out, "received", counts.received);
  print_count(out, "missing", counts.missing);
  if (counts.superseded > 0)
    print_count(out, "superseded", counts.superseded, "  updated again before they were published");
  print_count(out, "repeated", counts.repeated, pipeline_.qos < 2 ? "  which QoS 1 allows" : "");
  if (counts.redelivered > 0)
    print_count(out, "redelivered", counts.redelivered, "  after a break of this command's own connection");
  print_count(out, "reordered", counts.reordered);
  print_count(out, "late", counts.late, "  committed late, so behind later ones");
  print_count(out, "messages of other rows", counts.foreign);
  if (counts.unreadable > 0)
    print_count(out, "unreadable", counts.unreadable, "  neither payload nor message id names a row");
  print_latency(out, "commit to receipt", received_.lags());
  for (const offender& one : offenders_)
    print_offender(out, one, header_.key);
  if (!header_.finished)
    out << "the load had not ended: its ledger says nothing of the rows yet\n";
  out << (good() ? "verdict: good, nothing missing, repeated or out of order\n" : "verdict: BAD\n");
}

/// Without what a session of that name had kept.
int make_session(const config::broker& broker, const verify_topic_options& options, const config::publish& pipeline,
                 std::ostream& out, std::ostream& err) {
  for (const bool clean : {true, false}) {
    subscriber session{broker, options.client_id, clean, pipeline};
    if (!session.wait_connected(broker.connect_timeout)) {
      err << "verify: the broker cannot be reached: " << reason_of(session.state()) << '\n';
      return exit_unavailable;
    }
    session.stop();
  }
  out << "subscribed to " << filter_of(pipeline) << " as " << options.client_id << '\n';
  return exit_done;
}

} // namespace

int verify_topic(const verify_topic_options& given, std::ostream& out, std::ostream& err) {
  verify_topic_options options = given;
  config::configuration configuration;
  if (!load_or_report(options.config, options.node, configuration, err))
    return exit_configuration;
  const config::publish* pipeline = find_publish(configuration, options.pipeline, err);
  if (pipeline == nullptr)
    return exit_configuration;
  if (options.client_id.empty())
    options.client_id = "penstock-verify-" + pipeline->name;
  const auto broker = reachable_broker(configuration, pipeline->broker);
  if (!broker) {
    err << broker.error().to_string() << '\n';
    return exit_unavailable;
  }
  if (options.subscribe)
    return make_session(*broker, options, *pipeline, out, err);
  // A ledger that cannot be read is said before anything is taken from the broker.
  if (const auto header = read_row_ledger(options.ledger, [](std::size_t, const row_line&) { return false; });
      !header) {
    err << header.error().message << '\n';
    return exit_configuration;
  }
  subscriber messages{*broker, options.client_id, false, *pipeline};
  if (!messages.wait_connected(std::max(broker->connect_timeout, options.wait))) {
    err << "verify: the broker cannot be reached: " << reason_of(messages.state()) << '\n';
    return exit_unavailable;
  }
  if (!messages.state().session_present)
    err << "verify: the broker had no session " << options.client_id
        << ": what was published before now does not come; make it before the load, with --subscribe\n";
  topic_verification verification{options, *pipeline, messages, err};
  const int code = verification.run(out);
  messages.stop();
  return code;
}

} // namespace penstock::nodes
