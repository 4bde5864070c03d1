// Several MQTT connections that publish, for `penstock load`.
#pragma once

#include "config/config.hpp"
#include "core/types.hpp"
#include "mqtt/client.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace penstock::nodes {

/// Belongs to one thread; what comes from the io thread is kept until that thread asks.
class publisher_pool {
public:
  struct acknowledgement {
    std::uint64_t token = 0;
    std::uint8_t reason = 0;
  };

  publisher_pool(const config::broker& broker, std::size_t connections);
  ~publisher_pool();

  std::size_t connections() const { return clients_.size(); }
  /// How many messages of this connection are published and not acknowledged.
  std::size_t outstanding(std::size_t connection) const { return outstanding_[connection]; }
  std::size_t outstanding() const;

  void publish(std::size_t connection, std::vector<mqtt::outbound> messages);

  /// The acknowledgements since the last call; waits up to `wait` for the first one.
  std::vector<acknowledgement> take(std::chrono::microseconds wait);

  /// Waits up to `wait` for every connection to be up; how many are.
  std::size_t wait_connected(std::chrono::milliseconds wait);
  /// Since when no connection at all is up, and why; nothing while there is one.
  std::optional<monotonic> down_since() const;
  std::string down_reason() const;

  /// Disconnects properly; waits at most a second for it.
  void stop();

private:
  struct arrived {
    std::size_t connection;
    acknowledgement acknowledged;
  };
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<arrived> arrived_;
  std::vector<bool> connected_;
  std::size_t connected_count_ = 0;
  std::size_t stopped_ = 0;
  monotonic down_since_;
  std::string down_reason_;
  std::vector<std::size_t> outstanding_; // of the owner's thread
  mqtt::io_thread io_;
  std::vector<std::unique_ptr<mqtt::client>> clients_; // last, so that they go first
};

} // namespace penstock::nodes
