#include "decode/decoder.hpp"

namespace penstock::decode {

result<topic_pattern> topic_pattern::parse(std::string_view pattern) {
  auto parsed = config::topic_pattern::parse(pattern);
  if (!parsed)
    return parsed.error();
  return topic_pattern{*std::move(parsed)};
}

bool topic_pattern::match(std::string_view topic, std::vector<std::string_view>& values) const {
  using kind = config::topic_pattern::level::kind;
  values.clear();
  const auto& levels = pattern_.levels();
  // $SYS and its like belong to the broker: only who names them gets them.
  if (topic.starts_with('$') && levels.front().what != kind::text)
    return false;
  bool more = true;
  for (const auto& level : levels) {
    if (level.what == kind::rest)
      return true;
    if (!more)
      return false;
    const auto slash = topic.find('/');
    const auto text = topic.substr(0, slash);
    if (level.what == kind::text && text != level.text)
      return false;
    if (level.what == kind::name)
      values.push_back(text);
    more = slash != std::string_view::npos;
    if (more)
      topic.remove_prefix(slash + 1);
  }
  return !more;
}

} // namespace penstock::decode
