// HTTP messages as plain values, for the server and the client.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace penstock::web {

struct http_request {
  std::string method;                         ///< "GET"; HEAD comes to handlers as GET
  std::string path;                           ///< decoded: "/admin/actors/telemetry/writer/kill"
  std::map<std::string, std::string> query;   ///< decoded
  std::map<std::string, std::string> headers; ///< names in lower case; repeated ones joined by ", "
  std::string body;
};

struct http_response {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::map<std::string, std::string> headers; ///< further ones; from a peer: all, names in lower case
};

/// {"error": "..."} as a whole response.
http_response json_error(unsigned status, std::string_view text);

} // namespace penstock::web
