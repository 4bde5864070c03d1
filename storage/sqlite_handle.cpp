#include "storage/sqlite_handle.hpp"

#include "storage/key_text.hpp"
#include "storage/sql_words.hpp"

#include <algorithm>
#include <cmath>

namespace penstock::storage::sqlite {

namespace {

// A driver's text may hold a whole statement; a log line must not.
constexpr std::size_t message_bytes_max = 400;

std::string one_line(std::string text) {
  if (text.size() > message_bytes_max)
    text = text.substr(0, message_bytes_max) + "...";
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

} // namespace

errc code_of(int extended_result) {
  switch (extended_result & 0xff) {
  case SQLITE_OK: return errc::none;
  case SQLITE_BUSY:     // 5, 261 recovery, 517 snapshot, 773 timeout
  case SQLITE_LOCKED:   // 6
  case SQLITE_PROTOCOL: // 15: the WAL's locks were contended for too long
    return errc::database_busy;
  case SQLITE_FULL: return errc::database_full; // 13
  case SQLITE_IOERR:                            // 10 and its many kinds
  case SQLITE_READONLY:                         // 8, 1032: the file was moved away
  case SQLITE_NOMEM:                            // 7
  case SQLITE_INTERRUPT: return errc::database_unavailable;
  case SQLITE_CONSTRAINT: // 19: 275 check, 787 foreign key, 1299 not null, 1811 trigger, 2067 unique, 3091 datatype
  case SQLITE_MISMATCH:   // 20
  case SQLITE_TOOBIG:     // 18
    return errc::row_refused;
  case SQLITE_CANTOPEN: // 14
  case SQLITE_CORRUPT:  // 11
  case SQLITE_NOTADB:   // 26
    return errc::database_damaged;
  case SQLITE_PERM: // 3
  case SQLITE_AUTH: // 23
    return errc::not_authorised;
  case SQLITE_ERROR: // 1: a statement that does not fit the database
  case SQLITE_SCHEMA: return errc::schema_mismatch;
  default: return errc::internal;
  }
}

error last_failure(api::sqlite3* database, int extended_result, std::string_view what) {
  const auto detail = std::string{api::sqlite3_errmsg(database)} + " (SQLite " + std::to_string(extended_result) + ")";
  return {code_of(extended_result), one_line(std::string{what} + ": " + detail)};
}

std::string identifier(std::string_view name) { return quoted(name, '"'); }

std::string literal(std::string_view value) { return quoted(value, '\''); }

result<void> execute(api::sqlite3* database, const std::string& sql) {
  const int outcome = api::sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr);
  if (outcome != SQLITE_OK)
    return last_failure(database, outcome, sql);
  return {};
}

void statement::finalize::operator()(api::sqlite3_stmt* handle) const { api::sqlite3_finalize(handle); }

result<statement> statement::prepare(api::sqlite3* database, const std::string& sql) {
  api::sqlite3_stmt* handle = nullptr;
  const int outcome = api::sqlite3_prepare_v3(database, sql.c_str(), static_cast<int>(sql.size()),
                                              SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
  if (outcome != SQLITE_OK)
    return last_failure(database, outcome, "cannot prepare " + sql);
  return statement{handle};
}

void statement::note(int outcome) {
  if (bind_failure_ == SQLITE_OK)
    bind_failure_ = outcome;
}

void statement::bind(int index, std::int64_t value) { note(api::sqlite3_bind_int64(handle_.get(), index, value)); }

void statement::bind(int index, double value) { note(api::sqlite3_bind_double(handle_.get(), index, value)); }

void statement::bind_text(int index, std::string_view value) {
  note(api::sqlite3_bind_text64(handle_.get(), index, address_of(value), value.size(), nullptr, SQLITE_UTF8));
}

void statement::bind_bytes(int index, std::string_view value) {
  note(api::sqlite3_bind_blob64(handle_.get(), index, address_of(value), value.size(), nullptr));
}

result<bool> statement::step() {
  const int outcome = bind_failure_ != SQLITE_OK ? bind_failure_ : api::sqlite3_step(handle_.get());
  if (outcome == SQLITE_ROW)
    return true;
  if (outcome == SQLITE_DONE) {
    reset();
    return false;
  }
  auto* database = api::sqlite3_db_handle(handle_.get());
  auto failure = last_failure(database, outcome, "SQLite");
  reset();
  return failure;
}

result<void> statement::run() {
  for (;;) {
    auto more = step();
    if (!more)
      return more.error();
    if (!*more)
      return {};
  }
}

void statement::reset() {
  api::sqlite3_reset(handle_.get());
  bind_failure_ = SQLITE_OK;
}

bool statement::null(int column) const { return api::sqlite3_column_type(handle_.get(), column) == SQLITE_NULL; }

std::size_t statement::columns() const { return static_cast<std::size_t>(api::sqlite3_column_count(handle_.get())); }

cell statement::value(int column, std::string& digits) const {
  digits.clear();
  switch (api::sqlite3_column_type(handle_.get(), column)) {
  case SQLITE_INTEGER: {
    // A column declared BOOLEAN holds 0 and 1.
    const char* const declared = api::sqlite3_column_decltype(handle_.get(), column);
    if (declared != nullptr && api::sqlite3_stricmp(declared, "boolean") == 0)
      return {cell::kind::boolean, integer(column) != 0 ? "true" : "false"};
    append_key_text(digits, integer(column));
    return {cell::kind::integer, digits};
  }
  case SQLITE_FLOAT:
    append_key_text(digits, real(column));
    return {std::isfinite(real(column)) ? cell::kind::real : cell::kind::text, digits};
  case SQLITE_TEXT: return {cell::kind::text, string(column)};
  case SQLITE_BLOB: return {cell::kind::bytes, string(column)};
  default: return {};
  }
}

std::int64_t statement::integer(int column) const { return api::sqlite3_column_int64(handle_.get(), column); }

double statement::real(int column) const { return api::sqlite3_column_double(handle_.get(), column); }

std::string_view statement::string(int column) const {
  // The blob call leaves the bytes as they are, for text too.
  const auto* bytes = static_cast<const char*>(api::sqlite3_column_blob(handle_.get(), column));
  return {bytes ? bytes : "", static_cast<std::size_t>(api::sqlite3_column_bytes(handle_.get(), column))};
}

} // namespace penstock::storage::sqlite
