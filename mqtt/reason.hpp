// A broker's refusals as errors.
#pragma once

#include "core/error.hpp"

#include <cstdint>
#include <string_view>

namespace penstock::mqtt {

/// Reason codes of MQTT 5 that somebody decides by [MQTT5 2.4].
namespace reason {
inline constexpr std::uint8_t refused_from = 0x80; ///< this one and those above are refusals
inline constexpr std::uint8_t session_taken_over = 0x8E;
inline constexpr std::uint8_t packet_id_not_found = 0x92;
inline constexpr std::uint8_t quota_exceeded = 0x97;
} // namespace reason

/// Of an MQTT 5 reason code >= 0x80: "WHAT: not authorised (0x87), BROKER'S TEXT".
error error_of_reason(std::uint8_t reason, std::string_view what, std::string_view broker_text);
/// Of a 3.1.1 CONNACK return code > 0.
error error_of_return_code(std::uint8_t code);

} // namespace penstock::mqtt
