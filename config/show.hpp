// Values as YAML, on one line.
#pragma once

#include "config/settings.hpp"

#include <string>

namespace penstock::config {

/// On one line, secrets as "***"; empty where there is nothing to show.
std::string show_value(const setting& setting);

/// A text as the file would have it: in quotes where it could be taken for something else, and `${` escaped.
std::string text_to_yaml(const std::string& text);

} // namespace penstock::config
