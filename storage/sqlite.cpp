#include "storage/sqlite.hpp"

#include "core/hex.hpp"
#include "storage/key_text.hpp"
#include "storage/sqlite_handle.hpp"
#include "storage/sqlite_rows.hpp"
#include "storage/sqlite_schema.hpp"

#include <soci/sqlite3/soci-sqlite3.h>

#include <cerrno>
#include <system_error>
#include <thread>

namespace penstock::storage {

namespace sqlite {

namespace {

std::string declared_type(column_type type, const key_shape&) {
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

std::string key_value(const std::string& parameter, column_type type) {
  switch (type) {
  case column_type::integer:
  case column_type::timestamp:
  case column_type::boolean: return "CAST(" + parameter + " AS INTEGER)";
  case column_type::real: return "CAST(" + parameter + " AS REAL)";
  case column_type::text:
  case column_type::json:
  case column_type::bytes: return parameter;
  }
  return parameter;
}

const sql_words& dialect() {
  static const sql_words words{
    .text_type = "TEXT",
    .key_type = "TEXT",
    .bytes_type = "BLOB",
    .own_table_end = "",
    // The rows lie in the order of the key, in one tree instead of two.
    .pipeline_table_end = " WITHOUT ROWID",
    .updated_table_end = "",
    .now = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    .declared_type = declared_type,
    .if_new = [](const std::string&) { return std::string{" ON CONFLICT DO NOTHING"}; },
    .quote = [](std::string_view name) { return identifier(name); },
    .text_literal = [](std::string_view text) { return literal(text); },
    .bytes_literal = [](std::string_view bytes) { return "X'" + to_hex(bytes) + "'"; },
    .hex = [](const std::string& expression, bool) { return "hex(" + expression + ")"; },
    .key_value = key_value,
    .delete_some =
      [](const std::string& table, const std::string& key, const std::string& condition, std::size_t rows_max) {
        return "DELETE FROM " + table + " WHERE (" + key + ") IN (SELECT " + key + " FROM " + table + " WHERE " +
               condition + " LIMIT " + std::to_string(rows_max) + ")";
      },
    .timestamp = [](std::int64_t microseconds) { return std::to_string(microseconds); },
    .exact_index = " COLLATE BINARY",
    .exact_table = "",
    .folds_names = true,
  };
  return words;
}

error failure_of(const std::exception& thrown, const std::string& what) {
  const auto* known = dynamic_cast<const soci::sqlite3_soci_error*>(&thrown);
  const auto* any = dynamic_cast<const soci::soci_error*>(&thrown);
  // what() would hold the statement's values.
  const auto text = any ? any->get_error_message() : std::string{thrown.what()};
  return {known ? code_of(known->result()) : errc::internal, what + ": " + text.substr(0, 400)};
}

class sqlite_connection final : public connection {
public:
  sqlite_connection(std::unique_ptr<soci::session> session, api::sqlite3* database)
    : session_(std::move(session)), database_(database) {}

  soci::session& session() override { return *session_; }
  const sql_words& words() const override { return dialect(); }
  error failure(const std::exception& thrown, const std::string& what) const override {
    return failure_of(thrown, what);
  }

  result<void> begin() override;
  result<void> commit() override;
  void roll_back() noexcept override;
  result<void> read(const std::string& sql, const row_visitor& visit) override;
  result<std::uint64_t> change(const std::string& sql) override;
  result<actual_table> read_table(const std::string& name) override { return sqlite::read_table(database_, name); }
  result<void> open_rows(const table& target) override;
  attempt insert(const batch_view& batch, std::size_t first, std::size_t last) override {
    return rows_->insert(batch, first, last);
  }
  attempt keep_letters(std::span<const kept_letter> letters) override;
  result<void> for_each_key(const table& table, std::span<const column_type> types,
                            const std::function<bool(const key_text&)>& visit) override;

private:
  // In this order: the statements go before the session that they belong to.
  std::unique_ptr<soci::session> session_;
  api::sqlite3* database_;
  std::string pipeline_;
  std::unique_ptr<row_inserter> rows_;
  std::optional<statement> letter_;
};

// A full disk or an I/O error may have rolled back already; then there is nothing to do.
void sqlite_connection::roll_back() noexcept {
  if (!api::sqlite3_get_autocommit(database_))
    static_cast<void>(execute(database_, "ROLLBACK"));
}

result<void> sqlite_connection::begin() {
  roll_back();
  // IMMEDIATE: an upgrade from a read lock would fail with 517 at once instead of waiting.
  return execute(database_, "BEGIN IMMEDIATE");
}

result<void> sqlite_connection::commit() {
  // A file that was moved or deleted under us still takes commits, and nobody would ever find them again.
  int moved = 0;
  if (api::sqlite3_file_control(database_, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0)
    return error{errc::database_unavailable, "the database file was moved or deleted; opening it anew"};
  return execute(database_, "COMMIT");
}

result<void> sqlite_connection::open_rows(const table& target) {
  auto letter = statement::prepare(
    database_,
    "INSERT INTO penstock_dead_letters (pipeline, hash, topic, payload, code, reason, first_seen, last_seen,"
    " seen, attempts) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0) ON CONFLICT (pipeline, hash) DO UPDATE SET"
    " seen = seen + excluded.seen, last_seen = max(last_seen, excluded.last_seen), code = excluded.code,"
    " reason = excluded.reason");
  if (!letter)
    return letter.error();
  rows_.reset();
  auto rows = row_inserter::make(database_, target);
  if (!rows)
    return rows.error();
  letter_ = std::move(*letter);
  rows_ = std::move(*rows);
  pipeline_ = target.pipeline;
  return {};
}

attempt sqlite_connection::keep_letters(std::span<const kept_letter> letters) {
  for (std::size_t index = 0; index < letters.size(); ++index) {
    const auto& letter = letters[index];
    letter_->bind_text(1, pipeline_);
    letter_->bind_text(2, letter.id);
    letter_->bind_text(3, letter.topic);
    letter_->bind_bytes(4, letter.payload);
    letter_->bind(5, static_cast<std::int64_t>(letter.code));
    letter_->bind_text(6, letter.reason);
    letter_->bind(7, std::int64_t{letter.first_seen.time_since_epoch().count()});
    letter_->bind(8, std::int64_t{letter.last_seen.time_since_epoch().count()});
    letter_->bind(9, static_cast<std::int64_t>(letter.seen));
    if (auto kept = letter_->run(); !kept)
      return {.refused = refusal{kept.error()}};
  }
  return {};
}

result<void> sqlite_connection::read(const std::string& sql, const row_visitor& visit) {
  auto query = statement::prepare(database_, sql);
  if (!query)
    return query.error();
  const auto columns = query->columns();
  std::vector<cell> row(columns);
  std::vector<std::string> numbers(columns);
  for (;;) {
    auto more = query->step();
    if (!more)
      return more.error();
    if (!*more)
      return {};
    for (std::size_t index = 0; index < columns; ++index)
      row[index] = query->value(static_cast<int>(index), numbers[index]);
    visit(row);
  }
}

result<std::uint64_t> sqlite_connection::change(const std::string& sql) {
  auto prepared = statement::prepare(database_, sql);
  if (!prepared)
    return prepared.error();
  if (auto done = prepared->run(); !done)
    return done.error();
  return static_cast<std::uint64_t>(api::sqlite3_changes(database_));
}

/// A key's value from its column, as key_text.hpp says.
void read_key(const statement& row, int column, column_type type, std::string& text) {
  text.clear();
  switch (type) {
  case column_type::integer:
  case column_type::timestamp:
  case column_type::boolean: append_key_text(text, row.integer(column)); break;
  case column_type::real: append_key_text(text, row.real(column)); break;
  case column_type::text:
  case column_type::json:
  case column_type::bytes: text = row.string(column); break;
  }
}

result<void> sqlite_connection::for_each_key(const table& table, std::span<const column_type> types,
                                             const std::function<bool(const key_text&)>& visit) {
  std::string names;
  for (const auto& name : table.key)
    names += (names.empty() ? "" : ", ") + identifier(name);
  auto query = statement::prepare(database_, "SELECT " + names + " FROM " + identifier(table.name));
  if (!query)
    return query.error();
  key_text key(types.size());
  for (;;) {
    auto more = query->step();
    if (!more)
      return more.error();
    if (!*more)
      return {};
    for (std::size_t index = 0; index < key.size(); ++index)
      read_key(*query, static_cast<int>(index), types[index], key[index]);
    if (!visit(key))
      return {};
  }
}

const char* word_of(config::synchronous level) {
  switch (level) {
  case config::synchronous::full: return "FULL";
  case config::synchronous::normal: return "NORMAL";
  case config::synchronous::off: return "OFF";
  }
  return "FULL";
}

/// Two stores that make a new file at the same time: the change to WAL does not wait for its lock by itself.
result<void> switch_to_wal(api::sqlite3* database, std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    auto switched = execute(database, "PRAGMA journal_mode = WAL");
    if (switched || switched.error().code != errc::database_busy || std::chrono::steady_clock::now() >= until)
      return switched;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
}

result<void> set_up(api::sqlite3* database, const config::database& settings, access access) {
  api::sqlite3_extended_result_codes(database, 1);
  api::sqlite3_busy_timeout(database, static_cast<int>(settings.busy_timeout.count()));
  if (access == access::read_only)
    return execute(database, "SELECT count(*) FROM sqlite_master");
  if (api::sqlite3_db_readonly(database, "main") == 1)
    return error{errc::database_unavailable, "this user may not write to " + settings.address.path.string()};
  // The page size holds only for a new file, and must come first.
  if (auto sized = execute(database, "PRAGMA page_size = 8192"); !sized)
    return sized;
  if (auto switched = switch_to_wal(database, settings.busy_timeout); !switched)
    return switched;
  return execute(database, std::string{"PRAGMA synchronous = "} + word_of(settings.synchronous) +
                             "; PRAGMA wal_autocheckpoint = 2000; PRAGMA foreign_keys = ON");
}

/// What to do about a file that does not open; `reason` is an errno.
const char* remedy_of(int reason, access access) {
  switch (reason) {
  case ENOENT: return access == access::read_only ? "; `penstock run` makes it" : "; make its folder";
  case EACCES:
  case EPERM:
  case EROFS: return "; let this user read and write the file and its folder";
  case EISDIR: return "; it is a folder: name a file";
  default: return "";
  }
}

error cannot_open(const config::database& settings, const error& why) {
  return {why.code, "database '" + settings.name + "' (" + settings.address.path.string() + "): " + why.message};
}

} // namespace

} // namespace sqlite

result<std::unique_ptr<connection>> open_sqlite(const config::database& settings, access access) {
  const auto path = settings.address.path.string();
  if (path.find('"') != std::string::npos)
    return error{errc::configuration, "database '" + settings.name + "': a path with \" cannot be opened"};
  try {
    auto session = std::make_unique<soci::session>(
      soci::sqlite3, "dbname=\"" + path + "\"" + (access == access::read_only ? " readonly=true" : ""));
    auto* database = static_cast<soci::sqlite3_session_backend*>(session->get_backend())->conn_;
    if (auto ready = sqlite::set_up(database, settings, access); !ready)
      return sqlite::cannot_open(settings, ready.error());
    return std::unique_ptr<connection>{std::make_unique<sqlite::sqlite_connection>(std::move(session), database)};
  } catch (const soci::soci_error& thrown) {
    // SOCI does not say why: errno still does.
    const auto reason = errno;
    auto failure = sqlite::failure_of(thrown, "cannot open it");
    if (reason != 0)
      failure.message += " (" + std::generic_category().message(reason) + ")" + sqlite::remedy_of(reason, access);
    return sqlite::cannot_open(settings, failure);
  }
}

} // namespace penstock::storage
