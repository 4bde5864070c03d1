#include "config/diff.hpp"

#include "config/findings.hpp"
#include "config/settings.hpp"
#include "config/show.hpp"

#include <map>

namespace penstock::config {

namespace {

struct leaf {
  std::string text;  ///< as printed
  std::string exact; ///< as compared
};
using leaves = std::map<std::string, leaf>;

void collect(const section& settings, const std::string& path, leaves& into) {
  for (const setting& s : settings) {
    const std::string here = below(path, s.name);
    if (const auto* inner = std::get_if<section>(&s.value)) {
      collect(*inner, here, into);
    } else if (const auto* some = std::get_if<optional_section>(&s.value)) {
      if (some->has())
        collect(some->get(), here, into);
    } else if (const auto* named = std::get_if<named_sections>(&s.value)) {
      for (const auto& [name, one] : named->all())
        collect(one, below(here, name), into);
    } else if (const std::string text = show_value(s); !text.empty()) {
      const auto* hidden = std::get_if<secret*>(&s.value);
      into[here] = {text, hidden == nullptr ? text : (*hidden)->value};
    }
  }
}

leaves leaves_of(const configuration& c) {
  configuration whole = c;
  leaves all;
  collect(describe(whole), "", all);
  return all;
}

} // namespace

std::vector<change> diff(const configuration& before, const configuration& after) {
  const leaves was = leaves_of(before);
  leaves is = leaves_of(after);
  std::map<std::string, change> changes;
  for (const auto& [path, old] : was) {
    const auto found = is.find(path);
    if (found == is.end())
      changes[path] = {path, old.text, ""};
    else if (found->second.exact != old.exact)
      changes[path] = {path, old.text, found->second.text};
    if (found != is.end())
      is.erase(found);
  }
  for (const auto& [path, fresh] : is)
    changes[path] = {path, "", fresh.text};
  std::vector<change> ordered;
  ordered.reserve(changes.size());
  for (auto& entry : changes)
    ordered.push_back(std::move(entry.second));
  return ordered;
}

} // namespace penstock::config
