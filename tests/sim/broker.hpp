// The broker of a simulation, packet by packet (MQTT 5): sessions that outlive their connections, take-over of a client
// id, the receiver's end of QoS 1 and 2; and for subscribers the sender's (outbox.hpp), with each message dealt to one
// of them. It checks what reaches it.
#pragma once

#include "mqtt/codec.hpp"
#include "tests/sim/outbox.hpp"
#include "tests/sim/world.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace penstock::sim {

/// A connection between a client and the broker.
struct wire {
  const process* owner = nullptr; ///< of the client's end; while that is open
  std::string owner_name;
  std::string to_broker;
  std::string to_client;
  bool client_open = true;
  bool broker_open = true;
  bool cut = false;      ///< nothing more gets in at either end; what is on its way may still come out
  std::string client_id; ///< empty: no CONNECT was read
};

class broker {
public:
  explicit broker(world& given) : world_(given) {}

  std::shared_ptr<wire> dial(process& from);
  /// Something can be read, or a connection is to be closed.
  bool has_event() const;
  /// Reads one packet of one connection, or closes one.
  void act();
  /// Ends a connection; what was on its way is lost but for a part of it.
  void cut_one();
  void cut_all_of(const process& owner);
  /// Forgets a session, as a broker does that loses its disk.
  void forget_one();

  // What was delivered of the rows that are published: by id, how often.
  std::map<std::int64_t, std::uint64_t> delivered;
  std::set<std::int64_t> excused; ///< may be delivered twice, or be held: a session was forgotten meanwhile
  /// A claim of a shard was committed: what its owner claims before he hears that the session is gone is lost with it.
  void note_claim(std::uint32_t shard, std::int64_t row);

  // Messages for those that have subscribed.
  bool has_subscribers() const;
  /// Deals it to one of them.
  void accept(std::int64_t number);
  /// Nothing waits, and nothing is in flight.
  bool has_delivered_all() const;

private:
  struct session {
    std::weak_ptr<wire> connection;
    std::map<std::uint16_t, std::string> held; ///< payloads by packet id, whose PUBREL has not come
    sim::outbox outbox;
  };
  void on_packet(const std::shared_ptr<wire>& from, const mqtt::packet_view& packet);
  void on_connect(const std::shared_ptr<wire>& from, const mqtt::packet_view& packet);
  void on_subscribe(wire& from, session& of, const mqtt::packet_view& packet);
  void on_publish(wire& from, session& of, const mqtt::publish_packet& message);
  void on_pubrel(wire& from, session& of, std::uint16_t packet_id);
  void deliver(const std::string& payload);
  void close(wire& which);
  bool readable(const wire& which) const;
  void lose_some(std::string& bytes);

  world& world_;
  std::vector<std::shared_ptr<wire>> wires_;
  std::map<std::string, session> sessions_;
  std::map<std::string, std::int64_t> last_of_monitor_;
  std::set<std::uint32_t> forgotten_; ///< shards whose owners may not know yet
};

} // namespace penstock::sim
