// A value that a query gave, in the form in which it is published.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace penstock::storage {

struct cell {
  enum class kind : std::uint8_t {
    null,
    integer,   ///< digits
    real,      ///< a number as JSON writes it; NaN and the infinities are text
    boolean,   ///< "true" or "false"
    text,      ///< UTF-8, as far as the database knows
    timestamp, ///< RFC 3339; with "Z" only where the column's type has a time zone
    bytes,     ///< as they are
    json,      ///< JSON text
  };
  cell::kind type = kind::null;
  std::string_view text; ///< valid while the row is visited
};

/// Gets one row after the other.
using row_visitor = std::function<void(std::span<const cell>)>;

/// "2026-11-25 10:00:00.5+00" or the same with "T": as RFC 3339, with "Z" in place of the offset 0.
void append_rfc3339(std::string& to, std::string_view printed);

} // namespace penstock::storage
