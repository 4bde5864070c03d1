// One JSON payload taken apart: checked to its end, and the values at the paths that a pipeline's columns name.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace penstock::decode {

struct json_value {
  enum class kind : std::uint8_t { absent, null, boolean, number, string, object, array };
  kind what = kind::absent;
  std::string_view raw;  ///< the JSON text; of a string with its quotes
  std::string_view text; ///< of a string: what it says
};

/// Whether `text` is valid UTF-8.
bool is_utf8(std::string_view text) noexcept;

/// Reused for one payload after the other.
class json_document {
public:
  /// Levels of objects and arrays within each other.
  static constexpr unsigned depth_max = 128;

  json_document();
  ~json_document();

  /// From now on `parse` looks for this path; it is the number of calls before. One path may go through another's
  /// value.
  std::size_t add_path(std::span<const config::source::step> path);
  /// From now on `parse` collects `rest`.
  void collect_rest();

  /// Payload_malformed where `payload` is not valid JSON or not an object (an array, if a path begins with an index).
  result<void> parse(std::string_view payload);

  /// Until the next `parse`.
  const json_value& value(std::size_t path) const;
  /// An object of the members at which no path begins.
  std::string_view rest() const;

private:
  class implementation;
  std::unique_ptr<implementation> implementation_;
};

} // namespace penstock::decode
