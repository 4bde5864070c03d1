#include "mqtt/reason.hpp"

#include "mqtt/codec.hpp"

namespace penstock::mqtt {

namespace {

errc code_of_reason(std::uint8_t reason) {
  switch (reason) {
  case 0x81: // malformed packet
  case 0x82: // protocol error
  case 0x93: // receive maximum exceeded
  case 0x94: // topic alias invalid
  case 0x95: // packet too large
    return errc::protocol_violation;
  case 0x84: // protocol version
  case 0x9a: // retain
  case 0x9b: // QoS
  case 0x9e: // shared subscriptions
  case 0xa1: // subscription identifiers
  case 0xa2: // wildcard subscriptions
    return errc::unsupported;
  case 0x85: // client identifier
  case 0x8f: // topic filter
  case 0x90: // topic name
    return errc::configuration;
  case 0x86: // user name or password
  case 0x87: // not authorised
  case 0x8a: // banned
  case 0x8c: // authentication method
    return errc::not_authorised;
  case 0x88: // server unavailable
  case 0x89: // server busy
  case 0x96: // message rate
  case 0x97: // quota
  case 0x9f: // connection rate
    return errc::broker_busy;
  default: return errc::connection_lost;
  }
}

} // namespace

error error_of_reason(std::uint8_t reason, std::string_view what, std::string_view broker_text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text{what};
  text += ": ";
  text += reason_name(reason);
  text += " (0x";
  text += digits[reason >> 4];
  text += digits[reason & 15u];
  text += ")";
  if (!broker_text.empty()) {
    text += ", ";
    text += broker_text;
  }
  return {code_of_reason(reason), std::move(text)};
}

error error_of_return_code(std::uint8_t code) {
  std::string text{"the broker refused the connection: "};
  text += return_code_name(code);
  text += " (return code " + std::to_string(code) + ")";
  switch (code) {
  case 1: return {errc::unsupported, std::move(text)};
  case 2: return {errc::configuration, std::move(text)};
  case 3: return {errc::broker_busy, std::move(text)};
  case 4:
  case 5: return {errc::not_authorised, std::move(text)};
  default: return {errc::protocol_violation, std::move(text)};
  }
}

} // namespace penstock::mqtt
