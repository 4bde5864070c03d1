#include "storage/mariadb.hpp"

#include "core/hex.hpp"
#include "storage/key_text.hpp"
#include "storage/mariadb_handle.hpp"
#include "storage/mariadb_rows.hpp"
#include "storage/mariadb_schema.hpp"
#include "storage/mariadb_session.hpp"

#include <algorithm>
#include <charconv>

namespace penstock::storage {

namespace mariadb {

namespace {

// InnoDB's limit for all columns of one index together. A character may take four bytes, a length or NULL some more.
constexpr std::size_t index_bytes_max = 3072;
constexpr std::size_t other_bytes = 9;
constexpr std::size_t string_extra_bytes = 3;
constexpr std::size_t string_length_max = 255;

// An index on a large table takes long.
constexpr std::chrono::hours schema_change_limit{1};

std::size_t string_length(const key_shape& key, std::size_t character_bytes) {
  const auto strings = std::max<std::size_t>(key.strings, 1);
  const auto room = index_bytes_max - std::min(index_bytes_max, other_bytes * key.others);
  const auto each = room / strings - std::min(room / strings, string_extra_bytes);
  return std::clamp<std::size_t>(each / character_bytes, 1, string_length_max);
}

std::string declared_type(column_type type, const key_shape& key) {
  switch (type) {
  case column_type::text: return key ? "VARCHAR(" + std::to_string(string_length(key, 4)) + ")" : "LONGTEXT";
  case column_type::json: return key ? "VARCHAR(" + std::to_string(string_length(key, 4)) + ")" : "JSON";
  case column_type::bytes: return key ? "VARBINARY(" + std::to_string(string_length(key, 1)) + ")" : "LONGBLOB";
  case column_type::integer: return "BIGINT";
  case column_type::real: return "DOUBLE";
  case column_type::boolean: return "BOOLEAN";
  case column_type::timestamp: return "DATETIME(6)";
  }
  return "LONGBLOB";
}

std::string key_value(const std::string& parameter, column_type type) {
  switch (type) {
  case column_type::integer:
  case column_type::boolean: return "CAST(" + parameter + " AS SIGNED)";
  case column_type::timestamp:
    return "TIMESTAMPADD(MICROSECOND, CAST(" + parameter + " AS SIGNED), '1970-01-01 00:00:00.000000')";
  case column_type::real: return "CAST(" + parameter + " AS DOUBLE)";
  case column_type::text:
  case column_type::json:
  case column_type::bytes: return parameter;
  }
  return parameter;
}

sql_words make_words(const std::string& collation) {
  const std::string table_end = " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE " + collation;
  return {
    .text_type = "LONGTEXT",
    .key_type = "VARCHAR(255)",
    .bytes_type = "LONGBLOB",
    .own_table_end = table_end,
    .pipeline_table_end = table_end,
    .updated_table_end = table_end,
    .now = "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
    .declared_type = declared_type,
    .if_new = [](const std::string& column) { return " ON DUPLICATE KEY UPDATE " + column + " = " + column; },
    .quote = identifier,
    .text_literal = [](std::string_view text) { return literal(text); },
    .bytes_literal = [](std::string_view bytes) { return "X'" + to_hex(bytes) + "'"; },
    .hex = [](const std::string& expression, bool) { return "HEX(" + expression + ")"; },
    .key_value = key_value,
    .delete_some =
      [](const std::string& table, const std::string&, const std::string& condition, std::size_t rows_max) {
        return "DELETE FROM " + table + " WHERE " + condition + " LIMIT " + std::to_string(rows_max);
      },
    .timestamp = [](std::int64_t microseconds) { return "'" + date_text(microseconds) + "'"; },
    .exact_index = "",
    .exact_table = " CONVERT TO CHARACTER SET utf8mb4 COLLATE " + collation,
    .folds_names = true,
  };
}

/// Without padding: 'a' and 'a ' are different keys, and 'A' as well.
const sql_words& words_of(const server& on) {
  static const sql_words mariadb = make_words("utf8mb4_nopad_bin");
  static const sql_words mysql = make_words("utf8mb4_0900_bin");
  return on.is_mariadb ? mariadb : mysql;
}

/// A key's value from its column as the server prints it, as key_text.hpp says.
void read_key(std::string_view printed, column_type type, std::string& text) {
  const auto* end = printed.data() + printed.size();
  text.clear();
  switch (type) {
  case column_type::integer:
  case column_type::boolean: {
    std::int64_t value = 0; // a ZEROFILL column prints more
    std::from_chars(printed.data(), end, value);
    append_key_text(text, value);
    break;
  }
  case column_type::real: {
    double value = 0;
    std::from_chars(printed.data(), end, value);
    append_key_text(text, value);
    break;
  }
  case column_type::timestamp: append_key_text(text, microseconds_of(printed)); break;
  case column_type::text:
  case column_type::json:
  case column_type::bytes: text = printed; break;
  }
}

class mariadb_connection final : public connection {
public:
  mariadb_connection(server on, config::milliseconds statement_timeout, config::milliseconds busy_timeout)
    : on_(std::move(on)), statement_timeout_(statement_timeout), busy_timeout_(busy_timeout),
      session_(on_.handle.get()) {}

