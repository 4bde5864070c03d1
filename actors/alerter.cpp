#include "actors/alerter.hpp"

#include "config/alert_rule.hpp"
#include "core/assert.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace penstock::actors {

using namespace messages;
using config::alert_metric;

namespace {

constexpr const char* component = "alerter";

double in_ms(monotonic::duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

std::string value_text(alert_metric metric, double value) {
  const auto unit = config::unit_of(metric);
  if (unit == "ms")
    return fmt::format("{:.1f} s", value / 1'000);
  return unit == "percent" ? fmt::format("{:.2f} %", value) : fmt::format("{:.0f}", value);
}

bool goes_for(const config::alert_rule& rule, const std::string& pipeline) {
  return rule.pipelines.empty() ||
         std::find(rule.pipelines.begin(), rule.pipelines.end(), pipeline) != rule.pipelines.end();
}

} // namespace

std::string alerter_config::validate() const {
  if (name.empty() || board == nullptr || directory == nullptr)
    return "an alerter needs a name, a board and a directory";
  if (topic && presence.empty())
    return name + ": a topic needs a presence";
  if (look_every.count() <= 0)
    return name + ": look_every must be positive";
  return {};
}

alerter_config alerter_config_of(const config::configuration& configuration) {
  alerter_config made;
  made.node = configuration.node.name;
  for (const auto& [unused, rule] : configuration.alerts.rules)
    if (rule.over)
      made.rules.push_back(rule);
  if (auto topic = config::topic_pattern::parse(configuration.alerts.topic);
      topic && !configuration.alerts.broker.empty())
    made.topic = std::move(*topic);
  for (const auto& [name, pipeline] : configuration.ingest)
    made.lag_warnings[name] = pipeline.lag_warning;
  for (const auto& [name, pipeline] : configuration.publish)
    made.lag_warnings[name] = pipeline.lag_warning;
  return made;
}

monotonic alerter_state::now() const { return self->clock().now(); }

alerter_state::reading alerter_state::read_common(const std::string& pipeline, std::uint64_t failed,
                                                  std::uint64_t ended, const std::vector<std::string>& troubles) {
  auto& history = histories[pipeline];
  history.failures.sample(failed, ended, now());
  if (troubles.empty())
    history.down_since.reset();
  else if (!history.down_since)
    history.down_since = now();
  reading seen;
  seen.pipeline = pipeline;
  seen.values[alert_metric::failure_rate] = history.failures.share() * 100;
  seen.values[alert_metric::outage] = history.down_since ? in_ms(now() - *history.down_since) : 0;
  if (!troubles.empty())
    seen.trouble = troubles.front();
  return seen;
}

alerter_state::reading alerter_state::read(const telemetry::pipeline_status& pipeline) {
  const auto& account = pipeline.account;
  auto seen = read_common(pipeline.name, account.dead_lettered,
                          account.committed + account.duplicate + account.dead_lettered, unready_of(pipeline));
  seen.values[alert_metric::lag] = in_ms(pipeline.lag);
  return seen;
}

alerter_state::reading alerter_state::read(const telemetry::publish_status& pipeline) {
  const auto failed = pipeline.account.refused + pipeline.account.held;
  auto seen = read_common(pipeline.name, failed, pipeline.account.sent + failed, unready_of(pipeline));
  seen.values[alert_metric::lag] = in_ms(pipeline.oldest);
  seen.values[alert_metric::tracking_rows] = static_cast<double>(pipeline.tracking_rows);
  return seen;
}

/// What an alerter said that ended: nothing is raised twice, and what has no rule any more is cleared.
void alerter_state::take_over(std::vector<telemetry::alert_status> former) {
  for (auto& status : former) {
    const auto rule = std::find_if(config.rules.begin(), config.rules.end(),
                                   [&](const auto& each) { return each.name == status.rule; });
    const auto hold = rule == config.rules.end() ? std::chrono::milliseconds{0} : rule->hold;
    key name{status.rule, status.pipeline};
    alerts.try_emplace(std::move(name), watched{alert{hold, status.state}, std::move(status)});
  }
}

alerter_state::watched& alerter_state::alert_of(const config::alert_rule& rule, const std::string& pipeline) {
  const auto [entry, is_new] = alerts.try_emplace({rule.name, pipeline}, watched{alert{rule.hold}, {}});
  auto& status = entry->second.status;
  if (is_new) {
    status.rule = rule.name;
    status.pipeline = pipeline;
    status.since = wall_now();
  }
  status.metric = config::name_of(rule.when);
  status.unit = config::unit_of(rule.when);
  return entry->second;
}

void alerter_state::judge(const reading& seen) {
  for (const auto& rule : config.rules) {
    const auto value = seen.values.find(rule.when);
    if (value == seen.values.end() || !goes_for(rule, seen.pipeline))
      continue;
    const auto lag_warning = config.lag_warnings.find(seen.pipeline);
    const auto over = lag_warning == config.lag_warnings.end() ? rule.over : threshold_of(rule, lag_warning->second);
    auto& watched = alert_of(rule, seen.pipeline);
    auto& status = watched.status;
    const bool was_raised = status.state == alert_state::raised;
    status.value = std::round(value->second * 100) / 100;
    status.threshold = static_cast<double>(*over) / (rule.when == alert_metric::failure_rate ? 100 : 1);
    const bool is_over = value->second > status.threshold;
    status.text = fmt::format("{} {}, {}over {}", status.metric, value_text(rule.when, status.value),
                              is_over ? "" : "not ", threshold_to_text(rule.when, over));
    if (rule.when == alert_metric::outage && !seen.trouble.empty())
      status.text += ": " + seen.trouble;
    watched.seen = true;
    if (watched.state.look(is_over, now()))
      changed(watched, was_raised);
  }
}

void alerter_state::changed(watched& alert, bool was_raised) {
  auto& status = alert.status;
  const auto before = std::exchange(status.since, wall_now());
  status.state = alert.state.state();
  alert.told = false;
  if (status.state == alert_state::raised)
    log::warning(component, config.name, "{} of {} is raised: {}", status.rule, status.pipeline, status.text);
  else if (was_raised)
    log::info(component, config.name, "{} of {} is cleared after {} s: {}", status.rule, status.pipeline,
              std::chrono::duration_cast<std::chrono::seconds>(status.since - before).count(), status.text);
}

/// Nobody is left in doubt by a topic that says raised of a pipeline or a rule that is not there any more.
void alerter_state::clear_gone() {
  for (auto& [unused, alert] : alerts)
    if (!alert.seen && alert.status.state == alert_state::raised) {
      alert.status.text = "the pipeline or the rule is gone";
      alert.state = penstock::alert{{}, alert_state::cleared};
      changed(alert, true);
    }
}

void alerter_state::forget_gone() {
  std::erase_if(histories, [this](const auto& each) {
    return std::none_of(alerts.begin(), alerts.end(),
                        [&](const auto& alert) { return alert.first.second == each.first && alert.second.seen; });
  });
  std::erase_if(alerts, [this](const auto& each) {
    const auto& alert = each.second;
    const bool is_to_be_told = config.topic && !alert.told && alert.status.state != alert_state::unknown;
    return !alert.seen && !is_to_be_told;
  });
}

void alerter_state::tell_presence() {
  if (!config.topic)
    return;
  const auto presence = config.directory->find(config.presence);
  if (!presence)
    return;
  const bool is_new = presence.address() != known_presence;
  known_presence = presence.address();
  for (auto& [unused, alert] : alerts) {
    const auto& status = alert.status;
    if (status.state == alert_state::unknown || (alert.told && !is_new))
      continue;
    const auto topic =
      config.topic->topic({{"node", config.node}, {"rule", status.rule}, {"pipeline", status.pipeline}});
    caf::anon_send(presence, retain_atom_v, topic, to_json(status, config.node));
    alert.told = true;
  }
}

void alerter_state::on_check() {
  const auto snapshot = config.board->snapshot(wall_now(), now());
  for (const auto& pipeline : snapshot.pipelines)
    judge(read(pipeline));
  for (const auto& pipeline : snapshot.publishes)
    judge(read(pipeline));
  clear_gone();
  tell_presence();
  forget_gone();
  std::vector<telemetry::alert_status> shown;
  shown.reserve(alerts.size());
  for (auto& [unused, alert] : alerts) {
    shown.push_back(alert.status);
    alert.seen = false;
  }
  config.board->alerts(std::move(shown));
  self->delayed_send(self, config.look_every, check_atom_v);
}

alerter_actor::behavior_type alerter(alerter_actor::stateful_pointer<alerter_state> self, alerter_config config) {
  set_quiet_handlers(self);
  const auto wrong = config.validate();
  assert_that(wrong.empty(), wrong.c_str());
  auto& state = self->state;
  state.self = self;
  state.config = std::move(config);
  state.take_over(state.config.board->snapshot().alerts);
  on_exit_message(self, [self](const caf::error& reason) { self->quit(reason); });
  self->send(self, check_atom_v);
  return {
    [self](check_atom) { self->state.on_check(); },
  };
}

} // namespace penstock::actors
