#include "nodes/load_table.hpp"

#include "nodes/check.hpp"
#include "nodes/command_support.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/late_lane.hpp"
#include "nodes/row_dealer.hpp"
#include "nodes/row_ledger.hpp"
#include "nodes/row_writer.hpp"
#include "nodes/source_table.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <ostream>
#include <thread>

namespace penstock::nodes {

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::uint64_t count_default = 10'000;
constexpr auto look_interval = 20ms;

/// One run, from the first row to the last commit.
class table_load {
public:
  table_load(const load_table_options& options, const config::database& database, const source_rows& rows,
             dealer_options dealt, row_ledger& ledger, std::ostream& err);

  /// Exit code.
  int run(interrupt& signals);
  void print_summary(std::ostream& out) const;

private:
  void write_rows(std::size_t writer);
  bool wait_until(monotonic due);
  void settled(const row_transaction& transaction, const result<std::optional<wall_time>>& done);
  void note_trouble(const std::optional<error>& why);
  void stop();
  bool over(interrupt& signals);
  void show_progress();
  row_writer_surroundings surroundings();

  const load_table_options& options_;
  const config::database& database_;
  const source_rows& rows_;
  row_ledger& ledger_;
  std::ostream& err_;
  std::uint64_t count_;
  const monotonic started_ = steady_clock::now();
  row_dealer dealer_;
  std::mutex turn_;
  std::atomic<bool> give_up_ = false;
  std::atomic<std::size_t> writing_ = 0;
  mutable std::mutex mutex_; ///< guards what follows, and the ledger
  std::condition_variable changed_;
  bool stopping_ = false;
  std::optional<error> failure_;
  std::optional<error> trouble_;
  std::uint64_t inserted_ = 0;
  std::uint64_t updated_ = 0;
  std::uint64_t late_ = 0;
  std::uint64_t rolled_back_ = 0;
  monotonic next_progress_ = started_ + 1s;
  std::uint64_t shown_ = 0;
  std::optional<late_lane> lane_;
  std::vector<std::jthread> writers_; // last: they use the others
};

table_load::table_load(const load_table_options& options, const config::database& database, const source_rows& rows,
                       dealer_options dealt, row_ledger& ledger, std::ostream& err)
  : options_(options), database_(database), rows_(rows), ledger_(ledger), err_(err), count_(dealt.count),
    dealer_(dealt, started_), writing_(dealt.writers) {
  const bool one_at_a_time = database.kind == config::database_kind::sqlite;
  lane_.emplace(late_lane::options{database, options.late_for, options.seed, one_at_a_time}, surroundings(),
                [this](const row_transaction& transaction, const result<std::optional<wall_time>>& done) {
                  settled(transaction, done);
                });
  for (std::size_t writer = 0; writer < dealt.writers; ++writer)
    writers_.emplace_back([this, writer] { write_rows(writer); });
}

row_writer_surroundings table_load::surroundings() {
  const bool one_at_a_time = database_.kind == config::database_kind::sqlite;
  return {rows_, options_.timeout, give_up_, one_at_a_time ? &turn_ : nullptr,
          [this](const std::optional<error>& why) { note_trouble(why); }};
}

void table_load::write_rows(std::size_t number) {
  row_writer writer{database_, surroundings()};
  while (const auto next = dealer_.reserve()) {
    if (!wait_until(next->due))
      break;
    auto transaction = dealer_.deal(number, next->rows, wall_now());
    if (transaction.late && lane_->offer(transaction))
      continue;
    transaction.late = false;
    const auto done = writer.write(transaction);
    if (done && *done)
      dealer_.committed(number, transaction);
    settled(transaction, done);
  }
  --writing_;
}

/// False: the load ends early.
bool table_load::wait_until(monotonic due) {
  std::unique_lock lock{mutex_};
  changed_.wait_until(lock, due, [this] { return stopping_; });
  return !stopping_;
}

void table_load::settled(const row_transaction& transaction, const result<std::optional<wall_time>>& done) {
  const std::lock_guard lock{mutex_};
  if (!done) {
    if (!failure_)
      failure_ = done.error();
    stopping_ = true;
    changed_.notify_all();
    return;
  }
  if (!*done) {
    rolled_back_ += transaction.rows.size();
    return;
  }
  (transaction.updates ? updated_ : inserted_) += transaction.rows.size();
  late_ += transaction.late ? transaction.rows.size() : 0;
  for (const source_row& row : transaction.rows)
    ledger_.add({.updated = transaction.updates,
                 .late = transaction.late,
                 .committed_us = (*done)->time_since_epoch().count(),
                 .order = rows_.order_of(row),
                 .version = rows_.has_versions() ? row.version : 0,
                 .monitor = rows_.monitor_of(row),
                 .key = rows_.key_of(row)});
}

void table_load::note_trouble(const std::optional<error>& why) {
  const std::lock_guard lock{mutex_};
  trouble_ = why;
}

void table_load::stop() {
  {
    const std::lock_guard lock{mutex_};
    stopping_ = true;
    changed_.notify_all();
  }
  lane_->hurry();
}

/// The writers and, once they are done, the late transactions.
bool table_load::over(interrupt& signals) {
  const unsigned count = signals.count();
  if (count > 1)
    give_up_ = true;
  bool stopping = false;
  {
    const std::lock_guard lock{mutex_};
    stopping = stopping_;
  }
  const bool too_long = options_.duration && steady_clock::now() - started_ >= *options_.duration;
  if (stopping || count > 0 || too_long)
    stop();
  return writing_ == 0 && lane_->idle();
}

int table_load::run(interrupt& signals) {
  while (!over(signals)) {
    show_progress();
    std::this_thread::sleep_for(look_interval);
  }
  lane_->close();
  writers_.clear();
  lane_.reset();
  if (failure_) {
    const bool away = disposition_of(failure_->code) == disposition::retry;
    err_ << "load: " << (away ? "the database cannot be reached any more: " : "") << failure_->to_string() << '\n';
    return away ? exit_unavailable : exit_configuration;
  }
  return give_up_ ? exit_signal + signals.last_signal() : exit_done;
}

void table_load::show_progress() {
  const auto now = steady_clock::now();
  if (now < next_progress_)
    return;
  next_progress_ += 1s;
  const std::lock_guard lock{mutex_};
  const auto committed = inserted_ + updated_;
  err_ << "load: " << with_commas(committed) << " committed, " << with_commas(committed - shown_) << "/s";
  shown_ = committed;
  print_time_left(
    err_, seconds_left({.elapsed = seconds_of(now - started_),
                        .duration = options_.duration ? std::optional{seconds_of(*options_.duration)} : std::nullopt,
                        .rate = options_.rate,
                        .count = count_,
                        .begun = committed,
                        .done = committed}));
  if (trouble_)
    err_ << " (trying again: " << trouble_->to_string() << ")";
  err_ << std::endl;
}

void table_load::print_summary(std::ostream& out) const {
  const double elapsed = seconds_of(steady_clock::now() - started_);
  const auto committed = inserted_ + updated_;
  out << "committed " << with_commas(committed) << " rows in "
      << static_cast<double>(static_cast<std::int64_t>(elapsed * 100)) / 100 << " s ("
      << with_commas(static_cast<std::uint64_t>(static_cast<double>(committed) / std::max(elapsed, 1e-6)))
      << "/s): " << with_commas(inserted_) << " inserted (" << with_commas(late_) << " late), " << with_commas(updated_)
      << " updated; " << with_commas(rolled_back_) << " rolled back\n";
}

ledger_header header_of(const load_table_options& options, const config::publish& pipeline) {
  ledger_header header{pipeline.name, pipeline.key, {}};
  header.options = {{"table", pipeline.table},
                    {"monitors", std::to_string(options.monitors)},
                    {"rate", options.rate ? number_text(*options.rate) : "max"},
                    {"writers", std::to_string(options.writers)},
                    {"late_percent", number_text(options.late_percent)},
                    {"late_for_ms", std::to_string(options.late_for.count())},
                    {"updates_percent", number_text(options.updates_percent)},
                    {"rollbacks_percent", number_text(options.rollbacks_percent)},
                    {"seed", std::to_string(options.seed)}};
  return header;
}

/// The table as it is, once it is made where it may be.
result<storage::actual_table> look_at_table(storage::connection& connection, const config::publish& pipeline,
                                            config::database_kind kind, bool create) {
  auto actual = connection.read_table(pipeline.table);
  if (!actual || !actual->kind.empty())
    return actual;
  if (!create)
    return error{errc::configuration, "there is no table " + storage::quoted_table(connection.words(), pipeline.table) +
                                        "; --create makes it"};
  if (auto begun = connection.begin(); !begun)
    return begun.error();
  for (const auto& statement : create_source_sql(pipeline, kind, connection.words()))
    if (const auto made = connection.change(statement); !made) {
      connection.roll_back();
      return made.error();
    }
  if (auto committed = connection.commit(); !committed)
    return committed.error();
  return connection.read_table(pipeline.table);
}

/// What the rows are made of, and where their numbers begin.
result<source_rows> prepare(const load_table_options& options, const config::publish& pipeline,
                            const config::database& database, dealer_options& dealt) {
  const auto& file = database.address.path;
  std::error_code ignored;
  if (!file.empty() && options.create)
    std::filesystem::create_directories(file.parent_path(), ignored);
  else if (!file.empty() && !std::filesystem::exists(file, ignored))
    return error{errc::configuration,
                 "there is no file " + file.string() + ", and so no table " + pipeline.table + "; --create makes both"};
  auto connection =
    storage::open_connection(database, options.create ? storage::access::read_write : storage::access::read_only);
  if (!connection)
    return connection.error();
  const auto actual = look_at_table(**connection, pipeline, database.kind, options.create);
  if (!actual)
    return actual.error();
  auto rows = source_rows::make(pipeline, database.kind, (*connection)->words(), *actual);
  if (!rows)
    return rows.error();
  const auto read = (*connection)->read(rows->highest_sql(), [&](std::span<const storage::cell> row) {
    dealt.last_id = rows->id_of(row[0].text);
    dealt.last_version = rows->id_of(row[1].text);
  });
  if (!read)
    return read.error();
  return rows;
}

/// Prints what is wrong with the options.
bool sound(const load_table_options& options, std::ostream& err) {
  const auto percent = [](double value) { return value >= 0 && value <= 100; };
  const bool good = options.monitors > 0 && options.writers > 0 && (!options.rate || *options.rate > 0) &&
                    percent(options.late_percent) && percent(options.updates_percent) &&
                    percent(options.rollbacks_percent) && options.rollbacks_percent < 100;
  if (!good)
    err << "load: monitors, writers and rate must be more than 0, shares 0 to 100 per cent, rollbacks less than 100\n";
  return good;
}

} // namespace

