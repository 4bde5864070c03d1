// Rows of a publish pipeline's source table as a plant would write them, as SQL. Pure: ids and times are arguments.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"
#include "core/types.hpp"
#include "storage/schema.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace penstock::nodes {

struct source_row {
  std::int64_t id = 0;      ///< no other row has it
  std::int64_t version = 0; ///< rises with each change of any row
  std::uint64_t monitor = 0;
  std::int64_t time_us = 0; ///< no other row has it
};

class source_rows {
public:
  /// `configuration` where the table lacks a column that the pipeline needs, or has one that cannot be filled.
  static result<source_rows> make(const config::publish& pipeline, config::database_kind kind,
                                  const storage::sql_words& words, const storage::actual_table& actual);

  std::string insert_sql(std::span<const source_row> rows) const;
  /// Changes a row that is there.
  std::string update_sql(const source_row& row) const;
  /// How many rows have this row's key and, of an update, its version.
  std::string count_sql(const source_row& row, bool updated) const;
  /// The highest id and version that are in the table, as one row of two values; NULL: none.
  std::string highest_sql() const;
  /// An id as highest_sql() gave it.
  std::int64_t id_of(std::string_view text) const;

  bool has_versions() const { return versions_; }
  /// As the ledger has them (nodes/row_ledger.hpp).
  std::vector<std::string> key_of(const source_row& row) const;
  std::int64_t order_of(const source_row& row) const { return order_is_id_ ? row.id : row.time_us; }
  std::string monitor_of(const source_row& row) const;

private:
  enum class role : std::uint8_t { id, monitor, time, version, payload, other };
  struct column {
    std::string name; ///< in the configuration's letters where it names it
    std::string quoted;
    column_type type = column_type::text;
    source_rows::role role = role::other;
    bool time_as_text = false; ///< RFC 3339, in quotes
  };
  source_rows(const config::publish& pipeline, const storage::sql_words& words) : pipeline_(pipeline), words_(words) {}
  result<void> add(const storage::actual_column& actual, config::database_kind kind);
  result<void> check() const;
  bool same(const std::string& left, const std::string& right) const;
  role role_of(const std::string& name, column_type type) const;
  bool in_key(const column& one) const;
  void append_value(std::string& sql, const column& one, const source_row& row) const;
  std::string text_of(const column& one, const source_row& row) const;
  std::string key_condition(const source_row& row) const;
  std::string payload_of(const source_row& row) const;

  config::publish pipeline_;
  storage::sql_words words_;
  std::string table_;
  std::vector<column> columns_;
  std::vector<std::size_t> key_; ///< in columns_
  bool versions_ = false;
  bool order_is_id_ = false;
  bool monitors_ = false;
};

} // namespace penstock::nodes
