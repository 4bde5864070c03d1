// What the agent of a node is to know of the cluster, of what the state database shows.
#pragma once

#include "cluster/leases.hpp"
#include "messages/messages.hpp"
#include "storage/cluster_state.hpp"

#include <string>

namespace penstock::cluster {

/// The living nodes that take links, but for the process `instance`; and of the shards that are `ours` the lanes.
messages::neighbours_ptr neighbours_of(const storage::cluster_snapshot& seen, const std::string& instance,
                                       const leases::shards& ours);

} // namespace penstock::cluster
