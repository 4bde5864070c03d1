#include "storage/postgresql.hpp"

#include "core/hex.hpp"
#include "storage/key_text.hpp"
#include "storage/postgresql_connect.hpp"
#include "storage/postgresql_handle.hpp"
#include "storage/postgresql_rows.hpp"
#include "storage/postgresql_schema.hpp"

#include <soci/postgresql/soci-postgresql.h>

#include <algorithm>
#include <array>
#include <bit>

namespace penstock::storage {

namespace postgresql {

namespace {

// Of pg_advisory_xact_lock: "penstock" in ASCII.
constexpr std::int64_t schema_lock = 0x70656e73746f636b;

// An index on a large table takes long. What takes longer is better made by hand, CONCURRENTLY.
constexpr std::chrono::hours schema_change_limit{1};

std::string declared_type(column_type type, const key_shape&) {
  switch (type) {
  case column_type::text: return "TEXT";
  case column_type::integer: return "BIGINT";
  case column_type::real: return "DOUBLE PRECISION";
  case column_type::boolean: return "BOOLEAN";
  case column_type::timestamp: return "TIMESTAMPTZ";
  case column_type::bytes: return "BYTEA";
  case column_type::json: return "JSONB";
  }
  return "BYTEA";
}

// In two parts: an interval is multiplied as a double, and microseconds since 1970 have more than its 53 bits.
std::string timestamp_at(const std::string& microseconds) {
  return "TIMESTAMPTZ 'epoch' + (" + microseconds + " / 1000000) * INTERVAL '1 second' + (" + microseconds +
         " % 1000000) * INTERVAL '1 microsecond'";
}

std::string key_value(const std::string& parameter, column_type type) {
  switch (type) {
  case column_type::integer: return "CAST(" + parameter + " AS BIGINT)";
  case column_type::real: return "CAST(" + parameter + " AS DOUBLE PRECISION)";
  case column_type::boolean: return "(CAST(" + parameter + " AS BIGINT) <> 0)";
  case column_type::timestamp: // the parameter may stand there once
    return "(SELECT " + timestamp_at("v.k") + " FROM (SELECT CAST(" + parameter + " AS BIGINT) AS k) AS v)";
  case column_type::json: return "CAST(" + parameter + " AS JSONB)";
  case column_type::text:
  case column_type::bytes: return parameter;
  }
  return parameter;
}

const sql_words& dialect() {
  static const sql_words words{
    .text_type = "TEXT",
    .key_type = "TEXT COLLATE \"C\"", // compared by bytes, not in a language's order
    .bytes_type = "BYTEA",
    .own_table_end = "",
    .pipeline_table_end = "",
    // Room in each page for the new versions of its rows: no index is written then (HOT).
    .updated_table_end = " WITH (fillfactor = 70)",
    .now = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
    .declared_type = declared_type,
    .if_new = [](const std::string&) { return std::string{" ON CONFLICT DO NOTHING"}; },
    .quote = [](std::string_view name) { return identifier(name); },
    .text_literal = [](std::string_view text) { return literal(text); },
    .bytes_literal = [](std::string_view bytes) { return "decode('" + to_hex(bytes) + "', 'hex')"; },
    .hex =
      [](const std::string& expression, bool text) {
        return "encode(" + (text ? "convert_to(" + expression + ", 'UTF8')" : expression) + ", 'hex')";
      },
    .key_value = key_value,
    // By where the rows lie, which no index needs to be asked for; a table in partitions has several rows at one ctid.
    .delete_some =
      [](const std::string& table, const std::string&, const std::string& condition, std::size_t rows_max) {
        return "DELETE FROM " + table + " AS t USING (SELECT tableoid AS place, ctid AS row FROM " + table + " WHERE " +
               condition + " LIMIT " + std::to_string(rows_max) +
               ") AS old WHERE t.ctid = old.row AND t.tableoid = old.place";
      },
    .timestamp = [](std::int64_t microseconds) { return timestamp_at("(" + std::to_string(microseconds) + ")"); },
    .exact_index = "",
    .exact_table = "",
    .folds_names = false,
  };
  return words;
}

/// What each transaction begins with. LOCAL: behind a PgBouncer the next one may be another program's.
std::string begin_sql(const config::database& settings) {
  const auto set = [](const char* name, const std::string& value) {
    return std::string{"; SET LOCAL "} + name + " = " + value;
  };
  // 0 would be no limit.
  const auto limit = [](std::chrono::milliseconds time) {
    return std::to_string(std::max<std::int64_t>(1, time.count()));
  };
  auto sql = "BEGIN" + set("statement_timeout", limit(settings.statement_timeout)) +
             set("lock_timeout", limit(settings.busy_timeout)) +
             set("idle_in_transaction_session_timeout", limit(settings.transaction_idle_max));
  switch (settings.synchronous) {
  case config::synchronous::full: break; // as the server, the database or the role says
  case config::synchronous::normal: sql += set("synchronous_commit", "local"); break;
  case config::synchronous::off: sql += set("synchronous_commit", "off"); break;
  }
  return sql;
}

/// In which way values are to be printed, whatever the role's settings.
struct print_setting {
  const char* name;
  const char* value;
};
constexpr std::array print_settings{print_setting{"timezone", "UTC"}, print_setting{"datestyle", "ISO"},
                                    print_setting{"bytea_output", "hex"}, print_setting{"extra_float_digits", "1"}};

/// What a query outside a transaction begins with. Only what the connection does not have anyway is set: each statement
/// costs the server something, and there are many small reads.
std::string begin_reading_sql(handle& database, const config::database& settings) {
  auto sql = "BEGIN READ ONLY; SET LOCAL statement_timeout = " +
             std::to_string(std::max<std::int64_t>(1, settings.statement_timeout.count()));
  for (const auto& [name, value] : print_settings) {
    auto now = database.query(std::string{"SELECT current_setting('"} + name + "')", {});
    const auto has = now && now->rows() == 1 ? now->value(0, 0) : std::string_view{};
    const bool is_utc = std::string_view{value} == "UTC" && (has == "Etc/UTC" || has == "UTC");
    if (!is_utc && !has.starts_with(value))
      sql += std::string{"; SET LOCAL "} + name + " = '" + value + "'";
  }
  return sql;
}

class postgresql_connection final : public connection {
public:
  postgresql_connection(std::unique_ptr<soci::session> session, const config::database& settings)
    : session_(std::move(session)),
      database_(static_cast<soci::postgresql_session_backend*>(session_->get_backend())->conn_,
                settings.statement_timeout),
      settings_(settings), begin_sql_(begin_sql(settings)) {}

