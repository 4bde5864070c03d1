#include "nodes/tables.hpp"

#include "core/time_text.hpp"
#include "nodes/check.hpp"
#include "nodes/command_support.hpp"
#include "nodes/exit_codes.hpp"
#include "storage/change_watch.hpp"
#include "storage/connection.hpp"
#include "storage/replication_slot.hpp"
#include "storage/tracking.hpp"
#include "storage/tracking_view.hpp"
#include "storage/transaction.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <ostream>

namespace penstock::nodes {

namespace {

using nlohmann::ordered_json;

std::string dump(const ordered_json& value) {
  return value.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

const config::database& tracking_of(const config::configuration& configuration, const config::publish& pipeline) {
  return configuration.databases.at(pipeline.tracking.database.empty() ? pipeline.database
                                                                       : pipeline.tracking.database);
}

int failed(const error& why, std::ostream& err) {
  err << why.to_string() << '\n';
  return disposition_of(why.code) == disposition::fatal ? exit_configuration : exit_unavailable;
}

/// The pipeline meant, with the configuration that it belongs to.
struct chosen_pipeline {
  config::configuration configuration;
  const config::publish* pipeline = nullptr;
};

/// Prints why where there is none.
std::optional<chosen_pipeline> choose(const tables_options& options, std::ostream& err) {
  chosen_pipeline made;
  if (!load_or_report(options.config, options.node, made.configuration, err))
    return std::nullopt;
  const auto* found = find_publish(made.configuration, options.pipeline, err);
  if (found == nullptr)
    return std::nullopt;
  const auto name = found->name;
  std::optional<chosen_pipeline> out{std::move(made)};
  out->pipeline = &out->configuration.publish.at(name);
  return out;
}

ordered_json describe(const config::configuration& configuration, const config::publish& pipeline) {
  ordered_json states = ordered_json::object();
  std::string wrong;
  bool paused = false;
  auto view = storage::tracking_view::open(tracking_of(configuration, pipeline), pipeline);
  if (!view) {
    wrong = view.error().to_string();
  } else if (auto counts = view->counts(); counts) {
    for (const auto& [state, count] : *counts)
      states[state] = count;
    const auto lasting = view->paused();
    paused = lasting && *lasting;
    wrong = lasting ? "" : lasting.error().to_string();
  } else {
    wrong = counts.error().to_string();
  }
  return {{"pipeline", pipeline.name},
          {"database", pipeline.database},
          {"table", pipeline.table},
          {"topic", pipeline.topic},
          {"shards", pipeline.shards},
          {"qos", pipeline.qos},
          {"paused", paused},
          {"states", states},
          {"error", wrong}};
}

/// Slots that keep the log of a server, and that no pipeline of the file reads.
void print_unread_slots(const config::configuration& configuration, std::ostream& out) {
  for (const auto& [name, database] : configuration.databases) {
    if (database.kind != config::database_kind::postgresql)
      continue;
    auto opened = storage::open_connection(database, storage::access::read_write);
    auto slots = opened ? storage::slots_of(**opened) : result<std::vector<storage::slot_state>>{opened.error()};
    if (!slots)
      continue; // the pipelines of the database say why
    for (const auto& slot : *slots) {
      const bool read =
        std::any_of(configuration.publish.begin(), configuration.publish.end(), [&, &name = name](const auto& each) {
          return each.second.database == name && each.second.detect.changes == config::change_source::logical &&
                 storage::is_slot_of(slot.name, each.first);
        });
      if (!read)
        out << fmt::format(
          "replication slot {} has database {} keep {} MB of its log, and no pipeline of this file reads "
          "it; if no other does:\n  SELECT pg_drop_replication_slot('{}');\n",
          slot.name, name, with_commas(slot.lag_bytes >> 20), slot.name);
    }
  }
}

} // namespace

int tables_list(const tables_options& options, std::ostream& out, std::ostream& err) {
  config::configuration configuration;
  if (!load_or_report(options.config, options.node, configuration, err))
    return exit_configuration;
  ordered_json all = ordered_json::array();
  bool reached = true;
  for (const auto& [name, pipeline] : configuration.publish) {
    if (!options.pipeline.empty() && name != options.pipeline)
      continue;
    all.push_back(describe(configuration, pipeline));
    reached = reached && all.back()["error"].get<std::string>().empty();
  }
  if (options.json) {
    out << dump(all);
    return reached ? exit_done : exit_unavailable;
  }
  if (all.empty())
    out << "no table is published; `publish:` in the configuration names them\n";
  for (const auto& one : all) {
    out << fmt::format("{}: {}.{} -> {} ({} shards, QoS {}{})\n", one["pipeline"].get<std::string>(),
                       one["database"].get<std::string>(), one["table"].get<std::string>(),
                       one["topic"].get<std::string>(), one["shards"].get<int>(), one["qos"].get<int>(),
                       one["paused"].get<bool>() ? ", paused" : "");
    for (const auto& [state, count] : one["states"].items())
      out << fmt::format("  {:<8} {:>14}\n", state, with_commas(count.get<std::uint64_t>()));
    if (const auto wrong = one["error"].get<std::string>(); !wrong.empty())
      out << "  " << wrong << '\n';
  }
  print_unread_slots(configuration, out);
  return reached ? exit_done : exit_unavailable;
}

int tables_pause(const tables_options& options, bool pause, std::ostream& out, std::ostream& err) {
  const auto chosen = choose(options, err);
  if (!chosen)
    return exit_configuration;
  auto tracking = storage::open_tracking(tracking_of(chosen->configuration, *chosen->pipeline), *chosen->pipeline);
  if (!tracking)
    return failed(tracking.error(), err);
  // A pipeline may be paused before it runs for the first time.
  if (auto prepared = (*tracking)->prepare(); !prepared)
    return failed(prepared.error(), err);
  if (auto noted = (*tracking)->pause(pause); !noted)
    return failed(noted.error(), err);
  out << chosen->pipeline->name
      << (pause ? " is paused: within two seconds it claims no more rows, and what is in flight goes on to its end\n"
                : " goes on within two seconds\n");
  return exit_done;
}

namespace {

/// In one transaction, with the user of the configuration.
result<void> run_sql(storage::connection& database, const std::string& sql) {
  auto changes = storage::transaction::begin(database);
  if (!changes)
    return changes.error();
  if (auto changed = database.change(sql); !changed)
    return changed.error();
  return changes->commit();
}

result<void> run_sql(const config::database& database, const std::string& sql) {
  auto opened = storage::open_connection(database, storage::access::read_write);
  return opened ? run_sql(**opened, sql) : result<void>{opened.error()};
}

/// With the slot: the publication alone would leave it without a reader.
result<void> remove_logical(const config::configuration& configuration, const config::publish& pipeline) {
  auto tracking = storage::open_tracking(tracking_of(configuration, pipeline), pipeline);
  if (!tracking)
    return tracking.error();
  auto installation = (*tracking)->prepare();
  if (!installation)
    return installation.error();
  auto opened = storage::open_connection(configuration.databases.at(pipeline.database), storage::access::read_write);
  if (!opened)
    return opened.error();
  if (auto dropped = storage::drop_slot(**opened, storage::slot_name(*installation, pipeline.name)); !dropped)
    return dropped;
  return run_sql(**opened, storage::unlogical_sql(pipeline));
}

} // namespace

int tables_notify(const tables_options& options, sql_action action, std::ostream& out, std::ostream& err) {
  const auto chosen = choose(options, err);
  if (!chosen)
    return exit_configuration;
  const auto& database = chosen->configuration.databases.at(chosen->pipeline->database);
  const auto sql = action == sql_action::remove ? storage::unnotify_sql(database.kind, chosen->pipeline->table)
                                                : storage::notify_sql(database.kind, chosen->pipeline->table);
  if (sql.empty()) {
    out << (database.kind == config::database_kind::sqlite
              ? "SQLite needs nothing for it: the file is watched\n"
              : "MariaDB and MySQL have no notifications: the table is polled (detect.poll)\n");
    return exit_done;
  }
  if (action == sql_action::print) {
    out << sql;
    return exit_done;
  }
  if (auto done = run_sql(database, sql); !done)
    return failed(done.error(), err);
  out << chosen->pipeline->table
      << (action == sql_action::remove ? " no longer tells of its changes\n" : " tells of its changes from now on\n");
  return exit_done;
}

int tables_logical(const tables_options& options, sql_action action, std::ostream& out, std::ostream& err) {
  const auto chosen = choose(options, err);
  if (!chosen)
    return exit_configuration;
  const auto& pipeline = *chosen->pipeline;
  const auto& database = chosen->configuration.databases.at(pipeline.database);
  if (database.kind != config::database_kind::postgresql) {
    err << "logical decoding is of PostgreSQL; database " << database.name << " is another\n";
    return exit_configuration;
  }
  if (action == sql_action::print) {
    out << storage::logical_sql(pipeline);
    return exit_done;
  }
  const auto done = action == sql_action::remove ? remove_logical(chosen->configuration, pipeline)
                                                 : run_sql(database, storage::logical_sql(pipeline));
  if (!done)
    return failed(done.error(), err);
  out << (action == sql_action::remove
            ? "the publication and the replication slot are gone\n"
            : "publication " + storage::publication_name(pipeline.name) + " has " + pipeline.table + "\n");
  return exit_done;
}

int tables_unsent(const tables_options& options, std::size_t limit, std::ostream& out, std::ostream& err) {
  const auto chosen = choose(options, err);
  if (!chosen)
    return exit_configuration;
  auto view = storage::tracking_view::open(tracking_of(chosen->configuration, *chosen->pipeline), *chosen->pipeline);
  if (!view)
    return failed(view.error(), err);
  auto records = view->unsent(limit);
  if (!records)
    return failed(records.error(), err);
  if (options.json) {
    ordered_json all = ordered_json::array();
    for (const auto& one : *records)
      all.push_back({{"record", one.record_id},
                     {"version", one.version},
                     {"state", one.state},
                     {"topic", one.topic},
                     {"reason", one.reason},
                     {"claimed_at", format_rfc3339(one.claimed_at)}});
    out << dump(all);
    return exit_done;
  }
  if (records->empty())
    out << "no row is refused or held\n";
  for (const auto& one : *records)
    out << fmt::format("{}  {:<7}  {}{}  {}: {}\n", format_rfc3339(one.claimed_at), one.state, one.record_id,
                       one.version.empty() ? "" : "/" + one.version, one.topic, one.reason);
  return exit_done;
}

int tables_retry(const tables_options& options, const std::string& record, std::ostream& out, std::ostream& err) {
  const auto chosen = choose(options, err);
  if (!chosen)
    return exit_configuration;
  if (chosen->pipeline->on_update == config::update_rule::publish && chosen->pipeline->version.empty()) {
    err << "a version is as its change was, and no row has it any more; update the row, and that is published\n";
    return exit_verdict_bad;
  }
  auto view = storage::tracking_view::open(tracking_of(chosen->configuration, *chosen->pipeline), *chosen->pipeline);
  if (!view)
    return failed(view.error(), err);
  auto forgotten = view->retry(record);
  if (!forgotten)
    return failed(forgotten.error(), err);
  if (*forgotten == 0 && !record.empty()) {
    err << "record '" << record << "' is neither refused nor held; `penstock tables unsent` lists those that are\n";
    return exit_verdict_bad;
  }
  out << with_commas(*forgotten) << " rows are claimed anew, as they are now, within two seconds of a running node\n";
  return exit_done;
}

} // namespace penstock::nodes
