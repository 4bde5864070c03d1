// Text of unknown origin, for places that take UTF-8 alone.
#pragma once

#include <string>
#include <string_view>

namespace penstock {

/// The text as it is where it is UTF-8 without U+0000; whatever is not becomes U+FFFD, byte by byte.
std::string clean_utf8(std::string_view text);

/// At most `bytes_max` bytes of UTF-8, not ending inside a character.
std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max);

} // namespace penstock
