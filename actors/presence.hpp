// The node's presence and control over MQTT: a retained status with a last will, and, where configured, commands. On a
// connection of its own, so that control does not share the fate of the data.
//
// Commands (the payload of a message on the control topic, as text or as {"command": "..."}):
//   pause [PIPELINE]    stop reading; what was read is committed
//   resume [PIPELINE]
//   status              publishes the status JSON to CONTROL_TOPIC/status
#pragma once

#include "actors/supervisor.hpp"
#include "config/config.hpp"
#include "telemetry/board.hpp"

#include <memory>
#include <string>

namespace penstock::mqtt {
class presence;
}

namespace penstock::actors {

struct presence_state {
  static inline const char* name = "presence";
  presence_state();
  ~presence_state();
  presence_state(const presence_state&) = delete;
  presence_state& operator=(const presence_state&) = delete;

  std::unique_ptr<mqtt::presence> connection;
  config::configuration configuration;
  telemetry::board* board = nullptr;
  actor_directory* directory = nullptr;

  void on_command(const std::string& text);
};

/// For a configuration with `control`. `board` and `directory` outlive the actor.
child_spec presence_child(const config::configuration& configuration, telemetry::board& board, actor_directory& directory);

} // namespace penstock::actors
