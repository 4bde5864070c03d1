// A transaction on a connection.
#pragma once

#include "storage/connection.hpp"

#include <utility>

namespace penstock::storage {

/// Rolled back unless committed.
class transaction {
public:
  static result<transaction> begin(connection& database) {
    if (auto begun = database.begin(); !begun)
      return begun.error();
    return transaction{database};
  }
  transaction(transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  transaction& operator=(transaction&&) = delete;
  ~transaction() {
    if (database_)
      database_->roll_back();
  }
  result<void> commit() {
    if (auto committed = database_->commit(); !committed)
      return committed;
    database_ = nullptr;
    return {};
  }

private:
  explicit transaction(connection& database) : database_(&database) {}
  connection* database_;
};

} // namespace penstock::storage
