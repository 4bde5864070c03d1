// What a node is to do about its shards, of what the state database shows: every node computes its own part of the same
// placement, nobody commands. Pure.
//
// A shard belongs to the node that it is pinned to, if that one may own it, or else to the one that placement gives.
// May own it: whoever is alive, has the role, and is not draining; draining ones too where there are no others.
#pragma once

#include "storage/cluster_state.hpp"

#include <string>
#include <vector>

namespace penstock::cluster {

/// A shard that the configuration has.
struct wanted_shard {
  storage::shard_id id;
  std::string role;      ///< that its owner needs
  bool together = false; ///< with its pipeline's other shards: all of them go where shard 0 goes
};

struct plan {
  std::vector<storage::shard_owner> acquire; ///< as they are known; nobody alive owns them
  std::vector<storage::shard_owner> give;    ///< ours, and another's by right: drain, then release
  std::vector<storage::shard_owner> keep;    ///< ours
};

/// `instance`: of this process, whose node is among those of the snapshot; where its lease is over, it owns nothing.
/// Shards that are ours and are not wanted are given.
plan plan_of(const storage::cluster_snapshot& seen, const std::string& instance,
             const std::vector<wanted_shard>& wanted);

} // namespace penstock::cluster
