// Wall-clock time as text: RFC 3339.
#pragma once

#include "core/types.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace penstock {

/// The whole of `text` as an RFC 3339 date-time: "2026-01-31T23:59:59.25+05:30". The date is one of the calendar, years
/// 0000 to 9999 (in UTC too); T or t or one space between date and time; Z, z or an offset up to 23:59. A fraction has
/// one digit or more, and what is below a microsecond is cut off. The leap second 23:59:60 UTC counts as the second
/// after it.
std::optional<wall_time> parse_rfc3339(std::string_view text) noexcept;

/// "2026-01-31T18:29:59.250000Z": UTC, always with six digits of fraction, so that texts sort as times do.
/// Years outside 0000 to 9999 get a sign and as many digits as they need.
std::string format_rfc3339(wall_time time);

} // namespace penstock
