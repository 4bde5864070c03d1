// The shards that a configuration has, and how they are written.
#pragma once

#include "cluster/plan.hpp"
#include "config/config.hpp"

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::cluster {

/// By id: the shards of every pipeline, and of an ingest pipeline the lanes, whose pipeline is "NAME/batch-writer".
std::vector<wanted_shard> shards_of(const config::configuration& configuration);

/// Those that living processes own, but for this one.
std::set<storage::shard_id> shards_of_others(const storage::cluster_snapshot& seen, const std::string& instance);

/// The pipeline in the id of a lane; of any shard's id the pipeline whose it is; and whether it is a lane.
std::string lanes_of(const std::string& pipeline);
std::string pipeline_of(const storage::shard_id& shard);
bool is_lane(const storage::shard_id& shard);

/// "telemetry/0", "telemetry/batch-writer/0": as the actor of the shard is named.
std::string to_text(const storage::shard_id& id);
/// The inverse; nothing where the text does not end with / and a number.
std::optional<storage::shard_id> parse_shard(std::string_view text);

} // namespace penstock::cluster
