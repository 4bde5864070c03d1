// SQLite's own interface as values and results. Statements on a connection that SOCI opened; one thread at a time.
#pragma once

#include "core/result.hpp"
#include "storage/cell.hpp"

#include <soci/sqlite3/soci-sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace penstock::storage::sqlite {

namespace api = ::sqlite_api; // SOCI declares SQLite's functions in there

/// The table of docs/databases.md: what a result code means.
errc code_of(int extended_result);

/// The connection's last error: "WHAT: SQLite's words (code N)".
error last_failure(api::sqlite3* database, int extended_result, std::string_view what);

/// Where a value's bytes are. SQLite takes a null pointer for NULL, whatever the length.
inline const char* address_of(std::string_view value) { return value.data() ? value.data() : ""; }

/// "name" with its quotes doubled.
std::string identifier(std::string_view name);

/// 'text' with its quotes doubled.
std::string literal(std::string_view text);

/// Runs statements that return nothing of interest.
result<void> execute(api::sqlite3* database, const std::string& sql);

/// A prepared statement. Bound strings are not copied: they must live until the statement is run or reset.
class statement {
public:
  static result<statement> prepare(api::sqlite3* database, const std::string& sql);

  void bind(int index, std::int64_t value);
  void bind(int index, double value);
  void bind_text(int index, std::string_view value);
  void bind_bytes(int index, std::string_view value);

  /// True: the next row is there. False: done. After false or an error the statement is reset.
  result<bool> step();
  /// Steps to the end.
  result<void> run();
  void reset();

  bool null(int column) const;
  std::int64_t integer(int column) const;
  double real(int column) const;
  /// Valid until the next step. NULL is empty.
  std::string_view string(int column) const;
  std::size_t columns() const;
  /// By the type of the value itself; `digits` is where a number is printed.
  cell value(int column, std::string& digits) const;

private:
  struct finalize {
    void operator()(api::sqlite3_stmt* handle) const;
  };
  explicit statement(api::sqlite3_stmt* handle) : handle_(handle) {}
  void note(int result);
  std::unique_ptr<api::sqlite3_stmt, finalize> handle_;
  int bind_failure_ = SQLITE_OK;
};

} // namespace penstock::storage::sqlite
