// What goes in and out of an MQTT session.
#pragma once

#include "core/types.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::mqtt {

/// A message from the broker. Views into the burst's buffer.
struct inbound {
  std::string_view topic;
  std::string_view payload;
  std::uint8_t qos = 0;
  bool duplicate = false; ///< DUP: the broker sent it before
  bool retained = false;
  // MQTT 5; empty: none
  std::string_view correlation = {}; ///< correlation data
  std::string_view message_id = {};  ///< the user property "penstock-id"
};

/// The messages of one read, in order of arrival: sequences first, first+1, ... Immutable; owns the bytes.
struct burst {
  sequence first = 0;
  wall_time arrived;
  std::size_t bytes = 0; ///< of the packets
  std::vector<inbound> messages;
  std::vector<std::shared_ptr<const void>> storage; ///< what the views point into
};

struct outbound {
  std::string topic;
  std::string payload;
  std::uint8_t qos = 0;
  bool retain = false;
  std::uint64_t token = 0; ///< comes back in on_published
  /// 0: the session chooses. Otherwise the caller's, 1 to 65,534, and free: nothing in flight or waiting has it. One
  /// session has either the caller's or its own, never both. QoS 0 has none.
  std::uint16_t packet_id = 0;
  // Over 3.1.1 both are left out. Empty: none.
  std::string correlation = {}; ///< MQTT 5 correlation data
  std::string message_id = {};  ///< sent as the MQTT 5 user property "penstock-id"
};

enum class publish_stage : std::uint8_t {
  received, ///< the broker has the message (PUBREC) and waits for its release; only with release_by_caller
  done,     ///< the last word about it
};

/// What became of an outbound message. `done`: reason < 0x80: delivered; 0x92: the outcome is unknown; otherwise
/// refused (an MQTT 5 reason code).
struct completion {
  std::uint64_t token = 0;
  std::uint8_t reason = 0;
  publish_stage stage = publish_stage::done;
  friend bool operator==(const completion&, const completion&) = default;
};

/// How far a former process had come with a message.
enum class resumed_state : std::uint8_t {
  published, ///< PUBLISH may have been sent, PUBREL not
  released,  ///< PUBREL may have been sent (QoS 2)
};

/// A handshake of a former process. Of a released one topic and payload are not needed.
struct resumption {
  outbound message; ///< with its packet id
  resumed_state state = resumed_state::published;
};

struct last_will {
  std::string topic;
  std::string payload;
  std::uint8_t qos = 1;
  bool retain = true;
};

} // namespace penstock::mqtt
