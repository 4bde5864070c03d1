// What the broker of a simulation has for one subscriber: the sender's end of QoS 1 and 2, over all its connections. It
// checks what is acknowledged, and in which order [MQTT-4.6.0-2].
#pragma once

#include "mqtt/codec.hpp"
#include "tests/sim/world.hpp"

#include <cstdint>
#include <deque>
#include <string>

namespace penstock::sim {

class outbox {
public:
  explicit outbox(world& given) : world_(&given) {}

  bool subscribed = false;

  void push(std::int64_t number) { queue_.push_back(number); }
  /// A connection is there: what is in flight goes out again.
  void resume(std::uint16_t receive_maximum, std::string& out);
  /// As much as may be in flight.
  void send(std::string& out);
  /// PUBACK, PUBREC, PUBCOMP.
  void on_ack(const mqtt::ack_packet& ack, std::string& out);
  bool is_empty() const { return queue_.empty() && in_flight_.empty(); }
  /// The session is forgotten, and all that is not acknowledged may be lost.
  void excuse_all() const;

private:
  struct flight {
    std::int64_t number;
    std::uint16_t packet_id;
    bool received = false; ///< PUBREC has come
  };
  void publish(const flight& one, bool duplicate, std::string& out) const;

  world* world_;
  std::deque<std::int64_t> queue_;
  std::deque<flight> in_flight_;
  std::uint16_t last_id_ = 0;
  std::uint16_t receive_maximum_ = 0;
};

} // namespace penstock::sim
