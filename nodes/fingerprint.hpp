// Keys as 128 bits each: so that a million of them fit into little memory.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

namespace penstock::nodes {

/// Enough that no two keys of a ledger meet.
struct fingerprint {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend auto operator<=>(const fingerprint&, const fingerprint&) = default; // NOLINT(modernize-use-nullptr)
};

/// Of the values and their lengths.
fingerprint fingerprint_of(const std::vector<std::string>& values);

} // namespace penstock::nodes
