#include "config/reload.hpp"

#include "config/check.hpp"

#include <algorithm>

namespace penstock::config {

namespace {

/// The sections of which the settings of a pipeline are, beside its own.
std::vector<std::string> used_by(const ingest& p) { return {"brokers." + p.broker, "databases." + p.database}; }

std::vector<std::string> used_by(const publish& p) {
  return {"brokers." + p.broker, "databases." + p.database, "databases." + tracking_database(p)};
}

std::vector<std::string> used_by(const control& c) { return {"brokers." + c.broker}; }

bool is_below(const std::string& path, const std::string& section) { return path.starts_with(section + "."); }

/// Thresholds: they concern nobody but the alerter.
bool is_of_alerts(const std::string& path) { return is_below(path, "alerts") || path.ends_with(".lag_warning"); }

/// The settings among `changes` that `section` and what it uses have.
std::vector<std::string> settings_of(const std::string& section, const std::vector<std::string>& used,
                                     const std::vector<change>& changes) {
  std::vector<std::string> settings;
  for (const auto& each : changes)
    if (is_of_alerts(each.path))
      continue;
    else if (is_below(each.path, section))
      settings.push_back(each.path.substr(section.size() + 1));
    else if (std::any_of(used.begin(), used.end(), [&](const auto& other) { return is_below(each.path, other); }))
      settings.push_back(each.path);
  return settings;
}

/// Embedded brokers are processes of the node: they stay as they are, and with them the pipelines that would need
/// another one.
class broker_keeper {
public:
  broker_keeper(const configuration& running, configuration& next) : running_(running), next_(next) {}

  void keep() {
    for (const auto& [name, broker] : running_.brokers) {
      const auto found = next_.brokers.find(name);
      if (broker.embedded || (found != next_.brokers.end() && found->second.embedded))
        next_.brokers[name] = broker;
    }
    std::erase_if(next_.brokers,
                  [&](const auto& each) { return each.second.embedded && !running_.brokers.contains(each.first); });
    keep_users(running_.ingest, next_.ingest);
    keep_users(running_.publish, next_.publish);
    if (next_.control && !next_.brokers.contains(next_.control->broker))
      next_.control = running_.control;
    if (!next_.alerts.broker.empty() && !next_.brokers.contains(next_.alerts.broker))
      next_.alerts = running_.alerts;
  }

private:
  template <class Pipeline>
  void keep_users(const std::map<std::string, Pipeline>& running, std::map<std::string, Pipeline>& next) {
    for (auto each = next.begin(); each != next.end();) {
      const auto was = running.find(each->first);
      if (next_.brokers.contains(each->second.broker))
        ++each;
      else if (was == running.end())
        each = next.erase(each);
      else
        (each++)->second = was->second;
    }
  }

  const configuration& running_;
  configuration& next_;
};

/// A share of what the broker takes of all shards changes with every pipeline that comes or goes: those that run keep
/// theirs until they are started anew for another reason.
void keep_shares(const configuration& running, configuration& next) {
  for (auto& [name, pipeline] : next.publish) {
    const auto was = running.publish.find(name);
    if (was != running.publish.end() && !was->second.in_flight_given && !pipeline.in_flight_given)
      pipeline.in_flight_max = was->second.in_flight_max;
  }
}

template <class Pipeline>
void compare(const std::string& section, const std::map<std::string, Pipeline>& running,
             const std::map<std::string, Pipeline>& next, const std::vector<change>& changes, reload_plan& plan) {
  using enum part_change::kind;
  for (const auto& [name, pipeline] : running)
    if (!next.contains(name))
      plan.parts.push_back({removed, section, name, {}});
  for (const auto& [name, pipeline] : next) {
    if (!running.contains(name)) {
      plan.parts.push_back({added, section, name, {}});
      continue;
    }
    auto settings = settings_of(below(section, name), used_by(pipeline), changes);
    if (settings.empty())
      ++plan.unchanged;
    else
      plan.parts.push_back({changed, section, name, std::move(settings)});
  }
}

void compare_control(const configuration& running, const std::vector<change>& changes, reload_plan& plan) {
  using enum part_change::kind;
  const auto& next = plan.next.control;
  if (!next && running.control)
    plan.parts.push_back({removed, "control", {}, {}});
  else if (next && !running.control)
    plan.parts.push_back({added, "control", {}, {}});
  else if (next)
    if (auto settings = settings_of("control", used_by(*next), changes); !settings.empty())
      plan.parts.push_back({changed, "control", {}, std::move(settings)});
}

void compare_alerts(const std::vector<change>& changes, reload_plan& plan) {
  std::vector<std::string> settings;
  for (const auto& each : changes)
    if (is_below(each.path, "alerts"))
      settings.push_back(each.path.substr(std::string_view{"alerts."}.size()));
    else if (each.before.empty() || each.after.empty()) // of what came or went
      continue;
    else if (is_of_alerts(each.path) || is_below(each.path, "brokers." + plan.next.alerts.broker))
      settings.push_back(each.path);
  if (!settings.empty())
    plan.parts.push_back({part_change::kind::changed, "alerts", {}, std::move(settings)});
}

std::string list_of_changes(const std::vector<std::string>& settings) {
  constexpr std::size_t shown_max = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(settings.size(), shown_max); ++i)
    text += (i == 0 ? "" : ", ") + settings[i];
  return settings.size() > shown_max ? text + " and " + std::to_string(settings.size() - shown_max) + " more" : text;
}

} // namespace

std::string part_change::path() const { return name.empty() ? section : below(section, name); }

std::string reload_plan::to_text() const {
  std::string text;
  for (const auto& part : parts) {
    text += part.path();
    switch (part.what) {
    case part_change::kind::added: text += " added, "; break;
    case part_change::kind::removed: text += " removed, "; break;
    case part_change::kind::changed: text += " changed (" + list_of_changes(part.settings) + "), "; break;
    }
  }
  if (log_level)
    text += "log.level is " + next.log.level + ", ";
  return text + std::to_string(unchanged) + (unchanged == 1 ? " pipeline unchanged" : " pipelines unchanged");
}

reload_plan plan_reload(const configuration& running, const configuration& wanted) {
  reload_plan plan;
  plan.next = wanted;
  plan.next.data = running.data;
  plan.next.cluster = running.cluster;
  plan.next.node = running.node;
  plan.next.nodes = running.nodes;
  plan.next.supervision = running.supervision;
  plan.next.log.format = running.log.format;
  broker_keeper{running, plan.next}.keep();
  keep_shares(running, plan.next);
  const auto changes = diff(running, plan.next);
  compare("ingest", running.ingest, plan.next.ingest, changes, plan);
  compare("publish", running.publish, plan.next.publish, changes, plan);
  compare_control(running, changes, plan);
  compare_alerts(changes, plan);
  plan.log_level = running.log.level != plan.next.log.level;
  auto all_wanted = wanted;
  keep_shares(running, all_wanted);
  plan.at_next_start = diff(plan.next, all_wanted);
  return plan;
}

} // namespace penstock::config
