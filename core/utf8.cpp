#include "core/utf8.hpp"

#include <cstddef>

namespace penstock {

namespace {

bool continues(char byte) { return (static_cast<unsigned char>(byte) & 0xc0u) == 0x80; }

/// The bytes of the character that `text` begins with (RFC 3629, section 4); 0: none begins there.
std::size_t character_bytes(std::string_view text) {
  const auto at = [&](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  const auto first = at(0);
  if (first < 0x80)
    return first == 0 ? 0 : 1;
  const std::size_t bytes = first >= 0xc2 && first <= 0xdf   ? 2
                            : first >= 0xe0 && first <= 0xef ? 3
                            : first >= 0xf0 && first <= 0xf4 ? 4
                                                             : 0;
  if (bytes == 0 || text.size() < bytes)
    return 0;
  for (std::size_t index = 1; index < bytes; ++index)
    if (!continues(text[index]))
      return 0;
  // Longer than needed, surrogates, above U+10FFFF.
  const bool wrong = (first == 0xe0 && at(1) < 0xa0) || (first == 0xed && at(1) > 0x9f) ||
                     (first == 0xf0 && at(1) < 0x90) || (first == 0xf4 && at(1) > 0x8f);
  return wrong ? 0 : bytes;
}

} // namespace

std::string clean_utf8(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  while (!text.empty()) {
    const auto bytes = character_bytes(text);
    clean += bytes > 0 ? text.substr(0, bytes) : "\xef\xbf\xbd";
    text.remove_prefix(bytes > 0 ? bytes : 1);
  }
  return clean;
}

std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max)
    return text;
  while (bytes_max > 0 && continues(text[bytes_max]))
    --bytes_max;
  return text.substr(0, bytes_max);
}

} // namespace penstock
