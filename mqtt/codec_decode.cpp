#include "mqtt/codec.hpp"

namespace penstock::mqtt {

namespace {

/// Reads from the front of a body. A failed read leaves the reader where it was.
class reader {
public:
  explicit reader(std::string_view bytes) : left_(bytes) {}
  bool empty() const { return left_.empty(); }
  std::string_view rest() const { return left_; }

  bool byte(std::uint8_t& value) {
    if (left_.empty())
      return false;
    value = at(0);
    left_.remove_prefix(1);
    return true;
  }
  bool two(std::uint16_t& value) {
    if (left_.size() < 2)
      return false;
    value = static_cast<std::uint16_t>(at(0) << 8 | at(1));
    left_.remove_prefix(2);
    return true;
  }
  bool four(std::uint32_t& value) {
    std::uint16_t high = 0;
    std::uint16_t low = 0;
    if (left_.size() < 4 || !two(high) || !two(low))
      return false;
    value = static_cast<std::uint32_t>(high) << 16 | low;
    return true;
  }
  bool variable(std::uint32_t& value) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < 4 && i < left_.size(); ++i) {
      sum |= static_cast<std::uint32_t>(at(i) & 0x7fu) << (7 * i);
      if ((at(i) & 0x80u) == 0) {
        if (i > 0 && at(i) == 0)
          return false; // longer than needed [MQTT-1.5.5-1]
        value = sum;
        left_.remove_prefix(i + 1);
        return true;
      }
    }
    return false;
  }
  bool bytes(std::size_t size, std::string_view& value) {
    if (left_.size() < size)
      return false;
    value = left_.substr(0, size);
    left_.remove_prefix(size);
    return true;
  }
  bool binary(std::string_view& value) {
    if (left_.size() < 2)
      return false;
    const std::size_t size = static_cast<std::size_t>(at(0)) << 8 | at(1);
    if (left_.size() - 2 < size)
      return false;
    value = left_.substr(2, size);
    left_.remove_prefix(2 + size);
    return true;
  }
  bool string(std::string_view& value) { return binary(value) && valid_string(value); }

private:
  std::uint8_t at(std::size_t i) const { return static_cast<std::uint8_t>(left_[i]); }
  std::string_view left_;
};

error fault(packet_type type, std::string_view what) {
  std::string text{"malformed "};
  text += name_of(type);
  text += ": ";
  text += what;
  return {errc::protocol_violation, std::move(text)};
}

// --- properties
// -------------------------------------------------------------------------------------------------------

enum class shape : std::uint8_t { none, flag, two, four, variable, text, binary, pair };

constexpr std::uint16_t in(packet_type type) { return static_cast<std::uint16_t>(1u << static_cast<unsigned>(type)); }
constexpr std::uint16_t in_will = 1; // the type 0 that no packet has

struct property_rule {
  shape form = shape::none;
  bool zero_allowed = true;
  std::uint16_t packets = 0;
};

constexpr std::uint8_t subscription_identifier = 0x0b;
constexpr std::uint8_t user_property = 0x26;

/// MQTT 5, section 2.2.2.2.
constexpr auto property_rules = [] {
  using enum packet_type;
  std::array<property_rule, 0x2b> rules{};
  constexpr std::uint16_t message = in(publish) | in_will;
  constexpr std::uint16_t opening = in(connect) | in(connack);
  constexpr std::uint16_t answers = in(connack) | in(puback) | in(pubrec) | in(pubrel) | in(pubcomp) | in(suback) |
                                    in(unsuback) | in(disconnect) | in(auth);
  rules[0x01] = {shape::flag, true, message};
  rules[0x02] = {shape::four, true, message};
  rules[0x03] = {shape::text, true, message};
  rules[0x08] = {shape::text, true, message};
  rules[0x09] = {shape::binary, true, message};
  rules[subscription_identifier] = {shape::variable, false, in(publish) | in(subscribe)};
  rules[0x11] = {shape::four, true, opening | in(disconnect)};
  rules[0x12] = {shape::text, true, in(connack)};
  rules[0x13] = {shape::two, true, in(connack)};
  rules[0x15] = {shape::text, true, opening | in(auth)};
  rules[0x16] = {shape::binary, true, opening | in(auth)};
  rules[0x17] = {shape::flag, true, in(connect)};
  rules[0x18] = {shape::four, true, in_will};
  rules[0x19] = {shape::flag, true, in(connect)};
  rules[0x1a] = {shape::text, true, in(connack)};
  rules[0x1c] = {shape::text, true, in(connack) | in(disconnect)};
  rules[0x1f] = {shape::text, true, answers};
  rules[0x21] = {shape::two, false, opening};
  rules[0x22] = {shape::two, true, opening};
  rules[0x23] = {shape::two, false, in(publish)};
  rules[0x24] = {shape::flag, true, in(connack)};
  rules[0x25] = {shape::flag, true, in(connack)};
  rules[user_property] = {shape::pair, true, message | answers | in(connect) | in(subscribe) | in(unsubscribe)};
  rules[0x27] = {shape::four, false, opening};
  rules[0x28] = {shape::flag, true, in(connack)};
  rules[0x29] = {shape::flag, true, in(connack)};
  rules[0x2a] = {shape::flag, true, in(connack)};
  return rules;
}();

