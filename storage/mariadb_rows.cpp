#include "storage/mariadb_rows.hpp"

#include "config/value.hpp"
#include "core/utf8.hpp"

#include <algorithm>
#include <cmath>

namespace penstock::storage::mariadb {

namespace {

parameter::kind kind_of(column_type type) {
  switch (type) {
  case column_type::integer: return parameter::kind::integer;
  case column_type::real: return parameter::kind::real;
  case column_type::boolean: return parameter::kind::boolean;
  case column_type::timestamp: return parameter::kind::timestamp;
  case column_type::text:
  case column_type::json: return parameter::kind::text;
  case column_type::bytes: return parameter::kind::bytes;
  }
  return parameter::kind::bytes;
}

std::string column_list(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names)
    list += (list.empty() ? "" : ",") + identifier(name);
  return list;
}

/// ON DUPLICATE KEY speaks of every unique index of the table. Where it is not the key that is there already, the first
/// column of the key becomes NULL, which it cannot be: the row is refused instead of taken for a duplicate.
std::string unchanged_key(const table& target, const std::string& name) {
  std::string same;
  for (const auto& column : target.key)
    same += (same.empty() ? "" : " AND ") + name + "." + identifier(column) + "=VALUES(" + identifier(column) + ")";
  const auto first = identifier(target.key.front());
  return first + "=IF(" + same + "," + name + "." + first + ",NULL)";
}

/// Assignments are made from left to right, so the ordering column comes last.
std::string on_conflict(const table& target, const std::string& name) {
  std::string sql = "ON DUPLICATE KEY UPDATE " + unchanged_key(target, name);
  if (target.on_conflict == config::conflict_rule::ignore)
    return sql;
  std::vector<std::string> updated;
  for (const auto& column : target.columns)
    if (column.name != target.order && std::find(target.key.begin(), target.key.end(), column.name) == target.key.end())
      updated.push_back(column.name);
  if (!target.order.empty() && std::find(target.key.begin(), target.key.end(), target.order) == target.key.end())
    updated.push_back(target.order);
  const auto order = identifier(target.order);
  const auto newer = "VALUES(" + order + ")>" + name + "." + order;
  const auto assignment = [&](const std::string& column) {
    const auto value = "VALUES(" + column + ")";
    if (target.order.empty())
      return "," + column + "=" + value;
    return "," + column + "=IF(" + newer + "," + value + "," + name + "." + column + ")";
  };
  for (const auto& each : updated)
    sql += assignment(identifier(each));
  return sql;
}

/// What the server says where unchanged_key() made the statement fail, in words that help.
void explain_other_key(const table& target, error& why) {
  if (why.code == errc::row_refused &&
      why.message.find("Column '" + target.key.front() + "' cannot be null") != std::string::npos)
    why.message = "the table has a row with another key that equals it in a unique index";
}

insert_sql insert_of(const table& target) {
  insert_sql sql;
  std::vector<std::string> names;
  for (const auto& column : target.columns) {
    names.push_back(column.name);
    sql.values += sql.values.empty() ? "?" : ",?";
    sql.parameters.push_back(kind_of(column.type));
  }
  const auto dot = target.name.find('.');
  sql.table = dot == std::string::npos
                ? identifier(target.name)
                : identifier(target.name.substr(0, dot)) + "." + identifier(target.name.substr(dot + 1));
  // Never IGNORE: it would store cut values and drop rows that break a constraint.
  sql.head = "INSERT INTO " + sql.table + "(" + column_list(names) + ")";
  sql.tail = on_conflict(target, sql.table);
  return sql;
}

/// A value's spaces at its end reach over the limit: the only way in which a value is cut instead of refused.
bool loses_spaces(std::string_view text, const text_limit& limit) {
  if (text.size() <= limit.length || text.back() != ' ')
    return false;
  const auto is_first = [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; };
  const auto length =
    limit.in_characters ? static_cast<std::size_t>(std::count_if(text.begin(), text.end(), is_first)) : text.size();
  return length > limit.length;
}

/// A value that MariaDB would not keep as it is.
std::optional<error> broken_value(const table::column& declared, const std::optional<text_limit>& limit,
                                  const record::column_view& column, std::size_t row) {
  if (column.null(row)) {
    if (declared.optional)
      return std::nullopt;
    return error{errc::field_missing, "column '" + declared.name + "' has no value"};
  }
  if (declared.type == column_type::real && !std::isfinite(column.real(row)))
    return error{errc::field_range, "column '" + declared.name + "' is not a finite number, which MariaDB cannot hold"};
  if (declared.type == column_type::timestamp && !is_date(column.integer(row)))
    return error{errc::field_range,
                 "column '" + declared.name + "' is before the year 1 or after 9999, which MariaDB cannot hold"};
  if (limit && loses_spaces(column.string(row), *limit))
    return error{errc::row_refused, "column '" + declared.name + "' takes " + std::to_string(limit->length) +
                                      (limit->in_characters ? " characters" : " bytes") +
                                      "; spaces at the end would be cut off"};
  return std::nullopt;
}

void fill(parameter& to, column_type type, const record::column_view& column, std::size_t first, std::size_t last) {
  const auto each = [&](const auto& add) {
    for (auto row = first; row < last; ++row)
      if (column.null(row))
        to.add_null();
      else
        add(row);
  };
  switch (type) {
  case column_type::integer: return each([&](std::size_t row) { to.add_integer(column.integer(row)); });
  case column_type::real: return each([&](std::size_t row) { to.add_real(column.real(row)); });
  case column_type::boolean: return each([&](std::size_t row) { to.add_boolean(column.boolean(row)); });
  case column_type::timestamp: return each([&](std::size_t row) { to.add_timestamp(column.integer(row)); });
  case column_type::text:
  case column_type::json:
  case column_type::bytes: return each([&](std::size_t row) { to.add_string(column.string(row)); });
  }
}

/// The first row of the frame's rows that has a broken value.
std::optional<refusal> first_broken(const table& target, const std::vector<std::optional<text_limit>>& limits,
                                    const record::frame_view& frame, std::size_t first, std::size_t last) {
  std::optional<refusal> found;
  for (std::size_t index = 0; index < target.columns.size(); ++index) {
    const auto& declared = target.columns[index];
    const auto& column = frame.column(index);
    const bool suspect = declared.type == column_type::real || declared.type == column_type::timestamp ||
                         limits[index] || (column.any_null() && !declared.optional);
    if (!suspect)
      continue;
    for (auto row = first; row < last; ++row)
      if (auto why = broken_value(declared, limits[index], column, row)) {
        found = refusal{*std::move(why), row};
        last = row;
      }
  }
  return found;
}

} // namespace

