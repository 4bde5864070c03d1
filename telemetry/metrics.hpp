// A snapshot as Prometheus text exposition (version 0.0.4). docs/operation.md lists the metrics.
#pragma once

#include "telemetry/board.hpp"

#include <string>

namespace penstock::telemetry {

inline constexpr const char* metrics_content_type = "text/plain; version=0.0.4; charset=utf-8";

std::string to_prometheus(const snapshot& snapshot);

} // namespace penstock::telemetry
