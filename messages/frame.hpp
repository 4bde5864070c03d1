// Frames and bursts as CAF messages.
#pragma once

#include "record/frame.hpp"

#include <caf/deserializer.hpp>
#include <caf/error.hpp>
#include <caf/sec.hpp>
#include <caf/serializer.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace penstock::mqtt {
struct burst;
struct connection_state;
} // namespace penstock::mqtt

namespace penstock::record {

/// On the wire: the number of words, then the words.
caf::error inspect(caf::serializer& sink, const frame& value);
caf::error inspect(caf::deserializer& source, frame& value);
std::string to_string(const frame& value);

} // namespace penstock::record

namespace penstock::messages {

/// From an MQTT session to its ingestor; never leaves the process.
using burst_ptr = std::shared_ptr<const mqtt::burst>;
using connection_state_ptr = std::shared_ptr<const mqtt::connection_state>;

} // namespace penstock::messages
