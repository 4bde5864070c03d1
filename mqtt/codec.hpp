// MQTT 3.1.1 and 5 control packets to and from bytes. Pure; decoded strings are views into the packet.
// Both directions of a connection are covered, so that a broker for tests can be written with it too.
//
//   packet       = type(4 bits) flags(4 bits) remaining_length body
//   string       = length(2) UTF-8 without U+0000
//   binary       = length(2) bytes
//   properties   = length(variable) { id value }            (MQTT 5 only)
//   CONNECT      = "MQTT" level(1) flags(1) keep_alive(2) properties client_id [will] [user] [password]
//   CONNACK      = session_present(1) reason(1) properties
//   PUBLISH      = topic [packet_id(2): QoS > 0] properties payload
//   PUBACK, PUBREC, PUBREL, PUBCOMP = packet_id(2) [reason(1) [properties]]
//   SUBSCRIBE    = packet_id(2) properties { filter options(1) }
//   SUBACK       = packet_id(2) properties { reason(1) }
//   UNSUBSCRIBE  = packet_id(2) properties { filter }
//   UNSUBACK     = packet_id(2) properties { reason(1) }    (3.1.1: no reasons)
//   DISCONNECT   = [reason(1) [properties]]                 (3.1.1: empty)
//
// The decoders check everything the two standards call malformed or a protocol error that one packet alone can show,
// and fail with protocol_violation and a text that names packet and fault. What they allocate is bounded by the
// packet's size.
#pragma once

#include "core/error.hpp"
#include "core/result.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::mqtt {

enum class version : std::uint8_t { v3_1_1 = 4, v5 = 5 };

enum class packet_type : std::uint8_t {
  connect = 1,
  connack,
  publish,
  puback,
  pubrec,
  pubrel,
  pubcomp,
  subscribe,
  suback,
  unsubscribe,
  unsuback,
  pingreq,
  pingresp,
  disconnect,
  auth,
};

/// "CONNECT", "PUBLISH", ...
std::string_view name_of(packet_type type) noexcept;
/// The name of an MQTT 5 reason code; "unknown reason" where the standard has none.
std::string_view reason_name(std::uint8_t reason) noexcept;
/// The name of a CONNACK return code of 3.1.1.
std::string_view return_code_name(std::uint8_t code) noexcept;

/// No packet is larger: five bytes of header and 256 MiB - 1.
constexpr std::size_t packet_bytes_limit = 268'435'455 + 5;

/// One packet as it lies in the stream.
struct packet_view {
  packet_type type = packet_type::connect;
  std::uint8_t flags = 0;
  std::string_view body;
  std::size_t size = 0; ///< header and body
};

enum class scan_status : std::uint8_t {
  complete,   ///< `packet` is filled
  incomplete, ///< more bytes are needed; `packet.size` is the whole packet's size where it is known, else 0
  malformed,  ///< not a packet header
};

/// The packet at the front of `bytes`.
scan_status scan(std::string_view bytes, packet_view& packet) noexcept;

struct publish_packet {
  std::string_view topic; ///< empty: see topic_alias
  std::string_view payload;
  std::uint16_t packet_id = 0;   ///< QoS > 0: not 0
  std::uint16_t topic_alias = 0; ///< MQTT 5; 0: none
  std::uint8_t qos = 0;
  bool duplicate = false;
  bool retained = false;
  // MQTT 5; empty: none
  std::string_view correlation = {}; ///< correlation data
  std::string_view message_id = {};  ///< the user property message_id_property, the first where there are several
};

/// The user property that carries what a sender calls its message: the same again when it sends one twice.
constexpr std::string_view message_id_property = "penstock-id";

/// PUBACK, PUBREC, PUBREL, PUBCOMP.
struct ack_packet {
  packet_type type = packet_type::puback;
  std::uint16_t packet_id = 0;
  std::uint8_t reason = 0;
};

struct will_packet {
  std::string_view topic;
  std::string_view payload;
  std::uint8_t qos = 0;
  bool retain = false;
};

struct connect_packet {
  mqtt::version version = version::v5;
  std::string_view client_id;
  bool clean_start = true;
  std::uint16_t keep_alive_s = 0; ///< 0: off
  std::optional<std::string_view> user;
  std::optional<std::string_view> password;
  std::optional<will_packet> will;
  // MQTT 5:
  std::uint32_t session_expiry_s = 0; ///< 0xFFFFFFFF: never
  std::uint16_t receive_maximum = 65'535;
  std::uint32_t packet_bytes_max = 0; ///< 0: no limit
  std::uint16_t topic_alias_max = 0;
};

