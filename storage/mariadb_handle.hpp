// libmariadb's interface as values and results: a connection, its errors, statements without parameters.
#pragma once

#include "core/result.hpp"
#include "storage/cell.hpp"
#include "storage/socket_watch.hpp"
#include "storage/store.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <mysql.h>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::storage::mariadb {

struct close_handle {
  void operator()(MYSQL* handle) const { mysql_close(handle); }
};
using handle = std::unique_ptr<MYSQL, close_handle>;

/// A connection that is logged in and set up.
struct server {
  mariadb::handle handle;
  bool is_mariadb = true;        ///< not MySQL
  bool binds_arrays = true;      ///< MariaDB 10.2 and later
  std::size_t packet_bytes = 0;  ///< the longest packet that it takes: max_allowed_packet
  unsigned idle_seconds_max = 1; ///< of a transaction
  /// Each call on the handle has to be limited by it: libmariadb's own limits hold for a connection once and for all.
  std::unique_ptr<socket_watch> watch;
  config::milliseconds answer_limit{0}; ///< of a call
};

/// timed_out where the watch cut the connection, or else what the failure says.
error told(const server& on, error failure);

/// Connects, logs in and sets the session up, within connect_timeout: everything but the database's tables.
result<server> connect(const config::database& settings, access access);

/// "VARIABLE = VALUE" of the session's limit for one statement; 0: none.
std::string limit_setting(const server& on, config::milliseconds limit);

/// What went wrong: the driver's or the server's number, its SQLSTATE (where known) and words.
struct fault {
  unsigned number = 0;
  std::string state = {};
  std::string text = {};
};

/// The table of docs/databases.md.
errc code_of(const fault& fault);
/// "WHAT: the server's words (MariaDB 1406)", without the values that the server quotes, on one line.
error failure_of(const fault& fault, std::string_view what);
/// The handle's last failure.
error last_failure(MYSQL* handle, std::string_view what);

/// `name` with its backticks doubled.
std::string identifier(std::string_view name);
/// 'text', for this session.
std::string literal(MYSQL* handle, std::string_view text);

/// 'text', for every session of Penstock's (their sql_mode lets a backslash escape).
std::string literal(std::string_view text);

/// Runs a statement that returns nothing of interest.
result<void> execute(MYSQL* handle, const std::string& sql);

using value = std::optional<std::string>; ///< as the server prints it; NULL is none
/// All rows of a short answer.
result<std::vector<std::vector<value>>> query(MYSQL* handle, const std::string& sql);
/// Calls `visit` with each row of an answer of any length, until it returns false; a value of a row is valid during the
/// call. NULL has no data().
result<void> for_each_row(MYSQL* handle, const std::string& sql,
                          const std::function<bool(std::span<const std::string_view>)>& visit);

/// The same, of an answer that is held in memory, with the types of the columns.
result<void> read_cells(MYSQL* handle, const std::string& sql, const row_visitor& visit);

} // namespace penstock::storage::mariadb
