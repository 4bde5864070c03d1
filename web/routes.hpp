// What the node answers over HTTP: GET /healthz, /readyz, /metrics, /status and POST /admin/actors/{name}/kill.
// docs/operation.md describes them.
#pragma once

#include "telemetry/board.hpp"
#include "web/http_server.hpp"

#include <functional>
#include <string>

namespace penstock::web {

/// Kills the actor of that name; false where there is none. Called on the server's thread.
using kill_hook = std::function<bool(std::string actor)>;

/// `server` and `board` outlive the serving. Without `kill` the admin routes answer 403.
void add_routes(http_server& server, const telemetry::board& board, kill_hook kill = {});

} // namespace penstock::web
