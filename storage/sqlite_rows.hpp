// The bulk path into SQLite: INSERT ... SELECT from a virtual table whose rows are those of a batch. SQLite asks the
// frames for each value where it needs it: nothing is bound, and one statement serves every number of rows.
#pragma once

#include "storage/batch.hpp"
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
  const batch_view* batch = nullptr;
  std::size_t first = 0;
  std::size_t last = 0;
  std::size_t current = 0;                   ///< the row that the statement is at
  const record::frame_view* frame = nullptr; ///< that it is in
  std::size_t frame_index = 0;
  std::size_t frame_begin = 0;
  std::optional<error> broken; ///< a value that SQLite would not keep as it is
};

/// Inserts ranges of a batch's rows into one table, inside the caller's transaction.
class row_inserter {
public:
  /// Use make().
  row_inserter(api::sqlite3* database, const table& target);

  /// The table must exist. `target` is copied.
  static result<std::unique_ptr<row_inserter>> make(api::sqlite3* database, const table& target);

  /// See connection::insert.
  attempt insert(const batch_view& batch, std::size_t first, std::size_t last);

private:
  error explain(error failure);

  api::sqlite3* database_;
  std::unique_ptr<row_source> source_; // SQLite holds its address
  std::string sql_;
  std::optional<statement> insert_;
};

} // namespace penstock::storage::sqlite
