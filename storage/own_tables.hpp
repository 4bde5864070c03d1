// Penstock's own tables, the same in every database and reached through SOCI alone: dead letters, and what penstock
// keeps about itself; its sessions (storage/session_table.hpp) are made here too. Only the writing of dead letters is
// the dialect's, for it belongs to the bulk path.
//
// Every statement is sent once and not prepared under a name, which a PgBouncer in transaction mode would not find
// again.
#pragma once

#include "storage/connection.hpp"
#include "storage/store.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace penstock::storage {

/// The version of the layout below, in penstock_meta under "schema_version".
inline constexpr int own_tables_version = 1;

/// Reads and writes on one connection. Each call is one statement, except where it says so.
class own_tables {
public:
  explicit own_tables(connection& database) : database_(database) {}

  /// False where no penstock has worked with this database.
  result<bool> there();

  /// Whether create() has nothing to do, and the server takes writes. Asked without lock_schema: what is there stays,
  /// and who makes an index of a large table holds the lock for long.
  result<bool> complete();
  /// Creates the tables where they are missing, inside the caller's transaction and lock_schema. `unsupported` where a
  /// newer penstock made them.
  result<void> create();

  /// Makes the id when there is none. Inside the caller's transaction.
  result<std::string> installation_id();
  /// Reads it; empty: none yet.
  result<std::string> meta(const std::string& key);

  result<std::vector<dead_letter>> dead_letters(const dead_letter_filter& filter);
  /// One attempt more, and what is wrong with it now where `why` is given.
  result<void> dead_letter_attempted(const std::string& pipeline, const std::string& id, const error* why);
  result<void> dead_letter_delete(const std::string& pipeline, const std::string& id);
  result<std::uint64_t> dead_letter_count(const std::string& pipeline);
  result<std::uint64_t> delete_older_letters(const std::string& pipeline, wall_time before, std::size_t rows_max);

  // Statements that are not about Penstock's own tables.
  /// CREATE TABLE and CREATE INDEX, which may take long.
  result<void> change_schema(const std::string& sql);
  /// The number of rows that were touched.
  result<std::uint64_t> affected(const std::string& sql);
  /// The one number that a query gives; `values` are bound as text to :k0, :k1, ...
  result<std::uint64_t> number(const std::string& sql, const std::vector<std::string>& values);

private:
  template <class Run>
  auto guarded(const std::string& what, const Run& run, connection::work work = connection::work::statement)
    -> decltype(run());
  result<void> create_if_missing(const std::string& name, const std::string& columns);
  void set_meta_if_missing(const std::string& key, const std::string& value);
  const sql_words& words() const { return database_.words(); }
  soci::session& session() { return database_.session(); }

  connection& database_;
};

/// Random (version 4).
std::string make_uuid();

} // namespace penstock::storage
