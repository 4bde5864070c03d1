#include "config/topic_template.hpp"

#include <algorithm>

namespace penstock::config {

namespace {

error wrong(std::string text) { return {errc::configuration, std::move(text)}; }

/// A level of the topic: what it begins and ends with. Without columns it is `begin` alone.
struct level_shape {
  std::string begin;
  std::string end;
  bool has_column = false;

  bool may_be(const std::string& text) const {
    if (!has_column)
      return text == begin;
    return text.size() >= begin.size() + end.size() && text.starts_with(begin) && text.ends_with(end);
  }
};

std::vector<level_shape> levels_of(const std::vector<topic_template::part>& parts) {
  std::vector<level_shape> levels(1);
  for (const auto& part : parts) {
    if (part.is_column) {
      levels.back().has_column = true;
      levels.back().end.clear();
      continue;
    }
    for (const char c : part.text) {
      if (c == '/')
        levels.emplace_back();
      else
        (levels.back().has_column ? levels.back().end : levels.back().begin) += c;
    }
  }
  return levels;
}

} // namespace

result<topic_template> topic_template::parse(std::string_view text) {
  if (text.empty())
    return wrong("a topic must not be empty");
  if (text.size() > 65'535)
    return wrong("a topic has at most 65535 bytes");
  if (text.find('\0') != std::string_view::npos)
    return wrong("a topic must not contain the character 0");
  if (text.starts_with('$'))
    return wrong("a topic that begins with $ is the broker's own; begin with something else");
  topic_template made;
  while (!text.empty()) {
    const auto brace = std::min(text.find_first_of("{}"), text.size());
    if (brace > 0) {
      const std::string_view fixed = text.substr(0, brace);
      if (fixed.find_first_of("+#") != std::string_view::npos)
        return wrong("a message has one topic; + and # are for subscriptions");
      made.parts_.push_back({false, std::string{fixed}});
      text.remove_prefix(brace);
      continue;
    }
    const auto end = text.find_first_of("{}", 1);
    if (text.front() != '{' || end == std::string_view::npos || text[end] != '}')
      return wrong("every { needs its }, with the name of a column between them");
    if (end == 1)
      return wrong("between { and } stands the name of a column");
    made.parts_.push_back({true, std::string{text.substr(1, end - 1)}});
    text.remove_prefix(end + 1);
  }
  return made;
}

bool topic_template::may_match(const topic_pattern& pattern) const {
  using kind = topic_pattern::level::kind;
  const auto own = levels_of(parts_);
  const auto& wanted = pattern.levels();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    // # takes the level above it as well.
    if (wanted[i].what == kind::rest)
      return true;
    if (i == own.size() || (wanted[i].what == kind::text && !own[i].may_be(wanted[i].text)))
      return false;
  }
  return wanted.size() == own.size();
}

} // namespace penstock::config
