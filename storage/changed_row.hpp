// A row as a change left it, read from the database's log instead of the table.
#pragma once

#include "core/types.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace penstock::storage {

struct changed_row {
  enum class kind : std::uint8_t {
    insert, ///< no row had this key before: also an update that changes the key
    update,
  };
  changed_row::kind made_by = kind::insert;
  std::uint64_t at = 0;         ///< place of the change in the log; differs for all updates, and rises for each row
  wall_time committed_at;       ///< of its transaction
  std::vector<std::string> key; ///< texts of the pipeline's key
  std::string values;           ///< a JSON object of the columns: texts, null; what is JSON already as it is
  bool complete = true;         ///< false: large values that the change left alone are not in it
  std::string version = {};     ///< for a pipeline without `version`; who publishes it says which
};

} // namespace penstock::storage
