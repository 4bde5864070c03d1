// What `penstock cluster status` shows: made of what the state database holds and of what the nodes say of themselves.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"
#include "storage/cluster_state.hpp"

#include <nlohmann/json.hpp>

#include <map>
#include <string>
#include <vector>

namespace penstock::nodes {

/// The /status of a node by its name, or why there is none. Nodes that are dead or have no HTTP are not in it.
using node_answers = std::map<std::string, result<nlohmann::ordered_json>>;

/// Asks every living node at the same time; takes no longer than the slowest, about 2 s.
node_answers ask_nodes(const std::vector<storage::cluster_node>& nodes);

/// Keys: docs/cluster.md. What the nodes do not say is null.
nlohmann::ordered_json report_of(const config::configuration& configuration, const storage::cluster_snapshot& seen,
                                 const node_answers& answers);

/// For people.
std::string report_text(const nlohmann::ordered_json& report);

} // namespace penstock::nodes
