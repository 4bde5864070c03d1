// One MQTT session as a pure state machine: bytes and time in; bytes, messages and completions out. No sockets, no
// clocks, no threads. It outlives its connections: `open` and `close` say when a transport comes and goes.
//
// Inbound. Every message gets the next sequence, and is acknowledged (PUBACK, PUBREC) only by `release`, in order of
// arrival. What a former connection delivered is never acknowledged on a later one: the broker sends it again, and it
// gets a new sequence. A PUBREL is answered at once. A QoS 2 message with DUP whose PUBREC is out is not delivered
// again; one without DUP is a new message even if its identifier is in use (a second row is refused by its key; a lost
// one is lost).
//
// Outbound. At most `window` QoS 1 and 2 messages are in flight, the rest waits. After a reconnect the session goes on:
// PUBLISH with DUP, or PUBREL for what is past PUBREC. If the broker has lost the session, QoS 1 messages are sent
// again as new ones; QoS 2 messages past PUBREC count as done, and those before it are reported with reason 0x92
// (outcome unknown).
//
// Exactly once over the end of a process needs a caller that keeps its messages and their packet ids in a database:
// release_by_caller. The caller commits a claim and publishes; commits that the message is received and releases it
// (`release_published`): the broker forgets a packet id at PUBREL, and a PUBLISH after that would be a second message.
// What a former process left goes on by `resume`. Nothing is released, and nothing sent again to a broker that has lost
// the session, but by the caller: what was not released is then reported with 0x92.
#pragma once

#include "core/error.hpp"
#include "core/result.hpp"
#include "core/types.hpp"
#include "mqtt/codec.hpp"
#include "mqtt/message.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::mqtt {

struct session_options {
  std::string client_id;
  bool clean_start = false;            ///< false: the broker keeps the session for ever (MQTT 5: expiry 0xFFFFFFFF)
  std::string user;                    ///< empty: none
  std::string password;                ///< empty: none
  mqtt::version version = version::v5; ///< preferred; 3.1.1 when the broker refuses 5
  std::chrono::seconds keep_alive{30}; ///< 0: off; at most 65,535
  std::optional<last_will> will;
  std::vector<std::string> subscriptions; ///< sent after every CONNACK, in one SUBSCRIBE
  std::uint8_t subscription_qos = 1;
  std::vector<std::string> unsubscriptions;   ///< sent when the subscriptions are confirmed, in one UNSUBSCRIBE
  std::chrono::milliseconds drained_after{0}; ///< of silence, for `drained`; 0: never
  std::uint32_t receive_max = 20'000;         ///< announced as Receive Maximum, at most 65,535
  std::uint16_t publish_window_max = 1'000;   ///< at least 1, at most 65,534; also at most the broker's Receive Maximum
  std::uint16_t publish_window_max_3_1_1 = 20; ///< 3.1.1 brokers do not announce theirs, and lose what is beyond it
  std::uint32_t packet_bytes_max = 16u << 20; ///< announced as Maximum Packet Size; a larger packet ends the connection
  std::uint16_t topic_alias_max = 100;        ///< announced as Topic Alias Maximum
  /// Others may use the session between two connections: what a packet id of before stood for, it may stand for no
  /// more. Without, a QoS 2 message whose PUBREC was lost is not delivered twice; with it, it is.
  bool shared = false;
  bool was_there = false;  ///< a process before this one had the session: if the broker has it no more, it is lost
  bool on_request = false; ///< after a CONNACK nothing is published, resumed or released before `proceed`
  bool release_by_caller = false;               ///< PUBREL is sent by release_published alone
  std::chrono::milliseconds publish_timeout{0}; ///< for the answer to a PUBLISH or PUBREL that is written; 0: for ever
};

class session {
public:
  explicit session(session_options options);

  /// A transport is there: CONNECT goes to the output.
  void open(monotonic now);
  /// The transport is gone. What was not written is dropped; QoS 0 messages among it complete with 0x80.
  void close();
  /// DISCONNECT goes to the output; nothing may be published afterwards. `forget`: the broker is to end the session
  /// (only MQTT 5 can say so).
  void finish(bool forget = false);

  /// Takes the whole packets at the front of `bytes`, and returns how many bytes they were; what is left must come
  /// again with more behind it. Appends messages to `out.messages`, with views into `bytes`, and what else they view to
  /// `out.storage`; adds to `out.bytes`; sets `out.first` when `out` held no message. After an error the connection is
  /// to be closed.
  result<std::size_t> feed(std::string_view bytes, monotonic now, burst& out);
  /// The size of the packet that `feed` found cut off at the end; 0: not known yet.
  std::size_t packet_wanted() const { return packet_wanted_; }

