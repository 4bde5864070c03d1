// What the node knows of itself, for people: actors write here, and /metrics, /status, `penstock status` and the control topic read it.
// Lives as long as the process, so that a restarted actor goes on counting, and a stalled one can still be looked at.
// Thread-safe.
#pragma once

#include "core/types.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace penstock::telemetry {

/// Changes to the conservation counters of one shard, made as one: nobody sees half of it.
struct account_delta {
  std::uint64_t received = 0;
  std::uint64_t committed = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t dead_lettered = 0;
  std::uint64_t in_flight = 0; ///< not a delta: what the ack ledger holds after the change
};

/// received = committed + duplicate + dead_lettered + rejected + in_flight, if all is well.
struct account {
  std::uint64_t received = 0;
  std::uint64_t committed = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t dead_lettered = 0;
  std::map<std::string, std::uint64_t> rejected; ///< by reason
  std::uint64_t in_flight = 0;                   ///< measured, never computed as the difference
  bool balanced() const;
};

} // namespace penstock::telemetry
