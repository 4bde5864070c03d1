// Penstock's table of MQTT sessions, penstock_sessions: the same in every database.
#pragma once

#include "core/session_record.hpp"
#include "storage/connection.hpp"

#include <string>
#include <vector>

namespace penstock::storage {

class session_table {
public:
  static inline const char* const name = "penstock_sessions";
  /// For CREATE TABLE.
  static std::string columns(const sql_words& words);

  explicit session_table(connection& database) : database_(database) {}

  // See store.hpp. `enlist` and `settle`: inside the caller's transaction; `enlist` under lock_schema too.
  result<session_record> enlist(session_record wanted);
  result<void> settle(const session_record& confirmed);
  /// Nothing where the table is missing.
  result<std::vector<session_record>> all();

private:
  result<std::vector<session_record>> read(const std::string& condition);
  std::string literal(const std::string& text) const { return database_.words().text_literal(text); }
  std::string is_key(const session_record& record) const;

  connection& database_;
};

} // namespace penstock::storage
