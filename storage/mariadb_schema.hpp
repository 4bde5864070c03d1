// What MariaDB's information_schema says about a table.
#pragma once

#include "storage/mariadb_handle.hpp"
#include "storage/schema.hpp"

namespace penstock::storage::mariadb {

/// See connection::read_table.
result<actual_table> read_table(MYSQL* handle, const std::string& name);

/// How long a text column's values may be. What is longer is refused by the server, but for spaces at its end, which it
/// cuts off without a word.
struct text_limit {
  std::string column;     ///< as the table spells it
  std::size_t length = 0; ///< in characters, or else in bytes
  bool in_characters = true;
};
result<std::vector<text_limit>> read_text_limits(MYSQL* handle, const std::string& name);

} // namespace penstock::storage::mariadb
