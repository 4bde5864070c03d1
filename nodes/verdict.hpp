// What the verdicts of `penstock verify` have in common: how they are printed, and who offends.
#pragma once

#include "core/histogram.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::nodes {

/// A line of the ledger that speaks against the verdict. At most `offenders_max` of a kind are named.
struct offender {
  std::string what;
  std::size_t line = 0;
  std::vector<std::string> values; ///< of the key; in memory there are only fingerprints, see name_offenders
};
inline constexpr std::size_t offenders_max = 10;

/// Gets a line's number in the file and its values; false: enough.
using value_visitor = std::function<bool(std::size_t number, const std::vector<std::string>& values)>;
/// Fills in the values of the offenders from the ledger that `read` reads line by line.
void name_offenders(std::vector<offender>& offenders, const std::function<void(const value_visitor&)>& read);

/// {what, line, and key: {column: value}}
nlohmann::ordered_json offender_json(const offender& one, const std::vector<std::string>& key);
void print_offender(std::ostream& out, const offender& one, const std::vector<std::string>& key);

/// "  missing                     1,234  more"
void print_count(std::ostream& out, std::string_view what, std::uint64_t number, std::string_view more = "");

/// Of microseconds, in milliseconds: {samples, p50, p90, p99, max}
nlohmann::ordered_json latency_json(const histogram& microseconds);
/// "  WHAT: p50 1.0 ms, ..."; nothing where there are no samples.
void print_latency(std::ostream& out, std::string_view what, const histogram& microseconds);

} // namespace penstock::nodes
