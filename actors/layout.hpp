// What the two ends of a lane must agree on, as a number: ingestor and batch-writer may run in different processes,
// whose configurations differ for a while when one of them is changed.
#pragma once

#include "core/partition_hash.hpp"
#include "storage/store.hpp"

namespace penstock::actors {

/// Of the frames for this table: the names and types of its columns, in their order.
inline std::uint64_t layout_of(const storage::table& table) {
  partition_hash hash;
  for (const auto& column : table.columns) {
    hash.add(column.name);
    hash.add(static_cast<std::uint64_t>(column.type));
  }
  return hash.value();
}

} // namespace penstock::actors
