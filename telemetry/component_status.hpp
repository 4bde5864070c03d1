// How the parts of a pipeline are, whatever its direction.
#pragma once

#include "core/types.hpp"

#include <cstdint>
#include <mutex>
#include <optional>
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

/// Of who works on a database: a batch-writer, a poller.
struct worker_status {
  writer_state state = writer_state::waiting;
  std::string reason = "starting"; ///< empty while it runs
  std::string last_error;          ///< stays after it has passed
  std::optional<wall_time> last_error_at;
};

/// Where it says so. Thread-safe; `Status` is a worker_status.
template <class Status>
class worker_board {
public:
  void running() { become(writer_state::running, {}); }
  void waiting(std::string_view reason) { become(writer_state::waiting, reason); }
  void stopped(std::string_view reason) { become(writer_state::stopped, reason); }
  void failed(std::string_view error, wall_time now) {
    std::lock_guard lock{mutex_};
    status_.last_error = error;
    status_.last_error_at = now;
  }

protected:
  worker_board() = default;
  ~worker_board() = default;

  mutable std::mutex mutex_;
  Status status_;

private:
  void become(writer_state state, std::string_view reason) {
    std::lock_guard lock{mutex_};
    status_.state = state;
    status_.reason = reason;
  }
};

} // namespace penstock::telemetry
