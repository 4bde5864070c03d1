// UTF-8 for databases that refuse text that is none.
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

namespace penstock::storage {

/// The text with '?' for every byte that is not part of UTF-8, cut to at most `bytes_max` between two characters.
std::string to_utf8(std::string_view text, std::size_t bytes_max = std::numeric_limits<std::size_t>::max());

} // namespace penstock::storage
