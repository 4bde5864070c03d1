// The metrics of alert rules, and the form and unit of their thresholds:
//
//   lag, outage     a duration: "5s"              milliseconds
//   failure_rate    a percentage: "1%", "0.25%"   hundredths of a percent
//   tracking_rows   a number: "500", "10M"        rows
//
// Each may be "never": the rule is off.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::config {

/// All but `none`.
const std::vector<alert_metric>& alert_metrics();
/// "lag", ...: the words of the configuration.
std::string_view name_of(alert_metric metric) noexcept;
/// "ms", "percent", "rows"
std::string_view unit_of(alert_metric metric) noexcept;
/// Only publish pipelines have it.
bool is_of_publish(alert_metric metric) noexcept;

result<std::optional<std::uint64_t>> parse_threshold(alert_metric metric, std::string_view text);
/// As the configuration writes it.
std::string threshold_to_text(alert_metric metric, std::optional<std::uint64_t> threshold);

/// The threshold that a rule has for a pipeline whose lag_warning this is; nothing: the rule is off.
std::optional<std::uint64_t> threshold_of(const alert_rule& rule, milliseconds lag_warning);

} // namespace penstock::config
