// Has the nodes that run with a configuration read it again, from another process.
#pragma once

#include "config/config.hpp"

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <iosfwd>

namespace penstock::nodes {

/// Sends SIGHUP to the nodes that run here with the configuration (nodes/run_file.hpp), one after the other, and waits
/// until the status of each says what came of it; `shows` is what the status has to show then. Prints what was done;
/// exit code: that of the first that failed, or done (also where no node runs); configuration where a node did not take
/// it, verdict_bad where another file is read or its status does not show it, unavailable where it cannot be asked.
int reload_running_nodes(const config::configuration& configuration,
                         const std::function<bool(const nlohmann::ordered_json& status)>& shows, std::ostream& out,
                         std::ostream& err);

} // namespace penstock::nodes
