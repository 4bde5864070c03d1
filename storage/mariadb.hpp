// The dialect of MariaDB and MySQL, through libmariadb.
#pragma once

#include "storage/connection.hpp"

namespace penstock::storage {

/// See open() in store.hpp. Read-only it goes to `read_address` where there is one.
result<std::unique_ptr<connection>> open_mariadb(const config::database& database, access access);

} // namespace penstock::storage
