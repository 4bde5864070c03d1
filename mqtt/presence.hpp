// Status, control and alerts over MQTT, on a connection of its own, by Paho: a retained status with a last will,
// commands as text, and texts that are kept retained on topics of the caller's. Thread-safe. Never blocks the caller
// for long; Paho's exceptions end here.
#pragma once

#include "config/config.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace penstock::mqtt {

struct presence_options {
  config::broker broker;
  std::string client_id;     ///< stable for a node, and not one of a data session
  std::string node;          ///< in the status, and in place of {node} in the topics
  std::string version;       ///< of the program, in the status
  std::string status_topic;  ///< config::control::status_topic; empty: no status, and no last will
  std::string control_topic; ///< config::control::control_topic; empty: off
};

/// With a status. `client_id` is "penstock-<installation>-presence-<node>".
presence_options presence_options_of(const config::control& control, const config::broker& broker,
                                     const std::string& installation, const std::string& node,
                                     const std::string& version);
/// For retained texts only. `client_id` is "penstock-<installation>-alerts-<node>".
presence_options alert_options_of(const config::broker& broker, const std::string& installation,
                                  const std::string& node, const std::string& version);

/// Publishes, retained and with QoS 1:
///   {"node": NAME, "status": "online" | "offline", "version": V, "pid": N, "since": "RFC 3339"}
/// online after each connect, offline at `stop` and, without pid and since, as the last will. Connects again by itself.
class presence {
public:
  /// What came on the control topic ("pause", "resume", "status", ...); on a thread of Paho: copy, post, return.
  using command_handler = std::function<void(std::string command)>;
  /// Each change of the connection: empty, or why there is none.
  using state_handler = std::function<void(const std::string& failure)>;

  presence(presence_options options, command_handler on_command, state_handler on_state = {});
  /// As stop, if that was not called. No handler runs afterwards.
  ~presence();
  presence(const presence&) = delete;
  presence& operator=(const presence&) = delete;

  void start();
  /// Publishes `text` on the status topic, retained, in place of "online" until the next connect.
  void report(const std::string& text);
  /// Publishes `text` on `topic`, retained, now and after each connect, until another text takes its place. While there
  /// is no connection only the last one of a topic is kept: what waits is bounded by the number of topics.
  void retain(const std::string& topic, const std::string& text);
  /// Publishes "offline" and disconnects; waits no longer than `timeout`.
  void stop(std::chrono::milliseconds timeout = std::chrono::milliseconds{1'000});

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace penstock::mqtt
