// The alerter of a node: looks at the board once a second, holds what it sees against the alert rules, and tells when
// an alert is raised or cleared: in the log, on the board, and on a topic where one is configured (by a presence, whose
// connection it uses). Blocks on nothing.
//
// The state of an alert is retained on its topic. A presence that is new is told all of them.
#pragma once

#include "actors/directory.hpp"
#include "config/config.hpp"
#include "config/topic_pattern.hpp"
#include "core/alert.hpp"
#include "messages/messages.hpp"
#include "telemetry/board.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace penstock::actors {

struct alerter_config {
  std::string name = "alerter";
  std::string node;                                              ///< in the payloads, and in place of {node}
  std::vector<config::alert_rule> rules;                         ///< those that are on
  std::map<std::string, std::chrono::milliseconds> lag_warnings; ///< by pipeline
  std::optional<config::topic_pattern> topic;                    ///< nothing: no alert is published
  std::string presence;                                          ///< by which they are; its name in the directory
  telemetry::board* board = nullptr;                             ///< both outlive the actor
  actor_directory* directory = nullptr;
  std::chrono::milliseconds look_every{1'000};

  /// Empty, or what is wrong.
  std::string validate() const;
};

/// Without its board, directory and presence.
alerter_config alerter_config_of(const config::configuration& configuration);

struct alerter_state {
  static inline const char* name = "alerter";

  /// A rule and a pipeline.
  using key = std::pair<std::string, std::string>;
  struct watched {
    alert state;
    telemetry::alert_status status;
    bool told = false; ///< the presence knows the state
    bool seen = false; ///< in this look
  };
  /// What is known of a pipeline from one look to the next.
  struct history {
    share_meter failures;
    std::optional<monotonic> down_since;
  };
  /// What one look sees of a pipeline.
  struct reading {
    std::string pipeline;
    std::map<config::alert_metric, double> values; ///< in the metric's unit
    std::string trouble;                           ///< why it is not ready; empty: it is
  };

  messages::alerter_actor::stateful_pointer<alerter_state> self = nullptr;
  alerter_config config;
  std::map<key, watched> alerts;
  std::map<std::string, history> histories; ///< by pipeline
  caf::actor_addr known_presence;

  void on_check();
  void take_over(std::vector<telemetry::alert_status> former);
  reading read(const telemetry::pipeline_status& pipeline);
  reading read(const telemetry::publish_status& pipeline);
  reading read_common(const std::string& pipeline, std::uint64_t failed, std::uint64_t ended,
                      const std::vector<std::string>& troubles);
  void judge(const reading& seen);
  watched& alert_of(const config::alert_rule& rule, const std::string& pipeline);
  void changed(watched& alert, bool was_raised);
  void clear_gone();
  void forget_gone();
  void tell_presence();
  monotonic now() const;
};

messages::alerter_actor::behavior_type alerter(messages::alerter_actor::stateful_pointer<alerter_state> self,
                                               alerter_config config);

} // namespace penstock::actors
