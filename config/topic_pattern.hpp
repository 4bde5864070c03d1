// Topic patterns of a pipeline.
//
//   pattern = level *( "/" level )
//   level   = text            a fixed level; may be empty; no + # { }
//           | "{" NAME "}"    one level, which `topic.NAME` gives to a column; a name once in a pattern
//           | "+"             one level
//           | "#"             all the levels that follow, and none; last only
#pragma once

#include "core/result.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::config {

class topic_pattern {
public:
  struct level {
    enum class kind : std::uint8_t { text, name, one, rest };
    kind what = kind::text;
    std::string text; ///< the fixed text, or NAME
    friend bool operator==(const level&, const level&) = default;
  };

  /// The first thing that is wrong, without the pattern itself.
  static result<topic_pattern> parse(std::string_view pattern);

  const std::vector<level>& levels() const { return levels_; }
  /// What to subscribe to: every {name} as +.
  std::string filter() const;
  /// The names, in order.
  std::vector<std::string> names() const;
  /// The topic where each {name} has its value; one that has none stays as it is.
  std::string topic(const std::map<std::string, std::string>& values) const;

private:
  std::vector<level> levels_;
};

} // namespace penstock::config
