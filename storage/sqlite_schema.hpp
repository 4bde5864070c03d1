// The pipeline's table in SQLite: created as the configuration says, or compared with it.
#pragma once

#include "storage/sqlite_handle.hpp"
#include "storage/store.hpp"

#include <string>

namespace penstock::storage::sqlite {

/// Creates the table and its indexes where they are missing, inside the caller's transaction; checks the table where it
/// is there. schema_mismatch names every difference in one line, with the SQL that removes it.
result<void> prepare_table(connection* database, const table& target);

/// The check alone; a table that is missing is no difference. Changes nothing.
result<void> check_table(connection* database, const table& target);

/// True where a table (or view) of this name is there.
result<bool> has_table(connection* database, const std::string& name);

} // namespace penstock::storage::sqlite
