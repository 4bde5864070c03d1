#include "core/placement.hpp"

#include <algorithm>

namespace penstock {

placement::placement(const std::vector<std::string>& nodes) {
  nodes_.reserve(nodes.size());
  for (const auto& name : nodes) {
    nodes_.push_back({name, {}});
    nodes_.back().hash.add(name);
  }
  std::sort(nodes_.begin(), nodes_.end(), [](const candidate& a, const candidate& b) { return a.name < b.name; });
}

const std::string* placement::owner_of(std::string_view pipeline, std::uint32_t shard) const {
  const std::string* owner = nullptr;
  std::uint64_t highest = 0;
  for (const auto& node : nodes_) {
    auto hash = node.hash;
    hash.add(pipeline);
    hash.add(std::uint64_t{shard});
    if (const auto value = hash.value(); owner == nullptr || value > highest) {
      owner = &node.name;
      highest = value;
    }
  }
  return owner;
}

} // namespace penstock
