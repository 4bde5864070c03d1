#include "config/topic_pattern.hpp"

#include "config/value.hpp"

#include <algorithm>

namespace penstock::config {

namespace {

using level = topic_pattern::level;

error wrong(std::string text) { return {errc::configuration, std::move(text)}; }

result<level> parse_level(std::string_view text) {
  if (text == "+")
    return level{level::kind::one, {}};
  if (text == "#")
    return level{level::kind::rest, {}};
  if (text.find_first_of("+#") != std::string_view::npos)
    return wrong("+ and # stand for whole levels; nothing else may be in their level");
  if (text.find_first_of("{}") == std::string_view::npos)
    return level{level::kind::text, std::string{text}};
  const bool whole = text.size() > 2 && text.front() == '{' && text.back() == '}';
  if (!whole || !is_identifier(text.substr(1, text.size() - 2)))
    return wrong("{NAME} stands for a whole level, and NAME has only letters, digits and _");
  return level{level::kind::name, std::string{text.substr(1, text.size() - 2)}};
}

} // namespace

result<topic_pattern> topic_pattern::parse(std::string_view pattern) {
  if (pattern.empty())
    return wrong("a topic must not be empty");
  if (pattern.size() > 65'535)
    return wrong("a topic has at most 65535 bytes");
  if (pattern.find('\0') != std::string_view::npos)
    return wrong("a topic must not contain the character 0");
  if (pattern.starts_with("$share/"))
    return wrong("write the topic without $share: `shards` makes the shared subscription");
  topic_pattern made;
  for (std::size_t from = 0; from <= pattern.size();) {
    const auto to = std::min(pattern.find('/', from), pattern.size());
    auto next = parse_level(pattern.substr(from, to - from));
    if (!next)
      return next.error();
    if (next->what == level::kind::rest && to != pattern.size())
      return wrong("# must be the last level");
    if (next->what == level::kind::name &&
        std::find(made.levels_.begin(), made.levels_.end(), *next) != made.levels_.end())
      return wrong("a {NAME} stands twice; give each level its own");
    made.levels_.push_back(std::move(*next));
    from = to + 1;
  }
  return made;
}

std::string topic_pattern::filter() const {
  std::string text;
  for (const level& l : levels_) {
    if (&l != &levels_.front())
      text += '/';
    text += l.what == level::kind::text ? l.text : l.what == level::kind::rest ? "#" : "+";
  }
  return text;
}

std::string topic_pattern::topic(const std::map<std::string, std::string>& values) const {
  std::string text;
  for (const level& l : levels_) {
    if (&l != &levels_.front())
      text += '/';
    const auto value = l.what == level::kind::name ? values.find(l.text) : values.end();
    if (value != values.end())
      text += value->second;
    else
      text += l.what == level::kind::text   ? l.text
              : l.what == level::kind::rest ? "#"
              : l.what == level::kind::one  ? "+"
                                            : "{" + l.text + "}";
  }
  return text;
}

std::vector<std::string> topic_pattern::names() const {
  std::vector<std::string> all;
  for (const level& l : levels_)
    if (l.what == level::kind::name)
      all.push_back(l.text);
  return all;
}

} // namespace penstock::config
