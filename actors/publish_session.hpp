// What a publisher needs of an MQTT session: mqtt::client in the program, a scripted one in tests.
#pragma once

#include "config/config.hpp"
#include "mqtt/client.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace penstock::actors {

/// See mqtt::client for the contract of each call.
class publish_session {
public:
  virtual ~publish_session() = default;
  virtual void start() = 0;
  virtual void dial() = 0;
  virtual void proceed(std::vector<mqtt::resumption> handshakes) = 0;
  virtual void publish(std::vector<mqtt::outbound> messages) = 0;
  virtual void release_published(std::vector<std::uint16_t> packet_ids) = 0;
  virtual void stop(std::function<void()> done) = 0;
  /// stop(), and the broker is to end the session.
  virtual void forget(std::function<void()> done) = 0;
};

/// Called on a thread of the session's choice.
struct publish_session_handlers {
  std::function<void()> on_dial;
  std::function<void(const mqtt::connection_state&)> on_state;
  std::function<void(std::span<const mqtt::completion>)> on_published;
};

using publish_session_factory =
  std::function<std::unique_ptr<publish_session>(const std::string& installation, publish_session_handlers handlers)>;

/// Sessions of `pipeline`'s shard on `broker`, on `io`, which must outlive them.
publish_session_factory publish_sessions(mqtt::io_thread& io, const config::broker& broker,
                                         const config::publish& pipeline, std::uint32_t shard);

} // namespace penstock::actors
