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
  // MQTT 5 response topic, correlation data and user properties can be added here when something reads them.
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
};

struct last_will {
  std::string topic;
  std::string payload;
  std::uint8_t qos = 1;
  bool retain = true;
};

} // namespace penstock::mqtt
