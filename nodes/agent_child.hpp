// The agent of a node of a cluster, from the configuration.
#pragma once

#include "actors/directory.hpp"
#include "actors/supervisor.hpp"
#include "config/config.hpp"
#include "telemetry/board.hpp"

#include <string>

namespace penstock::nodes {

/// "agent". `configuration.cluster` and `configuration.node.address` are there; `board` and `directory` outlive it.
/// What it is to know of the cluster comes from the membership, as messages::neighbours_ptr.
actors::child_spec agent_child(const config::configuration& configuration, const std::string& instance,
                               telemetry::board& board, const actors::actor_directory& directory);

} // namespace penstock::nodes
