// An MQTT session over a socket: the pure session (mqtt/session.hpp) on an Asio transport. Many clients share one io
// thread. Thread-safe: every call posts to the io thread; handlers run on the io thread and must copy, post one
// message, return.
#pragma once

#include "config/config.hpp"
#include "core/error.hpp"
#include "core/types.hpp"
#include "mqtt/message.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::mqtt {

struct connection_state {
  bool connected = false;
  bool session_present = false;   ///< of the CONNACK
  bool session_lost = false;      ///< session_present is 0 though the broker had the session before
  std::uint8_t protocol = 0;      ///< 4: 3.1.1, 5: 5
  std::uint64_t connects = 0;     ///< so far
  std::optional<error> reason;    ///< why it is not connected; fatal: see its code
  std::uint8_t broker_reason = 0; ///< the MQTT 5 reason code in `reason`, if the broker gave one (0x8E: taken over)
  std::size_t publish_window = 0; ///< outbound QoS > 0 in flight at most, on this connection; 0: not connected
};

struct client_options {
  config::broker broker;
  std::string client_id;
  bool clean_start = false; ///< true: a session that ends with the connection
  bool was_there = false;   ///< the broker has had the session, in a process before this one (mqtt/session.hpp)
  std::uint8_t subscription_qos = 1;
  std::vector<std::string> subscriptions;     ///< filters, as sent ($share/... included)
  std::vector<std::string> unsubscriptions;   ///< filters that the session may still have, and is to lose
  std::chrono::milliseconds drained_after{0}; ///< when nothing has come for so long, on_drained is found out; 0: never
  std::uint32_t in_flight_messages_max = 20'000; ///< delivered and not released; beyond it the socket is not read
  std::uint64_t in_flight_bytes_max = 16u << 20;
  std::uint16_t publish_window_max = 1'000; ///< outbound QoS > 0 in flight; also at most the broker's Receive Maximum
  std::uint16_t publish_window_max_3_1_1 =
    20; ///< the same on 3.1.1, where a broker loses in silence what is beyond its own
  std::uint32_t packet_bytes_max =
    16u << 20; ///< announced; MQTT 5 brokers drop larger messages, 3.1.1: the connection ends
  std::optional<last_will> will;
  /// The caller is asked before each connection (on_dial), and says after each CONNACK when publishing may go on
  /// (`proceed`): so that nobody publishes who does not own the session any more.
  bool on_request = false;
  /// PUBREL is sent by `release_published` alone, and nothing again to a broker that has lost the session
  /// (mqtt/session.hpp).
  bool release_by_caller = false;
  /// Asked before each connection, on the io thread; false: asked again a little later. `taken_over`: somebody else has
  /// connected with the client id at `since`, by what the broker says, or because it has closed a young connection
  /// without a word: so two clients do not cut each other off for ever. Empty: nobody else has a right to it.
  std::function<bool(bool taken_over, monotonic since)> may_dial;
  /// A PUBLISH or PUBREL without an answer for this long ends the connection (timed_out); 0: off.
  std::chrono::milliseconds publish_timeout{0};
};

struct client_handlers {
  std::function<void(std::shared_ptr<const burst>)> on_burst;
  std::function<void(const connection_state&)> on_state;
  /// All that one read or write has brought. Outbound QoS 1 or 2: the handshake is complete (reason < 0x80) or refused,
  /// or has come to PUBREC (release_by_caller); QoS 0: written to the socket.
  std::function<void(std::span<const completion>)> on_published;
  /// With on_request: a connection would be made now; it waits for `dial`.
  std::function<void()> on_dial = {};
  /// Once a connection: subscriptions and unsubscriptions are confirmed, but for those that `refused` names.
  std::function<void(const std::string& refused)> on_settled = {};
  /// Once a connection: the broker has nothing more for this session (mqtt/session.hpp).
  std::function<void()> on_drained = {};
};

/// One thread that runs the sockets of many clients.
class io_thread {
public:
  io_thread();
  ~io_thread(); ///< stops and joins; destroy the clients first
  struct impl;
  impl& get() { return *impl_; }

private:
  std::unique_ptr<impl> impl_;
};

/// Connected means: the session is there, and a new one has its subscriptions (SUBACK; one refused is an error that
/// ends the connection). Reconnects by itself with jittered backoff until stopped; keeps asking after a fatal refusal
/// too, at the longest interval (the broker's operator may mend it), and says the reason once.
class client {
public:
  client(io_thread& io, client_options options, client_handlers handlers);
  ~client(); ///< closes the socket without DISCONNECT; no handler runs afterwards

  void start();
  /// Everything delivered up to and including `last` is done with: acknowledge it, in order of arrival, in one write.
  /// Of messages that came over a former connection nothing is sent (the broker delivers them again).
  void release(sequence last);
  /// Queues messages for publishing. The caller bounds what it has outstanding (by on_published).
  void publish(std::vector<outbound> messages);
  // With on_request.
  void dial();
  /// Goes on with the handshakes of a former process, in the order of their first sending, where the session is
  /// present; then with what this one has.
  void proceed(std::vector<resumption> handshakes);
  /// Sends PUBREL for these packet ids, in this order, as far as they are received (release_by_caller).
  void release_published(std::vector<std::uint16_t> packet_ids);
  /// Stop reading once connected (what was delivered can still be released).
  /// `done` runs on the io thread: no burst comes after it, until `resume`.
  void pause(std::function<void()> done = {});
  void resume();
  /// Writes the acknowledgements that are released, sends DISCONNECT, closes, within 2 s. `done` runs on the io thread,
  /// once, unless the client is destroyed first. Nothing can be started afterwards. `forget`: the broker is to end the
  /// session too, if this connection still has it; of MQTT 3.1.1 it cannot be asked.
  void stop(std::function<void()> done, bool forget = false);

private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

} // namespace penstock::mqtt
