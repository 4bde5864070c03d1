#include "web/http_text.hpp"

#include "web/http.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace penstock::web {

namespace {

constexpr std::string_view hexadecimal = "0123456789abcdef";

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

} // namespace

std::string lower_case(std::string_view text) {
  std::string lower{text};
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z')
      c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

std::string authority(const std::string& host, std::uint16_t port) {
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::optional<host_and_port> parse_authority(std::string_view text, std::uint16_t port_default) {
  host_and_port result{.host = {}, .port = port_default};
  std::string_view rest;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos)
      return std::nullopt;
    result.host = lower_case(text.substr(1, end - 1));
    rest = text.substr(end + 1);
  } else {
    const auto end = std::min(text.find(':'), text.size());
    result.host = lower_case(text.substr(0, end));
    rest = text.substr(end);
    if (!std::all_of(result.host.begin(), result.host.end(), is_unreserved))
      return std::nullopt;
  }
  if (result.host.empty())
    return std::nullopt;
  if (rest.empty())
    return result;
  const auto* begin = rest.data() + 1;
  const auto* end = rest.data() + rest.size();
  const auto [stopped, failure] = std::from_chars(begin, end, result.port);
  if (rest.front() != ':' || begin == end || stopped != end || failure != std::errc{})
    return std::nullopt;
  return result;
}

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  for (std::size_t position = 0; position < text.size(); ++position) {
    const char c = text[position];
    if (c == '+' && plus_is_space) {
      decoded += ' ';
    } else if (c != '%') {
      decoded += c;
    } else {
      unsigned value = 0;
      const auto digits = text.substr(position + 1, 2);
      const auto [stopped, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
      if (digits.size() != 2 || stopped != digits.data() + 2 || failure != std::errc{})
        return std::nullopt;
      decoded += static_cast<char>(value);
      position += 2;
    }
  }
  return decoded;
}

std::string percent_encode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_unreserved(c)) {
      encoded += c;
    } else {
      encoded += '%';
      encoded += hexadecimal[byte >> 4];
      encoded += hexadecimal[byte & 15];
    }
  }
  return encoded;
}

bool parse_target(std::string_view target, std::string& path, std::map<std::string, std::string>& query) {
  const auto question = std::min(target.find('?'), target.size());
  auto decoded = percent_decode(target.substr(0, question));
  if (!decoded || !decoded->starts_with('/'))
    return false;
  path = std::move(*decoded);
  auto rest = target.substr(std::min(question + 1, target.size()));
  while (!rest.empty()) {
    const auto end = std::min(rest.find('&'), rest.size());
    const auto pair = rest.substr(0, end);
    rest = rest.substr(std::min(end + 1, rest.size()));
    const auto equals = std::min(pair.find('='), pair.size());
    const auto name = percent_decode(pair.substr(0, equals), true);
    const auto value = percent_decode(pair.substr(std::min(equals + 1, pair.size())), true);
    if (!name || !value)
      return false;
    if (!name->empty())
      query[*name] = *value;
  }
  return true;
}

http_response json_error(unsigned status, std::string_view text) {
  const nlohmann::json body = {{"error", text}};
  return {.status = status,
          .content_type = "application/json",
          .body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n",
          .headers = {}};
}

} // namespace penstock::web
