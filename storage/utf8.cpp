#include "storage/utf8.hpp"

#include <algorithm>

namespace penstock::storage {

namespace {

/// Bytes of the character that the text begins with; 0: it begins with none. The Unicode Standard, table 3-7.
std::size_t character_bytes(std::string_view text) {
  const auto at = [&](std::size_t index) { return index < text.size() ? static_cast<unsigned char>(text[index]) : 0u; };
  const auto within = [&](std::size_t index, unsigned low, unsigned high) {
    return at(index) >= low && at(index) <= high;
  };
  const auto first = at(0);
  if (first < 0x80)
    return 1;
  if (first >= 0xc2 && first <= 0xdf)
    return within(1, 0x80, 0xbf) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const unsigned low = first == 0xe0 ? 0xa0 : 0x80;
    const unsigned high = first == 0xed ? 0x9f : 0xbf;
    return within(1, low, high) && within(2, 0x80, 0xbf) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const unsigned low = first == 0xf0 ? 0x90 : 0x80;
    const unsigned high = first == 0xf4 ? 0x8f : 0xbf;
    return within(1, low, high) && within(2, 0x80, 0xbf) && within(3, 0x80, 0xbf) ? 4 : 0;
  }
  return 0;
}

} // namespace

std::string to_utf8(std::string_view text, std::size_t bytes_max) {
  std::string made;
  made.reserve(std::min(text.size(), bytes_max));
  while (!text.empty()) {
    const auto bytes = character_bytes(text);
    const auto taken = std::max<std::size_t>(bytes, 1);
    if (made.size() + taken > bytes_max)
      break;
    if (bytes == 0)
      made += '?';
    else
      made += text.substr(0, bytes);
    text.remove_prefix(taken);
  }
  return made;
}

} // namespace penstock::storage
