// The PostgreSQL dialect: a server, directly or behind a PgBouncer in transaction mode.
#pragma once

#include "storage/store.hpp"

namespace penstock::storage {

/// See open() in store.hpp. read_only goes to the replica where there is one.
result<std::unique_ptr<store>> open_postgresql(const config::database& database, access access);

} // namespace penstock::storage
