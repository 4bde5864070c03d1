// The node's presence and control over MQTT: a retained status with a last will, commands where configured, and what
// the alerter tells. On a connection of its own, so that control does not share the fate of the data.
//
// Commands, as the text of a message on the control topic:
//   pause [PIPELINE]    stop reading; what was read is committed and acknowledged
//   resume [PIPELINE]
//   status              publish the status (docs/operation.md) on the status topic
//
// Bounded: 64 commands wait at most, of 256 bytes each; what comes beyond that is dropped, counted and told in the log.
#pragma once

#include "actors/supervisor.hpp"
#include "config/config.hpp"
#include "core/mailbox_limit.hpp"
#include "mqtt/presence.hpp"
#include "telemetry/board.hpp"

#include <memory>
#include <string>

namespace penstock::actors {

struct presence_config {
  std::string name = "presence";
  mqtt::presence_options connection;
  telemetry::board* board = nullptr; ///< both outlive the actor
  actor_directory* directory = nullptr;
};

struct presence_state {
  static inline const char* name = "presence";
  presence_config config;
  std::unique_ptr<mqtt::presence> connection;
  std::shared_ptr<mailbox_limit> commands; ///< that wait in the mailbox

  void on_command(const std::string& command);
  /// To the ingestors of the pipeline, or of all where none is named; false: there is none of this name.
  bool tell_pipelines(bool pause, const std::string& pipeline) const;
};

caf::behavior presence(caf::stateful_actor<presence_state>* self, presence_config config);

child_spec presence_child(presence_config config);

} // namespace penstock::actors