  /// Acknowledges everything delivered up to and including `last`.
  void release(sequence last);
  /// A message that no broker can take (topic, properties), or this one cannot (QoS, retain, its Maximum Packet Size),
  /// completes with a reason, at the latest when its turn has come.
  void publish(outbound message);
  /// With on_request: the connection may be used for publishing. Once after each CONNACK.
  void proceed();
  /// PUBREL for these, in this order: what is received becomes released, without a connection too (PUBREL is then sent
  /// over the next one); other ids are ignored. For release_by_caller.
  /// Brokers (mosquitto) may deliver at PUBREL: for the order of messages to stay, release them in that of publishing.
  void release_published(std::span<const std::uint16_t> packet_ids);
  /// Goes on with the handshake of a former process, whose packet id is the message's: PUBLISH with DUP, or PUBREL. To
  /// be called after a CONNACK with session present, in the order of the first sending, before anything is published.
  /// If the broker has lost that session in the meantime, it completes as what is in flight then does.
  void resume(outbound message, resumed_state state);

  // What is to be written, now. `take_output` gives all of it, and the tokens of the QoS 0 messages in it, which are
  // done when it is written.
  bool has_output() const { return !output_.empty(); }
  void take_output(monotonic now, std::string& bytes, std::vector<std::uint64_t>& tokens);
  /// What has become of messages since the last call.
  std::vector<completion> take_completions();

  /// Keep alive, and publish_timeout. `reading`: the socket is being read; otherwise no answer can be expected. Fails
  /// with timed_out.
  result<void> tick(monotonic now, bool reading);
  /// When `tick` is to be called at the latest; nullopt: never. Writing may bring it forward.
  std::optional<monotonic> deadline(bool reading) const;
  /// The socket is being read again: the broker's silence counts from now.
  void reading_resumed(monotonic now);

  bool established() const { return established_; } ///< CONNACK has come
  bool subscribed() const { return subscribed_; }   ///< and SUBACK, where there are subscriptions
  bool settled() const { return settled_; }         ///< and UNSUBACK, where there are unsubscriptions
  /// Which of the unsubscriptions the broker has refused, and why; empty: none.
  const std::string& unsubscribe_refusal() const { return unsubscribe_refusal_; }
  /// The broker has nothing more for this session: the unsubscriptions are confirmed, all that was delivered is
  /// released, and after `drained_after` without a packet a PINGREQ was answered with nothing before the answer. So an
  /// acknowledgement that makes room for further messages was handled before.
  bool drained() const { return drained_; }
  bool session_present() const { return session_present_; } ///< of the last CONNACK
  bool session_lost() const {
    return session_lost_;
  } ///< session_present is 0 though there was a session in this process
  void session_loss_told() { session_lost_ = false; }         ///< until then it stands, over further connections
  mqtt::version protocol() const { return options_.version; } ///< changes when the broker refuses 5
  bool fell_back() const { return fell_back_; } ///< the last connection ended so that 3.1.1 can be tried, at once
  /// The MQTT 5 reason code with which the broker has refused or ended this connection; 0: none.
  std::uint8_t broker_reason() const { return broker_reason_; }

  sequence delivered() const { return delivered_; }
  std::uint64_t unreleased() const { return delivered_ - released_; } ///< messages, of all connections
  std::uint64_t unreleased_bytes() const { return unreleased_bytes_; }
  std::size_t window() const { return window_; }
  std::size_t in_flight() const { return sent_; } ///< outbound, on this connection
  std::size_t waiting() const { return queue_.size() + resend_.size(); }

private:
  enum class inbound_state : std::uint8_t { none, delivered, received }; ///< of a QoS 2 packet id
  struct unacknowledged {
    std::uint16_t packet_id; ///< 0: QoS 0
    std::uint8_t qos;
  };
  struct portion {
    sequence last;
    std::uint64_t bytes;
  };
  struct alias {
    std::shared_ptr<const std::string> topic;
    std::uint64_t feed; ///< the one whose burst holds it already
  };
  enum class flight_state : std::uint8_t {
    free,
    published,
    received, ///< PUBREC has come; the caller has not released it
    released, ///< PUBREL is sent, or will be over the next connection
  };
  struct flight {
    outbound message;
    std::uint64_t order = 0;
    std::uint64_t asked = 0; ///< the entry of `unanswered_` that is about it; 0: none
    std::uint16_t packet_id = 0;
    flight_state state = flight_state::free;
    bool duplicate = false;
    bool on_connection = false; ///< counted in `sent_`
  };
  struct question { ///< PUBLISH or PUBREL
    std::uint16_t slot;
    std::uint64_t number; ///< is over when it is no more its flight's
    monotonic since;      ///< `unwritten`: not yet taken
  };
  static constexpr monotonic unwritten = monotonic::max();
  static constexpr std::uint16_t waits_in_queue = 0xffff;

