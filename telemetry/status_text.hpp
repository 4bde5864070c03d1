// The status as a terminal shows it: at most 100 columns wide where names are of usual length.
#pragma once

#include "core/result.hpp"

#include <string>
#include <string_view>

namespace penstock::telemetry {

/// From the JSON of `to_json` or GET /status, also of another version: what is missing shows as empty or 0.
/// payload_malformed where it is not a status.
result<std::string> status_text(std::string_view json);

} // namespace penstock::telemetry
