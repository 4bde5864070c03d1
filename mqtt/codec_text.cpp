#include "mqtt/codec.hpp"

#include <cstring>

namespace penstock::mqtt {

namespace {

constexpr std::uint64_t each(std::uint8_t byte) { return 0x0101010101010101u * byte; }

/// Whether some byte of `word` is zero (Mycroft's test).
constexpr bool has_zero(std::uint64_t word) { return ((word - each(1)) & ~word & each(0x80)) != 0; }

std::uint64_t load8(const char* data) {
  std::uint64_t word = 0;
  std::memcpy(&word, data, 8);
  return word;
}

/// Length of the well-formed sequence at `data` that begins with a byte >= 0x80; 0: none (Unicode 15, table 3-7).
std::size_t sequence_length(const unsigned char* data, std::size_t left) {
  const auto continuation = [&](std::size_t i) { return i < left && (data[i] & 0xc0) == 0x80; };
  const unsigned lead = data[0];
  if (lead >= 0xc2 && lead <= 0xdf)
    return continuation(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (!continuation(1) || !continuation(2))
      return 0;
    const bool overlong = lead == 0xe0 && data[1] < 0xa0;
    const bool surrogate = lead == 0xed && data[1] > 0x9f;
    return overlong || surrogate ? 0 : 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (!continuation(1) || !continuation(2) || !continuation(3))
      return 0;
    const bool overlong = lead == 0xf0 && data[1] < 0x90;
    const bool beyond = lead == 0xf4 && data[1] > 0x8f;
    return overlong || beyond ? 0 : 4;
  }
  return 0;
}

/// `wildcards`: whether + and # are allowed.
bool valid_text(std::string_view text, bool wildcards) noexcept {
  const char* data = text.data();
  const std::size_t size = text.size();
  std::size_t i = 0;
  while (i < size) {
    // Topics are read for every message and nearly always ASCII: eight bytes at a time.
    if (size - i >= 8) {
      const std::uint64_t word = load8(data + i);
      const bool plain = (word & each(0x80)) == 0 && !has_zero(word) &&
                         (wildcards || (!has_zero(word ^ each('+')) && !has_zero(word ^ each('#'))));
      if (plain) {
        i += 8;
        continue;
      }
    }
    const char byte = data[i];
    if (byte == 0 || (!wildcards && (byte == '+' || byte == '#')))
      return false;
    if (static_cast<unsigned char>(byte) < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = sequence_length(reinterpret_cast<const unsigned char*>(data + i), size - i);
    if (length == 0)
      return false;
    i += length;
  }
  return true;
}

} // namespace

bool valid_string(std::string_view text) noexcept { return valid_text(text, true); }

bool valid_topic(std::string_view topic) noexcept {
  return !topic.empty() && topic.size() <= 65'535 && valid_text(topic, false);
}

bool valid_filter(std::string_view filter) noexcept {
  if (filter.empty() || filter.size() > 65'535 || !valid_string(filter))
    return false;
  if (filter.starts_with("$share/")) {
    filter.remove_prefix(7);
    const std::size_t slash = filter.find('/');
    if (slash == 0 || slash == std::string_view::npos || slash + 1 == filter.size() ||
        filter.substr(0, slash).find_first_of("+#") != std::string_view::npos)
      return false;
    filter.remove_prefix(slash + 1);
  }
  for (std::size_t i = 0; i < filter.size(); ++i) {
    const bool begins_level = i == 0 || filter[i - 1] == '/';
    const bool last = i + 1 == filter.size();
    if (filter[i] == '#' && !(begins_level && last))
      return false;
    if (filter[i] == '+' && !(begins_level && (last || filter[i + 1] == '/')))
      return false;
  }
  return true;
}

std::string_view name_of(packet_type type) noexcept {
  switch (type) {
  case packet_type::connect: return "CONNECT";
  case packet_type::connack: return "CONNACK";
  case packet_type::publish: return "PUBLISH";
  case packet_type::puback: return "PUBACK";
  case packet_type::pubrec: return "PUBREC";
  case packet_type::pubrel: return "PUBREL";
  case packet_type::pubcomp: return "PUBCOMP";
  case packet_type::subscribe: return "SUBSCRIBE";
  case packet_type::suback: return "SUBACK";
  case packet_type::unsubscribe: return "UNSUBSCRIBE";
  case packet_type::unsuback: return "UNSUBACK";
  case packet_type::pingreq: return "PINGREQ";
  case packet_type::pingresp: return "PINGRESP";
  case packet_type::disconnect: return "DISCONNECT";
  case packet_type::auth: return "AUTH";
  }
  return "packet of type 0";
}

std::string_view return_code_name(std::uint8_t code) noexcept {
  switch (code) {
  case 0: return "accepted";
  case 1: return "unacceptable protocol version";
  case 2: return "client identifier rejected";
  case 3: return "server unavailable";
  case 4: return "bad user name or password";
  case 5: return "not authorised";
  default: return "unknown return code";
  }
}

std::string_view reason_name(std::uint8_t reason) noexcept {
  switch (reason) {
  case 0x00: return "success";
  case 0x01: return "granted QoS 1";
  case 0x02: return "granted QoS 2";
  case 0x04: return "disconnect with will message";
  case 0x10: return "no matching subscribers";
  case 0x11: return "no subscription existed";
  case 0x18: return "continue authentication";
  case 0x19: return "re-authenticate";
  case 0x80: return "unspecified error";
  case 0x81: return "malformed packet";
  case 0x82: return "protocol error";
  case 0x83: return "implementation specific error";
  case 0x84: return "unsupported protocol version";
  case 0x85: return "client identifier not valid";
  case 0x86: return "bad user name or password";
  case 0x87: return "not authorised";
  case 0x88: return "server unavailable";
  case 0x89: return "server busy";
  case 0x8a: return "banned";
  case 0x8b: return "server shutting down";
  case 0x8c: return "bad authentication method";
  case 0x8d: return "keep alive timeout";
  case 0x8e: return "session taken over";
  case 0x8f: return "topic filter invalid";
  case 0x90: return "topic name invalid";
  case 0x91: return "packet identifier in use";
  case 0x92: return "packet identifier not found";
  case 0x93: return "receive maximum exceeded";
  case 0x94: return "topic alias invalid";
  case 0x95: return "packet too large";
  case 0x96: return "message rate too high";
  case 0x97: return "quota exceeded";
  case 0x98: return "administrative action";
  case 0x99: return "payload format invalid";
  case 0x9a: return "retain not supported";
  case 0x9b: return "QoS not supported";
  case 0x9c: return "use another server";
  case 0x9d: return "server moved";
  case 0x9e: return "shared subscriptions not supported";
  case 0x9f: return "connection rate exceeded";
  case 0xa0: return "maximum connect time";
  case 0xa1: return "subscription identifiers not supported";
  case 0xa2: return "wildcard subscriptions not supported";
  default: return "unknown reason";
  }
}

} // namespace penstock::mqtt
