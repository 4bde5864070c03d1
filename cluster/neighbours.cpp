#include "cluster/neighbours.hpp"

#include "cluster/shards.hpp"
#include "config/value.hpp"

#include <memory>

namespace penstock::cluster {

messages::neighbours_ptr neighbours_of(const storage::cluster_snapshot& seen, const std::string& instance,
                                       const leases::shards& ours) {
  auto known = std::make_shared<messages::neighbours>();
  for (const auto& node : seen.nodes) {
    const auto address = config::parse_address(node.address);
    if (node.instance != instance && node.is_alive() && address)
      known->peers.push_back({node.name, node.instance, address->host, address->port});
  }
  for (const auto& [id, epoch] : ours)
    if (is_lane(id))
      known->own[{pipeline_of(id), id.shard}] = epoch;
  return known;
}

} // namespace penstock::cluster
