// The ingestor of one shard: owns the MQTT session; decodes bursts into frames as far as the batch-writers' demand
// goes; releases acknowledgements in order of arrival when commits come back.
//
// A pipeline has one lane or more, each with a batch-writer of its own, in this process or at another node. The records
// of one key always take the same lane. A chunk is as large as every lane has demand for, since all of it may belong to
// one.
//
// It has its session recorded in the database before that subscribes, and has it unsubscribe from what a former
// configuration left there. One ingestor of a pipeline has no shard: it retires the sessions that no shard has any more
// (retirement.hpp): it unsubscribes, drains and ends them, one after the other.
//
// ingestor.cpp: from messages to frames; ingestor_session.cpp: the session.
//
// Bounded: the session holds back the socket when too much is unacknowledged (config in_flight), so `waiting` and
// `sent` together never hold more than that. Nothing is sent without demand.
#pragma once

#include "actors/retirement.hpp"
#include "actors/session.hpp"
#include "config/config.hpp"
#include "core/ack_ledger.hpp"
#include "core/demand_ledger.hpp"
#include "decode/decoder.hpp"
#include "messages/messages.hpp"
#include "mqtt/client.hpp"
#include "telemetry/board.hpp"

#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace penstock::actors {

struct ingestor_config {
  std::string name; ///< "telemetry/ingestor/0"
  config::ingest pipeline;
  std::uint32_t shard = 0;
  session_factory open_session;
  std::shared_ptr<telemetry::shard_board> board;
  std::shared_ptr<telemetry::pipeline_board> pipeline_board;
  std::optional<retirement_config> retirement; ///< it retires sessions, and has no shard
  /// Where a batch-writer says nothing for so long, something may have been lost on the way: it is attached to again.
  std::chrono::milliseconds silence_max{10'000};

  /// Empty, or what is wrong.
  std::string validate() const;
};

struct ingestor_state {
  static inline const char* name = "ingestor";

  messages::ingestor_actor::stateful_pointer<ingestor_state> self = nullptr;
  ingestor_config config;
  std::unique_ptr<decode::decoder> decoder;
  std::unique_ptr<record::frame_builder> builder; ///< of the chunk that is being made
  std::vector<std::size_t> key;                   ///< columns of the key

  struct lane {
    messages::batch_writer_actor writer; ///< null: none lives, or takes frames
    demand_ledger demand;
    std::uint16_t version = messages::link_version; ///< of its batch-writer's node
    std::uint64_t attach = 0;                       ///< the number of the last one
    std::uint64_t spent = 0;                        ///< records, since that
    std::uint64_t frames = 0;                       ///< sent, since that
    bool heard = false;                             ///< of its batch-writer, since the last check
  };
  std::vector<lane> lanes;
  std::vector<std::unique_ptr<record::frame_builder>> lane_builders; ///< where there are several lanes
  ack_ledger ledger;

  struct waiting_burst {
    messages::burst_ptr burst;
    std::size_t next = 0; ///< the first message that is not decoded yet
  };
  std::deque<waiting_burst> waiting; ///< for demand

  /// What a chunk was made of: its messages, in order of arrival.
  struct source {
    struct part {
      messages::burst_ptr burst;
      std::size_t begin = 0;
      std::size_t end = 0;
    };
    std::vector<part> parts;
    std::uint32_t messages = 0;
  };

  struct sent_frame {
    record::frame frame;
    std::shared_ptr<const source> without; ///< the frame has no messages: where they are. Null: it has
    std::uint32_t messages = 0;
    bool unsent = false;      ///< its batch-writer is gone: send it again
    wall_time arrived;        ///< its oldest message
    caf::actor_addr to;       ///< the batch-writer that has it, which need not be the lane's any more
    std::uint64_t attach = 0; ///< the lane's last one when it was sent
  };
  struct part {
    std::uint64_t chunk = 0;
    std::uint32_t lane = 0;
    friend auto operator<=>(const part&, const part&) = default; // NOLINT(modernize-use-nullptr): 15 takes <=> for 0
  };
  std::map<part, sent_frame> sent; ///< until committed

  std::string installation;
  std::unique_ptr<actors::session> session; ///< null: not opened yet
  session_record wanted;                    ///< what it is to be, or is; without a client id: not known
  sequence before = 0;                      ///< received by former sessions
  bool settled = false;                     ///< subscriptions are confirmed
  bool asking = true;                       ///< lane 0's batch-writer has yet to answer about it
  std::uint64_t incarnation = 0;            ///< on the board
  bool paused = false;                      ///< on request; only the session's reading stops
  bool gathering = false;                   ///< bursts have come, and are sent at the end of the mailbox
  bool stopping = false;                    ///< the actor
  bool ending = false;                      ///< the session
  bool quiet = false;                       ///< no burst comes any more
  bool closing = false;                     ///< the session's stop was asked for

  std::unique_ptr<actors::retirement> retiring; ///< null: it has a shard
  session_request::purpose purpose = session_request::purpose::receive;
  bool fulfilled = false;    ///< it is drained, or forgotten
  std::uint8_t protocol = 0; ///< of its last connection
  std::uint64_t timer = 0;   ///< a step message with another number is not heard

  void on_writer(std::uint32_t lane, const caf::strong_actor_ptr& announced, std::uint16_t version);
  void on_detach(std::uint32_t lane);
  void on_whole(std::uint32_t lane, std::uint64_t chunk);
  void on_down(const caf::actor_addr& writer);
  void on_demand(const messages::demand& more);
  void on_attached(const messages::attached& message);
  void on_held(const messages::held& message);
  void on_check();
  void attach(std::uint32_t lane);
  void on_burst(const messages::burst_ptr& burst);
  void on_gathered();
  void on_committed(std::span<const messages::committed> frames);
  void on_batch_committed(const messages::batch_committed& batch);
  void on_connection(const mqtt::connection_state& connection);
  void on_pause(bool pause);
  void on_exit();
  void want_session();
  void on_enlisted(const session_record& record);
  void on_list(const messages::session_list& list);
  void on_settled(const std::string& refused);
  void on_drained();
  void on_step();
  void tell_settled(const session_record& confirmed);
  void open_session(std::vector<std::string> stale);
  void end_session();
  void on_closed();
  void on_retiring_connection(const mqtt::connection_state& connection);
  void retire_next();
  void give_up();
  void step_after(std::chrono::milliseconds wait);
  std::uint64_t credit() const;
  bool has_all_writers() const;
  void send_frames();
  void send_chunk(std::uint32_t messages_max);
  const record::frame& whole(const part& where, sent_frame& frame);
  void send(const part& where, sent_frame& frame);
  bool resend_frames();
  bool takes_without_messages(std::uint32_t lane) const;
  bool comes_from_writer_of(std::uint32_t lane) const;
  source take(std::uint32_t messages_max);
  void decode(const mqtt::burst& burst, std::size_t index, record::frame_builder& into);
  void close_when_done();
  void end();
  void show();
};

messages::ingestor_actor::behavior_type ingestor(messages::ingestor_actor::stateful_pointer<ingestor_state> self,
                                                 ingestor_config config);

} // namespace penstock::actors
