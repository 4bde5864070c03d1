// Which node a shard belongs to: rendezvous hashing (Thaler and Ravishankar, 1998). Every node computes the same from
// the same list of nodes, whatever its order; when a node comes or goes, only shards that it gets or had move. Pure.
#pragma once

#include "core/partition_hash.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

class placement {
public:
  /// The names of the nodes that may own shards; each once.
  explicit placement(const std::vector<std::string>& nodes);

  /// The node's name; nullptr: there are no nodes. Valid as long as this object.
  const std::string* owner_of(std::string_view pipeline, std::uint32_t shard) const;

private:
  struct candidate {
    std::string name;
    partition_hash hash; ///< of the name
  };
  std::vector<candidate> nodes_; ///< by name, so that equal hashes are decided alike everywhere
};

} // namespace penstock
