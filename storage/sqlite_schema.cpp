#include "storage/sqlite_schema.hpp"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <vector>

namespace penstock::storage::sqlite {

namespace {

struct actual_column {
  std::string name;
  std::string type;
  bool not_null = false;
  bool has_default = false;
  bool generated = false;
  std::int64_t key_position = 0; ///< in the primary key, from 1; 0: not in it
};

struct actual_index {
  std::string name;
  bool unique = false;
  bool partial = false;
  bool primary = false;
  bool binary = true; ///< compares byte by byte
  std::vector<config::index_column> columns;
};

struct actual_table {
  std::string kind; ///< "table", "view", ...
  std::string sql;
  bool strict = false;
  bool without_rowid = false;
  std::vector<actual_column> columns;
  std::vector<actual_index> indexes;
  std::vector<std::pair<std::string, std::string>> triggers; ///< name, SQL
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char letter) { return std::tolower(letter); });
  return text;
}

// SQLite compares identifiers without regard to case.
bool same_name(const std::string& left, const std::string& right) { return lower(left) == lower(right); }

std::string declared_type(column_type type) {
  switch (type) {
  case column_type::text:
  case column_type::json: return "TEXT"; // JSON as a type name would turn "1" into a number
  case column_type::integer:
  case column_type::timestamp: return "BIGINT"; // SOCI cuts INTEGER to 32 bits
  case column_type::real: return "REAL";
  case column_type::boolean: return "BOOLEAN";
  case column_type::bytes: return "BLOB";
  }
  return "BLOB";
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

bool holds(const actual_column& actual, column_type wanted, bool strict) {
  if (strict && same_name(actual.type, "any"))
    return true;
  const auto kind = affinity_of(actual.type);
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

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names)
    text += (text.empty() ? "" : ", ") + identifier(name);
  return text;
}

std::string list_of(const std::vector<config::index_column>& columns) {
  std::string text;
  for (const auto& column : columns)
    text += (text.empty() ? "" : ", ") + identifier(column.name) + (column.descending ? " DESC" : "");
  return text;
}

std::string create_table_sql(const table& target) {
  std::string sql = "CREATE TABLE " + identifier(target.name) + "(";
  for (const auto& column : target.columns)
    sql += identifier(column.name) + " " + declared_type(column.type) + (column.optional ? ", " : " NOT NULL, ");
  // The rows lie in the order of the key, in one tree instead of two.
  return sql + "PRIMARY KEY (" + list_of(target.key) + ")) WITHOUT ROWID";
}

std::string create_index_sql(const table& target, const std::vector<config::index_column>& columns) {
  std::string name = target.name + "_by";
  for (const auto& column : columns)
    name += "_" + column.name + (column.descending ? "_desc" : "");
  return "CREATE INDEX " + identifier(name) + " ON " + identifier(target.name) + " (" + list_of(columns) + ")";
}

