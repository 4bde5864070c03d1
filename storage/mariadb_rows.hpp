// What goes through the bulk path into MariaDB: the rows of a pipeline, and its dead letters.
#pragma once

#include "storage/batch.hpp"
#include "storage/connection.hpp"
#include "storage/mariadb_bulk.hpp"
#include "storage/mariadb_schema.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace penstock::storage::mariadb {

/// Inserts ranges of a batch's rows into one table, inside the caller's transaction.
class row_inserter {
public:
  /// Use make().
  row_inserter(const table& target, const std::vector<text_limit>& limits, std::unique_ptr<bulk_insert> insert);

  /// The table must exist. `target` is copied; `on` must outlive it.
  static result<std::unique_ptr<row_inserter>> make(const server& on, const table& target);

  /// See connection::insert.
  attempt insert(const batch_view& batch, std::size_t first, std::size_t last);

private:
  table target_;
  std::vector<std::optional<text_limit>> limits_; ///< of each column
  std::unique_ptr<bulk_insert> insert_;
};

/// Adds letters to penstock_dead_letters.
class letter_inserter {
public:
  /// Use make().
  letter_inserter(std::string pipeline, std::unique_ptr<bulk_insert> insert);

  /// `on` must outlive it.
  static result<std::unique_ptr<letter_inserter>> make(const server& on, const std::string& pipeline);

  /// See connection::keep_letters.
  attempt insert(std::span<const kept_letter> letters);

private:
  std::string pipeline_;
  std::unique_ptr<bulk_insert> insert_;
};

} // namespace penstock::storage::mariadb
