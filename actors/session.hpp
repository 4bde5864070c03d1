// What an ingestor needs of an MQTT session: mqtt::client in the program, a scripted one in tests.
#pragma once

#include "core/types.hpp"

#include <functional>
#include <memory>
#include <string>

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
};

/// Called on a thread of the session's choice.
struct session_handlers {
  std::function<void(std::shared_ptr<const mqtt::burst>)> on_burst;
  std::function<void(const mqtt::connection_state&)> on_state;
};

/// `installation` is the id of this installation in the database (docs: delivery, identity).
using session_factory =
  std::function<std::unique_ptr<session>(const std::string& installation, session_handlers handlers)>;

} // namespace penstock::actors
