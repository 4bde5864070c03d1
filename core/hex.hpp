// Bytes as hexadecimal text, and back.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace penstock {

/// Two digits a byte, in small letters.
std::string to_hex(std::string_view bytes);

/// Nothing where the text is not pairs of hexadecimal digits.
std::optional<std::string> from_hex(std::string_view text);

} // namespace penstock
