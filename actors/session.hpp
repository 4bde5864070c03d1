// What an ingestor needs of an MQTT session: mqtt::client in the program, a scripted one in tests.
#pragma once

#include "core/session_record.hpp"
#include "core/types.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace penstock::mqtt {
struct burst;
struct connection_state;
} // namespace penstock::mqtt

namespace penstock::actors {

/// See mqtt::client for the contract of each call.
class session {
public:
  virtual ~session() = default;
  virtual void start() = 0;
  virtual void release(sequence last) = 0;
  virtual void pause(std::function<void()> done) = 0;
  virtual void resume() = 0;
  virtual void stop(std::function<void()> done) = 0;
  /// As stop, and the broker is to end the session; of MQTT 3.1.1 it cannot be asked.
  virtual void forget(std::function<void()> done) = 0;
};

/// Called on a thread of the session's choice.
struct session_handlers {
  std::function<void(std::shared_ptr<const mqtt::burst>)> on_burst;
  std::function<void(const mqtt::connection_state&)> on_state;
  std::function<void(const std::string& refused)> on_settled;
  std::function<void()> on_drained; ///< with purpose drain
};

/// Which session is to be opened, and what for.
struct session_request {
  enum class purpose : std::uint8_t {
    receive, ///< a shard's
    drain,   ///< of a shard that is no more: what the broker has for it
    forget,  ///< what there is of the session goes with the CONNECT (MQTT 3.1.1)
  };
  session_record record;          ///< its filters: those to subscribe to
  std::vector<std::string> stale; ///< filters that it may have, and is to lose
  purpose what = purpose::receive;
};

using session_factory = std::function<std::unique_ptr<session>(session_request request, session_handlers handlers)>;

} // namespace penstock::actors
