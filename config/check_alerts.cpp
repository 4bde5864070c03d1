#include "config/alert_rule.hpp"
#include "config/check.hpp"
#include "config/topic_pattern.hpp"

#include <algorithm>
#include <array>

namespace penstock::config {

namespace {

void check_topic(const alerts& a, findings& problems) {
  constexpr const char* path = "alerts.topic";
  if (!problems.sound(path))
    return;
  constexpr std::array known{"node", "rule", "pipeline"};
  const auto is_fit = [&](const topic_pattern::level& l) {
    using kind = topic_pattern::level::kind;
    return l.what == kind::text ||
           (l.what == kind::name && std::find(known.begin(), known.end(), l.text) != known.end());
  };
  const auto pattern = topic_pattern::parse(a.topic);
  if (!pattern || !std::all_of(pattern->levels().begin(), pattern->levels().end(), is_fit))
    return problems.add(path, "must be one topic, in which {node}, {rule} and {pipeline} may stand for a level; no + "
                              "and #");
  const auto names = pattern->names();
  for (const char* name : {"rule", "pipeline"})
    if (std::find(names.begin(), names.end(), name) == names.end())
      problems.add(path, "needs a level {" + std::string{name} +
                           "}: an alert is retained, and another one would take its place");
}

void check_pipelines(const configuration& c, const alert_rule& rule, const std::string& path, findings& problems) {
  std::vector<std::string> names;
  names.reserve(c.ingest.size() + c.publish.size());
  for (const auto& entry : c.ingest)
    names.push_back(entry.first);
  for (const auto& entry : c.publish)
    names.push_back(entry.first);
  for (std::size_t i = 0; i < rule.pipelines.size(); ++i) {
    const std::string& name = rule.pipelines[i];
    const std::string here = below(path, i);
    if (!problems.sound(here))
      continue;
    if (std::find(names.begin(), names.end(), name) == names.end())
      problems.add(here, problems.written(here) + " is no pipeline" + did_you_mean(name, names) +
                           "; there is: " + list_of(names));
    else if (is_of_publish(rule.when) && !c.publish.contains(name))
      problems.add(here, problems.written(here) + " is under `ingest`, and " + std::string{name_of(rule.when)} +
                           " is something of pipelines under `publish`");
  }
}

} // namespace

void check_alerts(const configuration& c, findings& problems) {
  check_topic(c.alerts, problems);
  if (c.alerts.topic != alerts{}.topic && c.alerts.broker.empty() && problems.sound("alerts.broker"))
    problems.add("alerts.topic", "is for `broker`, which is missing, so that nothing is published");
  const auto presets = alert_presets();
  for (const auto& [name, rule] : c.alerts.rules) {
    const std::string path = "alerts.rules." + name;
    const auto preset = presets.find(name);
    if (preset != presets.end() && preset->second.when != rule.when && problems.sound(below(path, "when")))
      problems.add(below(path, "when"), "is always " + std::string{name_of(preset->second.when)} +
                                          " for this rule; give one on something else another name");
    check_pipelines(c, rule, below(path, "pipelines"), problems);
  }
}

} // namespace penstock::config
