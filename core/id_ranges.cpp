#include "core/id_ranges.hpp"

#include <algorithm>

namespace penstock {

std::vector<id_range> with_ids(std::span<const id_range> neighbours, std::span<const std::int64_t> ids) {
  std::vector<id_range> all{neighbours.begin(), neighbours.end()};
  for (const auto id : ids)
    all.push_back({id, id});
  std::sort(all.begin(), all.end(), [](const id_range& a, const id_range& b) { return a.first < b.first; });
  std::vector<id_range> made;
  for (const auto& next : all)
    // Not last + 1 == first: the highest id of all has none behind it.
    if (!made.empty() && made.back().last >= next.first - 1)
      made.back().last = std::max(made.back().last, next.last);
    else
      made.push_back(next);
  return made;
}

} // namespace penstock
