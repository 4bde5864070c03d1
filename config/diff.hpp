// What changed between two configurations.
#pragma once

#include "config/config.hpp"

#include <string>
#include <vector>

namespace penstock::config {

struct change {
  std::string path;   ///< "ingest.telemetry.lag_warning"
  std::string before; ///< as `show` prints it, so secrets are "***"; empty: it was not there
  std::string after;
};

/// Ordered by path.
std::vector<change> diff(const configuration& before, const configuration& after);

} // namespace penstock::config