  result<void> on_packet(const packet_view& packet);
  result<void> on_publish(const packet_view& packet, burst& out);
  result<void> resolve_alias(publish_packet& message, burst& out);
  result<void> on_connack(const packet_view& packet);
  result<void> on_ack(const packet_view& packet);
  void on_pubrel(const ack_packet& ack);
  void on_pubrec(const ack_packet& ack, flight* found);
  result<void> on_suback(const packet_view& packet);
  result<void> on_unsuback(const packet_view& packet);
  result<void> on_pingresp(const packet_view& packet);
  result<void> on_disconnect(const packet_view& packet);
  error refusal(const connack_packet& answer);
  void deliver(const publish_packet& message, std::size_t size, burst& out);
  void subscribe();
  void unsubscribe();
  void ping(monotonic now, bool reading);
  std::optional<monotonic> drained_due() const;
  void resume_flights();
  void abandon_flights();
  void reserve(std::uint16_t packet_id);
  flight& take_off(outbound message, flight_state state);
  void pump();
  void pump_queue();
  void send(flight& one);
  void send_release(flight& one);
  void count(flight& one);
  void expect_answer(flight& one);
  void forget_answered();
  std::optional<monotonic> answer_due() const;
  publish_packet packet_of(const outbound& message) const;
  std::uint8_t refused_by_broker(const outbound& message) const;
  void complete(flight& one, std::uint8_t reason);
  flight* flight_of(std::uint16_t packet_id);
  inbound_state& state_of(std::uint16_t packet_id);

  session_options options_;
  std::string output_;
  std::vector<std::uint64_t> output_tokens_;
  std::vector<completion> completions_;
  bool open_ = false;
  bool established_ = false;
  bool proceeds_ = false; ///< established, and publishing is allowed
  bool subscribed_ = false;
  bool settled_ = false;
  std::string unsubscribe_refusal_;
  bool session_present_ = false;
  bool session_lost_ = false;
  bool had_session_ = false;
  bool began_here_ = false; ///< some CONNACK of this process had no session present
  bool fell_back_ = false;
  std::uint8_t broker_reason_ = 0;
  std::size_t packet_wanted_ = 0;

  // inbound
  sequence delivered_ = 0;
  sequence released_ = 0;
  std::deque<unacknowledged> unacknowledged_; ///< of this connection; the last one is `delivered_`
  std::deque<portion> portions_;
  std::uint64_t unreleased_bytes_ = 0;
  std::vector<inbound_state> inbound_states_; ///< by packet id; empty until the first QoS 2 message
  std::vector<alias> aliases_;
  std::uint64_t feeds_ = 0;

  // outbound
  std::size_t window_ = 0;
  std::size_t sent_ = 0; ///< flights sent on this connection and not complete
  std::uint64_t next_order_ = 0;
  std::vector<flight> flights_;       ///< in slots
  std::vector<std::uint16_t> slots_;  ///< by packet id: its slot + 1; 0: free; or waits_in_queue
  std::optional<bool> ids_by_caller_; ///< nullopt: nothing published yet
  std::deque<std::uint16_t> free_;    ///< of flights_
  std::deque<std::uint16_t> resend_;  ///< of flights_: to be sent again, before the queue
  std::deque<outbound> queue_;
  std::deque<question> unanswered_; ///< of this connection, as sent; the first is not over
  std::uint64_t questions_ = 0;
  std::uint32_t broker_packet_bytes_max_ = 0;
  std::uint8_t broker_qos_max_ = 2;
  bool broker_retains_ = true;

  // keep alive
  std::chrono::seconds keep_alive_{0}; ///< of this connection
  monotonic last_sent_;
  monotonic last_received_;
  monotonic reading_since_;
  std::optional<monotonic> pinged_; ///< a PINGRESP is expected since
  std::uint32_t pings_ = 0;         ///< of this connection, not answered yet
  monotonic silent_since_;          ///< the last packet that was no PINGRESP
  bool asks_for_end_ = false;       ///< the last PINGREQ was sent to find out whether all is drained
  bool drained_ = false;
};

} // namespace penstock::mqtt
