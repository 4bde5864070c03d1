// One setting's value as `show` prints it.
#pragma once

#include "config/settings.hpp"

#include <string>

namespace penstock::config {

/// On one line, secrets as "***"; empty where there is nothing to show.
std::string show_value(const setting& setting);

} // namespace penstock::config
