// Sets of integer ids as ranges: a million ids that follow each other are one range.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace penstock {

struct id_range {
  std::int64_t first = 0;
  std::int64_t last = 0; ///< included
  friend bool operator==(const id_range&, const id_range&) = default;
};

/// Ids become part of a set of ranges that neither overlap nor touch. `ids` rise, and none is in a range yet;
/// `neighbours` are the ranges that end just before one of the ids, or begin just behind one. Returns the ranges,
/// rising, that take the place of the neighbours.
std::vector<id_range> with_ids(std::span<const id_range> neighbours, std::span<const std::int64_t> ids);

} // namespace penstock
