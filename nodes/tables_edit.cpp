#include "nodes/tables_edit.hpp"

#include "config/edit.hpp"
#include "config/load.hpp"
#include "config/show.hpp"
#include "nodes/check.hpp"
#include "nodes/command_support.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/reload_request.hpp"
#include "nodes/replace_file.hpp"
#include "nodes/table_proposal.hpp"
#include "nodes/text_difference.hpp"
#include "storage/connection.hpp"
#include "storage/source.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <istream>
#include <optional>
#include <ostream>
#include <variant>

namespace penstock::nodes {

namespace {

using nlohmann::ordered_json;

int failed(const error& why, std::ostream& err) {
  err << why.to_string() << '\n';
  return disposition_of(why.code) == disposition::fatal ? exit_configuration : exit_unavailable;
}

/// The configuration as it is, with the text that it was read from.
struct read_configuration {
  config::configuration content;
  std::string text;
};

std::optional<read_configuration> read(const tables_edit_options& options, std::ostream& err) {
  read_configuration made;
  if (!load_or_report(options.config, options.node, made.content, err))
    return std::nullopt;
  auto text = read_text(options.config);
  if (!text) {
    err << text.error().message << '\n';
    return std::nullopt;
  }
  made.text = *std::move(text);
  return made;
}

/// What a person has to do, where the file's form is not one that is edited.
int edit_failed(const error& why, const std::string& by_hand, std::ostream& err) {
  err << why.message << '\n';
  if (why.code != errc::unsupported)
    return exit_configuration;
  err << by_hand;
  return exit_usage;
}

/// Loads the file as it would be; prints every problem.
std::optional<config::configuration> checked(const tables_edit_options& options, const std::string& text,
                                             std::ostream& err) {
  config::load_options how;
  how.node = options.node;
  auto loaded = config::load_text(text, options.config, how);
  if (auto* good = std::get_if<config::configuration>(&loaded))
    return std::move(*good);
  const auto& problems = std::get<std::vector<config::problem>>(loaded);
  for (const auto& problem : problems)
    err << problem.to_string() << '\n';
  err << problems.size() << (problems.size() == 1 ? " problem" : " problems") << "; the file is as before\n";
  return std::nullopt;
}

// --- add
// ----------------------------------------------------------------------------------------------------------

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t from = 0; from <= text.size();) {
    const auto end = std::min(text.find(',', from), text.size());
    const auto first = text.find_first_not_of(' ', from);
    const auto last = text.find_last_not_of(' ', end == 0 ? 0 : end - 1);
    if (first < end)
      parts.push_back(text.substr(first, last - first + 1));
    from = end + 1;
  }
  return parts;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const auto& part : parts)
    text += (text.empty() ? "" : ", ") + part;
  return text;
}

std::string list_to_yaml(const std::vector<std::string>& parts) {
  std::string text;
  for (const auto& part : parts)
    text += (text.empty() ? "" : ", ") + config::text_to_yaml(part);
  return "[" + text + "]";
}

template <class T>
std::string only_name(const std::map<std::string, T>& entries) {
  return entries.size() == 1 ? entries.begin()->first : std::string{};
}

/// Fills in what was not given: asks, or takes what is proposed.
class interview {
public:
  interview(terminal person, std::ostream& out, std::ostream& err) : person_(person), out_(out), err_(err) {}

  bool asks() const { return person_.in != nullptr; }

  /// False: something is missing, and was named.
  bool fill(std::string& value, const char* flag, const std::string& question, const std::string& proposed,
            bool optional = false) {
    if (!value.empty())
      return true;
    value = ask(question, proposed);
    if (!value.empty() || optional)
      return true;
    err_ << flag << " is needed: " << question << '\n';
    return false;
  }

  bool fill(std::vector<std::string>& values, const char* flag, const std::string& question,
            const std::vector<std::string>& proposed, bool optional = false) {
    if (!values.empty())
      return true;
    std::string text;
    if (!fill(text, flag, question, joined(proposed), optional))
      return false;
    values = split(text);
    return true;
  }

  bool is_confirmed() {
    if (!asked_)
      return true;
    const auto answer = ask("add it", "yes");
    return answer == "yes" || answer == "y";
  }

private:
  std::string ask(const std::string& question, const std::string& proposed) {
    if (person_.in == nullptr)
      return proposed;
    asked_ = true;
    out_ << question << (proposed.empty() ? "" : " [" + proposed + "]") << ": " << std::flush;
    std::string answer;
    if (!std::getline(*person_.in, answer))
      return {};
    answer.erase(0, answer.find_first_not_of(" \t\r"));
    answer.erase(answer.find_last_not_of(" \t\r") + 1);
    return answer.empty() ? proposed : answer;
  }

  terminal person_;
  std::ostream& out_;
  std::ostream& err_;
  bool asked_ = false;
};

result<storage::actual_table> look_at(const config::database& database, const std::string& table) {
  auto opened = storage::open_connection(database, storage::access::read_only);
  if (!opened)
    return opened.error();
  auto found = (*opened)->read_table(table);
  if (found && found->kind.empty())
    return error{errc::schema_mismatch, "there is no table " + table + " in database " + database.name};
  return found;
}

