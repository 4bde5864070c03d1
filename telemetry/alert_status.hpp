// An alert, as people and programs see it.
#pragma once

#include "core/alert.hpp"
#include "core/types.hpp"

#include <string>
#include <string_view>

namespace penstock::telemetry {

/// Of one rule and one pipeline.
struct alert_status {
  std::string rule;
  std::string pipeline;
  std::string metric; ///< of the configuration: "lag"
  alert_state state = alert_state::unknown;
  double value = 0;     ///< now, in `unit`
  double threshold = 0; ///< likewise
  std::string unit;     ///< "ms", "percent", "rows"
  wall_time since;      ///< when it took this state
  std::string text;     ///< for people: "lag is 7.2 s, over 5s"
};

/// The payload of an alert's topic: one JSON object; docs/operation.md lists its keys, which are stable.
std::string to_json(const alert_status& alert, std::string_view node);

} // namespace penstock::telemetry