row_inserter::row_inserter(const table& target, const std::vector<text_limit>& limits,
                           std::unique_ptr<bulk_insert> insert)
  : target_(target), insert_(std::move(insert)) {
  for (const auto& column : target.columns) {
    const auto found = std::find_if(limits.begin(), limits.end(), [&](const text_limit& limit) {
      return config::lower(limit.column) == config::lower(column.name);
    });
    const bool text = column.type == column_type::text || column.type == column_type::json;
    limits_.push_back(text && found != limits.end() ? std::optional{*found} : std::nullopt);
  }
}

result<std::unique_ptr<row_inserter>> row_inserter::make(const server& on, const table& target) {
  auto limits = read_text_limits(on.handle.get(), target.name);
  if (!limits)
    return limits.error();
  auto insert = bulk_insert::make(on, insert_of(target));
  if (!insert)
    return insert.error();
  return std::make_unique<row_inserter>(target, *limits, *std::move(insert));
}

attempt row_inserter::insert(const batch_view& batch, std::size_t first, std::size_t last) {
  std::optional<refusal> broken;
  auto next = first;
  insert_->clear();
  batch.for_each_part(first, last, [&](const record::frame_view& frame, std::size_t from, std::size_t to) {
    if (broken)
      return;
    broken = first_broken(target_, limits_, frame, from, to);
    if (broken)
      broken->row = next + *broken->row - from;
    else
      for (std::size_t index = 0; index < target_.columns.size(); ++index)
        fill(insert_->at(index), target_.columns[index].type, frame.column(index), from, to);
    next += to - from;
  });
  if (broken)
    return {.refused = std::move(broken)};
  auto done = insert_->run(last - first);
  if (done.refused && done.refused->row)
    *done.refused->row += first;
  if (done.refused)
    explain_other_key(target_, done.refused->why);
  return done;
}

letter_inserter::letter_inserter(std::string pipeline, std::unique_ptr<bulk_insert> insert)
  : pipeline_(std::move(pipeline)), insert_(std::move(insert)) {}

result<std::unique_ptr<letter_inserter>> letter_inserter::make(const server& on, const std::string& pipeline) {
  using kind = parameter::kind;
  auto insert = bulk_insert::make(
    on, {.table = "penstock_dead_letters",
         .head = "INSERT INTO penstock_dead_letters (pipeline, hash, topic, payload, code, reason, first_seen,"
                 " last_seen, seen, attempts)",
         .values = "?,?,?,?,?,?,?,?,?,0",
         .tail = "ON DUPLICATE KEY UPDATE seen = seen + VALUES(seen), last_seen = GREATEST(last_seen,"
                 " VALUES(last_seen)), code = VALUES(code), reason = VALUES(reason)",
         .parameters = {kind::text, kind::text, kind::text, kind::bytes, kind::integer, kind::text, kind::integer,
                        kind::integer, kind::integer}});
  if (!insert)
    return insert.error();
  return std::make_unique<letter_inserter>(pipeline, *std::move(insert));
}

attempt letter_inserter::insert(std::span<const kept_letter> letters) {
  // A letter must not be refused in its turn: what is no UTF-8 is made some.
  std::vector<std::string> texts;
  texts.reserve(2 * letters.size());
  insert_->clear();
  for (const auto& letter : letters) {
    insert_->at(0).add_string(pipeline_);
    insert_->at(1).add_string(letter.id);
    insert_->at(2).add_string(texts.emplace_back(clean_utf8(letter.topic)));
    insert_->at(3).add_string(letter.payload);
    insert_->at(4).add_integer(static_cast<std::int64_t>(letter.code));
    insert_->at(5).add_string(texts.emplace_back(clean_utf8(letter.reason)));
    insert_->at(6).add_integer(letter.first_seen.time_since_epoch().count());
    insert_->at(7).add_integer(letter.last_seen.time_since_epoch().count());
    insert_->at(8).add_integer(static_cast<std::int64_t>(letter.seen));
  }
  return insert_->run(letters.size());
}

} // namespace penstock::storage::mariadb
