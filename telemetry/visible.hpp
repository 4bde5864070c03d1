// What came from outside, made fit to be shown on one line.
#pragma once

#include <string>
#include <string_view>

namespace penstock::telemetry {

/// Line breaks as \n and other control characters as \x1b: nobody forges a second line, or steers a terminal.
std::string visible(std::string_view text);

} // namespace penstock::telemetry
