// Starts and stops what runs a shard on this node, below the supervisors of the pipelines: what the membership of a
// cluster decides comes to pass here.
#pragma once

#include "nodes/pipeline.hpp"

#include <functional>

namespace penstock::nodes {

/// A supervisor that is not there now asks for its children when it starts.
void start_shard(const node_context& context, const storage::shard_id& shard);
/// `on_done` runs on whatever thread when nothing of it runs here any more; never where the pipeline's supervisor fails
/// meanwhile.
void stop_shard(const node_context& context, const storage::shard_id& shard, std::function<void()> on_done);

} // namespace penstock::nodes