  soci::session& session() override { return *session_; }
  const sql_words& words() const override { return dialect(); }
  error failure(const std::exception& thrown, const std::string& what) const override {
    return database_.failure_of(thrown, what);
  }

  result<void> begin() override;
  result<void> commit() override;
  void roll_back() noexcept override;
  result<void> lock_schema() override;
  result<void> read(const std::string& sql, const row_visitor& visit) override;
  result<std::uint64_t> change(const std::string& sql) override;
  result<actual_table> read_table(const std::string& name) override { return postgresql::read_table(database_, name); }
  result<void> finish_table(const table& target) override {
    return target.hypertable ? make_hypertable(database_, target) : result<void>{};
  }
  result<std::optional<std::uint64_t>> drop_older(const table& target, const std::string& column,
                                                  wall_time before) override {
    if (!target.hypertable || target.hypertable->time_column != column)
      return std::optional<std::uint64_t>{};
    return drop_chunks(database_, target, dialect().timestamp(before.time_since_epoch().count()));
  }
  result<void> open_rows(const table& target) override;
  // 1,000 is the fastest, if not by much; larger statements make the server allocate and free more than it keeps.
  statement_limits limits() const override { return {.rows = 1'000, .bytes = 16u << 20}; }
  attempt insert(const batch_view& batch, std::size_t first, std::size_t last) override {
    return rows_->insert(batch, first, last);
  }
  attempt keep_letters(std::span<const kept_letter> letters) override {
    return postgresql::keep_letters(database_, pipeline_, letters);
  }
  result<void> for_each_key(const table& table, std::span<const column_type> types,
                            const std::function<bool(const key_text&)>& visit) override;
  std::unique_ptr<watch> watched(work kind) override;

private:
  struct limited final : watch {
    limited(socket_watch& watched, std::chrono::milliseconds limit) : call(watched, limit) {}
    call_limit call;
  };

  std::unique_ptr<soci::session> session_;
  handle database_;
  config::database settings_;
  std::string begin_sql_;
  std::string begin_reading_sql_; ///< made by the first read
  std::string pipeline_;
  std::optional<row_inserter> rows_;
};

std::unique_ptr<connection::watch> postgresql_connection::watched(work kind) {
  const auto limit = kind == work::schema_change ? schema_change_limit : database_.call_limit_ms();
  return std::make_unique<limited>(database_.watch(), limit);
}

void postgresql_connection::roll_back() noexcept {
  if (database_.in_transaction())
    static_cast<void>(database_.run("ROLLBACK"));
}

result<void> postgresql_connection::begin() {
  roll_back();
  auto begun = database_.run(begin_sql_);
  return begun ? result<void>{} : result<void>{begun.error()};
}

result<void> postgresql_connection::commit() {
  auto done = database_.run("COMMIT");
  if (!done) {
    // A deferred constraint: no row of the batch can be named.
    if (disposition_of(done.error().code) == disposition::dead_letter)
      return error{errc::schema_mismatch, "a deferred constraint or trigger refuses the whole batch at its end; make it"
                                          " immediate: " +
                                            done.error().message};
    return done.error();
  }
  // COMMIT of a transaction that has failed succeeds as a ROLLBACK.
  if (done->command() != "COMMIT")
    return error{errc::database_unavailable, "the server rolled the transaction back instead of committing it"};
  return {};
}

result<void> postgresql_connection::lock_schema() {
  const std::chrono::milliseconds limit = schema_change_limit;
  auto locked = database_.run("SELECT pg_advisory_xact_lock(" + std::to_string(schema_lock) +
                              "); SET LOCAL statement_timeout = " + std::to_string(limit.count()));
  return locked ? result<void>{} : result<void>{locked.error()};
}

result<void> postgresql_connection::open_rows(const table& target) {
  auto columns = read_columns(database_, target.name);
  if (!columns)
    return columns.error();
  rows_.emplace(database_, target, *columns);
  pipeline_ = target.pipeline;
  return {};
}

result<void> postgresql_connection::read(const std::string& sql, const row_visitor& visit) {
  const bool own_transaction = !database_.in_transaction();
  if (own_transaction && begin_reading_sql_.empty())
    begin_reading_sql_ = begin_reading_sql(database_, settings_);
  auto rows = database_.run(own_transaction ? begin_reading_sql_ + "; " + sql : sql);
  if (own_transaction)
    roll_back();
  if (!rows)
    return rows.error();
  const auto columns = static_cast<int>(PQnfields(rows->get()));
  std::vector<cell> row(static_cast<std::size_t>(columns));
  std::vector<std::string> printed(row.size());
  for (int number = 0; number < rows->rows(); ++number) {
    for (int column = 0; column < columns; ++column)
      row[static_cast<std::size_t>(column)] = cell_of(*rows, number, column, printed[static_cast<std::size_t>(column)]);
    visit(row);
  }
  return {};
}

result<std::uint64_t> postgresql_connection::change(const std::string& sql) {
  auto done = database_.run(sql);
  if (!done)
    return done.error();
  return std::uint64_t{done->affected()};
}

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes)
    value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

/// A key's value in PostgreSQL's binary format, as key_text.hpp says.
void read_key(std::string_view value, column_type type, std::string& text) {
  text.clear();
  switch (type) {
  case column_type::integer:
  case column_type::boolean: append_key_text(text, static_cast<std::int64_t>(big_endian(value))); break;
  case column_type::timestamp:
    // Modulo 2^64: infinity, which no microseconds since 1970 are, must not be undefined.
    append_key_text(text, static_cast<std::int64_t>(big_endian(value) + std::uint64_t{epoch_microseconds}));
    break;
  case column_type::real: append_key_text(text, std::bit_cast<double>(big_endian(value))); break;
  case column_type::text:
  case column_type::json:
  case column_type::bytes: text = value; break;
  }
}

/// What makes a column's value come in the type that read_key takes.
std::string read_as(const std::string& column, column_type type) {
  switch (type) {
  case column_type::integer: return "CAST(" + column + " AS BIGINT)";
  case column_type::text:
  case column_type::json: return "CAST(" + column + " AS TEXT)";
  default: return column;
  }
}

// By a cursor, so that a reading of hours is many answers, each in time, and may stop anywhere. Between two of them the
// server waits as long as in any transaction.
result<void> postgresql_connection::for_each_key(const table& table, std::span<const column_type> types,
                                                 const std::function<bool(const key_text&)>& visit) {
  std::string columns;
  for (std::size_t index = 0; index < types.size(); ++index)
    columns += (index ? ", " : "") + read_as(identifier(table.key[index]), types[index]);
  if (auto begun = begin(); !begun)
    return begun;
  auto declared = database_.run("DECLARE penstock_keys NO SCROLL CURSOR FOR SELECT " + columns + " FROM " +
                                quoted_table(dialect(), table.name));
  if (!declared) {
    roll_back();
    return declared.error();
  }
  key_text key(types.size());
  for (bool more = true; more;) {
    auto rows = database_.query("FETCH 5000 FROM penstock_keys", {}, value_format::binary);
    if (!rows) {
      roll_back();
      return rows.error();
    }
    more = rows->rows() > 0;
    for (int row = 0; row < rows->rows() && more; ++row) {
      for (std::size_t index = 0; index < key.size(); ++index)
        read_key(rows->value(row, static_cast<int>(index)), types[index], key[index]);
      more = visit(key);
    }
  }
  roll_back();
  return {};
}

} // namespace

} // namespace postgresql

result<std::unique_ptr<connection>> open_postgresql(const config::database& settings, access access) {
  const bool replica = access == access::read_only && settings.read_address;
  auto session = postgresql::connect(settings, replica ? *settings.read_address : settings.address);
  if (!session)
    return session.error();
  return std::unique_ptr<connection>{
    std::make_unique<postgresql::postgresql_connection>(*std::move(session), settings)};
}

} // namespace penstock::storage
