// Every expected failure of Penstock: a code from one list, and a text for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock {

/// What to do about a failure.
enum class disposition : std::uint8_t {
  retry,       ///< transient: the same call may succeed later; back off
  dead_letter, ///< the record is bad: store it as a dead letter, acknowledge it, go on
  fatal,       ///< a person must change something: stop the part concerned and say what
};

/// The numbers are stored in dead letters and shown to users: never renumber, only append.
enum class errc : std::uint16_t {
  none = 0,

  // retry: 1xx
  connection_lost = 100,      ///< a peer closed or reset the connection
  connection_refused = 101,   ///< nobody listens there, or the peer is not ready
  timed_out = 102,            ///< no answer in time
  database_busy = 103,        ///< locked by another transaction, deadlock, serialisation failure
  database_full = 104,        ///< no space left, or a quota is reached
  database_unavailable = 105, ///< starting, shutting down, read-only or out of connections
  broker_busy = 106,          ///< the broker refused for now (quota, server busy)
  address_in_use = 107,       ///< another process listens there

  // dead_letter: 2xx
  payload_malformed = 200, ///< the payload is not what `format` says
  field_missing = 201,     ///< a column that is not optional found no value
  field_type = 202,        ///< the value cannot be converted to the column's type
  field_range = 203,       ///< the value does not fit the column's type
  topic_mismatch = 204,    ///< the topic does not match any pattern of the pipeline
  row_refused = 205,       ///< the database refused the row (constraint, length, encoding)
  payload_too_large = 206, ///< larger than the pipeline takes

  // fatal: 3xx
  configuration = 300,      ///< the configuration is wrong
  not_authorised = 301,     ///< the peer refused the credentials or the operation
  schema_mismatch = 302,    ///< the table in the database does not fit the configuration
  protocol_violation = 303, ///< the peer broke the protocol; the connection ends
  database_damaged = 304,   ///< the file is not a database or is corrupt, or cannot be opened
  unsupported = 305,        ///< the peer lacks something that is needed
  fenced = 306,             ///< another process owns this shard now
  internal = 399,           ///< a bug
};

/// "database_busy" and so on: the name that logs, JSON and documents use.
std::string_view name_of(errc code) noexcept;

/// From the hundreds of the code. `errc::none` has none: do not ask.
disposition disposition_of(errc code) noexcept;

struct error { // NOLINT(clang-analyzer-core.uninitialized.Assign)
  errc code = errc::none;
  std::string message; ///< one line for a person: what failed, and with what; no secrets

  /// "database_busy: the file is locked"
  std::string to_string() const;
  friend bool operator==(const error&, const error&) = default;
};

} // namespace penstock
