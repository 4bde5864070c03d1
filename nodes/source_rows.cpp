#include "nodes/source_rows.hpp"

#include "config/value.hpp"
#include "core/time_text.hpp"
#include "nodes/source_table.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace penstock::nodes {

namespace {

/// "PREFIX" and at least so many digits, so that the texts sort as the numbers do.
std::string numbered(char prefix, std::uint64_t number, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%c%0*llu", prefix, digits, static_cast<unsigned long long>(number));
  return text;
}

/// What fills a column that means nothing to the pipeline: by chance, the same for the same row.
std::uint64_t chance_of(const source_row& row) {
  auto value = static_cast<std::uint64_t>(row.id) * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(row.version);
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  return value ^ (value >> 31);
}

std::string rfc3339(std::int64_t microseconds) {
  return format_rfc3339(wall_time{std::chrono::microseconds{microseconds}});
}

bool says_time(const std::string& name) {
  return config::lower(name).find("time") != std::string::npos || name.ends_with("At") || name.ends_with("_at");
}

/// As what a column is written: by what it keeps, or else by what its type is called; nothing where that is unknown.
std::optional<column_type> written_as(const storage::actual_column& column) {
  const auto type = config::lower(column.type);
  const auto says = [&](const char* word) { return type.find(word) != std::string::npos; };
  if (says("timestamp") || says("date"))
    return column_type::timestamp;
  if (says("bool"))
    return column_type::boolean;
  if (!column.holds.empty())
    return column.holds.front();
  if (says("numeric") || says("decimal") || says("real") || says("float") || says("double"))
    return column_type::real;
  if (says("char") || says("text"))
    return column_type::text;
  return std::nullopt;
}

} // namespace

result<source_rows> source_rows::make(const config::publish& pipeline, config::database_kind kind,
                                      const storage::sql_words& words, const storage::actual_table& actual) {
  source_rows made{pipeline, words};
  made.table_ = storage::quoted_table(words, pipeline.table);
  made.versions_ = pipeline.on_update == config::update_rule::publish && !pipeline.version.empty();
  for (const auto& column : actual.columns)
    if (const auto added = made.add(column, kind); !added)
      return error{errc::configuration, "table " + made.table_ + ": " + added.error().message};
  if (const auto checked = made.check(); !checked)
    return error{errc::configuration,
                 "table " + made.table_ + " of pipeline " + pipeline.name + ": " + checked.error().message};
  for (const auto& name : pipeline.key)
    for (std::size_t index = 0; index < made.columns_.size(); ++index)
      if (made.same(made.columns_[index].name, name))
        made.key_.push_back(index);
  for (const auto& column : made.columns_) {
    made.order_is_id_ = made.order_is_id_ || (column.role == role::id && made.same(column.name, pipeline.order));
    made.monitors_ = made.monitors_ || column.role == role::monitor;
  }
  made.order_is_id_ = made.order_is_id_ || pipeline.order.empty();
  return made;
}

bool source_rows::same(const std::string& left, const std::string& right) const {
  return words_.folds_names ? config::lower(left) == config::lower(right) : left == right;
}

source_rows::role source_rows::role_of(const std::string& name, column_type type) const {
  const bool key =
    std::any_of(pipeline_.key.begin(), pipeline_.key.end(), [&](const std::string& each) { return same(each, name); });
  const bool alone = key && pipeline_.key.size() == 1;
  if (!alone && same(name, pipeline_.shard_by))
    return role::monitor;
  if (!alone && same(name, pipeline_.order))
    return role::time;
  if (key)
    return type == column_type::timestamp ? role::time : role::id;
  if (versions_ && same(name, pipeline_.version))
    return role::version;
  if (!pipeline_.payload.empty() && same(name, pipeline_.payload))
    return role::payload;
  if (type == column_type::timestamp || (type == column_type::integer && says_time(name)))
    return role::time;
  return role::other;
}

result<void> source_rows::add(const storage::actual_column& actual, config::database_kind kind) {
  const auto type = written_as(actual);
  const auto meaning = role_of(actual.name, type.value_or(column_type::text));
  const bool needed = meaning != role::other && meaning != role::time;
  const bool by_itself = actual.filled || actual.generated;
  if (!needed && (by_itself || (!type && !actual.not_null)))
    return {};
  if (!type || actual.generated)
    return error{errc::configuration, "column " + actual.name + " (" + actual.type + ") is one that load cannot fill"};
  if (meaning == role::version && *type != column_type::integer)
    return error{errc::configuration,
                 "the version column " + actual.name + " (" + actual.type + ") must be an integer that load can raise"};
  const bool sqlite = kind == config::database_kind::sqlite;
  // PostgreSQL reads the text fastest, and as UTC into a column without a time zone; SQLite has no times of its own.
  const bool text = kind == config::database_kind::postgresql || (sqlite && *type == column_type::timestamp) ||
                    *type == column_type::text;
  columns_.push_back({.name = actual.name,
                      .quoted = words_.quote(actual.name),
                      .type = *type,
                      .role = meaning,
                      .time_as_text = text && *type != column_type::integer && *type != column_type::real});
  return {};
}

