// What PostgreSQL's catalogues say of a table.
#pragma once

#include "storage/postgresql_handle.hpp"
#include "storage/schema.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace penstock::storage::postgresql {

/// "schema"."table" of SCHEMA.TABLE.
std::string table_identifier(const std::string& name);

/// How values get into a column of a table that is there.
struct column_facts {
  std::string name;
  std::string cast; ///< empty where PostgreSQL converts by itself without changing anything
  std::int64_t integer_min = std::numeric_limits<std::int64_t>::min();
  std::int64_t integer_max = std::numeric_limits<std::int64_t>::max();
  std::size_t characters_max = std::numeric_limits<std::size_t>::max();
};

/// See connection::read_table.
result<actual_table> read_table(handle& database, const std::string& name);

/// The columns of a table, which read_table found sound. Nothing where there is no such table.
result<std::vector<column_facts>> read_columns(handle& database, const std::string& name);

/// Makes a table that is still empty a hypertable. schema_mismatch where TimescaleDB is not there.
result<void> make_hypertable(handle& database, const table& target);

/// Drops the chunks that are wholly older than `before`, an SQL expression. Returns their number; nothing where the
/// table is no hypertable.
result<std::optional<std::uint64_t>> drop_chunks(handle& database, const table& target, const std::string& before);

} // namespace penstock::storage::postgresql
