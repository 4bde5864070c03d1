#include "storage/sqlite_schema.hpp"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <vector>

namespace penstock::storage::sqlite {

namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char letter) { return std::tolower(letter); });
  return text;
}

/// https://www.sqlite.org/datatype3.html, section 3.1
enum class affinity { integer, text, none, real, numeric };

affinity affinity_of(const std::string& declared) {
  const auto type = lower(declared);
  const auto has = [&](const char* part) { return type.find(part) != std::string::npos; };
  if (has("int"))
    return affinity::integer;
  if (has("char") || has("clob") || has("text"))
    return affinity::text;
  if (has("blob") || type.empty())
    return affinity::none;
  if (has("real") || has("floa") || has("doub"))
    return affinity::real;
  return affinity::numeric;
}

bool holds(const std::string& declared, column_type wanted, bool strict) {
  if (strict && lower(declared) == "any")
    return true;
  const auto kind = affinity_of(declared);
  switch (wanted) {
  case column_type::text:
  case column_type::json: return kind == affinity::text || (kind == affinity::none && !strict);
  case column_type::integer:
  case column_type::timestamp:
  case column_type::boolean:
    return kind == affinity::integer || kind == affinity::numeric || (kind == affinity::none && !strict);
  case column_type::real: return kind == affinity::real || (!strict && kind != affinity::text);
  case column_type::bytes: return kind == affinity::none || !strict; // elsewhere no affinity converts a blob
  }
  return false;
}

std::vector<column_type> held_by(const std::string& declared, bool strict) {
  std::vector<column_type> held;
  for (const auto type : {column_type::text, column_type::integer, column_type::real, column_type::boolean,
                          column_type::timestamp, column_type::bytes, column_type::json})
    if (holds(declared, type, strict))
      held.push_back(type);
  return held;
}

/// Runs a query with one text parameter and calls `take(row)` for every row.
template <class Take>
result<void> for_each_row(api::sqlite3* database, const char* sql, const std::string& parameter, const Take& take) {
  auto query = statement::prepare(database, sql);
  if (!query)
    return query.error();
  query->bind_text(1, parameter);
  for (;;) {
    auto more = query->step();
    if (!more)
      return more.error();
    if (!*more)
      return {};
    take(*query);
  }
}

/// What the pragmas say beyond the table itself.
struct details {
  std::string sql;
  bool strict = false;
  bool without_rowid = false;
  std::vector<std::string> key;                              ///< columns of the primary key
  bool primary_index = false;                                ///< the primary key has an index of its own
  std::vector<std::pair<std::string, std::string>> triggers; ///< name, SQL
};

result<void> read_indexes(api::sqlite3* database, const std::string& name, actual_table& into, details& more) {
  auto read = for_each_row(database, "SELECT name, \"unique\", partial, origin FROM pragma_index_list(?1)", name,
                           [&](const statement& row) {
                             into.indexes.push_back({.name = std::string{row.string(0)},
                                                     .unique = row.integer(1) != 0,
                                                     .partial = row.integer(2) != 0,
                                                     .columns = {}});
                             more.primary_index = more.primary_index || row.string(3) == "pk";
                           });
  for (auto& index : into.indexes) {
    if (!read)
      return read;
    read =
      for_each_row(database, "SELECT name, \"desc\", coll FROM pragma_index_xinfo(?1) WHERE \"key\" ORDER BY seqno",
                   index.name, [&](const statement& row) {
                     // An expression has no name: it equals no column.
                     index.columns.push_back({std::string{row.string(0)}, row.integer(1) != 0});
                     index.exact = index.exact && row.string(2) == "BINARY";
                   });
  }
  return read;
}

result<void> read_columns(api::sqlite3* database, const std::string& name, actual_table& into, details& more) {
  return for_each_row(database,
                      "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, hidden, pk FROM pragma_table_xinfo(?1)",
                      name, [&](const statement& row) {
                        const std::string type{row.string(1)};
                        into.columns.push_back({.name = std::string{row.string(0)},
                                                .type = type,
                                                .holds = held_by(type, more.strict),
                                                .not_null = row.integer(2) != 0,
                                                .filled = row.integer(3) != 0,
                                                .generated = row.integer(4) != 0});
                        if (row.integer(5) != 0)
                          more.key.push_back(into.columns.back().name);
                      });
}

/// The integer primary key of a rowid table has no index, fills itself, and is never NULL.
void add_rowid_alias(actual_table& actual, const details& more) {
  if (more.without_rowid || more.primary_index || more.key.size() != 1)
    return;
  for (auto& column : actual.columns)
    if (column.name == more.key.front())
      column.filled = column.not_null = true;
  actual.indexes.push_back({.name = "rowid", .unique = true, .columns = {{more.key.front(), false}}});
}

/// In small letters, with single spaces, and none beside a parenthesis.
std::string normalised(const std::string& sql) {
  std::string text;
  for (const char letter : lower(sql)) {
    const bool space = std::isspace(static_cast<unsigned char>(letter)) != 0;
    if (space && (text.empty() || text.back() == ' ' || text.back() == '('))
      continue;
    if (letter == '(' && !text.empty() && text.back() == ' ')
      text.pop_back();
    text += space ? ' ' : letter;
  }
  return text;
}

bool has_any(const std::string& sql, std::initializer_list<const char*> clauses) {
  const auto text = normalised(sql);
  return std::any_of(clauses.begin(), clauses.end(),
                     [&](const char* clause) { return text.find(clause) != std::string::npos; });
}

// Whatever makes SQLite drop, replace or roll back rows on its own would break the count of every batch.
void find_faults(actual_table& actual, const details& more) {
  if (has_any(more.sql, {"on conflict ignore", "on conflict replace", "on conflict rollback", "on conflict fail"}))
    actual.faults.push_back(
      "it has an ON CONFLICT clause, which would drop or replace rows: make the table without it");
  if (has_any(more.sql, {"initially deferred"}))
    actual.faults.push_back("it has a foreign key INITIALLY DEFERRED, whose failure names no row: make it immediate");
  for (const auto& [name, sql] : more.triggers)
    if (has_any(sql, {"raise(ignore", "raise(rollback", "raise(fail"}))
      actual.faults.push_back("trigger " + identifier(name) +
                              " uses RAISE with IGNORE, ROLLBACK or FAIL: only RAISE(ABORT, ...) refuses one row");
}

} // namespace

result<actual_table> read_table(api::sqlite3* database, const std::string& name) {
  if (name.find('.') != std::string::npos)
    return error{errc::configuration, "table '" + name + "': SQLite has no schemas here; write the table's name alone"};
  actual_table actual;
  details more;
  auto read = for_each_row(database, "SELECT type, \"strict\", wr FROM pragma_table_list(?1) WHERE schema = 'main'",
                           name, [&](const statement& row) {
                             actual.kind = row.string(0);
                             more.strict = row.integer(1) != 0;
                             more.without_rowid = row.integer(2) != 0;
                           });
  if (read)
    read = read_columns(database, name, actual, more);
  if (read)
    read = read_indexes(database, name, actual, more);
  if (read)
    read = for_each_row(database, "SELECT type, name, sql FROM sqlite_master WHERE lower(tbl_name) = lower(?1)", name,
                        [&](const statement& row) {
                          if (row.string(0) == "trigger")
                            more.triggers.emplace_back(row.string(1), row.string(2));
                          else if (row.string(0) == "table")
                            more.sql = row.string(2);
                        });
  if (!read)
    return read.error();
  add_rowid_alias(actual, more);
  find_faults(actual, more);
  return actual;
}

} // namespace penstock::storage::sqlite
