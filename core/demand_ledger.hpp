// The sending side of demand: what may still be sent.
#pragma once

#include "core/assert.hpp"

#include <cstdint>

namespace penstock {

/// Counts records. Demand is granted by the receiver and spent by the sender; overspending is a bug.
class demand_ledger {
public:
  void grant(std::uint64_t records) { available_ += records; }
  void spend(std::uint64_t records) {
    assert_that(records <= available_, "no more is spent than was demanded");
    available_ -= records;
  }
  /// The receiver is gone, and its demand with it.
  void reset() { available_ = 0; }
  std::uint64_t available() const { return available_; }

private:
  std::uint64_t available_ = 0;
};

} // namespace penstock
