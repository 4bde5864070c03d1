#include "config/alert_rule.hpp"

#include "config/value.hpp"

namespace penstock::config {

namespace {

constexpr std::uint64_t duration_max_ms = 7ull * 24 * 3'600'000;
constexpr std::uint64_t percent_max = 10'000;

error must_be(std::string text) { return {errc::configuration, "must be " + std::move(text) + ", or never"}; }

bool is_duration(alert_metric metric) { return metric == alert_metric::lag || metric == alert_metric::outage; }

} // namespace

std::map<std::string, alert_rule> alert_presets() {
  std::map<std::string, alert_rule> rules;
  const auto add = [&](const std::string& name, alert_metric when, std::uint64_t over) {
    rules[name] = {.name = name, .when = when, .over = over, .hold = milliseconds{0}, .pipelines = {}};
  };
  add(lag_rule, alert_metric::lag, 5'000);
  add("failing", alert_metric::failure_rate, 100);
  add("tracking", alert_metric::tracking_rows, 10'000'000);
  return rules;
}

const std::vector<alert_metric>& alert_metrics() {
  static const std::vector<alert_metric> all{alert_metric::lag, alert_metric::outage, alert_metric::failure_rate,
                                             alert_metric::tracking_rows};
  return all;
}

std::string_view name_of(alert_metric metric) noexcept {
  switch (metric) {
  case alert_metric::none: break;
  case alert_metric::lag: return "lag";
  case alert_metric::outage: return "outage";
  case alert_metric::failure_rate: return "failure_rate";
  case alert_metric::tracking_rows: return "tracking_rows";
  }
  return {};
}

std::string_view unit_of(alert_metric metric) noexcept {
  return is_duration(metric) ? "ms" : metric == alert_metric::failure_rate ? "percent" : "rows";
}

bool is_of_publish(alert_metric metric) noexcept { return metric == alert_metric::tracking_rows; }

result<std::optional<std::uint64_t>> parse_threshold(alert_metric metric, std::string_view text) {
  using threshold = std::optional<std::uint64_t>;
  if (text == "never" || metric == alert_metric::none)
    return threshold{};
  if (is_duration(metric)) {
    const auto duration = parse_duration(text);
    if (!duration || duration->count() < 1 || static_cast<std::uint64_t>(duration->count()) > duration_max_ms)
      return must_be("a duration from 1ms to 7d, such as 5s");
    return threshold{static_cast<std::uint64_t>(duration->count())};
  }
  if (metric == alert_metric::failure_rate) {
    const auto share = parse_percentage(text);
    if (!share || *share >= percent_max)
      return must_be("a percentage from 0% to below 100%, such as 1% or 0.25%");
    return threshold{*share};
  }
  const auto count = parse_count(text);
  if (!count)
    return must_be("a number, such as 500, 20k or 10M");
  return threshold{*count};
}

std::string threshold_to_text(alert_metric metric, std::optional<std::uint64_t> threshold) {
  if (!threshold)
    return "never";
  if (is_duration(metric))
    return to_text(milliseconds{static_cast<std::int64_t>(*threshold)});
  return metric == alert_metric::failure_rate ? percentage_to_text(*threshold) : count_to_text(*threshold);
}

std::optional<std::uint64_t> threshold_of(const alert_rule& rule, milliseconds lag_warning) {
  if (rule.over && rule.name == lag_rule)
    return static_cast<std::uint64_t>(lag_warning.count());
  return rule.over;
}

} // namespace penstock::config
