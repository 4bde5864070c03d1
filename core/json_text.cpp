#include "core/json_text.hpp"

#include "core/utf8.hpp"

#include <algorithm>

namespace penstock {

namespace {

void append_escaped(std::string& to, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  to += '"';
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    if (letter == '"' || letter == '\\') {
      to += '\\';
      to += letter;
    } else if (letter == '\n') {
      to += "\\n";
    } else if (code < 0x20) {
      to += "\\u00";
      to += digits[code >> 4];
      to += digits[code & 0x0f];
    } else {
      to += letter;
    }
  }
  to += '"';
}

} // namespace

void append_json_string(std::string& to, std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char letter) { return (letter & 0x80) == 0; });
  if (plain)
    append_escaped(to, text);
  else
    append_escaped(to, clean_utf8(text));
}

} // namespace penstock
