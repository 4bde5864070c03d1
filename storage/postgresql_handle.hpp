// PostgreSQL's own interface (libpq) as values and results, on a connection that SOCI opened. Nothing is prepared under
// a name and no setting outlives a transaction, so that a PgBouncer in transaction mode may stand between.
// One thread at a time. Every call ends after its limit: see socket_watch.hpp.
#pragma once

#include "core/result.hpp"
#include "storage/bisect.hpp"
#include "storage/cell.hpp"
#include "storage/socket_watch.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <libpq-fe.h>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace penstock::storage::postgresql {

/// The table of docs/databases.md: what a SQLSTATE means. An empty or blank one is that of a lost connection.
errc code_of(std::string_view sqlstate);

/// "name" with its quotes doubled.
std::string identifier(std::string_view name);
/// 'text' with its quotes doubled. For text without backslashes.
std::string literal(std::string_view text);

/// "WHAT: REASON" on one line and not too long for a log.
std::string failure_text(std::string_view what, std::string_view reason);

/// The numbers that PostgreSQL gives its types (pg_type.dat): they never change.
namespace type_id {
inline constexpr Oid boolean = 16, bytea = 17, int8 = 20, int2 = 21, int4 = 23, text = 25, json = 114, float4 = 700,
                     float8 = 701, timestamp = 1114, timestamptz = 1184, numeric = 1700, jsonb = 3802;
inline constexpr Oid boolean_array = 1000, bytea_array = 1001, text_array = 1009, int8_array = 1016,
                     float8_array = 1022, timestamptz_array = 1185;
} // namespace type_id

/// PostgreSQL counts its time from 2000-01-01.
inline constexpr std::int64_t epoch_microseconds = 946'684'800'000'000;

/// A value for $1, $2, ...: `bytes` are in PostgreSQL's binary format, which for text is the text. They must outlive
/// the call.
struct parameter {
  Oid type = type_id::text;
  std::string_view bytes;
  bool null = false;
};

/// Rows that came back.
class answer {
public:
  explicit answer(PGresult* owned) : result_(owned) {}
  int rows() const { return PQntuples(result_.get()); }
  bool null(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
  /// NULL is empty. Valid as long as the answer.
  std::string_view value(int row, int column) const {
    return {PQgetvalue(result_.get(), row, column), static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
  }
  /// Of a column of boolean type, in the text format.
  bool is_true(int row, int column) const { return value(row, column) == "t"; }
  /// "COMMIT", "INSERT 0 5", ...
  std::string_view command() const { return PQcmdStatus(result_.get()); }
  std::uint32_t affected() const;
  const PGresult* get() const { return result_.get(); }

private:
  struct clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  std::unique_ptr<PGresult, clear> result_;
};

/// A value in the text format. `printed` holds what has to be put differently.
cell cell_of(const answer& rows, int row, int column, std::string& printed);

enum class value_format : int { text = 0, binary = 1 };

class handle {
public:
  /// `connection` stays SOCI's.
  handle(PGconn* connection, std::chrono::milliseconds statement_timeout);

  /// Runs one statement or several; the answer is the last one's.
  result<answer> run(const std::string& sql);
  /// Runs a command that begins a copy in both directions.
  result<void> start_copy(const std::string& command);
  result<answer> query(const std::string& sql, std::span<const parameter> parameters,
                       value_format format = value_format::text);
  /// Runs a statement inside the transaction, in one round trip with a savepoint around it: where it fails, all is as
  /// before. `stored` is the number of rows it touched.
  attempt run_or_undo(const std::string& sql, std::span<const parameter> parameters);

  /// Something is to be rolled back.
  bool in_transaction() const;
  /// What SOCI threw; nothing of the values that were bound is in it.
  error failure_of(const std::exception& thrown, std::string_view what) const;

  std::chrono::milliseconds call_limit_ms() const { return limit_; }
  socket_watch& watch() { return watch_; }

private:
  error failure_of(const PGresult* result, std::string_view what) const;
  error lost(std::string_view what) const;
  void forget_notifications();
  void send(const std::string& sql, std::span<const parameter> parameters);
  /// Up to the end of the pipeline: the first failure, and what `sql` answered.
  attempt finish_pipeline(std::string_view what);

  PGconn* connection_;
  std::chrono::milliseconds limit_;
  socket_watch watch_;
};

} // namespace penstock::storage::postgresql
