// `penstock cluster`: what the nodes of a cluster do, and where an operator has a say. Works on the state database,
// from any machine that has the configuration, whether nodes run or not.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>

namespace penstock::nodes {

struct cluster_options {
  std::filesystem::path config;
  bool json = false; ///< of status
};

/// Nodes and shards as the state database has them, and what each living node says over HTTP. Exit code: done (also
/// where shards have no owner, which is said), unavailable, configuration.
int cluster_status(const cluster_options& options, std::ostream& out, std::ostream& err);

/// Has a node give its shards away, or with `undo` take part again. Exit code: done, usage (there is no such node),
/// unavailable, configuration.
int cluster_drain(const cluster_options& options, const std::string& node, bool undo, std::ostream& out,
                  std::ostream& err);

/// Pins a shard ("PIPELINE/SHARD") to a node; "-" leaves it to placement again. Exit code: done, usage (there is no
/// such shard or node, or it may not own the shard), unavailable (also where nobody has owned the shard yet),
/// configuration.
int cluster_move(const cluster_options& options, const std::string& shard, const std::string& node, std::ostream& out,
                 std::ostream& err);

} // namespace penstock::nodes
