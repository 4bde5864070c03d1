// What this process uses: processor time and memory.
#pragma once

#include <cstdint>

namespace penstock::telemetry {

struct process_status {
  std::int64_t pid = 0;
  double cpu_seconds = 0;           ///< user and system, of all threads
  std::uint64_t resident_bytes = 0; ///< 0 where /proc is not there
};
process_status process_now();

} // namespace penstock::telemetry
