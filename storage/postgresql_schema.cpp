#include "storage/postgresql_schema.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace penstock::storage::postgresql {

std::string table_identifier(const std::string& name) {
  const auto dot = name.find('.');
  return dot == std::string::npos ? identifier(name)
                                  : identifier(name.substr(0, dot)) + "." + identifier(name.substr(dot + 1));
}

namespace {

int number(std::string_view text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// A column's type: of a domain, what it is made of.
struct declared {
  std::string_view base; ///< pg_type.typname: "int8", "varchar", ...
  int modifier = -1;     ///< pg_attribute.atttypmod: length, precision
  bool enumeration = false;
};

// numeric(p,s): 16 bits of precision, 11 bits of scale with a sign, behind a header of 4.
bool takes_integers(int numeric_modifier) {
  const int scale = (((numeric_modifier - 4) & 0x7ff) ^ 1024) - 1024;
  return numeric_modifier < 0 || scale >= 0;
}

/// Only what keeps a value as it is, or refuses it. char(n) pads, real and timestamptz(3) round, timestamp has no zone,
/// uuid and citext write or compare letters in their own way.
std::vector<column_type> held_by(const declared& type) {
  const auto is = [&](std::string_view name) { return type.base == name; };
  if (type.enumeration)
    return {column_type::text};
  if (is("text") || is("varchar"))
    return {column_type::text, column_type::json};
  if (is("int8") || is("int4") || is("int2") || (is("numeric") && takes_integers(type.modifier)))
    return {column_type::integer};
  if (is("float8"))
    return {column_type::real};
  if (is("bool"))
    return {column_type::boolean};
  if (is("timestamptz") && (type.modifier < 0 || type.modifier == 6))
    return {column_type::timestamp};
  if (is("bytea"))
    return {column_type::bytes};
  if (is("json") || is("jsonb"))
    return {column_type::json};
  return {};
}

column_facts facts_of(const std::string& name, const std::string& written, const declared& type) {
  column_facts facts{.name = name, .cast = {}};
  if (type.enumeration || type.base == "json" || type.base == "jsonb")
    facts.cast = "::" + written;
  // Checked here, because PostgreSQL cuts off what is too long where that is spaces, and because it names no row.
  if (type.base == "varchar" && type.modifier >= 4)
    facts.characters_max = static_cast<std::size_t>(type.modifier - 4);
  if (type.base == "int4" || type.base == "int2") {
    facts.integer_max = type.base == "int4" ? std::numeric_limits<std::int32_t>::max()
                                            : std::int64_t{std::numeric_limits<std::int16_t>::max()};
    facts.integer_min = -facts.integer_max - 1;
  }
  return facts;
}

/// $1: the quoted name, as to_regclass takes it: without a schema it goes by search_path.
constexpr auto columns_sql =
  "SELECT a.attname, format_type(a.atttypid, a.atttypmod),"
  " coalesce(b.typname, t.typname),"
  " CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,"
  " coalesce(b.typtype, t.typtype) = 'e',"
  " a.attnotnull OR t.typnotnull,"
  " a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,"
  " a.attgenerated <> '' OR a.attidentity = 'a'"
  " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
  " LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype"
  " WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// One row a column of an index, the index's own facts in each.
constexpr auto indexes_sql =
  "SELECT c.relname, i.indisunique AND i.indimmediate, i.indpred IS NOT NULL,"
  " coalesce(a.attname, ''), (i.indoption[k.n - 1] & 1) = 1, coalesce(l.collisdeterministic, true)"
  " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
  " CROSS JOIN LATERAL generate_series(1, i.indnkeyatts) AS k(n)"
  " LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n - 1] AND a.attnum <> 0"
  " LEFT JOIN pg_catalog.pg_collation l ON l.oid = i.indcollation[k.n - 1]"
  " WHERE i.indrelid = to_regclass($1) AND i.indisvalid ORDER BY i.indisprimary DESC, c.relname, k.n";

// What would drop, replace or lose rows in silence, or fail at the commit, where no row is named.
constexpr auto table_sql =
  "SELECT c.relkind, c.relpersistence,"
  " EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type IN ('2', '3')),"
  " EXISTS (SELECT FROM pg_catalog.pg_constraint n WHERE n.conrelid = c.oid AND n.condeferred)"
  " OR EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND g.tginitdeferred AND NOT "
  "g.tgisinternal),"
  " n.nspname, c.relname"
  " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)";

std::string kind_of(std::string_view relkind) {
  constexpr std::array<std::pair<std::string_view, const char*>, 6> kinds{{{"r", "table"},
                                                                           {"p", "table"},
                                                                           {"v", "view"},
                                                                           {"m", "materialized view"},
                                                                           {"f", "foreign table"},
                                                                           {"S", "sequence"}}};
  for (const auto& [letter, kind] : kinds)
    if (letter == relkind)
      return kind;
  return "relation of kind " + std::string{relkind};
}

result<answer> ask(handle& database, const char* sql, const std::string& name) {
  const auto text = table_identifier(name);
  const std::array parameters{parameter{type_id::text, text}};
  return database.query(sql, parameters);
}

result<void> read_indexes(handle& database, const std::string& name, actual_table& into) {
  auto found = ask(database, indexes_sql, name);
  if (!found)
    return found.error();
  for (int row = 0; row < found->rows(); ++row) {
    const std::string index{found->value(row, 0)};
    if (into.indexes.empty() || into.indexes.back().name != index)
      into.indexes.push_back(
        {.name = index, .unique = found->is_true(row, 1), .partial = found->is_true(row, 2), .columns = {}});
    auto& to = into.indexes.back();
    // An expression has no name: it equals no column.
    to.columns.push_back({std::string{found->value(row, 3)}, found->is_true(row, 4)});
    to.exact = to.exact && found->is_true(row, 5);
  }
  return {};
}

/// The schema that TimescaleDB's functions are in; empty: it is not there.
result<std::string> timescale_schema(handle& database) {
  auto found = database.query("SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n"
                              " ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb'",
                              {});
  if (!found)
    return found.error();
  return found->rows() == 0 ? std::string{} : std::string{found->value(0, 0)};
}

result<bool> is_hypertable(handle& database, std::string_view schema, std::string_view name) {
  auto there = timescale_schema(database);
  if (!there)
    return there.error();
  if (there->empty())
    return false;
  const std::array parameters{parameter{type_id::text, schema}, parameter{type_id::text, name}};
  auto found = database.query("SELECT FROM timescaledb_information.hypertables"
                              " WHERE hypertable_schema = $1 AND hypertable_name = $2",
                              parameters);
  if (!found)
    return found.error();
  return found->rows() > 0;
}

void find_faults(const answer& table, actual_table& actual) {
  if (table.value(0, 1) == "u")
    actual.faults.push_back("it is UNLOGGED, and a crash of the server empties it: run ALTER TABLE ... SET LOGGED");
  if (table.value(0, 1) == "t")
    actual.faults.push_back("it is temporary");
  if (table.is_true(0, 2))
    actual.faults.push_back("it has a RULE on INSERT or UPDATE, with which ON CONFLICT does not work: use a trigger");
  if (table.is_true(0, 3))
    actual.faults.push_back(
      "it has a constraint or trigger INITIALLY DEFERRED, whose failure names no row: make it immediate");
}

} // namespace

result<actual_table> read_table(handle& database, const std::string& name) {
  actual_table actual;
  auto found = ask(database, table_sql, name);
  if (!found)
    return found.error();
  if (found->rows() == 0)
    return actual;
  actual.kind = kind_of(found->value(0, 0));
  find_faults(*found, actual);
  auto hypertable = is_hypertable(database, found->value(0, 4), found->value(0, 5));
  if (!hypertable)
    return hypertable.error();
  actual.hypertable = *hypertable;
  auto columns = ask(database, columns_sql, name);
  if (!columns)
    return columns.error();
  for (int row = 0; row < columns->rows(); ++row)
    actual.columns.push_back({.name = std::string{columns->value(row, 0)},
                              .type = std::string{columns->value(row, 1)},
                              .holds = held_by({.base = columns->value(row, 2),
                                                .modifier = number(columns->value(row, 3)),
                                                .enumeration = columns->is_true(row, 4)}),
                              .not_null = columns->is_true(row, 5),
                              .filled = columns->is_true(row, 6),
                              .generated = columns->is_true(row, 7)});
  if (auto indexes = read_indexes(database, name, actual); !indexes)
    return indexes.error();
  return actual;
}

result<std::vector<column_facts>> read_columns(handle& database, const std::string& name) {
  auto columns = ask(database, columns_sql, name);
  if (!columns)
    return columns.error();
  std::vector<column_facts> facts;
  facts.reserve(static_cast<std::size_t>(columns->rows()));
  for (int row = 0; row < columns->rows(); ++row)
    facts.push_back(facts_of(std::string{columns->value(row, 0)}, std::string{columns->value(row, 1)},
                             {.base = columns->value(row, 2),
                              .modifier = number(columns->value(row, 3)),
                              .enumeration = columns->is_true(row, 4)}));
  return facts;
}

result<void> make_hypertable(handle& database, const table& target) {
  auto schema = timescale_schema(database);
  if (!schema)
    return schema.error();
  if (schema->empty())
    return error{errc::schema_mismatch,
                 "table " + table_identifier(target.name) + " of pipeline '" + target.pipeline +
                   "' is to be a hypertable, and this database has no TimescaleDB: install it on the server and run"
                   " CREATE EXTENSION timescaledb, or remove `hypertable`"};
  // The indexes are those of the configuration.
  const auto sql = "SELECT " + identifier(*schema) + ".create_hypertable(" + literal(table_identifier(target.name)) +
                   "::regclass, " + literal(target.hypertable->time_column) +
                   "::name, chunk_time_interval => INTERVAL '1 millisecond' * " +
                   std::to_string(target.hypertable->chunk.count()) + ", create_default_indexes => false)";
  auto made = database.run(sql);
  return made ? result<void>{} : result<void>{made.error()};
}

result<std::optional<std::uint64_t>> drop_chunks(handle& database, const table& target, const std::string& before) {
  auto schema = timescale_schema(database);
  if (!schema)
    return schema.error();
  if (schema->empty())
    return std::optional<std::uint64_t>{};
  auto dropped = database.query("SELECT count(*) FROM " + identifier(*schema) + ".drop_chunks(" +
                                  literal(table_identifier(target.name)) + "::regclass, older_than => " + before + ")",
                                {});
  if (!dropped)
    return dropped.error();
  return std::optional{static_cast<std::uint64_t>(number(dropped->value(0, 0)))};
}

} // namespace penstock::storage::postgresql