  soci::session& session() override { return session_.get(); }
  const sql_words& words() const override { return words_of(on_); }
  error failure(const std::exception& thrown, const std::string& what) const override;

  result<void> begin() override;
  result<void> commit() override;
  void roll_back() noexcept override;
  result<void> lock_schema() override;
  result<void> read(const std::string& sql, const row_visitor& visit) override {
    return limited([&] { return read_cells(handle(), sql, visit); });
  }
  result<std::uint64_t> change(const std::string& sql) override;
  result<actual_table> read_table(const std::string& name) override {
    return limited([&] { return mariadb::read_table(handle(), name); });
  }
  result<void> open_rows(const table& target) override;
  statement_limits limits() const override { return {.bytes = on_.packet_bytes / 2}; }
  attempt insert(const batch_view& batch, std::size_t first, std::size_t last) override {
    return rows_->insert(batch, first, last);
  }
  attempt keep_letters(std::span<const kept_letter> letters) override { return letters_->insert(letters); }
  result<void> for_each_key(const table& table, std::span<const column_type> types,
                            const std::function<bool(const key_text&)>& visit) override;
  std::unique_ptr<watch> watched(work kind) override;

private:
  struct limited_call final : watch {
    limited_call(socket_watch& watched, std::chrono::milliseconds limit) : call(watched, limit) {}
    call_limit call;
  };

  MYSQL* handle() const { return on_.handle.get(); }
  /// A call that ends in time.
  template <class Call>
  auto limited(const Call& call) const -> decltype(call()) {
    const call_limit limit{*on_.watch, on_.answer_limit};
    auto done = call();
    if (!done)
      return told(on_, done.error());
    return done;
  }
  void unlock_schema() noexcept;

