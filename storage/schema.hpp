// A pipeline's table as the configuration wants it and as the database has it: the SQL that makes it, and what differs.
// The same for every database; only reading the table is the dialect's.
#pragma once

#include "storage/sql_words.hpp"
#include "storage/store.hpp"

#include <string>
#include <vector>

namespace penstock::storage {

struct actual_column {
  std::string name;
  std::string type;               ///< as the database declares it
  std::vector<column_type> holds; ///< what it keeps as it is
  bool not_null = false;
  bool filled = false;    ///< by a default or by the database, where an insert leaves it out
  bool generated = false; ///< cannot be inserted
};

struct actual_index {
  std::string name;
  bool unique = false;
  bool partial = false;
  bool exact = true;                         ///< tells all values apart: compares byte by byte, for text
  std::vector<config::index_column> columns; ///< an expression has no name
};

struct actual_table {
  std::string kind; ///< "table", "view", ...; empty: there is none
  std::vector<actual_column> columns;
  std::vector<actual_index> indexes;
  bool hypertable = false;         ///< of TimescaleDB
  std::vector<std::string> faults; ///< further differences that the dialect found
};

std::string create_table_sql(const sql_words& words, const table& target);
std::string create_index_sql(const sql_words& words, const table& target,
                             const std::vector<config::index_column>& columns);

/// `configuration` where the table cannot be meant: no key, a key that is optional.
result<void> check_names(const sql_words& words, const table& target);

/// schema_mismatch with every difference. The table is there.
result<void> compare(const sql_words& words, const table& target, const actual_table& actual);

bool has_index(const sql_words& words, const actual_table& actual, const std::vector<config::index_column>& wanted);

/// Of the key and the indexes of the configuration that the column is part of, the one with most strings.
key_shape key_shape_of(const table& target, const std::string& column);

} // namespace penstock::storage
