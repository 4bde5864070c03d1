// Values of key columns as text: the form in which keys from messages and keys from the database are compared.
// Timestamps as microseconds since 1970, integers and booleans in decimal, reals in the shortest form that reads back
// the same, text, json and bytes as they are.
#pragma once

#include "core/types.hpp"

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::storage {

template <class Number>
void append_key_text(std::string& to, Number value) {
  std::array<char, 40> digits{};
  to.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
}

/// The other way, for text that a database printed; 0 where it is no number.
template <class Number>
Number number_of(std::string_view text) {
  Number value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// A time as Penstock's own tables have it.
inline std::string microseconds_text(wall_time time) { return std::to_string(time.time_since_epoch().count()); }

/// The integer that the whole text is; nothing: it is none.
inline std::optional<std::int64_t> integer_of(std::string_view text) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size() ? std::optional{value} : std::nullopt;
}

/// Whether the text can be a value of the type.
bool is_key_text(const std::string& text, column_type type);

} // namespace penstock::storage
