// The small grammars of HTTP that the server and the client share. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::web {

/// ASCII only.
std::string lower_case(std::string_view text);

/// "host:port", with brackets around an IPv6 address.
std::string authority(const std::string& host, std::uint16_t port);

struct host_and_port {
  std::string host; ///< lower case, without brackets
  std::uint16_t port = 0;
  friend bool operator==(const host_and_port&, const host_and_port&) = default;
};
/// authority = host [ ":" port ]; host = name | IPv4 | "[" IPv6 "]". Nothing where it is anything else.
std::optional<host_and_port> parse_authority(std::string_view text, std::uint16_t port_default);

/// %XX, and + where `plus_is_space`; nothing where an escape is malformed.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space = false);
/// For one segment of a path: everything but letters, digits and -._~ as %XX.
std::string percent_encode(std::string_view text);

/// target = path [ "?" name "=" value *( "&" name "=" value ) ]; false where an escape is malformed or the path does
/// not begin with a slash.
bool parse_target(std::string_view target, std::string& path, std::map<std::string, std::string>& query);

} // namespace penstock::web
