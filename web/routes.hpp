// What the node answers over HTTP: GET /healthz, /readyz, /metrics, /status and POST /admin/actors/{name}/kill.
// docs/operation.md describes them.
#pragma once

#include "telemetry/board.hpp"
#include "web/http_server.hpp"

#include <functional>
#include <optional>
#include <string>

namespace penstock::web {

/// Kills the actor of that name; false where there is none. Called on the server's thread.
using kill_hook = std::function<bool(std::string actor)>;

/// Why an administrative request is refused (403): administration is off, or Host or Origin is not `bound`. Nothing
/// where it is allowed.
std::optional<http_response> refuse_administration(const http_request& request, const config::address& bound,
                                                   bool admin);

/// `server` and `board` outlive the serving. Without `kill` the admin routes answer 403.
void add_routes(http_server& server, const telemetry::board& board, kill_hook kill = {});

} // namespace penstock::web
