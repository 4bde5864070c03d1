// From messages to records: one decoder per pipeline and thread; a payload format is one file (decode/json.cpp).
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"
#include "core/types.hpp"
#include "record/frame.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::decode {

/// A topic pattern of the configuration: levels that are fixed, {name}, + or a final #.
class topic_pattern {
public:
  /// Names every problem: a # that is not last, a wildcard inside a level, a name twice, an empty pattern.
  static result<topic_pattern> parse(std::string_view pattern);
  /// What to subscribe to: every {name} as +.
  std::string filter() const;
  /// The names, in order.
  const std::vector<std::string>& names() const;
  /// True if `topic` matches; `values` then holds the level of each name, in order (views into `topic`).
  bool match(std::string_view topic, std::vector<std::string_view>& values) const;
  // ... levels
private:
  std::vector<std::string> levels_;
  std::vector<std::string> names_;
};

/// Decodes one message into the builder: either a row, or a letter with the reason. Never throws, never loses a message.
class decoder {
public:
  virtual ~decoder() = default;
  virtual void decode(std::string_view topic, std::string_view payload, wall_time arrived, record::frame_builder& into) = 0;
};

/// The decoder for a pipeline's format. Only for a configuration that was checked.
std::unique_ptr<decoder> make_decoder(const config::ingest& pipeline);

} // namespace penstock::decode
