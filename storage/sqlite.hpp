// The SQLite dialect: one file, one writer at a time, readers beside it.
#pragma once

#include "storage/connection.hpp"

namespace penstock::storage {

/// See open() in store.hpp.
result<std::unique_ptr<connection>> open_sqlite(const config::database& database, access access);

} // namespace penstock::storage
