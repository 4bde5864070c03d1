#include "nodes/load.hpp"

#include "nodes/check.hpp"
#include "nodes/command_support.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/ledger.hpp"
#include "nodes/pace.hpp"
#include "nodes/payload_generator.hpp"
#include "nodes/publisher_pool.hpp"
#include "nodes/visibility_sampler.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <ostream>

namespace penstock::nodes {

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::uint64_t count_default = 10'000;
constexpr std::size_t outstanding_max = 2'000; // a connection; twice the window, so that it never runs dry
constexpr std::size_t messages_per_publish = 100;
constexpr std::size_t recent_max = 1'000; // a copy is of one of the last so many messages
constexpr auto sample_interval = 10ms;
constexpr auto sample_wait = 5s;
constexpr auto acknowledgement_wait = 5s; // after a signal
constexpr std::uint8_t reason_no_subscriber = 0x10;
constexpr std::uint8_t reason_failure = 0x80;

/// One run, from the first message to the last acknowledgement.
class load_run {
public:
  load_run(const load_options& options, payload_generator generator, ledger_header header, publisher_pool& publishers,
           interrupt& signals, visibility_sampler* sampler, std::ostream& err)
    : options_(options), generator_(std::move(generator)), ledger_(std::move(header)), publishers_(publishers),
      signals_(signals), sampler_(sampler), err_(err), batches_(publishers.connections()),
      count_(options.count.value_or(options.duration ? UINT64_MAX : count_default)), dice_(options.seed) {}

  /// Exit code.
  int run();
  nodes::ledger& what_was_sent() { return ledger_; }
  void print_summary(std::ostream& out) const;

private:
  struct sent_message {
    std::uint64_t number;
    std::size_t connection;
    std::string topic;
    std::string payload;
  };

  bool all_made() const { return made_ == count_ || stopping_; }
  std::uint64_t due() const;
  std::size_t window() const;
  void fill();
  void make_one(std::size_t connection);
  void repeat_one();
  void flush(std::size_t connection);
  void take_acknowledgements();
  void note_unrouted(std::uint64_t number);
  std::optional<int> ends_early();
  void show_progress();

