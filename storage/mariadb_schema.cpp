#include "storage/mariadb_schema.hpp"

#include "config/value.hpp"

#include <algorithm>
#include <initializer_list>
#include <map>

namespace penstock::storage::mariadb {

namespace {

bool is_one_of(const std::string& text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* word) { return text == word; });
}

/// What a column keeps as it is, or else refuses in the session's strict mode. CHAR and BINARY are not among them (the
/// spaces at an end change), nor FLOAT and DOUBLE(m,d) (rounded), ENUM (letter case) and dates without microseconds.
std::vector<column_type> held_by(const std::string& type, const std::string& whole, const std::string& precision) {
  if (is_one_of(type, {"tinyint", "smallint", "mediumint", "int", "bigint"}))
    return {column_type::integer, column_type::boolean};
  if (type == "double" && whole.find('(') == std::string::npos)
    return {column_type::real};
  if (is_one_of(type, {"datetime", "timestamp"}) && precision == "6")
    return {column_type::timestamp};
  if (is_one_of(type, {"varchar", "tinytext", "text", "mediumtext", "longtext"}))
    return {column_type::text, column_type::json};
  if (is_one_of(type, {"varbinary", "tinyblob", "blob", "mediumblob", "longblob"}))
    return {column_type::bytes, column_type::text, column_type::json};
  if (type == "json") // MySQL's own; MariaDB's is a LONGTEXT
    return {column_type::json};
  return {};
}

bool compares_bytes(const std::string& collation) {
  return collation.empty() || collation == "binary" || collation.ends_with("_nopad_bin") ||
         collation.ends_with("_0900_bin");
}

/// The table's place as conditions: "table_schema = ... AND table_name = ...".
std::string place_of(MYSQL* handle, const std::string& name) {
  const auto dot = name.find('.');
  const auto schema = dot == std::string::npos ? "DATABASE()" : literal(handle, name.substr(0, dot));
  const auto plain = literal(handle, dot == std::string::npos ? name : name.substr(dot + 1));
  // information_schema compares without letter case; most servers tell readings and Readings apart.
  return "table_schema = " + schema + " AND table_name = " + plain +
         " AND (@@lower_case_table_names <> 0 OR BINARY table_name = " + plain + ")";
}

std::string text_of(const value& from) { return from.value_or(std::string{}); }

result<void> read_kind(MYSQL* handle, const std::string& place, actual_table& into) {
  auto rows = query(handle, "SELECT table_type, engine, (SELECT transactions FROM information_schema.engines e WHERE"
                            " e.engine = t.engine) FROM information_schema.tables t WHERE " +
                              place);
  if (!rows)
    return rows.error();
  if (rows->empty())
    return {};
  const auto& row = rows->front();
  const auto kind = config::lower(text_of(row[0]));
  into.kind = is_one_of(kind, {"base table", "system versioned"}) ? "table" : kind;
  if (into.kind == "table" && row[2] != "YES")
    into.faults.push_back("its engine " + text_of(row[1]) +
                          " has no transactions, so that a failed batch would leave half of its rows: run ALTER TABLE"
                          " ... ENGINE=InnoDB");
  return {};
}

/// Fills in the columns; returns the collation of each.
result<std::map<std::string, std::string>> read_columns(MYSQL* handle, const std::string& place, actual_table& into) {
  auto rows = query(handle, "SELECT column_name, data_type, column_type, datetime_precision, is_nullable,"
                            " column_default, extra, generation_expression, collation_name FROM"
                            " information_schema.columns WHERE " +
                              place + " ORDER BY ordinal_position");
  if (!rows)
    return rows.error();
  std::map<std::string, std::string> collations;
  for (const auto& row : *rows) {
    const auto type = config::lower(text_of(row[1]));
    const auto whole = config::lower(text_of(row[2]));
    into.columns.push_back({.name = text_of(row[0]),
                            .type = whole,
                            .holds = held_by(type, whole, text_of(row[3])),
                            .not_null = row[4] == "NO",
                            .filled = row[5].has_value() || text_of(row[6]).find("auto_increment") != std::string::npos,
                            .generated = !text_of(row[7]).empty()});
    collations[text_of(row[0])] = text_of(row[8]);
  }
  return collations;
}

result<void> read_indexes(MYSQL* handle, const std::string& place, const std::map<std::string, std::string>& collations,
                          actual_table& into) {
  auto rows = query(handle, "SELECT index_name, non_unique, column_name, collation, sub_part, index_type FROM"
                            " information_schema.statistics WHERE " +
                              place + " ORDER BY index_name, seq_in_index");
  if (!rows)
    return rows.error();
  for (const auto& row : *rows) {
    const auto name = text_of(row[0]);
    if (into.indexes.empty() || into.indexes.back().name != name)
      into.indexes.push_back({.name = name, .unique = row[1] == "0", .columns = {}});
    auto& index = into.indexes.back();
    const auto column = text_of(row[2]); // an expression has none
    // An index on the beginning of a text, or on its words, is none on the column.
    index.partial = index.partial || row[4].has_value() || is_one_of(text_of(row[5]), {"FULLTEXT", "SPATIAL"});
    const auto collation = collations.find(column);
    index.exact = index.exact && collation != collations.end() && compares_bytes(collation->second);
    index.columns.push_back({column, row[3] == "D"});
  }
  return {};
}

} // namespace

result<std::vector<text_limit>> read_text_limits(MYSQL* handle, const std::string& name) {
  auto rows = query(handle, "SELECT column_name, data_type, character_maximum_length FROM information_schema.columns"
                            " WHERE data_type IN ('varchar', 'tinytext', 'text', 'mediumtext') AND " +
                              place_of(handle, name));
  if (!rows)
    return rows.error();
  std::vector<text_limit> limits;
  for (const auto& row : *rows)
    limits.push_back({.column = text_of(row[0]),
                      .length = std::stoul(text_of(row[2])),
                      .in_characters = config::lower(text_of(row[1])) == "varchar"});
  return limits;
}

result<actual_table> read_table(MYSQL* handle, const std::string& name) {
  const auto place = place_of(handle, name);
  actual_table actual;
  if (auto read = read_kind(handle, place, actual); !read)
    return read.error();
  if (actual.kind.empty())
    return actual;
  auto collations = read_columns(handle, place, actual);
  if (!collations)
    return collations.error();
  if (auto read = read_indexes(handle, place, *collations, actual); !read)
    return read.error();
  return actual;
}

} // namespace penstock::storage::mariadb