/// Runs a query with one text parameter and calls `take(row)` for every row.
template <class Take>
result<void> for_each_row(connection* database, const char* sql, const std::string& parameter, const Take& take) {
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

result<void> read_indexes(connection* database, const std::string& name, actual_table& into) {
  auto read = for_each_row(database, "SELECT name, \"unique\", partial, origin FROM pragma_index_list(?1)", name,
                           [&](const statement& row) {
                             into.indexes.push_back({.name = std::string{row.string(0)},
                                                     .unique = row.integer(1) != 0,
                                                     .partial = row.integer(2) != 0,
                                                     .primary = row.string(3) == "pk",
                                                     .columns = {}});
                           });
  for (auto& index : into.indexes) {
    if (!read)
      return read;
    read =
      for_each_row(database, "SELECT name, \"desc\", coll FROM pragma_index_xinfo(?1) WHERE \"key\" ORDER BY seqno",
                   index.name, [&](const statement& row) {
                     // An expression has no name: it equals no column.
                     index.columns.push_back({std::string{row.string(0)}, row.integer(1) != 0});
                     index.binary = index.binary && row.string(2) == "BINARY";
                   });
  }
  return read;
}

result<actual_table> read_table(connection* database, const std::string& name) {
  actual_table actual;
  auto read = for_each_row(database, "SELECT type, \"strict\", wr FROM pragma_table_list(?1) WHERE schema = 'main'",
                           name, [&](const statement& row) {
                             actual.kind = row.string(0);
                             actual.strict = row.integer(1) != 0;
                             actual.without_rowid = row.integer(2) != 0;
                           });
  if (read)
    read = for_each_row(
      database, "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, hidden, pk FROM pragma_table_xinfo(?1)", name,
      [&](const statement& row) {
        actual.columns.push_back({.name = std::string{row.string(0)},
                                  .type = std::string{row.string(1)},
                                  .not_null = row.integer(2) != 0,
                                  .has_default = row.integer(3) != 0,
                                  .generated = row.integer(4) != 0,
                                  .key_position = row.integer(5)});
      });
  if (read)
    read = read_indexes(database, name, actual);
  if (read)
    read = for_each_row(database, "SELECT type, name, sql FROM sqlite_master WHERE lower(tbl_name) = lower(?1)", name,
                        [&](const statement& row) {
                          if (row.string(0) == "trigger")
                            actual.triggers.emplace_back(row.string(1), row.string(2));
                          else if (row.string(0) == "table")
                            actual.sql = row.string(2);
                        });
  if (!read)
    return read.error();
  return actual;
}

/// The integer primary key of a rowid table: it has no index, and fills itself.
const actual_column* rowid_alias(const actual_table& actual) {
  const actual_column* found = nullptr;
  for (const auto& column : actual.columns)
    if (column.key_position > 0) {
      if (found)
        return nullptr;
      found = &column;
    }
  const bool indexed =
    std::any_of(actual.indexes.begin(), actual.indexes.end(), [](const auto& index) { return index.primary; });
  return actual.without_rowid || indexed ? nullptr : found;
}

bool same_set(const std::vector<config::index_column>& columns, const std::vector<std::string>& key) {
  return columns.size() == key.size() && std::all_of(key.begin(), key.end(), [&](const auto& wanted) {
           return std::any_of(columns.begin(), columns.end(),
                              [&](const auto& column) { return same_name(column.name, wanted); });
         });
}

void check_columns(const table& target, const actual_table& actual, std::vector<std::string>& differences) {
  for (const auto& wanted : target.columns) {
    const auto found = std::find_if(actual.columns.begin(), actual.columns.end(),
                                    [&](const auto& column) { return same_name(column.name, wanted.name); });
    const auto name = "column " + identifier(wanted.name);
    const auto type = declared_type(wanted.type);
    if (found == actual.columns.end()) {
      differences.push_back(name + " is missing: run ALTER TABLE " + identifier(target.name) + " ADD COLUMN " +
                            identifier(wanted.name) + " " + type);
      continue;
    }
    if (found->generated)
      differences.push_back(name + " is generated by the table: leave it out of the configuration");
    if (!holds(*found, wanted.type, actual.strict))
      differences.push_back(name + " is declared " + (found->type.empty() ? "without a type" : found->type) +
                            ", which cannot hold " + std::string{name_of(wanted.type)} +
                            ": copy the table into one where it is " + type +
                            ", or change its type in the configuration");
    if (found->not_null && wanted.optional)
      differences.push_back(name + " is NOT NULL in the table and optional in the configuration: make both the same");
  }
  const auto* alias = rowid_alias(actual);
  for (const auto& column : actual.columns) {
    const bool filled = std::any_of(target.columns.begin(), target.columns.end(),
                                    [&](const auto& wanted) { return same_name(wanted.name, column.name); });
    if (!filled && column.not_null && !column.has_default && !column.generated && &column != alias)
      differences.push_back("column " + identifier(column.name) +
                            " is NOT NULL without a default and the configuration does not fill it: add it to columns");
  }
}

void check_key(const table& target, const actual_table& actual, std::vector<std::string>& differences) {
  const auto* alias = rowid_alias(actual);
  if (alias && target.key.size() == 1 && same_name(alias->name, target.key.front()))
    return;
  bool other_order = false;
  std::string others;
  for (const auto& index : actual.indexes) {
    if (!index.unique || index.partial)
      continue;
    if (same_set(index.columns, target.key) && index.binary)
      return;
    other_order = other_order || same_set(index.columns, target.key);
    others += (others.empty() ? "" : "; ") + list_of(index.columns);
  }
  std::string text = "no primary key or unique index is exactly on the key (" + list_of(target.key) + ")";
  if (other_order)
    text += " comparing bytes (the one there has another COLLATE and would take different keys for the same)";
  else if (!others.empty())
    text += " (unique are: " + others + ")";
  std::string columns;
  for (const auto& column : target.key)
    columns += (columns.empty() ? "" : ", ") + identifier(column) + " COLLATE BINARY";
  differences.push_back(text + ": run CREATE UNIQUE INDEX " + identifier(target.name + "_key") + " ON " +
                        identifier(target.name) + " (" + columns + ")");
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
void check_clauses(const actual_table& actual, std::vector<std::string>& differences) {
  if (has_any(actual.sql, {"on conflict ignore", "on conflict replace", "on conflict rollback", "on conflict fail"}))
    differences.push_back("it has an ON CONFLICT clause, which would drop or replace rows: make the table without it");
  if (has_any(actual.sql, {"initially deferred"}))
    differences.push_back("it has a foreign key INITIALLY DEFERRED, whose failure names no row: make it immediate");
  for (const auto& [name, sql] : actual.triggers)
    if (has_any(sql, {"raise(ignore", "raise(rollback", "raise(fail"}))
      differences.push_back("trigger " + identifier(name) +
                            " uses RAISE with IGNORE, ROLLBACK or FAIL: only RAISE(ABORT, ...) refuses one row");
}

result<void> check_names(const table& target) {
  if (target.name.find('.') != std::string::npos)
    return error{errc::configuration,
                 "table '" + target.name + "': SQLite has no schemas here; write the table's name alone"};
  if (target.columns.empty() || target.key.empty())
    return error{errc::configuration, "table '" + target.name + "': columns and a key are needed"};
  for (const auto& name : target.key) {
    const auto found = std::find_if(target.columns.begin(), target.columns.end(),
                                    [&](const auto& column) { return same_name(column.name, name); });
    if (found == target.columns.end() || found->optional)
      return error{errc::configuration,
                   "table '" + target.name + "': key column '" + name + "' must be a column that is not optional"};
  }
  return {};
}

result<void> compare(const table& target, const actual_table& actual) {
  std::vector<std::string> differences;
  if (actual.kind != "table")
    differences.push_back("it is a " + actual.kind + ", not a table");
  else {
    check_columns(target, actual, differences);
    check_key(target, actual, differences);
    check_clauses(actual, differences);
  }
  if (differences.empty())
    return {};
  std::string text = "table " + identifier(target.name) + " does not fit pipeline '" + target.pipeline + "': ";
  for (std::size_t index = 0; index < differences.size(); ++index)
    text += (index ? "; " : "") + differences[index];
  return error{errc::schema_mismatch, text};
}

bool has_index(const actual_table& actual, const std::vector<config::index_column>& wanted) {
  return std::any_of(actual.indexes.begin(), actual.indexes.end(), [&](const auto& index) {
    return !index.partial && std::equal(index.columns.begin(), index.columns.end(), wanted.begin(), wanted.end(),
                                        [](const auto& left, const auto& right) {
                                          return same_name(left.name, right.name) &&
                                                 left.descending == right.descending;
                                        });
  });
}

} // namespace

result<bool> has_table(connection* database, const std::string& name) {
  bool found = false;
  auto read =
    for_each_row(database, "SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = lower(?1)",
                 name, [&](const statement&) { found = true; });
  if (!read)
    return read.error();
  return found;
}

result<void> check_table(connection* database, const table& target) {
  if (auto fine = check_names(target); !fine)
    return fine;
  auto there = has_table(database, target.name);
  if (!there)
    return there.error();
  if (!*there)
    return {};
  auto actual = read_table(database, target.name);
  if (!actual)
    return actual.error();
  return compare(target, *actual);
}

result<void> prepare_table(connection* database, const table& target) {
  if (auto fine = check_table(database, target); !fine)
    return fine;
  auto there = has_table(database, target.name);
  if (!there)
    return there.error();
  if (!*there)
    if (auto created = execute(database, create_table_sql(target)); !created)
      return created;
  auto actual = read_table(database, target.name);
  if (!actual)
    return actual.error();
  for (const auto& columns : target.indexes)
    if (!has_index(*actual, columns))
      if (auto created = execute(database, create_index_sql(target, columns)); !created)
        return created;
  return {};
}

} // namespace penstock::storage::sqlite
