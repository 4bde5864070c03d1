#include "web/routes.hpp"

#include "telemetry/log.hpp"
#include "telemetry/metrics.hpp"

#include <nlohmann/json.hpp>

#include <string_view>
#include <utility>

namespace penstock::web {

namespace {

using nlohmann::json;

http_response json_answer(unsigned status, const json& body) {
  return {.status = status,
          .content_type = "application/json",
          .body = body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n",
          .headers = {}};
}

http_response readyz(const telemetry::board& board) {
  const auto verdict = telemetry::ready(board.snapshot());
  return json_answer(verdict.ready ? 200 : 503, {{"ready", verdict.ready}, {"reasons", verdict.reasons}});
}

http_response kill_actor(const http_request& request, const config::address& bound, const kill_hook& kill) {
  constexpr std::string_view prefix = "/admin/actors/";
  constexpr std::string_view suffix = "/kill";
  if (auto refused = refuse_administration(request, bound, static_cast<bool>(kill)))
    return *std::move(refused);
  std::string_view path = request.path;
  path.remove_prefix(prefix.size());
  if (!path.ends_with(suffix) || path.size() == suffix.size())
    return json_error(404, "no such path; it is /admin/actors/{name}/kill");
  path.remove_suffix(suffix.size());
  const std::string actor{path};
  if (!kill(actor))
    return json_error(404, "no actor is named " + actor);
  log::warning("http", "", "actor {} is killed on request", actor);
  return json_answer(202, {{"killed", actor}});
}

} // namespace

std::optional<http_response> refuse_administration(const http_request& request, const config::address& bound,
                                                   bool admin) {
  if (!admin)
    return json_error(403, "administration is off; `node: {admin: true}` in the configuration allows it");
  if (!same_origin(request, bound))
    return json_error(403, "Host or Origin is not this node");
  return std::nullopt;
}

void add_routes(http_server& server, const telemetry::board& board, kill_hook kill) {
  server.route("GET", "/healthz", [](const http_request&) { return json_answer(200, {{"status", "ok"}}); });
  server.route("GET", "/readyz", [&board](const http_request&) { return readyz(board); });
  server.route("GET", "/metrics", [&board](const http_request&) {
    return http_response{.status = 200,
                         .content_type = telemetry::metrics_content_type,
                         .body = telemetry::to_prometheus(board.snapshot()),
                         .headers = {}};
  });
  server.route("GET", "/status", [&board](const http_request&) {
    return http_response{.status = 200,
                         .content_type = "application/json",
                         .body = telemetry::to_json(board.snapshot(), 2) + "\n",
                         .headers = {}};
  });
  server.route_prefix("POST", "/admin/actors/", [&server, kill = std::move(kill)](const http_request& request) {
    return kill_actor(request, server.address(), kill);
  });
}

} // namespace penstock::web
