// Watches a mosquitto that this node started, and starts it again when it ends. Detached: starting waits for the port.
#pragma once

#include "actors/supervisor.hpp"
#include "mqtt/embedded_broker.hpp"
#include "telemetry/board.hpp"

#include <memory>
#include <string>

namespace penstock::actors {

struct embedded_broker_state {
  static inline const char* name = "embedded-broker";
};

/// `process` is running; a broker that cannot be started again fails the actor. Killing the actor leaves the process
/// alone.
caf::behavior embedded_broker(caf::stateful_actor<embedded_broker_state>* self, const std::string& name,
                              const std::shared_ptr<mqtt::embedded_broker>& process, telemetry::board* board);

/// "broker/NAME"
child_spec embedded_broker_child(const std::string& name, const std::shared_ptr<mqtt::embedded_broker>& process,
                                 telemetry::board& board);

} // namespace penstock::actors
