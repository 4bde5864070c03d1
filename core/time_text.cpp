#include "core/time_text.hpp"

#include <cstdint>

namespace penstock {

namespace {

using std::chrono::days;
using std::chrono::microseconds;
using std::chrono::seconds;
using std::chrono::year_month_day;

constexpr std::int64_t seconds_per_day = 86'400;

// The bounds of year 0000 and year 9999.
constexpr auto earliest = std::chrono::sys_days{std::chrono::year{0} / 1 / 1};
constexpr auto latest = std::chrono::sys_days{std::chrono::year{10'000} / 1 / 1};

constexpr bool digit(char c) { return static_cast<unsigned char>(c - '0') <= 9; }

/// `Count` digits at `at`; negative where one of them is none.
template <int Count>
constexpr int number(const char* at) {
  int value = 0;
  for (int i = 0; i < Count; ++i) {
    if (!digit(at[i]))
      return -1;
    value = value * 10 + (at[i] - '0');
  }
  return value;
}

/// ".25" as 250,000 microseconds; `at` is moved behind it.
std::optional<std::int64_t> fraction(const char*& at, const char* end) {
  if (at == end || *at != '.')
    return 0;
  ++at;
  if (at == end || !digit(*at))
    return std::nullopt;
  std::int64_t value = 0;
  int places = 0;
  for (; at != end && digit(*at); ++at)
    if (places < 6) {
      value = value * 10 + (*at - '0');
      ++places;
    }
  for (; places < 6; ++places)
    value *= 10;
  return value;
}

/// "Z" or "+05:30", which must end the text, in seconds to take away.
std::optional<std::int64_t> offset(const char* at, const char* end) {
  if (end - at == 1 && (*at == 'Z' || *at == 'z'))
    return 0;
  if (end - at != 6 || (*at != '+' && *at != '-') || at[3] != ':')
    return std::nullopt;
  const int hour = number<2>(at + 1);
  const int minute = number<2>(at + 4);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59)
    return std::nullopt;
  const std::int64_t value = (std::int64_t{hour} * 60 + minute) * 60;
  return *at == '+' ? value : -value;
}

template <int Count>
void put(char* at, unsigned value) {
  for (int i = Count - 1; i >= 0; --i) {
    at[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
}

} // namespace

std::optional<wall_time> parse_rfc3339(std::string_view text) noexcept {
  constexpr std::size_t shortest = std::string_view{"2026-01-31T00:00:00Z"}.size();
  const char* at = text.data();
  const char* const end = at + text.size();
  if (text.size() < shortest || at[4] != '-' || at[7] != '-' || (at[10] != 'T' && at[10] != 't' && at[10] != ' ') ||
      at[13] != ':' || at[16] != ':')
    return std::nullopt;
  const int year = number<4>(at);
  const int month = number<2>(at + 5);
  const int day = number<2>(at + 8);
  const int hour = number<2>(at + 11);
  const int minute = number<2>(at + 14);
  const int second = number<2>(at + 17);
  if ((year | month | day | hour | minute | second) < 0 || hour > 23 || minute > 59 || second > 60)
    return std::nullopt;
  const year_month_day date{std::chrono::year{year}, std::chrono::month{static_cast<unsigned>(month)},
                            std::chrono::day{static_cast<unsigned>(day)}};
  if (!date.ok())
    return std::nullopt;
  at += 19;
  const auto part = fraction(at, end);
  const auto away = offset(at, end);
  if (!part || !away)
    return std::nullopt;
  const std::int64_t midnight = std::chrono::sys_days{date}.time_since_epoch().count() * seconds_per_day;
  const std::int64_t utc = midnight + (std::int64_t{hour} * 60 + minute) * 60 + second - *away;
  if (second == 60 && utc % seconds_per_day != 0)
    return std::nullopt;
  const wall_time time{seconds{utc} + microseconds{*part}};
  if (time < earliest || time >= latest)
    return std::nullopt;
  return time;
}

std::string format_rfc3339(wall_time time) {
  constexpr std::int64_t per_day = seconds_per_day * 1'000'000;
  const std::int64_t count = time.time_since_epoch().count();
  const std::int64_t in_day = (count % per_day + per_day) % per_day;
  const std::int64_t day = count / per_day - (count % per_day < 0 ? 1 : 0);
  // std::chrono::year ends at 32767, wall_time does not; the calendar repeats after 400 years.
  const std::int64_t eras = day / 146'097;
  const year_month_day date{std::chrono::sys_days{days{day % 146'097}}};
  const std::int64_t year = static_cast<int>(date.year()) + eras * 400;
  const auto second = static_cast<unsigned>(in_day / 1'000'000);
  char text[] = "0000-00-00T00:00:00.000000Z";
  put<2>(text + 5, static_cast<unsigned>(date.month()));
  put<2>(text + 8, static_cast<unsigned>(date.day()));
  put<2>(text + 11, second / 3600);
  put<2>(text + 14, second / 60 % 60);
  put<2>(text + 17, second % 60);
  put<6>(text + 20, static_cast<unsigned>(in_day % 1'000'000));
  if (year >= 0 && year <= 9999) {
    put<4>(text, static_cast<unsigned>(year));
    return {text, sizeof text - 1};
  }
  return (year < 0 ? "" : "+") + std::to_string(year) + std::string{text + 4, sizeof text - 5};
}

} // namespace penstock