/// 0: all is there.
int complete(tables_add_options& options, const config::configuration& configuration, interview& person,
             std::ostream& out, std::ostream& err) {
  if (!person.fill(options.database, "--database", "database", only_name(configuration.databases)))
    return exit_usage;
  const auto database = configuration.databases.find(options.database);
  if (database == configuration.databases.end()) {
    err << "there is no database '" << options.database << "' in the configuration\n";
    return exit_configuration;
  }
  if (!person.fill(options.table, "--table", "table, or SCHEMA.TABLE", {}))
    return exit_usage;
  const auto table = look_at(database->second, options.table);
  if (!table)
    return failed(table.error(), err);
  const auto proposed = propose(options.table, *table);
  std::string columns;
  for (const auto& column : table->columns)
    columns += (columns.empty() ? "" : ", ") + column.name + " " + column.type;
  if (person.asks())
    out << options.table << ": " << columns << '\n';
  std::string shards = options.shards == 0 ? "" : std::to_string(options.shards);
  const bool complete =
    person.fill(options.pipeline, "PIPELINE", "name of the pipeline", pipeline_name_of(options.table)) &&
    person.fill(options.key, "--key", "columns that identify a row", proposed.key) &&
    person.fill(options.order, "--order", "column that says which row is older", proposed.order, true) &&
    person.fill(options.shard_by, "--shard-by", "column whose rows keep their order", proposed.shard_by, true) &&
    person.fill(shards, "--shards", "shards (sessions that share the rows)", "1") &&
    person.fill(options.broker, "--broker", "broker", only_name(configuration.brokers)) &&
    person.fill(options.topic, "--topic", "topic", proposed.topic) &&
    person.fill(options.fields, "--fields", "columns in the payload", {"all"}) &&
    person.fill(options.start, "--start",
                "rows that are there already: all, now (none of them) or a value of the order", "all");
  if (!complete)
    return exit_usage;
  if (options.fields == std::vector<std::string>{"all"})
    options.fields.clear();
  options.shards = static_cast<std::uint16_t>(std::clamp(std::atol(shards.c_str()), 0L, 65'535L));
  return 0;
}

std::vector<std::string> lines_of(const tables_add_options& options) {
  using config::text_to_yaml;
  std::vector<std::string> lines{
    "database: " + text_to_yaml(options.database), "table: " + text_to_yaml(options.table),
    "key: " + (options.key.size() == 1 ? text_to_yaml(options.key.front()) : list_to_yaml(options.key))};
  if (!options.order.empty())
    lines.push_back("order: " + text_to_yaml(options.order));
  if (!options.shard_by.empty())
    lines.push_back("shard_by: " + text_to_yaml(options.shard_by));
  lines.push_back("shards: " + std::to_string(options.shards));
  lines.push_back("broker: " + text_to_yaml(options.broker));
  lines.push_back("topic: " + text_to_yaml(options.topic));
  std::string fields;
  for (const auto& field : options.fields) {
    const auto equals = std::min(field.find('='), field.size());
    const auto column = field.substr(0, equals);
    const auto name = equals < field.size() ? field.substr(equals + 1) : column;
    fields += (fields.empty() ? "" : ", ") + text_to_yaml(column) + ": " + text_to_yaml(name);
  }
  if (!fields.empty())
    lines.push_back("fields: {" + fields + "}");
  if (options.start != "all")
    lines.push_back("start: " + text_to_yaml(options.start));
  return lines;
}

int write(const tables_edit_options& options, const std::string& before, const std::string& after, std::ostream& err) {
  const auto written = replace_file(options.config, before, after);
  if (written)
    return exit_done;
  err << written.error().message << '\n';
  return exit_unavailable;
}

} // namespace

int tables_add(const tables_add_options& given, terminal person, std::ostream& out, std::ostream& err) {
  auto options = given;
  const auto before = read(options, err);
  if (!before)
    return exit_configuration;
  interview questions{person, out, err};
  if (const int code = complete(options, before->content, questions, out, err); code != 0)
    return code;
  const auto lines = lines_of(options);
  const auto after = config::add_publish(before->text, options.pipeline, lines);
  if (!after) {
    std::string by_hand = "below `publish`:\n  " + options.pipeline + ":\n";
    for (const auto& line : lines)
      by_hand += "    " + line + "\n";
    return edit_failed(after.error(), by_hand, err);
  }
  const auto wanted = checked(options, *after, err);
  if (!wanted)
    return exit_configuration;
  const auto& pipeline = wanted->publish.at(options.pipeline);
  if (const auto source = storage::open_source(wanted->databases.at(pipeline.database), pipeline); !source)
    return failed(source.error(), err);
  out << difference(options.config.string(), before->text, *after);
  if (options.dry_run || !questions.is_confirmed())
    return exit_done;
  if (const int code = write(options, before->text, *after, err); code != exit_done)
    return code;
  return reload_running_nodes(
    *wanted, [&](const ordered_json& status) { return status["publish"].contains(options.pipeline); }, out, err);
}

int tables_remove(const tables_edit_options& options, std::ostream& out, std::ostream& err) {
  const auto before = read(options, err);
  if (!before)
    return exit_configuration;
  const auto* pipeline = find_publish(before->content, options.pipeline, err);
  if (pipeline == nullptr)
    return exit_configuration;
  const auto after = config::remove_publish(before->text, pipeline->name);
  if (!after)
    return edit_failed(after.error(), "take out the section publish." + pipeline->name + "\n", err);
  const auto wanted = checked(options, *after, err);
  if (!wanted)
    return exit_configuration;
  out << difference(options.config.string(), before->text, *after);
  if (options.dry_run)
    return exit_done;
  if (const int code = write(options, before->text, *after, err); code != exit_done)
    return code;
  out << "what it has sent stays in " << pipeline->tracking.table
      << ": added again under this name, it sends nothing twice\n";
  return reload_running_nodes(
    *wanted, [&](const ordered_json& status) { return !status["publish"].contains(pipeline->name); }, out, err);
}

} // namespace penstock::nodes
