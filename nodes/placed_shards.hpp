// Starts and stops what runs a shard on this node, below the supervisors of the pipelines: what the membership of a
// cluster decides comes to pass here.
#pragma once

#include "nodes/pipeline.hpp"

#include <functional>

namespace penstock::nodes {

/// False: the pipeline's supervisor is being started, and may have asked for its children already; to be called again.
bool start_shard(const node_context& context, const storage::shard_id& shard);
/// `on_done` runs on whatever thread when nothing of it runs here any more; never where the pipeline's supervisor fails
/// meanwhile.
void stop_shard(const node_context& context, const storage::shard_id& shard, std::function<void()> on_done);

} // namespace penstock::nodes