/// By identifier. Only the first value of a property that may be repeated is kept.
struct property_values {
  std::uint64_t present = 0; // bits
  std::array<std::uint32_t, 0x2b> numbers;
  std::string_view assigned_client_id;
  std::string_view reason_text;
  std::string_view correlation;
  std::string_view message_id;

  bool has(std::uint8_t id) const { return ((present >> id) & 1u) != 0; }
  std::uint32_t number(std::uint8_t id, std::uint32_t otherwise) const { return has(id) ? numbers[id] : otherwise; }
};

/// One value; false where it is cut off or out of range.
bool read_value(reader& from, std::uint8_t id, const property_rule& rule, property_values& values) {
  std::uint32_t number = 1;
  std::string_view text;
  std::string_view second;
  std::uint8_t flag = 0;
  std::uint16_t two = 0;
  switch (rule.form) {
  case shape::none: return false;
  case shape::flag:
    if (!from.byte(flag) || flag > 1)
      return false;
    number = flag;
    break;
  case shape::two:
    if (!from.two(two))
      return false;
    number = two;
    break;
  case shape::four:
    if (!from.four(number))
      return false;
    break;
  case shape::variable:
    if (!from.variable(number))
      return false;
    break;
  case shape::text:
    if (!from.string(text))
      return false;
    break;
  case shape::binary:
    if (!from.binary(text))
      return false;
    break;
  case shape::pair:
    if (!from.string(text) || !from.string(second))
      return false;
    break;
  }
  if (!rule.zero_allowed && number == 0)
    return false;
  values.numbers[id] = number;
  if (id == 0x12)
    values.assigned_client_id = text;
  else if (id == 0x1f)
    values.reason_text = text;
  else if (id == 0x09)
    values.correlation = text;
  else if (id == user_property && text == message_id_property && values.message_id.empty())
    values.message_id = second;
  else if (id == 0x08)
    return valid_topic(text);
  return true;
}

/// nullptr, or what is wrong. `place` is a bit of property_rule::packets.
const char* read_properties(reader& from, std::uint16_t place, property_values& values) {
  values.present = 0;
  std::uint32_t length = 0;
  std::string_view area;
  if (!from.variable(length))
    return "the length of the properties is malformed";
  if (!from.bytes(length, area))
    return "the properties are cut off";
  reader properties{area};
  while (!properties.empty()) {
    std::uint8_t id = 0;
    properties.byte(id);
    if (id >= property_rules.size() || property_rules[id].form == shape::none)
      return "unknown property";
    if ((property_rules[id].packets & place) == 0)
      return "a property that does not belong in this packet";
    const bool repeatable = id == user_property || (id == subscription_identifier && place == in(packet_type::publish));
    if (values.has(id) && !repeatable)
      return "a property is given twice";
    if (!read_value(properties, id, property_rules[id], values))
      return "the value of a property is malformed";
    values.present |= std::uint64_t{1} << id;
  }
  if ((place & (in(packet_type::connect) | in(packet_type::connack))) != 0 && values.has(0x16) && !values.has(0x15))
    return "authentication data without a method";
  return nullptr;
}

