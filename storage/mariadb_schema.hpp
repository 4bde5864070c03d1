// What MariaDB's information_schema says about a table.
#pragma once

#include "storage/mariadb_handle.hpp"
#include "storage/schema.hpp"

namespace penstock::storage::mariadb {

/// See connection::read_table.
result<actual_table> read_table(MYSQL* handle, const std::string& name);

} // namespace penstock::storage::mariadb
