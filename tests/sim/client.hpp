// An MQTT client of a simulated node: the real session (mqtt/session.hpp) over a simulated connection, as
// mqtt/client.cpp has it over a socket. It acts when the world lets it.
#pragma once

#include "actors/publish_session.hpp"
#include "actors/session.hpp"
#include "core/backoff.hpp"
#include "mqtt/session.hpp"
#include "storage/cluster_state.hpp"
#include "tests/sim/broker.hpp"

#include <functional>
#include <memory>
#include <string>

namespace penstock::sim {

struct client_config {
  mqtt::session_options session;
  std::uint32_t shard = 0;
  std::uint32_t in_flight_messages_max = 20'000;
  std::function<bool(bool taken_over, monotonic since)> may_dial; ///< of mqtt::client_options
};

class client final : public actors::publish_session, public actors::session {
public:
  client(world& given, process& owner, client_config config, mqtt::client_handlers handlers);
  ~client() override;
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  void start() override;
  void dial() override;
  void proceed(std::vector<mqtt::resumption> handshakes) override;
  void publish(std::vector<mqtt::outbound> messages) override;
  void release_published(std::vector<std::uint16_t> packet_ids) override;
  void release(sequence last) override;
  void pause(std::function<void()> done) override;
  void resume() override;
  void stop(std::function<void()> done) override;
  void forget(std::function<void()> done) override { stop(std::move(done)); } ///< no session is retired here

  /// Something is to be done now.
  bool has_event() const;
  void act();

private:
  enum class phase : std::uint8_t { waiting, asked, connecting, connected, stopping, closed };

  void want_to_dial();
  void check_dial() const;
  void check_confirmed(std::uint64_t since, const char* what) const;
  void connect();
  void read();
  void write();
  void fail(const error& reason);
  void drop();
  void report(bool connected, std::optional<error> reason);
  void complete(std::vector<mqtt::completion> done);
  void note_reading();
  bool is_full() const;
  bool reads() const;
  bool is_ended() const; ///< the connection, for whoever reads it
  monotonic now() const;

  world& world_;
  process& owner_;
  client_config config_;
  mqtt::client_handlers handlers_;
  mqtt::session conversation_;
  backoff pauses_;
  phase now_in_ = phase::closed;
  monotonic due_; ///< waiting: the next attempt; connecting: the end of patience
  std::shared_ptr<wire> connection_;
  std::string pending_; ///< read, and not whole packets
  bool paused_ = false;
  bool held_back_ = false;
  bool settled_told_ = false; ///< of this connection
  bool taken_over_ = false;
  std::uint64_t asked_step_ = 0;
  std::uint64_t connected_step_ = 0;
  storage::shard_owner taken_by_; ///< who owned the shard when it was taken over
  monotonic connected_at_;
  monotonic down_since_;
  std::function<void()> on_stopped_;
};

} // namespace penstock::sim
