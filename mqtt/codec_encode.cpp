#include "core/assert.hpp"
#include "mqtt/codec.hpp"

namespace penstock::mqtt {

namespace {

void put_byte(std::string& out, unsigned value) { out.push_back(static_cast<char>(value)); }

void put_two(std::string& out, unsigned value) {
  put_byte(out, value >> 8);
  put_byte(out, value & 0xffu);
}

void put_four(std::string& out, std::uint32_t value) {
  put_two(out, value >> 16);
  put_two(out, value & 0xffffu);
}

void put_variable(std::string& out, std::size_t value) {
  assert_that(value <= 268'435'455, "an MQTT packet is at most 256 MiB");
  while (value >= 0x80) {
    put_byte(out, static_cast<unsigned>(value & 0x7fu) | 0x80u);
    value >>= 7;
  }
  put_byte(out, static_cast<unsigned>(value));
}

std::size_t variable_size(std::size_t value) {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20'0000 ? 3 : 4;
}

void put_string(std::string& out, std::string_view text) {
  assert_that(text.size() <= 65'535, "an MQTT string is at most 65,535 bytes");
  put_two(out, static_cast<unsigned>(text.size()));
  out.append(text);
}

void put_header(std::string& out, packet_type type, unsigned flags, std::size_t remaining) {
  put_byte(out, static_cast<unsigned>(type) << 4 | flags);
  put_variable(out, remaining);
}

void put_packet(std::string& out, packet_type type, unsigned flags, std::string_view body) {
  put_header(out, type, flags, body.size());
  out.append(body);
}

void put_properties(std::string& out, std::string_view properties) {
  put_variable(out, properties.size());
  out.append(properties);
}

void put_number(std::string& properties, unsigned id, std::uint16_t value) {
  put_byte(properties, id);
  put_two(properties, value);
}

void put_wide(std::string& properties, unsigned id, std::uint32_t value) {
  put_byte(properties, id);
  put_four(properties, value);
}

void put_flag(std::string& properties, unsigned id, bool value) {
  put_byte(properties, id);
  put_byte(properties, value ? 1 : 0);
}

void put_text(std::string& properties, unsigned id, std::string_view value) {
  put_byte(properties, id);
  put_string(properties, value);
}

/// Without their length.
std::size_t properties_size(const publish_packet& packet) {
  std::size_t size = packet.topic_alias != 0 ? 3 : 0;
  if (!packet.correlation.empty())
    size += 3 + packet.correlation.size();
  if (!packet.message_id.empty())
    size += 5 + message_id_property.size() + packet.message_id.size();
  return size;
}

void put_publish_properties(std::string& out, const publish_packet& packet) {
  if (packet.topic_alias != 0)
    put_number(out, 0x23, packet.topic_alias);
  if (!packet.correlation.empty())
    put_text(out, 0x09, packet.correlation);
  if (!packet.message_id.empty()) {
    put_text(out, 0x26, message_id_property);
    put_string(out, packet.message_id);
  }
}

/// What the header says; `properties`: their size without their length.
std::size_t remaining_size(const publish_packet& packet, version version, std::size_t properties) {
  return 2 + packet.topic.size() + (packet.qos > 0 ? 2 : 0) +
         (version == version::v5 ? variable_size(properties) + properties : 0) + packet.payload.size();
}

/// Packet identifier, no properties, then one byte a filter.
void put_suback(std::string& out, packet_type type, const suback_packet& packet, version version) {
  std::string body;
  put_two(body, packet.packet_id);
  if (version == version::v5)
    put_byte(body, 0);
  body.append(packet.reasons);
  put_packet(out, type, 0, body);
}

} // namespace

void encode(std::string& out, const connect_packet& packet) {
  std::string body;
  put_string(body, "MQTT");
  put_byte(body, static_cast<unsigned>(packet.version));
  unsigned flags = packet.clean_start ? 2 : 0;
  if (packet.will)
    flags |= 4u | static_cast<unsigned>(packet.will->qos) << 3 | (packet.will->retain ? 0x20u : 0u);
  flags |= (packet.user ? 0x80u : 0u) | (packet.password ? 0x40u : 0u);
  put_byte(body, flags);
  put_two(body, packet.keep_alive_s);
  if (packet.version == version::v5) {
    std::string properties;
    if (packet.session_expiry_s != 0)
      put_wide(properties, 0x11, packet.session_expiry_s);
    if (packet.receive_maximum != 65'535)
      put_number(properties, 0x21, packet.receive_maximum);
    if (packet.packet_bytes_max != 0)
      put_wide(properties, 0x27, packet.packet_bytes_max);
    if (packet.topic_alias_max != 0)
      put_number(properties, 0x22, packet.topic_alias_max);
    put_properties(body, properties);
  }
  put_string(body, packet.client_id);
  if (packet.will) {
    if (packet.version == version::v5)
      put_byte(body, 0);
    put_string(body, packet.will->topic);
    put_string(body, packet.will->payload);
  }
  if (packet.user)
    put_string(body, *packet.user);
  if (packet.password)
    put_string(body, *packet.password);
  put_packet(out, packet_type::connect, 0, body);
}

void encode(std::string& out, const connack_packet& packet, version version) {
  std::string body;
  put_byte(body, packet.session_present ? 1 : 0);
  put_byte(body, packet.reason);
  if (version == version::v5) {
    std::string properties;
    if (packet.receive_maximum != 65'535)
      put_number(properties, 0x21, packet.receive_maximum);
    if (packet.qos_max < 2)
      put_flag(properties, 0x24, packet.qos_max == 1);
    if (!packet.retain_available)
      put_flag(properties, 0x25, false);
    if (packet.packet_bytes_max != 0)
      put_wide(properties, 0x27, packet.packet_bytes_max);
    if (packet.topic_alias_max != 0)
      put_number(properties, 0x22, packet.topic_alias_max);
    if (!packet.shared_subscriptions_available)
      put_flag(properties, 0x2a, false);
    if (packet.keep_alive_s)
      put_number(properties, 0x13, *packet.keep_alive_s);
    if (!packet.assigned_client_id.empty())
      put_text(properties, 0x12, packet.assigned_client_id);
    if (!packet.reason_text.empty())
      put_text(properties, 0x1f, packet.reason_text);
    put_properties(body, properties);
  }
  put_packet(out, packet_type::connack, 0, body);
}

void encode(std::string& out, const publish_packet& packet, version version) {
  const std::size_t properties = version == version::v5 ? properties_size(packet) : 0;
  const std::size_t remaining = remaining_size(packet, version, properties);
  const unsigned flags =
    (packet.duplicate ? 8u : 0u) | static_cast<unsigned>(packet.qos) << 1 | (packet.retained ? 1u : 0u);
  put_header(out, packet_type::publish, flags, remaining);
  put_string(out, packet.topic);
  if (packet.qos > 0)
    put_two(out, packet.packet_id);
  if (version == version::v5) {
    put_variable(out, properties);
    if (properties > 0)
      put_publish_properties(out, packet);
  }
  out.append(packet.payload);
}

std::size_t encoded_size(const publish_packet& packet, version version) {
  const std::size_t remaining = remaining_size(packet, version, version == version::v5 ? properties_size(packet) : 0);
  return 1 + variable_size(remaining) + remaining;
}

void encode(std::string& out, const ack_packet& packet, version version) {
  const bool reason = version == version::v5 && packet.reason != 0;
  put_header(out, packet.type, packet.type == packet_type::pubrel ? 2 : 0, reason ? 3 : 2);
  put_two(out, packet.packet_id);
  if (reason)
    put_byte(out, packet.reason);
}

void encode(std::string& out, const subscribe_packet& packet, version version) {
  std::string body;
  put_two(body, packet.packet_id);
  if (version == version::v5)
    put_byte(body, 0);
  for (const auto& one : packet.subscriptions) {
    put_string(body, one.filter);
    put_byte(body, version == version::v5 ? one.options : one.options & 3u);
  }
  put_packet(out, packet_type::subscribe, 2, body);
}

void encode_suback(std::string& out, const suback_packet& packet, version version) {
  put_suback(out, packet_type::suback, packet, version);
}

void encode(std::string& out, const unsubscribe_packet& packet, version version) {
  std::string body;
  put_two(body, packet.packet_id);
  if (version == version::v5)
    put_byte(body, 0);
  for (const auto filter : packet.filters)
    put_string(body, filter);
  put_packet(out, packet_type::unsubscribe, 2, body);
}

void encode_unsuback(std::string& out, const suback_packet& packet, version version) {
  put_suback(out, packet_type::unsuback, version == version::v5 ? packet : suback_packet{packet.packet_id, {}},
             version);
}

void encode(std::string& out, const disconnect_packet& packet, version version) {
  std::string properties;
  if (packet.session_expiry_s)
    put_wide(properties, 0x11, *packet.session_expiry_s);
  if (!packet.reason_text.empty())
    put_text(properties, 0x1f, packet.reason_text);
  if (version == version::v3_1_1 || (packet.reason == 0 && properties.empty())) {
    put_header(out, packet_type::disconnect, 0, 0);
    return;
  }
  std::string body;
  put_byte(body, packet.reason);
  if (!properties.empty())
    put_properties(body, properties);
  put_packet(out, packet_type::disconnect, 0, body);
}

void encode_pingreq(std::string& out) { put_header(out, packet_type::pingreq, 0, 0); }
void encode_pingresp(std::string& out) { put_header(out, packet_type::pingresp, 0, 0); }

} // namespace penstock::mqtt