struct connack_packet {
  bool session_present = false;
  std::uint8_t reason = 0; ///< 3.1.1: the return code
  // MQTT 5:
  std::uint16_t receive_maximum = 65'535;
  std::uint8_t qos_max = 2;
  bool retain_available = true;
  bool shared_subscriptions_available = true;
  std::uint32_t packet_bytes_max = 0; ///< 0: no limit
  std::uint16_t topic_alias_max = 0;
  std::optional<std::uint16_t> keep_alive_s; ///< the broker's, in place of the client's
  std::string_view assigned_client_id;
  std::string_view reason_text;
};

struct subscription {
  std::string_view filter;
  std::uint8_t options = 0; ///< QoS in bits 0 and 1; MQTT 5: no local 4, retain as published 8, retain handling 0x30
};

struct subscribe_packet {
  std::uint16_t packet_id = 0;
  std::vector<subscription> subscriptions;
};

/// SUBACK and UNSUBACK.
struct suback_packet {
  std::uint16_t packet_id = 0;
  std::string_view reasons; ///< one byte a filter
};

struct unsubscribe_packet {
  std::uint16_t packet_id = 0;
  std::vector<std::string_view> filters;
};

struct disconnect_packet {
  std::uint8_t reason = 0;
  std::string_view reason_text = {};
  std::optional<std::uint32_t> session_expiry_s = {}; ///< MQTT 5, from a client: in place of that of its CONNECT
};

// Decoders: `packet` is a complete one of the type concerned.
result<connect_packet> decode_connect(const packet_view& packet);
result<connack_packet> decode_connack(const packet_view& packet, version version);
result<publish_packet> decode_publish(const packet_view& packet, version version);
result<ack_packet> decode_ack(const packet_view& packet, version version);
result<subscribe_packet> decode_subscribe(const packet_view& packet, version version);
result<suback_packet> decode_suback(const packet_view& packet, version version);
result<unsubscribe_packet> decode_unsubscribe(const packet_view& packet, version version);
result<suback_packet> decode_unsuback(const packet_view& packet, version version);
result<disconnect_packet> decode_disconnect(const packet_view& packet, version version);
/// PINGREQ and PINGRESP: nothing but the header.
result<void> decode_ping(const packet_view& packet);

// Encoders: append one packet to `out`. A field that the version does not have is left out. Strings of more than 65,535
// bytes, and packets of more than packet_bytes_limit, are bugs of the caller: assertion_failed.
void encode(std::string& out, const connect_packet& packet);
void encode(std::string& out, const connack_packet& packet, version version);
void encode(std::string& out, const publish_packet& packet, version version);
/// How many bytes `encode` makes of it.
std::size_t encoded_size(const publish_packet& packet, version version);
void encode(std::string& out, const ack_packet& packet, version version);
void encode(std::string& out, const subscribe_packet& packet, version version);
void encode_suback(std::string& out, const suback_packet& packet, version version);
void encode(std::string& out, const unsubscribe_packet& packet, version version);
void encode_unsuback(std::string& out, const suback_packet& packet, version version);
void encode(std::string& out, const disconnect_packet& packet, version version);
void encode_pingreq(std::string& out);
void encode_pingresp(std::string& out);

/// PUBACK or PUBREC with success: the same four bytes in both versions.
inline void encode_success(std::string& out, packet_type type, std::uint16_t packet_id) {
  const std::array<char, 4> bytes{static_cast<char>(static_cast<unsigned>(type) << 4), 2,
                                  static_cast<char>(packet_id >> 8), static_cast<char>(packet_id & 0xff)};
  out.append(bytes.data(), bytes.size());
}

/// Well-formed UTF-8 without U+0000 and surrogates [MQTT-1.5.4].
bool valid_string(std::string_view text) noexcept;
/// What a PUBLISH may be sent to: not empty, at most 65,535 bytes, a valid string without `+` and `#`.
bool valid_topic(std::string_view topic) noexcept;
/// What may be subscribed to ($share/NAME/FILTER included).
bool valid_filter(std::string_view filter) noexcept;

} // namespace penstock::mqtt
