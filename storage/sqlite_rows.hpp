// The bulk path into SQLite: INSERT ... SELECT from a virtual table whose rows are those of a frame. SQLite asks the
// frame for each value where it needs it: nothing is bound, and one statement serves every number of rows.
#pragma once

#include "storage/bisect.hpp"
#include "storage/sqlite_handle.hpp"
#include "storage/store.hpp"

#include <memory>
#include <optional>
#include <string>

namespace penstock::storage::sqlite {

/// The rows that the virtual table has now, and what it found wrong in them. The callbacks of SQLite read it.
struct row_source {
  std::vector<table::column> columns;
  const record::frame_view* frame = nullptr;
  std::size_t first = 0;
  std::size_t last = 0;
  std::size_t current = 0;     ///< the row that the statement is at
  std::optional<error> broken; ///< a value that SQLite would not keep as it is
};

/// Inserts ranges of a frame's rows into one table, inside the caller's transaction.
class row_inserter {
public:
  /// Use make().
  row_inserter(connection* database, const table& target);

  /// The table must exist. `target` is copied.
  static result<std::unique_ptr<row_inserter>> make(connection* database, const table& target);

  /// Rows whose key is there already are skipped. All or nothing.
  attempt insert(const record::frame_view& frame, std::size_t first, std::size_t last);

private:
  error explain(error failure);

  connection* database_;
  std::unique_ptr<row_source> source_; // SQLite holds its address
  std::string sql_;
  std::optional<statement> insert_;
};

} // namespace penstock::storage::sqlite
