// Has the node that runs with a configuration read it again, from another process.
#pragma once

#include "config/config.hpp"

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <iosfwd>

namespace penstock::nodes {

/// Sends SIGHUP to the node that works in `configuration.data`, where one does, and waits until its status says what
/// came of it; `shows` is what the status has to show then. Prints what was done; exit code: done (also where no node
/// runs), configuration where the node did not take it, verdict_bad where another file is read or its status does not
/// show it, unavailable where it cannot be asked.
int reload_running_node(const config::configuration& configuration,
                        const std::function<bool(const nlohmann::ordered_json& status)>& shows, std::ostream& out,
                        std::ostream& err);

} // namespace penstock::nodes
