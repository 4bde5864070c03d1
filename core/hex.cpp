#include "core/hex.hpp"

#include <charconv>

namespace penstock {

std::string to_hex(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    text += digits[value >> 4];
    text += digits[value & 0x0f];
  }
  return text;
}

std::optional<std::string> from_hex(std::string_view text) {
  if (text.size() % 2 != 0)
    return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t at = 0; at < text.size(); at += 2) {
    unsigned value = 0;
    const auto* const end = text.data() + at + 2;
    if (const auto [stop, failed] = std::from_chars(text.data() + at, end, value, 16);
        failed != std::errc{} || stop != end)
      return std::nullopt;
    bytes += static_cast<char>(value);
  }
  return bytes;
}

} // namespace penstock