result<void> source_rows::check() const {
  std::vector<std::string> needed = pipeline_.key;
  needed.insert(needed.end(), {pipeline_.order, pipeline_.shard_by, versions_ ? pipeline_.version : ""});
  std::string missing;
  for (const auto& name : needed)
    if (!name.empty() &&
        std::none_of(columns_.begin(), columns_.end(), [&](const column& each) { return same(each.name, name); }))
      missing += (missing.empty() ? "" : ", ") + name;
  if (!missing.empty())
    return error{errc::configuration, "it has no column " + missing};
  return {};
}

std::string source_rows::text_of(const column& one, const source_row& row) const {
  switch (one.role) {
  case role::id:
    return one.type == column_type::text ? numbered('r', static_cast<std::uint64_t>(row.id), 12)
                                         : std::to_string(row.id);
  case role::monitor:
    return one.type == column_type::text ? numbered('m', row.monitor + 1, 5) : std::to_string(row.monitor + 1);
  case role::time: return std::to_string(row.time_us);
  case role::version: return std::to_string(row.version);
  case role::payload: return payload_of(row);
  case role::other: break;
  }
  const auto chance = chance_of(row);
  switch (one.type) {
  case column_type::integer:
  case column_type::timestamp: return std::to_string(chance % 100);
  case column_type::real: return std::to_string(chance % 100) + "." + std::to_string(chance / 100 % 10) + "5";
  case column_type::boolean: return chance % 2 == 0 ? "TRUE" : "FALSE";
  case column_type::json: return R"({"n":)" + std::to_string(chance % 1000) + "}";
  case column_type::text:
  case column_type::bytes: return "t" + std::to_string(chance % 1000);
  }
  return "";
}

void source_rows::append_value(std::string& sql, const column& one, const source_row& row) const {
  if (one.role == role::time && one.time_as_text)
    sql += words_.text_literal(rfc3339(row.time_us));
  else if (one.role == role::time && one.type == column_type::timestamp)
    sql += words_.timestamp(row.time_us);
  else if (one.type == column_type::bytes)
    sql += words_.bytes_literal(text_of(one, row));
  else if (one.type == column_type::text || one.type == column_type::json)
    sql += words_.text_literal(text_of(one, row));
  else
    sql += text_of(one, row);
}

std::string source_rows::payload_of(const source_row& row) const {
  nlohmann::ordered_json payload;
  for (std::size_t index = 0; index < key_.size(); ++index)
    payload[columns_[key_[index]].name] = text_of(columns_[key_[index]], row);
  payload["value"] = chance_of(row) % 100;
  return payload.dump();
}

std::string source_rows::insert_sql(std::span<const source_row> rows) const {
  std::string sql = "INSERT INTO " + table_ + " (";
  for (std::size_t index = 0; index < columns_.size(); ++index)
    sql += (index ? ", " : "") + columns_[index].quoted;
  sql += ") VALUES ";
  for (std::size_t number = 0; number < rows.size(); ++number) {
    sql += number ? ",(" : "(";
    for (std::size_t index = 0; index < columns_.size(); ++index) {
      if (index > 0)
        sql += ',';
      append_value(sql, columns_[index], rows[number]);
    }
    sql += ')';
  }
  return sql;
}

std::string source_rows::key_condition(const source_row& row) const {
  std::string condition;
  for (const auto index : key_) {
    condition += (condition.empty() ? "" : " AND ") + columns_[index].quoted + " = ";
    append_value(condition, columns_[index], row);
  }
  return condition;
}

std::string source_rows::update_sql(const source_row& row) const {
  std::string changes;
  for (const auto& one : columns_) {
    const bool fills = one.role == role::other && (one.type == column_type::real || one.type == column_type::integer);
    if (one.role != role::version && one.role != role::payload && !fills)
      continue;
    changes += (changes.empty() ? "" : ", ") + one.quoted + " = ";
    append_value(changes, one, row);
  }
  return "UPDATE " + table_ + " SET " + changes + " WHERE " + key_condition(row);
}

std::string source_rows::count_sql(const source_row& row, bool updated) const {
  std::string sql = "SELECT count(*) FROM " + table_ + " WHERE " + key_condition(row);
  for (const auto& one : columns_)
    if (updated && one.role == role::version)
      sql += " AND " + one.quoted + " = " + std::to_string(row.version);
  return sql;
}

std::string source_rows::highest_sql() const {
  std::string id = "NULL";
  std::string version = "NULL";
  for (const auto& one : columns_) {
    if (one.role == role::version)
      version = "(SELECT max(" + one.quoted + ") FROM " + table_ + ")";
    if (one.role == role::id)
      id = "(SELECT max(" + one.quoted + ") FROM " + table_ +
           (one.type == column_type::text ? " WHERE " + one.quoted + " LIKE 'r____________')" : ")");
  }
  return "SELECT " + id + ", " + version;
}

std::int64_t source_rows::id_of(std::string_view text) const {
  if (text.starts_with('r'))
    text.remove_prefix(1);
  std::int64_t id = 0;
  std::from_chars(text.data(), text.data() + text.size(), id);
  return id;
}

std::vector<std::string> source_rows::key_of(const source_row& row) const {
  std::vector<std::string> key;
  key.reserve(key_.size());
  for (const auto index : key_)
    key.push_back(text_of(columns_[index], row));
  return key;
}

std::string source_rows::monitor_of(const source_row& row) const {
  for (const auto& one : columns_)
    if (one.role == role::monitor)
      return text_of(one, row);
  return "";
}

} // namespace penstock::nodes
