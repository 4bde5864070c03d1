#include "cluster/plan.hpp"

#include "core/placement.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace penstock::cluster {

using storage::cluster_node;
using storage::shard_owner;

namespace {

bool has_role(const cluster_node& node, const std::string& role) {
  return std::find(node.roles.begin(), node.roles.end(), role) != node.roles.end();
}

/// Who may own shards that need a role.
class candidates {
public:
  candidates(const std::vector<cluster_node>& nodes, const std::string& role) {
    for (const bool draining : {false, true}) {
      for (const auto& node : nodes)
        if (node.is_alive() && has_role(node, role) && node.draining == draining)
          names_.push_back(node.name);
      if (!names_.empty())
        break;
    }
    placed_ = placement{names_};
  }

  /// nullptr: nobody may.
  const std::string* owner_of(const storage::shard_id& shard, const std::string& pinned) const {
    const auto found = std::find(names_.begin(), names_.end(), pinned);
    return found == names_.end() ? placed_.owner_of(shard.pipeline, shard.shard) : &*found;
  }

private:
  std::vector<std::string> names_;
  placement placed_{{}};
};

} // namespace

plan plan_of(const storage::cluster_snapshot& seen, const std::string& instance,
             const std::vector<wanted_shard>& wanted) {
  plan made;
  std::set<std::string> living; ///< instances
  std::string me;
  for (const auto& node : seen.nodes)
    if (node.is_alive()) {
      living.insert(node.instance);
      if (node.instance == instance)
        me = node.name;
    }
  if (me.empty())
    return made;
  std::map<storage::shard_id, shard_owner> known;
  std::map<storage::shard_id, std::string> pinned;
  for (const auto& shard : seen.shards) {
    known.emplace(shard.id, shard);
    pinned.emplace(shard.id, shard.pinned);
  }
  std::map<std::string, candidates> by_role;
  for (const auto& shard : wanted) {
    const auto& able = by_role.try_emplace(shard.role, seen.nodes, shard.role).first->second;
    auto owner = shard_owner{shard.id, {}, {}, 0, {}};
    if (const auto found = known.find(shard.id); found != known.end()) {
      owner = found->second;
      known.erase(found);
    }
    const auto leader = shard.together ? storage::shard_id{shard.id.pipeline, 0} : shard.id;
    const auto* right = able.owner_of(leader, pinned[leader]);
    const bool is_mine = right != nullptr && *right == me;
    if (owner.instance == instance)
      (is_mine ? made.keep : made.give).push_back(std::move(owner));
    else if (is_mine && !living.contains(owner.instance))
      made.acquire.push_back(std::move(owner));
  }
  for (auto& [unused, shard] : known)
    if (shard.instance == instance)
      made.give.push_back(std::move(shard));
  return made;
}

} // namespace penstock::cluster
