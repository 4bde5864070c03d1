// What changed between two texts, as `diff -U0` prints it.
#pragma once

#include <string>
#include <string_view>

namespace penstock::nodes {

/// All that lies between the first and the last line that differ is one change. Empty where nothing differs.
std::string difference(const std::string& file, std::string_view before, std::string_view after);

} // namespace penstock::nodes
