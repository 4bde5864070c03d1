// What SQLite has under a table's name.
#pragma once

#include "storage/schema.hpp"
#include "storage/sqlite_handle.hpp"

#include <string>

namespace penstock::storage::sqlite {

/// `kind` is empty where there is no such table. A clause that makes SQLite drop rows in silence is a fault.
result<actual_table> read_table(api::sqlite3* database, const std::string& name);

} // namespace penstock::storage::sqlite
