// What a database adds to the store (storage/sql_store.hpp): one implementation each, in storage/sqlite.cpp,
// storage/postgresql.cpp and storage/mariadb.cpp. To add a database: implement `connection`, and name it in
// open_connection() of storage/store.cpp.
//
// A connection belongs to one thread at a time. Every call ends: with an error after the time limits of the
// configuration where the database does not answer.
#pragma once

#include "storage/batch.hpp"
#include "storage/bisect.hpp"
#include "storage/cell.hpp"
#include "storage/schema.hpp"
#include "storage/store.hpp"

#include <soci/soci.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace penstock::storage {

/// A dead letter to be stored: what a transaction has of one message.
struct kept_letter {
  std::string id; ///< dead_letter_id
  std::string_view topic;
  std::string_view payload;
  errc code = errc::none;
  std::string reason;
  wall_time first_seen;
  wall_time last_seen;
  std::uint64_t seen = 1;
};

/// What one bulk statement may take.
struct statement_limits {
  std::size_t rows = std::numeric_limits<std::size_t>::max();
  std::size_t bytes = std::numeric_limits<std::size_t>::max(); ///< of whole frames; a single frame may be larger
};

class connection {
public:
  virtual ~connection() = default;

  virtual soci::session& session() = 0;
  virtual const sql_words& words() const = 0;
  /// Turns what SOCI threw in `session` into an error. Nothing of the values that were bound is in it.
  virtual error failure(const std::exception& thrown, const std::string& what) const = 0;

  /// Begins a transaction that writes, after ending one that was left open.
  virtual result<void> begin() = 0;
  virtual result<void> commit() = 0;
  virtual void roll_back() noexcept = 0;
  /// Inside a transaction: keeps others of Penstock from changing the schema at the same time.
  virtual result<void> lock_schema() { return {}; }

  /// Runs one query and visits its rows: inside the transaction that is open, or else in one of its own that only
  /// reads. The answer is held in memory: the query has a LIMIT.
  virtual result<void> read(const std::string& sql, const row_visitor& visit) = 0;
  /// Runs one statement that changes rows; the number of rows that it changed (where it sets what is there already:
  /// MariaDB counts none).
  virtual result<std::uint64_t> change(const std::string& sql) = 0;

  /// What the database has under a name (TABLE or SCHEMA.TABLE); `kind` is empty where there is nothing.
  virtual result<actual_table> read_table(const std::string& name) = 0;
  /// The table was made, inside the caller's transaction: whatever CREATE TABLE cannot say.
  virtual result<void> finish_table(const table&) { return {}; }

  /// Makes ready to insert into a table that is there, and to keep letters of its pipeline.
  virtual result<void> open_rows(const table& target) = 0;
  virtual statement_limits limits() const { return {}; }
  /// Inserts the rows [first, last) into the table of open_rows, inside the caller's transaction, as its `on_conflict`
  /// says. All or nothing: after a refusal the transaction is as before.
  virtual attempt insert(const batch_view& batch, std::size_t first, std::size_t last) = 0;
  /// Adds them to penstock_dead_letters: new, or `seen` rises and the rest is replaced. Their ids differ, and rise. All
  /// or nothing, as `insert`; `stored` says nothing.
  virtual attempt keep_letters(std::span<const kept_letter> letters) = 0;

  /// Drops whatever the table has in pieces that are wholly older than a time by this column, and returns how many
  /// pieces; nothing: it has no such pieces, and its rows are deleted a few at a time.
  virtual result<std::optional<std::uint64_t>> drop_older(const table&, const std::string& /*column*/,
                                                          wall_time /*before*/) {
    return std::optional<std::uint64_t>{};
  }

  /// See store.hpp.
  virtual result<void> for_each_key(const table& table, std::span<const column_type> types,
                                    const std::function<bool(const key_text&)>& visit) = 0;

  /// While the object lives, a database that does not answer is cut off after statement_timeout; one that makes a table
  /// or an index, later. For calls on `session`; the others do it themselves.
  struct watch {
    virtual ~watch() = default;
  };
  enum class work : std::uint8_t { statement, schema_change };
  virtual std::unique_ptr<watch> watched(work) { return nullptr; }

  /// Of telemetry::database_board.
  void counts_as(std::shared_ptr<void> opened) { opened_ = std::move(opened); }

protected:
  connection() = default;
  connection(const connection&) = default;
  connection& operator=(const connection&) = default;

private:
  std::shared_ptr<void> opened_;
};

/// A connection to a database of any kind; see open() in store.hpp.
result<std::unique_ptr<connection>> open_connection(const config::database& database, access access,
                                                    const connection_board& board = {});

} // namespace penstock::storage
