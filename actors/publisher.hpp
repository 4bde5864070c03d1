// The publisher of one shard: owns the shard's MQTT session. It decides nothing: it asks the poller before every
// CONNECT, sends what the poller has claimed, tells it every answer of the broker, and releases what the poller says.
// What is in flight is bounded by the poller's claims, which are bounded by the session's window.
#pragma once

#include "actors/publish_session.hpp"
#include "messages/messages.hpp"
#include "telemetry/publish_board.hpp"

#include <memory>
#include <string>

namespace penstock::actors {

struct publisher_config {
  std::string name; ///< "TableA/publisher/0"
  std::uint32_t shard = 0;
  publish_session_factory open_session;
  std::shared_ptr<telemetry::publish_shard_board> board;
  bool id_only_in_properties = false; ///< QoS 1: without MQTT 5 nobody can tell a repeat
  /// The pipeline does not have the shard any more: once the poller has let it go the broker is to end its session. It
  /// is started by the poller, and ends with it.
  bool is_former = false;

  /// Empty, or what is wrong.
  std::string validate() const;
};

struct publisher_state {
  static inline const char* name = "publisher";

  messages::publisher_actor::stateful_pointer<publisher_state> self = nullptr;
  publisher_config config;
  messages::poller_actor poller;
  std::unique_ptr<publish_session> session; ///< null: the poller has not adopted the shard yet
  std::uint64_t incarnation = 0;            ///< of the session
  bool resumed = false;                     ///< the session has had the claims of its predecessor
  bool stopping = false;
  bool closing = false;

  void on_poller(const caf::strong_actor_ptr& announced);
  void on_poller_down();
  void on_adopted(const messages::adopted& message);
  void on_connection(const mqtt::connection_state& connection);
  messages::shard_session me() const { return {config.shard, incarnation}; }
  void on_exit();
  void close_when_done();
};

messages::publisher_actor::behavior_type publisher(messages::publisher_actor::stateful_pointer<publisher_state> self,
                                                   publisher_config config);

} // namespace penstock::actors
