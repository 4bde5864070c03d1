// The small types that every folder shares.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace penstock {

/// Wall-clock time as Penstock stores it: microseconds since 1970-01-01T00:00:00Z.
using wall_time = std::chrono::sys_time<std::chrono::microseconds>;

/// For the shells around core/, which takes its time as an argument.
inline wall_time wall_now() { return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()); }

/// Monotonic time, for durations inside a process.
using monotonic = std::chrono::steady_clock::time_point;

/// The position of a message in the order of arrival of one shard's session, from 1; 0 is "none". Never reused while
/// the shard's actor lives.
using sequence = std::uint64_t;

/// The types a column can have, the same in every database.
enum class column_type : std::uint8_t {
  text,    ///< UTF-8
  integer, ///< 64 bits, signed
  real,    ///< IEEE 754 double
  boolean,
  timestamp, ///< microseconds, UTC
  bytes,
  json, ///< UTF-8 JSON text
};

/// "text", "integer", ...: the words of the configuration.
std::string_view name_of(column_type type) noexcept;
std::optional<column_type> column_type_from(std::string_view name) noexcept;

} // namespace penstock
