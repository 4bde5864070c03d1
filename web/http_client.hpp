// Blocking HTTP requests for commands such as `penstock status --url`. No TLS, no redirects.
#pragma once

#include "core/result.hpp"
#include "web/http.hpp"

#include <chrono>
#include <string>

namespace penstock::web {

inline constexpr std::chrono::milliseconds http_timeout_default{5'000};

/// `url`: http://host[:port][/path][?query]. Any status is a response; an error is connection_refused, connection_lost,
/// timed_out (over the whole of it, but for the look-up of the host's name), protocol_violation (not HTTP, or over 16
/// MiB), configuration (the URL is none) or unsupported (https).
result<http_response> http_get(const std::string& url, std::chrono::milliseconds timeout = http_timeout_default);
result<http_response> http_post(const std::string& url, const std::string& body,
                                std::chrono::milliseconds timeout = http_timeout_default);

} // namespace penstock::web
