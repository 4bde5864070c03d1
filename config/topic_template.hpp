// Topics that are made from a row.
//
//   template = 1*( text / "{" COLUMN "}" )
//     text     fixed; no + # { }, and no $ at the beginning of the topic
//     COLUMN   any characters but { and }
#pragma once

#include "config/topic_pattern.hpp"
#include "core/result.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace penstock::config {

class topic_template {
public:
  struct part {
    bool is_column = false;
    std::string text; ///< the fixed text, or COLUMN
    friend bool operator==(const part&, const part&) = default;
  };

  /// The first thing that is wrong, without the template itself.
  static result<topic_template> parse(std::string_view text);

  /// In order; no two fixed texts side by side.
  const std::vector<part>& parts() const { return parts_; }
  /// True where some row may have a topic that a subscription to `pattern` gets. The value of a column has no "/".
  bool may_match(const topic_pattern& pattern) const;

private:
  std::vector<part> parts_;
};

} // namespace penstock::config
