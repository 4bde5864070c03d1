#include "decode/convert.hpp"

#include "core/time_text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace penstock::decode {

namespace {

bool digit(char c) { return static_cast<unsigned char>(c - '0') <= 9; }

const char* skip_digits(const char* at, const char* end) {
  while (at != end && digit(*at))
    ++at;
  return at;
}

/// A JSON number without its sign: 0.digits times 10 to the power of `point`, and no zero in front.
struct decimal {
  std::string_view whole;
  std::string_view fraction;
  std::int64_t point = 0;

  std::size_t size() const { return whole.size() + fraction.size(); }
  int at(std::size_t i) const { return (i < whole.size() ? whole[i] : fraction[i - whole.size()]) - '0'; }
};

decimal split(std::string_view number) {
  // Any exponent beyond this makes zero or too much of any payload that fits into memory.
  constexpr std::int64_t exponent_max = 1'000'000'000'000;
  decimal made;
  const auto e = number.find_first_of("eE");
  const auto mantissa = number.substr(0, e);
  const auto dot = mantissa.find('.');
  made.whole = mantissa.substr(0, dot);
  if (dot != std::string_view::npos)
    made.fraction = mantissa.substr(dot + 1);
  if (e != std::string_view::npos) {
    const bool negative = number[e + 1] == '-';
    for (const char c : number.substr(e + 1))
      if (digit(c))
        made.point = std::min(made.point * 10 + (c - '0'), exponent_max);
    if (negative)
      made.point = -made.point;
  }
  made.point += static_cast<std::int64_t>(made.whole.size());
  const auto strip = [&made](std::string_view& digits) {
    while (digits.starts_with('0')) {
      digits.remove_prefix(1);
      --made.point;
    }
  };
  strip(made.whole);
  if (made.whole.empty())
    strip(made.fraction);
  return made;
}

} // namespace

bool is_json_number(std::string_view text) noexcept {
  const char* at = text.data();
  const char* const end = at + text.size();
  if (at != end && *at == '-')
    ++at;
  if (at == end || !digit(*at))
    return false;
  at = *at == '0' ? at + 1 : skip_digits(at, end);
  if (at != end && *at == '.') {
    const char* const digits = ++at;
    at = skip_digits(at, end);
    if (at == digits)
      return false;
  }
  if (at != end && (*at == 'e' || *at == 'E')) {
    ++at;
    if (at != end && (*at == '+' || *at == '-'))
      ++at;
    const char* const digits = at;
    at = skip_digits(at, end);
    if (at == digits)
      return false;
  }
  return at == end;
}

conversion to_integer(std::string_view text, std::int64_t& value) noexcept {
  if (!is_json_number(text))
    return conversion::wrong_type;
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, value);
  if (stop == end)
    return failure == std::errc{} ? conversion::done : conversion::wrong_size;
  constexpr double exact_max = 9'007'199'254'740'992.0; // 2^53
  double number = 0;
  if (to_real(text, number) != conversion::done)
    return conversion::wrong_size;
  if (std::trunc(number) != number)
    return conversion::wrong_type;
  if (std::abs(number) > exact_max)
    return conversion::wrong_size;
  value = static_cast<std::int64_t>(number);
  return conversion::done;
}

conversion to_real(std::string_view text, double& value) noexcept {
  if (!is_json_number(text))
    return conversion::wrong_type;
  const auto [stop, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc{} && std::isfinite(value) ? conversion::done : conversion::wrong_size;
}

conversion epoch_to_microseconds(std::string_view text, std::int64_t& value) noexcept {
  if (!is_json_number(text))
    return conversion::wrong_type;
  constexpr std::int64_t seconds_digits = 11;
  constexpr std::int64_t milliseconds_digits = 14;
  const bool negative = text.front() == '-';
  const decimal number = split(text.substr(negative ? 1 : 0));
  value = 0;
  if (number.size() == 0)
    return conversion::done;
  if (number.point > milliseconds_digits)
    return conversion::wrong_size;
  const std::int64_t places = number.point <= seconds_digits ? 6 : 3;
  const std::int64_t wanted = std::max<std::int64_t>(number.point + places, 0);
  const auto size = static_cast<std::int64_t>(number.size());
  for (std::int64_t i = 0; i < wanted; ++i)
    value = value * 10 + (i < size ? number.at(static_cast<std::size_t>(i)) : 0);
  if (negative) {
    // Times before 1970 are cut to the past, as RFC 3339 ones are.
    bool cut = false;
    for (std::int64_t i = wanted; i < size && !cut; ++i)
      cut = number.at(static_cast<std::size_t>(i)) != 0;
    value = -value - (cut ? 1 : 0);
  }
  return conversion::done;
}

conversion time_to_microseconds(std::string_view text, std::int64_t& value) noexcept {
  const auto time = parse_rfc3339(text);
  if (!time)
    return conversion::wrong_type;
  value = time->time_since_epoch().count();
  return conversion::done;
}

std::string excerpt(std::string_view text) {
  constexpr std::size_t characters_max = 60;
  std::string cut;
  std::size_t characters = 0;
  for (const char c : text) {
    const bool first_byte = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (first_byte && characters++ == characters_max)
      return cut + "...";
    cut += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return cut;
}

} // namespace penstock::decode
