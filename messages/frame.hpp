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
#include <vector>

namespace penstock::mqtt {
struct burst;
struct connection_state;
struct completion;
struct outbound;
struct resumption;
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

/// Between a publisher, its session and the poller of the same process.
using completions_ptr = std::shared_ptr<const std::vector<mqtt::completion>>;
using publications_ptr = std::shared_ptr<std::vector<mqtt::outbound>>;  ///< whoever gets it may move from it
using resumptions_ptr = std::shared_ptr<std::vector<mqtt::resumption>>; ///< likewise
using packet_ids_ptr = std::shared_ptr<const std::vector<std::uint16_t>>;

} // namespace penstock::messages