const char* read_properties(reader& from, packet_type type, property_values& values) {
  return read_properties(from, in(type), values);
}

/// The flags that section 2.2.2 of the standards fixes for all but PUBLISH.
bool flags_right(const packet_view& packet) {
  const bool two = packet.type == packet_type::pubrel || packet.type == packet_type::subscribe ||
                   packet.type == packet_type::unsubscribe;
  return packet.flags == (two ? 2 : 0);
}

constexpr const char* reserved_flags = "reserved flags of the header are set wrongly";
constexpr const char* no_packet_id = "the packet identifier is missing or 0";
constexpr const char* trailing = "bytes after its end";

} // namespace

scan_status scan(std::string_view bytes, packet_view& packet) noexcept {
  packet.size = 0;
  if (bytes.empty())
    return scan_status::incomplete;
  const auto first = static_cast<std::uint8_t>(bytes[0]);
  if (first < 0x10)
    return scan_status::malformed;
  packet.type = static_cast<packet_type>(first >> 4);
  packet.flags = first & 0x0f;
  std::size_t length = 0;
  for (std::size_t i = 1;; ++i) {
    if (i == bytes.size())
      return scan_status::incomplete;
    const auto byte = static_cast<std::uint8_t>(bytes[i]);
    length |= static_cast<std::size_t>(byte & 0x7fu) << (7 * (i - 1));
    if ((byte & 0x80u) == 0) {
      if (i > 1 && byte == 0)
        return scan_status::malformed; // longer than needed [MQTT-1.5.5-1]
      packet.size = 1 + i + length;
      if (bytes.size() < packet.size)
        return scan_status::incomplete;
      packet.body = bytes.substr(1 + i, length);
      return scan_status::complete;
    }
    if (i == 4)
      return scan_status::malformed;
  }
}

result<publish_packet> decode_publish(const packet_view& packet, version version) {
  constexpr auto type = packet_type::publish;
  publish_packet out;
  out.retained = (packet.flags & 1u) != 0;
  out.qos = (packet.flags >> 1) & 3u;
  out.duplicate = (packet.flags & 8u) != 0;
  if (out.qos == 3)
    return fault(type, "QoS 3");
  if (out.qos == 0 && out.duplicate)
    return fault(type, "DUP with QoS 0");
  reader from{packet.body};
  if (!from.binary(out.topic))
    return fault(type, "the topic is cut off");
  if (out.qos > 0 && (!from.two(out.packet_id) || out.packet_id == 0))
    return fault(type, no_packet_id);
  if (version == version::v5) {
    // Brokers add properties to few messages; the empty list is one zero byte.
    if (!from.empty() && from.rest().front() == 0) {
      std::uint8_t none = 0;
      from.byte(none);
    } else {
      property_values values;
      if (const char* wrong = read_properties(from, type, values))
        return fault(type, wrong);
      out.topic_alias = static_cast<std::uint16_t>(values.number(0x23, 0));
      out.correlation = values.correlation;
      out.message_id = values.message_id;
    }
  }
  if (out.topic.empty() && out.topic_alias == 0)
    return fault(type, "neither topic nor topic alias");
  if (!out.topic.empty() && !valid_topic(out.topic))
    return fault(type, "the topic is not UTF-8, or holds a wildcard or U+0000");
  out.payload = from.rest();
  return out;
}

result<ack_packet> decode_ack(const packet_view& packet, version version) {
  if (!flags_right(packet))
    return fault(packet.type, reserved_flags);
  ack_packet out{packet.type, 0, 0};
  reader from{packet.body};
  if (!from.two(out.packet_id) || out.packet_id == 0)
    return fault(packet.type, no_packet_id);
  if (version == version::v5 && !from.empty()) {
    from.byte(out.reason);
    property_values values;
    if (!from.empty())
      if (const char* wrong = read_properties(from, packet.type, values))
        return fault(packet.type, wrong);
  }
  if (!from.empty())
    return fault(packet.type, trailing);
  return out;
}

