// A small HTTP/1.1 server on one thread of its own, for health, metrics, status and administration: no TLS, no chunked
// answers. Limits: header 8 KiB (431), body 1 MiB (413), 15 s for a request and between requests, 64 connections (503).
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"
#include "web/http.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace penstock::web {

/// Runs on the server's thread, one at a time: must not wait. An exception becomes a 500.
using http_handler = std::function<http_response(const http_request&)>;

struct http_options {
  std::size_t connections_max = 64;
  std::chrono::milliseconds idle_timeout{15'000}; ///< to send a whole request, or to take a whole answer
};

class http_server {
public:
  explicit http_server(http_options options = {});
  ~http_server(); ///< stops
  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;

  /// Before `start`. GET answers HEAD too. Another method on a known path is 405, an unknown path 404.
  void route(const std::string& method, const std::string& path, http_handler handler);
  /// All paths that begin with `prefix` and are not routed by themselves; the longest prefix wins.
  void route_prefix(const std::string& method, const std::string& prefix, http_handler handler);

  /// Listens and serves, once. Port 0 lets the system choose. An error (address_in_use, configuration) names the
  /// address and why not.
  result<void> start(const config::address& address);
  /// Where it listens, with the actual port. After `start`.
  const config::address& address() const;
  /// Closes all connections and joins the thread. May be called again.
  void stop();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// True if a browser's page from elsewhere cannot have sent this: `Host` names `address` itself (or localhost where
/// that is a loopback or wildcard address, or an IP address where it is a wildcard) with its port, and `Origin`, where
/// there is one, is that same host. Guards what changes something against DNS rebinding and cross-site requests.
bool same_origin(const http_request& request, const config::address& address);

} // namespace penstock::web