  // In this order: statements go before the connection that they belong to.
  server on_;
  config::milliseconds statement_timeout_;
  config::milliseconds busy_timeout_;
  mariadb::session session_;
  std::unique_ptr<row_inserter> rows_;
  std::unique_ptr<letter_inserter> letters_;
  bool schema_locked_ = false;
};

error mariadb_connection::failure(const std::exception& thrown, const std::string& what) const {
  if (const auto* known = dynamic_cast<const session_failure*>(&thrown))
    return told(on_, failure_of(known->fault(), what));
  return {errc::internal, what + ": " + thrown.what()};
}

// START TRANSACTION would commit one that was left open.
result<void> mariadb_connection::begin() {
  roll_back();
  return limited([&] { return execute(handle(), "START TRANSACTION"); });
}

result<void> mariadb_connection::commit() {
  auto done = limited([&] { return execute(handle(), "COMMIT"); });
  if (done)
    unlock_schema();
  return done;
}

void mariadb_connection::roll_back() noexcept {
  const call_limit limit{*on_.watch, on_.answer_limit};
  unsigned status = 0;
  mariadb_get_infov(handle(), MARIADB_CONNECTION_SERVER_STATUS, &status);
  if ((status & SERVER_STATUS_IN_TRANS) != 0)
    static_cast<void>(mysql_query(handle(), "ROLLBACK"));
  unlock_schema();
}

// By a lock of the server's: every change of a table commits, and would release what a transaction holds.
result<void> mariadb_connection::lock_schema() {
  const auto seconds = std::to_string(std::max<std::int64_t>(1, busy_timeout_.count() / 1000));
  return limited([&]() -> result<void> {
    auto locked = query(handle(), "SELECT GET_LOCK(CONCAT('penstock_schema.', MD5(DATABASE())), " + seconds + ")");
    if (!locked)
      return locked.error();
    if (locked->size() != 1 || locked->front().front() != "1")
      return error{errc::database_busy, "another penstock is changing the tables"};
    schema_locked_ = true;
    // A new index on a large table takes its time. The first change of a table ends the transaction, and with it the
    // limit to its idle time: a node that hangs then would keep the lock for good.
    return execute(handle(), "SET SESSION wait_timeout = " + std::to_string(on_.idle_seconds_max) + ", " +
                               limit_setting(on_, config::milliseconds{0}));
  });
}

void mariadb_connection::unlock_schema() noexcept {
  if (!std::exchange(schema_locked_, false))
    return;
  const call_limit limit{*on_.watch, on_.answer_limit};
  // If they fail the connection is lost, and the lock with it.
  static_cast<void>(query(handle(), "SELECT RELEASE_LOCK(CONCAT('penstock_schema.', MD5(DATABASE())))"));
  static_cast<void>(execute(handle(), "SET SESSION wait_timeout = DEFAULT, " + limit_setting(on_, statement_timeout_)));
}

result<void> mariadb_connection::open_rows(const table& target) {
  rows_.reset();
  letters_.reset();
  return limited([&]() -> result<void> {
    auto letters = letter_inserter::make(on_, target.pipeline);
    if (!letters)
      return letters.error();
    auto rows = row_inserter::make(on_, target);
    if (!rows)
      return rows.error();
    letters_ = *std::move(letters);
    rows_ = *std::move(rows);
    return {};
  });
}

result<std::uint64_t> mariadb_connection::change(const std::string& sql) {
  return limited([&]() -> result<std::uint64_t> {
    if (auto done = execute(handle(), sql); !done)
      return done.error();
    return std::uint64_t{mysql_affected_rows(handle())};
  });
}

result<void> mariadb_connection::for_each_key(const table& table, std::span<const column_type> types,
                                              const std::function<bool(const key_text&)>& visit) {
  std::string names;
  for (const auto& name : table.key)
    names += (names.empty() ? "" : ", ") + identifier(name);
  // The whole table may take longer than one statement; a server that falls silent is still noticed.
  const auto select =
    on_.is_mariadb ? "SET STATEMENT max_statement_time = 0 FOR SELECT " : "SELECT /*+ MAX_EXECUTION_TIME(0) */ ";
  key_text key(types.size());
  return limited([&] {
    return for_each_row(handle(), select + names + " FROM " + quoted_table(words(), table.name),
                        [&](std::span<const std::string_view> row) {
                          for (std::size_t index = 0; index < key.size(); ++index)
                            read_key(row[index], types[index], key[index]);
                          on_.watch->set(config::milliseconds{0}); // the visitor's time is not the server's
                          const bool more = visit(key);
                          on_.watch->set(on_.answer_limit);
                          return more;
                        });
  });
}

std::unique_ptr<connection::watch> mariadb_connection::watched(work kind) {
  const auto limit = kind == work::schema_change ? schema_change_limit : on_.answer_limit;
  return std::make_unique<limited_call>(*on_.watch, limit);
}

} // namespace

} // namespace mariadb

result<std::unique_ptr<connection>> open_mariadb(const config::database& settings, access access) {
  auto connected = mariadb::connect(settings, access);
  if (!connected)
    return error{connected.error().code,
                 "database '" + settings.name + "' (" + settings.url + "): " + connected.error().message};
  return std::unique_ptr<connection>{std::make_unique<mariadb::mariadb_connection>(
    *std::move(connected), settings.statement_timeout, settings.busy_timeout)};
}

} // namespace penstock::storage