  const load_options& options_;
  payload_generator generator_;
  nodes::ledger ledger_;
  publisher_pool& publishers_;
  interrupt& signals_;
  visibility_sampler* sampler_;
  std::ostream& err_;
  std::vector<std::vector<mqtt::outbound>> batches_; // by connection
  std::deque<sent_message> recent_;
  std::uint64_t count_;
  dice dice_;
  std::uint64_t made_ = 0;
  std::uint64_t copies_ = 0;
  std::uint64_t acknowledged_ = 0; // publications, copies included
  std::uint64_t refused_ = 0;
  std::uint64_t unrouted_ = 0;
  bool stopping_ = false;
  steady_clock::time_point started_;
  steady_clock::time_point stopping_since_;
  steady_clock::time_point next_sample_;
  steady_clock::time_point next_progress_;
  std::uint64_t shown_ = 0;
};

int load_run::run() {
  const auto until = steady_clock::now() + options_.timeout;
  while (publishers_.wait_connected(100ms) < publishers_.connections()) {
    if (signals_.count() > 0)
      return exit_done;
    if (steady_clock::now() < until)
      continue;
    if (publishers_.wait_connected(0ms) > 0)
      break;
    err_ << "load: the broker cannot be reached: " << publishers_.down_reason() << '\n';
    return exit_unavailable;
  }
  started_ = steady_clock::now();
  next_sample_ = started_;
  next_progress_ = started_ + 1s;
  while (!all_made() || publishers_.outstanding() > 0) {
    if (const auto code = ends_early())
      return *code;
    fill();
    take_acknowledgements();
    show_progress();
  }
  return exit_done;
}

std::optional<int> load_run::ends_early() {
  const auto now = steady_clock::now();
  const unsigned signals = signals_.count();
  if (signals > 1)
    return exit_signal + signals_.last_signal();
  const bool over = signals > 0 || (options_.duration && now - started_ >= *options_.duration);
  if (over && !stopping_) {
    stopping_ = true;
    stopping_since_ = now;
  }
  if (signals > 0 && now - stopping_since_ > acknowledgement_wait)
    return exit_done;
  const auto down = publishers_.down_since();
  if (down && now - *down > options_.timeout) {
    err_ << "load: the broker cannot be reached any more: " << publishers_.down_reason() << '\n';
    return exit_unavailable;
  }
  return std::nullopt;
}

std::uint64_t load_run::due() const {
  if (!options_.rate)
    return count_;
  const double messages =
    share_due(seconds_of(steady_clock::now() - started_), seconds_of(options_.ramp), *options_.rate);
  return std::min(count_, static_cast<std::uint64_t>(messages) + 1);
}

std::size_t load_run::window() const {
  const double ramp = seconds_of(options_.ramp);
  const double elapsed = seconds_of(steady_clock::now() - started_);
  if (options_.rate || elapsed >= ramp)
    return outstanding_max;
  return std::max<std::size_t>(1, static_cast<std::size_t>(elapsed / ramp * static_cast<double>(outstanding_max)));
}

/// A device keeps to one connection, so that its messages keep their order: where its connection is full, the others
/// wait too.
void load_run::fill() {
  const std::uint64_t most = due();
  const std::size_t room = window();
  while (!stopping_ && made_ < most) {
    const std::size_t connection = made_ % options_.devices % batches_.size();
    if (publishers_.outstanding(connection) + batches_[connection].size() >= room)
      break;
    make_one(connection);
    if (batches_[connection].size() >= messages_per_publish)
      flush(connection);
  }
  for (std::size_t i = 0; i < batches_.size(); ++i)
    flush(i);
}

void load_run::make_one(std::size_t connection) {
  const wall_time now = wall_now();
  generated_message message = generator_.next(now);
  const std::uint64_t number = ledger_.add(
    message.malformed, now,
    message.malformed ? storage::key_text{storage::dead_letter_id(message.topic, message.payload)} : message.key);
  if (sampler_ != nullptr && !message.malformed && steady_clock::now() >= next_sample_) {
    sampler_->sample(number, std::move(message.key));
    next_sample_ = steady_clock::now() + sample_interval;
  }
  if (options_.duplicates_percent > 0) {
    if (recent_.size() == recent_max)
      recent_.pop_front();
    recent_.push_back({number, connection, message.topic, message.payload});
  }
  batches_[connection].push_back({std::move(message.topic), std::move(message.payload), options_.qos, false, number});
  ++made_;
  if (dice_.happens(options_.duplicates_percent))
    repeat_one();
}

void load_run::repeat_one() {
  const auto& again = recent_[dice_.below(recent_.size())];
  ledger_.add_copy(again.number);
  batches_[again.connection].push_back({again.topic, again.payload, options_.qos, false, again.number});
  ++copies_;
}

void load_run::flush(std::size_t connection) {
  if (batches_[connection].empty())
    return;
  publishers_.publish(connection, std::move(batches_[connection]));
  batches_[connection].clear();
}

void load_run::take_acknowledgements() {
  for (const auto& [number, reason] : publishers_.take(1ms)) {
    ++acknowledged_;
    if (reason >= reason_failure)
      ++refused_;
    else if (reason == reason_no_subscriber)
      note_unrouted(number);
    else if (options_.qos > 0)
      ledger_.acknowledge(number);
  }
}

void load_run::note_unrouted(std::uint64_t number) {
  ++unrouted_;
  ledger_.unrouted(number);
}

void load_run::show_progress() {
  const auto now = steady_clock::now();
  if (now < next_progress_)
    return;
  next_progress_ += 1s;
  const std::uint64_t published = made_ + copies_;
  const double rate = static_cast<double>(acknowledged_ - shown_);
  shown_ = acknowledged_;
  err_ << "load: " << with_commas(published) << " sent, " << with_commas(acknowledged_)
       << (options_.qos > 0 ? " acknowledged, " : " written, ") << with_commas(static_cast<std::uint64_t>(rate))
       << "/s";
  print_time_left(
    err_, seconds_left({.elapsed = seconds_of(now - started_),
                        .duration = options_.duration ? std::optional{seconds_of(*options_.duration)} : std::nullopt,
                        .rate = options_.rate,
                        .count = options_.duration ? count_ : count_ + copies_,
                        .begun = made_ + copies_,
                        .done = acknowledged_}));
  if (publishers_.down_since())
    err_ << " (not connected: " << publishers_.down_reason() << ")";
  err_ << std::endl;
}

void load_run::print_summary(std::ostream& out) const {
  const double elapsed = seconds_of(steady_clock::now() - started_);
  out << "sent " << with_commas(made_) << " messages and " << with_commas(copies_) << " copies in "
      << static_cast<double>(static_cast<std::int64_t>(elapsed * 100)) / 100 << " s ("
      << with_commas(static_cast<std::uint64_t>(static_cast<double>(made_ + copies_) / std::max(elapsed, 1e-6)))
      << "/s), " << with_commas(acknowledged_ - refused_) << (options_.qos > 0 ? " acknowledged" : " written");
  if (refused_ > 0)
    out << ", " << with_commas(refused_) << " refused by the broker";
  out << '\n';
  if (unrouted_ > 0)
    out << "the broker had no subscriber for " << with_commas(unrouted_)
        << " of them and threw them away (was the pipeline running, and subscribed?)\n";
}

ledger_header header_of(const load_options& options, const config::ingest& pipeline, const config::broker& broker) {
  ledger_header header{pipeline.name, pipeline.key, {}};
  header.options = {{"broker", broker.host + ":" + std::to_string(broker.port)},
                    {"devices", std::to_string(options.devices)},
                    {"rate", options.rate ? number_text(*options.rate) : "max"},
                    {"qos", std::to_string(options.qos)},
                    {"connections", std::to_string(options.connections)},
                    {"duplicates_percent", number_text(options.duplicates_percent)},
                    {"malformed_percent", number_text(options.malformed_percent)},
                    {"seed", std::to_string(options.seed)}};
  return header;
}

} // namespace