result<connack_packet> decode_connack(const packet_view& packet, version version) {
  constexpr auto type = packet_type::connack;
  if (!flags_right(packet))
    return fault(type, reserved_flags);
  connack_packet out;
  reader from{packet.body};
  std::uint8_t flags = 0;
  if (!from.byte(flags) || flags > 1)
    return fault(type, "reserved acknowledge flags are set, or missing");
  if (!from.byte(out.reason))
    return fault(type, "the reason code is missing");
  out.session_present = flags == 1;
  if (out.session_present && out.reason != 0)
    return fault(type, "a refusal with session present");
  // A broker that has only 3.1.1 answers a CONNECT of MQTT 5 in its own format.
  if (version == version::v5 && !(from.empty() && out.reason == 1)) {
    property_values values;
    if (const char* wrong = read_properties(from, type, values))
      return fault(type, wrong);
    out.receive_maximum = static_cast<std::uint16_t>(values.number(0x21, 65'535));
    out.qos_max = static_cast<std::uint8_t>(values.number(0x24, 2));
    out.retain_available = values.number(0x25, 1) != 0;
    out.shared_subscriptions_available = values.number(0x2a, 1) != 0;
    out.packet_bytes_max = values.number(0x27, 0);
    out.topic_alias_max = static_cast<std::uint16_t>(values.number(0x22, 0));
    if (values.has(0x13))
      out.keep_alive_s = static_cast<std::uint16_t>(values.number(0x13, 0));
    out.assigned_client_id = values.assigned_client_id;
    out.reason_text = values.reason_text;
  }
  if (!from.empty())
    return fault(type, trailing);
  return out;
}

namespace {

const char* read_will(reader& from, std::uint8_t flags, version version, connect_packet& out) {
  will_packet will;
  property_values values;
  if (version == version::v5)
    if (const char* wrong = read_properties(from, in_will, values))
      return wrong;
  if (!from.binary(will.topic) || !valid_topic(will.topic))
    return "the will's topic is malformed";
  if (!from.binary(will.payload))
    return "the will's payload is cut off";
  will.qos = (flags >> 3) & 3u;
  will.retain = (flags & 0x20u) != 0;
  out.will = will;
  return nullptr;
}

/// After the protocol's name and level.
const char* read_connect(reader& from, connect_packet& out) {
  std::uint8_t flags = 0;
  if (!from.byte(flags) || (flags & 1u) != 0)
    return "the reserved connect flag is set, or the flags are missing";
  const bool has_will = (flags & 4u) != 0;
  if ((flags & 0x18u) == 0x18 || (!has_will && (flags & 0x38u) != 0))
    return "the flags of the will are malformed";
  out.clean_start = (flags & 2u) != 0;
  if (!from.two(out.keep_alive_s))
    return "the keep alive is missing";
  if (out.version == version::v5) {
    property_values values;
    if (const char* wrong = read_properties(from, packet_type::connect, values))
      return wrong;
    out.session_expiry_s = values.number(0x11, 0);
    out.receive_maximum = static_cast<std::uint16_t>(values.number(0x21, 65'535));
    out.packet_bytes_max = values.number(0x27, 0);
    out.topic_alias_max = static_cast<std::uint16_t>(values.number(0x22, 0));
  }
  if (!from.string(out.client_id))
    return "the client identifier is malformed";
  if (has_will)
    if (const char* wrong = read_will(from, flags, out.version, out))
      return wrong;
  std::string_view text;
  if ((flags & 0x80u) != 0) {
    if (!from.string(text))
      return "the user name is malformed";
    out.user = text;
  }
  if ((flags & 0x40u) != 0) {
    if (!from.binary(text) || (out.version == version::v3_1_1 && !out.user))
      return "the password is cut off or without a user name";
    out.password = text;
  }
  return from.empty() ? nullptr : trailing;
}

} // namespace

result<connect_packet> decode_connect(const packet_view& packet) {
  constexpr auto type = packet_type::connect;
  if (!flags_right(packet))
    return fault(type, reserved_flags);
  reader from{packet.body};
  std::string_view protocol;
  std::uint8_t level = 0;
  if (!from.binary(protocol) || protocol != "MQTT")
    return fault(type, "the protocol is not MQTT");
  if (!from.byte(level))
    return fault(type, "the protocol level is missing");
  if (level != 4 && level != 5)
    return error{errc::unsupported, "CONNECT: a version that is neither 3.1.1 nor 5"};
  connect_packet out;
  out.version = static_cast<version>(level);
  if (const char* wrong = read_connect(from, out))
    return fault(type, wrong);
  return out;
}

result<subscribe_packet> decode_subscribe(const packet_view& packet, version version) {
  constexpr auto type = packet_type::subscribe;
  if (!flags_right(packet))
    return fault(type, reserved_flags);
  subscribe_packet out;
  reader from{packet.body};
  if (!from.two(out.packet_id) || out.packet_id == 0)
    return fault(type, no_packet_id);
  property_values values;
  if (version == version::v5)
    if (const char* wrong = read_properties(from, type, values))
      return fault(type, wrong);
  if (from.empty())
    return fault(type, "no filter");
  while (!from.empty()) {
    subscription one;
    if (!from.binary(one.filter) || !valid_filter(one.filter))
      return fault(type, "a filter is malformed");
    const std::uint8_t reserved = version == version::v5 ? 0xc0 : 0xfc;
    if (!from.byte(one.options) || (one.options & reserved) != 0 || (one.options & 3u) == 3 ||
        (one.options & 0x30u) == 0x30)
      return fault(type, "the options of a subscription are malformed");
    out.subscriptions.push_back(one);
  }
  return out;
}

result<suback_packet> decode_suback(const packet_view& packet, version version) {
  if (!flags_right(packet))
    return fault(packet.type, reserved_flags);
  suback_packet out;
  reader from{packet.body};
  if (!from.two(out.packet_id) || out.packet_id == 0)
    return fault(packet.type, no_packet_id);
  property_values values;
  if (version == version::v5)
    if (const char* wrong = read_properties(from, packet.type, values))
      return fault(packet.type, wrong);
  out.reasons = from.rest();
  if (out.reasons.empty())
    return fault(packet.type, "no reason code");
  return out;
}

result<unsubscribe_packet> decode_unsubscribe(const packet_view& packet, version version) {
  constexpr auto type = packet_type::unsubscribe;
  if (!flags_right(packet))
    return fault(type, reserved_flags);
  unsubscribe_packet out;
  reader from{packet.body};
  if (!from.two(out.packet_id) || out.packet_id == 0)
    return fault(type, no_packet_id);
  property_values values;
  if (version == version::v5)
    if (const char* wrong = read_properties(from, type, values))
      return fault(type, wrong);
  if (from.empty())
    return fault(type, "no filter");
  while (!from.empty()) {
    std::string_view filter;
    if (!from.binary(filter) || !valid_filter(filter))
      return fault(type, "a filter is malformed");
    out.filters.push_back(filter);
  }
  return out;
}

result<suback_packet> decode_unsuback(const packet_view& packet, version version) {
  if (version == version::v5)
    return decode_suback(packet, version);
  if (!flags_right(packet))
    return fault(packet.type, reserved_flags);
  suback_packet out;
  reader from{packet.body};
  if (!from.two(out.packet_id) || out.packet_id == 0)
    return fault(packet.type, no_packet_id);
  if (!from.empty())
    return fault(packet.type, trailing);
  return out;
}

result<disconnect_packet> decode_disconnect(const packet_view& packet, version version) {
  if (!flags_right(packet))
    return fault(packet.type, reserved_flags);
  disconnect_packet out;
  reader from{packet.body};
  if (version == version::v5 && !from.empty()) {
    from.byte(out.reason);
    property_values values;
    if (!from.empty())
      if (const char* wrong = read_properties(from, packet.type, values))
        return fault(packet.type, wrong);
    if (values.has(0x1f))
      out.reason_text = values.reason_text;
    if (values.has(0x11))
      out.session_expiry_s = values.number(0x11, 0);
  }
  if (!from.empty())
    return fault(packet.type, trailing);
  return out;
}

result<void> decode_ping(const packet_view& packet) {
  if (!flags_right(packet))
    return fault(packet.type, reserved_flags);
  if (!packet.body.empty())
    return fault(packet.type, trailing);
  return {};
}

} // namespace penstock::mqtt
