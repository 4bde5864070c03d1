// How the parts of a pipeline are, whatever its direction.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::telemetry {

struct connection_status {
  bool connected = false;
  bool session_present = false;
  std::uint8_t protocol = 0;       ///< 4: MQTT 3.1.1, 5: MQTT 5, 0: never connected
  std::string reason = "starting"; ///< why it is not connected; empty while it is
  std::uint64_t connects = 0;      ///< in this process, over all incarnations of the ingestor
  std::uint64_t sessions_lost = 0; ///< connects where the broker had forgotten the session
};

enum class writer_state : std::uint8_t {
  running,
  waiting, ///< cannot write now and tries again by itself (database locked, full, away)
  stopped, ///< a person must change something
};
std::string_view name_of(writer_state state) noexcept; ///< "running", ...

} // namespace penstock::telemetry