int load(const load_options& options, std::ostream& out, std::ostream& err) {
  if (options.devices == 0 || options.connections == 0 || options.qos > 2 || (options.rate && !(*options.rate > 0))) {
    err << "load: devices, connections and rate must be more than 0, qos 0 to 2\n";
    return exit_usage;
  }
  interrupt signals;
  config::configuration configuration;
  if (options.config.empty()) {
    auto made = telemetry_configuration(options.broker_url, options.topic);
    if (!made) {
      err << made.error().message << '\n';
      return exit_usage;
    }
    configuration = *std::move(made);
  } else if (!load_or_report(options.config, options.node, configuration, err)) {
    return exit_configuration;
  }
  const config::ingest* pipeline = find_pipeline(configuration, options.pipeline, err);
  if (pipeline == nullptr)
    return exit_configuration;
  const auto broker = reachable_broker(configuration, pipeline->broker);
  if (!broker) {
    err << broker.error().to_string() << '\n';
    return exit_unavailable;
  }
  auto generator =
    payload_generator::make(*pipeline, {options.devices, options.malformed_percent, options.seed, wall_now()});
  if (!generator) {
    err << generator.error().to_string() << '\n';
    return exit_configuration;
  }

  std::optional<visibility_sampler> sampler;
  if (!options.config.empty() && !options.ledger.empty())
    sampler.emplace(configuration.databases.at(pipeline->database), storage::table_of(*pipeline));
  publisher_pool publishers{*broker, options.connections};
  load_run run{options,
               *std::move(generator),
               header_of(options, *pipeline, *broker),
               publishers,
               signals,
               sampler ? &*sampler : nullptr,
               err};
  const auto write_ledger = [&] {
    const auto written = options.ledger.empty() ? result<void>{} : run.what_was_sent().write(options.ledger);
    if (!written)
      err << written.error().message << '\n';
    return static_cast<bool>(written);
  };
  if (!write_ledger()) // rather now than after an hour
    return exit_configuration;
  const int code = run.run();
  publishers.stop();
  if (sampler)
    for (const auto& [message, when] : sampler->finish(signals.count() > 0 ? 0s : sample_wait))
      run.what_was_sent().visible(message, when);
  if (run.what_was_sent().size() > 0)
    run.print_summary(out);
  return write_ledger() ? code : exit_configuration;
}

} // namespace penstock::nodes
