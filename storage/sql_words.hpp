// How a database writes what the others write differently.
#pragma once

#include "core/types.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::storage {

/// The index with the least room for its columns, of those that a column is part of.
struct key_shape {
  std::size_t strings = 0; ///< of its columns: text, json, bytes
  std::size_t others = 0;
  explicit operator bool() const { return strings + others > 0; } ///< false: the column is part of no key
};

struct sql_words {
  std::string text_type;          ///< holds any UTF-8
  std::string key_type;           ///< text that a key can be made of
  std::string bytes_type;         ///< any bytes
  std::string own_table_end;      ///< behind the parenthesis of CREATE TABLE, of Penstock's own tables
  std::string pipeline_table_end; ///< the same, of a pipeline's table
  std::string updated_table_end;  ///< the same, of an own table whose rows change once and stay
  std::string now;                ///< an expression: the database's clock, microseconds since 1970
  /// Of a table that a pipeline writes; `key`: what the column shares with others.
  std::string (*declared_type)(column_type type, const key_shape& key) = nullptr;
  /// Behind an INSERT: a row that is there already stays as it is. `column`: any of the table's.
  std::string (*if_new)(const std::string& column) = nullptr;
  std::string (*quote)(std::string_view identifier) = nullptr;
  /// Text, or bytes that are no text, as a literal. Text has no zero bytes.
  std::string (*text_literal)(std::string_view text) = nullptr;
  std::string (*bytes_literal)(std::string_view bytes) = nullptr;
  /// An expression, as hexadecimal text; `text`: it is text, not bytes.
  std::string (*hex)(const std::string& expression, bool text) = nullptr;
  /// A parameter (":name", bound as text) as a value of a key column (key_text in store.hpp); not of bytes.
  std::string (*key_value)(const std::string& parameter, column_type type) = nullptr;
  /// Deletes at most `rows_max` rows that fulfil the condition. `key` lists the quoted columns of the primary key.
  std::string (*delete_some)(const std::string& table, const std::string& key, const std::string& condition,
                             std::size_t rows_max) = nullptr;
  /// Microseconds since 1970 as a value of a timestamp column.
  std::string (*timestamp)(std::int64_t microseconds) = nullptr;
  std::string exact_index;      ///< behind a column of an index, so that it compares bytes; may be empty
  std::string exact_table = {}; ///< behind ALTER TABLE: its text compares bytes from then on, where no index can say it
  bool folds_names = false;     ///< identifiers that differ in letter case only are the same
};

/// Between two marks; a mark in the text is written twice.
std::string quoted(std::string_view text, char mark);

/// "schema"."table" of SCHEMA.TABLE.
std::string quoted_table(const sql_words& words, std::string_view name);

} // namespace penstock::storage
