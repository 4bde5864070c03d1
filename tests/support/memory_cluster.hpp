// A state database in memory, with the clock of the test: all that storage/cluster_state.hpp promises, and faults.
#pragma once

#include "core/types.hpp"
#include "storage/cluster_state.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace penstock::testing {

struct memory_state {
  struct node_row {
    storage::cluster_node node;
    monotonic until;
  };
  std::map<std::string, node_row> nodes;
  std::map<storage::shard_id, storage::shard_owner> shards;
  std::optional<error> failure; ///< of every request

  bool lives(const std::string& instance, monotonic now) const {
    return std::any_of(nodes.begin(), nodes.end(), [&](const auto& each) {
      return each.second.node.instance == instance && each.second.until > now;
    });
  }
};

class memory_cluster final : public storage::cluster_state {
public:
  memory_cluster(std::shared_ptr<memory_state> database, std::function<monotonic()> now)
    : database_(std::move(database)), now_(std::move(now)) {}

  result<void> prepare() override { return failure(); }
  result<storage::cluster_snapshot> renew(const storage::cluster_node& me, std::chrono::milliseconds lease) override {
    if (auto failed = failure(); !failed)
      return failed.error();
    auto& row = database_->nodes[me.name];
    if (row.until > now_() && row.node.instance != me.instance)
      return error{errc::fenced, "another process runs as node '" + me.name + "'"};
    const bool draining = row.node.draining;
    row = {me, now_() + lease};
    row.node.draining = draining;
    return read();
  }
  result<storage::cluster_snapshot> read() override {
    if (auto failed = failure(); !failed)
      return failed.error();
    storage::cluster_snapshot all;
    for (const auto& [unused, row] : database_->nodes) {
      all.nodes.push_back(row.node);
      all.nodes.back().lease_left = std::chrono::floor<std::chrono::milliseconds>(row.until - now_());
    }
    for (const auto& [unused, shard] : database_->shards)
      all.shards.push_back(shard);
    return all;
  }
  result<std::optional<std::uint64_t>> acquire(const storage::shard_owner& known,
                                               const storage::cluster_node& me) override {
    if (auto failed = failure(); !failed)
      return failed.error();
    auto& shard = database_->shards[known.id];
    shard.id = known.id;
    const bool as_known = shard.epoch == known.epoch && shard.instance == known.instance;
    if (!as_known || database_->lives(shard.instance, now_()) || !database_->lives(me.instance, now_()))
      return std::optional<std::uint64_t>{};
    shard.node = me.name;
    shard.instance = me.instance;
    return std::optional{++shard.epoch};
  }
  result<bool> release(const storage::shard_owner& mine) override {
    if (auto failed = failure(); !failed)
      return failed.error();
    auto& shard = database_->shards[mine.id];
    if (shard.instance != mine.instance || shard.epoch != mine.epoch)
      return false;
    shard.node.clear();
    shard.instance.clear();
    return true;
  }
  result<void> leave(const storage::cluster_node& me) override {
    if (auto failed = failure(); !failed)
      return failed;
    for (auto& [unused, shard] : database_->shards)
      if (shard.instance == me.instance)
        shard.node = shard.instance = {};
    std::erase_if(database_->nodes, [&](const auto& each) { return each.second.node.instance == me.instance; });
    return {};
  }
  result<bool> drain(const std::string& node, bool draining) override {
    const auto found = database_->nodes.find(node);
    if (found == database_->nodes.end())
      return false;
    found->second.node.draining = draining;
    return true;
  }
  result<bool> pin(const storage::shard_id& shard, const std::string& node) override {
    const auto found = database_->shards.find(shard);
    if (found == database_->shards.end())
      return false;
    found->second.pinned = node;
    return true;
  }

private:
  result<void> failure() const { return database_->failure ? result<void>{*database_->failure} : result<void>{}; }

  std::shared_ptr<memory_state> database_;
  std::function<monotonic()> now_;
};

} // namespace penstock::testing
