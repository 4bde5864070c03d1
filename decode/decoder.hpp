// From messages to records: one decoder per pipeline and thread; a payload format is one file (decode/json.cpp).
//
// How a value becomes a column's (format: json)
//
//   column     | from the payload
//   -----------+----------------------------------------------------------------------------------------------------------
//   text       | a string; a number or a boolean as its JSON text
//   integer    | a number that is whole: 42; 42.0 and 4.2e1 up to 2^53. Not "42"
//   real       | a number. Not "1.5"
//   boolean    | true, false. Not 0, 1, "true"
//   timestamp  | a string in RFC 3339 with any offset (core/time_text.hpp); a number: epoch seconds below 10^11, epoch
//              | milliseconds from there up to 10^14, read as decimal text; what is below a microsecond is cut off
//   bytes      | as text
//   json       | any value, as the JSON text it came as
//
// `null` counts as absent. Absent is NULL where the column is optional, else field_missing. A value of another kind is
// field_type, one that does not fit (above 2^63-1, beyond a double, microseconds since 1970) is field_range. A topic
// level is read as if the number, boolean or RFC 3339 time stood there bare.
//
// A payload must be one JSON object (or array, where a column's path begins with an index) in UTF-8, checked to its
// end, at most 128 levels deep; else it is payload_malformed. Of members with the same name the first counts; the
// others are ignored, also by payload.rest. payload.rest has the members of the top object at which no column's path
// begins, with key and value as they were written; `{}` if there are none. payload.raw is the payload byte for byte.
// U+0000 stays what it is. $latency_ms is arrival minus the pipeline's first timestamp column that comes from the
// payload (NULL if that is), negative where the device's clock is ahead.
#pragma once

#include "config/config.hpp"
#include "config/topic_pattern.hpp"
#include "core/result.hpp"
#include "core/types.hpp"
#include "record/frame.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::decode {

/// Matches topics against a pattern of the configuration (config/topic_pattern.hpp has the grammar).
class topic_pattern {
public:
  /// As config::topic_pattern::parse.
  static result<topic_pattern> parse(std::string_view pattern);
  explicit topic_pattern(config::topic_pattern pattern) : pattern_(std::move(pattern)), names_(pattern_.names()) {}

  /// What to subscribe to: every {name} as +.
  std::string filter() const { return pattern_.filter(); }
  /// The names, in order.
  const std::vector<std::string>& names() const { return names_; }
  /// True if `topic` matches, by MQTT's rules: # also takes the level above it, and a wildcard in the first level takes
  /// no topic that begins with $. `values` then holds the level of each name, in order (views into `topic`); else it is
  /// unspecified.
  bool match(std::string_view topic, std::vector<std::string_view>& values) const;

private:
  config::topic_pattern pattern_;
  std::vector<std::string> names_;
};

/// Decodes one message into the builder: either a row, or a letter with the reason. Never loses a message, and throws
/// only where memory ends or the builder has other columns than the pipeline. Not to be shared between threads. Keeps
/// its memory for the next message, up to a few MiB.
class decoder {
public:
  virtual ~decoder() = default;
  /// `into` has no open row, and the pipeline's column types.
  virtual void decode(std::string_view topic, std::string_view payload, wall_time arrived,
                      record::frame_builder& into) = 0;
};

/// The decoder for a pipeline's format. Only for a configuration that was checked: throws assertion_failed for one that
/// cannot work.
std::unique_ptr<decoder> make_decoder(const config::ingest& pipeline);

/// The types of a pipeline's columns, for frame_builder and frame_view.
std::vector<column_type> column_types(const config::ingest& pipeline);

} // namespace penstock::decode