int load_table(const load_table_options& options, std::ostream& out, std::ostream& err) {
  if (!sound(options, err))
    return exit_usage;
  interrupt signals;
  config::configuration configuration;
  if (!load_or_report(options.config, options.node, configuration, err))
    return exit_configuration;
  const config::publish* pipeline = find_publish(configuration, options.pipeline, err);
  if (pipeline == nullptr)
    return exit_configuration;
  if (options.updates_percent > 0 &&
      (pipeline->on_update != config::update_rule::publish || pipeline->version.empty())) {
    err << "load: --updates is for a pipeline with `on_update: publish` and a `version` column; pipeline "
        << pipeline->name << " publishes a row once, however often it is updated\n";
    return exit_usage;
  }
  dealer_options dealt{.count = options.count.value_or(options.duration ? UINT64_MAX : count_default),
                       .rate = options.rate,
                       .monitors = options.monitors,
                       .writers = static_cast<std::size_t>(std::min<std::uint64_t>(options.writers, options.monitors)),
                       .late_percent = options.late_percent,
                       .updates_percent = options.updates_percent,
                       .rollbacks_percent = options.rollbacks_percent,
                       .seed = options.seed};
  const auto& database = configuration.databases.at(pipeline->database);
  const auto rows = prepare(options, *pipeline, database, dealt);
  if (!rows) {
    err << "load: " << rows.error().to_string() << '\n';
    return disposition_of(rows.error().code) == disposition::retry ? exit_unavailable : exit_configuration;
  }
  row_ledger ledger{header_of(options, *pipeline)};
  const auto write_ledger = [&](bool finished) {
    const auto written = options.ledger.empty() ? result<void>{} : ledger.write(options.ledger, finished);
    if (!written)
      err << written.error().message << '\n';
    return static_cast<bool>(written);
  };
  if (!write_ledger(false)) // rather now than after an hour
    return exit_configuration;
  table_load run{options, database, *rows, dealt, ledger, err};
  const int code = run.run(signals);
  run.print_summary(out);
  return write_ledger(true) ? code : exit_configuration;
}

} // namespace penstock::nodes
