// The durable state of a cluster: which nodes are alive, and which of them owns which shard. Kept in one database, the
// arbiter: every time is its clock's, every change of an owner a compare-and-set that raises the shard's epoch.
//
//   penstock_nodes    one row a node: who it is, and until when its lease lasts
//   penstock_shards   one row a shard: its owner and epoch
//
// Of one cluster at a time: two would take each other's shards.
//
// A process is an instance of its node: one that comes back under the same name is another. Nothing here decides who
// shall own what (core/placement.hpp), and nothing here fences writes: each tracking database does that itself.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace penstock::storage {

/// A node that is dead for longer is forgotten when another joins, unless it is to be drained.
constexpr std::chrono::hours dead_nodes_kept{24};

struct cluster_node {
  std::string name;
  std::string instance; ///< of the process: random
  std::string address;  ///< of its links; empty: it takes none
  std::string http;     ///< empty: none
  std::vector<std::string> roles;
  std::string version;
  bool draining = false;                   ///< it is to give its shards away
  std::chrono::milliseconds lease_left{0}; ///< as read
  std::string cluster = {};                ///< its name; empty: of a penstock that did not write it

  bool is_alive() const { return lease_left.count() > 0; }
  friend bool operator==(const cluster_node&, const cluster_node&) = default;
};

struct shard_id {
  std::string pipeline;
  std::uint32_t shard = 0;
  friend auto operator<=>(const shard_id&,
                          const shard_id&) = default; // NOLINT(modernize-use-nullptr): 15 takes <=> for 0
};

struct shard_owner {
  shard_id id;
  std::string node; ///< empty: nobody
  std::string instance;
  std::uint64_t epoch = 0;
  std::string pinned; ///< the node that shall own it, whatever placement says; empty: placement decides
  friend bool operator==(const shard_owner&, const shard_owner&) = default;
};

struct cluster_snapshot {
  std::vector<cluster_node> nodes; ///< by name, the dead ones too
  std::vector<shard_owner> shards; ///< by id; those that were owned at least once
};

class cluster_state {
public:
  virtual ~cluster_state() = default;

  /// Creates the tables where they are missing.
  virtual result<void> prepare() = 0;
  /// Joins, or renews the lease, and reads everything. `fenced`: another instance has the name, and its lease lasts; or
  /// nodes of another cluster are alive there.
  virtual result<cluster_snapshot> renew(const cluster_node& me, std::chrono::milliseconds lease) = 0;
  virtual result<cluster_snapshot> read() = 0;
  /// Becomes the owner of a shard that is as `known`, with nobody or a dead instance as its owner: its new epoch.
  /// nullopt: it is not so any more, or the lease of `me` is over.
  virtual result<std::optional<std::uint64_t>> acquire(const shard_owner& known, const cluster_node& me) = 0;
  /// Gives a shard back, for another to acquire. False: it was not the owner any more.
  virtual result<bool> release(const shard_owner& mine) = 0;
  /// The node is gone, and so are its claims to shards.
  virtual result<void> leave(const cluster_node& me) = 0;

  /// For an operator. False: there is no such node, or shard.
  virtual result<bool> drain(const std::string& node, bool draining) = 0;
  virtual result<bool> pin(const shard_id& shard, const std::string& node) = 0;
};

/// What is wrong where a living one of `nodes` belongs to another cluster; empty: none does.
std::string strangers(const std::vector<cluster_node>& nodes, const std::string& cluster);

/// Opens a connection.
result<std::unique_ptr<cluster_state>> open_cluster_state(const config::database& database);

} // namespace penstock::storage
