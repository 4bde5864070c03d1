// From text to the values of columns, strictly: decode/decoder.hpp has the rules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::decode {

enum class conversion : std::uint8_t {
  done,
  wrong_type, ///< the text is of another kind
  wrong_size, ///< of the right kind, but it does not fit
};

/// number = [ "-" ] ( "0" | nonzero *digit ) [ "." 1*digit ] [ ( "e" | "E" ) [ "+" | "-" ] 1*digit ]
bool is_json_number(std::string_view text) noexcept;

/// The text must be a JSON number, else wrong_type.
conversion to_integer(std::string_view text, std::int64_t& value) noexcept;
conversion to_real(std::string_view text, double& value) noexcept;
/// Epoch seconds or milliseconds, to microseconds since 1970.
conversion epoch_to_microseconds(std::string_view text, std::int64_t& value) noexcept;

/// RFC 3339, to microseconds since 1970.
conversion time_to_microseconds(std::string_view text, std::int64_t& value) noexcept;

/// `text`, which is UTF-8, fit for the reason of a letter: on one line and cut to 60 characters.
std::string excerpt(std::string_view text);

} // namespace penstock::decode
