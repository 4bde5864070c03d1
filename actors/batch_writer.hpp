// The batch-writer of one lane of a pipeline: owns one connection to the database, and commits what is there as soon as
// it is free: the commit is the batching timer. Spawned detached, since the database blocks.
//
// Its ingestors run in this process or at other nodes. One whose node is lost is no longer attached; what it has sent
// is committed all the same, and where it attaches again, that counts against its demand. One that has long heard
// nothing attaches again too, and is told what is here of it. Its frames are numbered: of one that was lost on the way,
// nothing that was sent later is taken, or it would overtake.
//
// A frame from another node comes without the messages of its rows. Where the database refuses a row, they are asked
// for, and what is behind waits: they go into the dead letter.
//
// The one of lane 0 keeps the record of the pipeline's MQTT sessions too, for ingestors that have no connection to the
// database.
//
// Bounded: it holds no more than it demanded, which is `demand_max` records for each ingestor that is attached. Demand
// is granted again only by a commit, so it stays shut while the database is away. An idle connection is tried now and
// then, so that the status tells the truth.
#pragma once

#include "config/config.hpp"
#include "core/backoff.hpp"
#include "messages/messages.hpp"
#include "storage/store.hpp"
#include "telemetry/board.hpp"

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace penstock::actors {

struct batch_writer_config {
  std::string name; ///< "telemetry/batch-writer/0"
  std::uint32_t lane = 0;
  storage::table table;
  std::uint32_t records_max = 5'000; ///< in one transaction
  std::uint32_t demand_max = 10'000; ///< records that one ingestor may have sent and not seen committed
  std::function<result<std::unique_ptr<storage::store>>()> open;
  std::shared_ptr<telemetry::writer_board> board;
  std::chrono::milliseconds retry_min{50};
  std::chrono::milliseconds retry_max{5'000};
  std::chrono::milliseconds alarm_after{60'000}; ///< an outage that lasts longer is an alarm
  std::chrono::milliseconds check_every{5'000};  ///< the database, while there is nothing to write
  /// Of an ingestor: one that lives attaches again long before. In checks, not in time: a batch-writer that was paused,
  /// or waited for its database, has not listened.
  std::uint32_t silent_checks_max = 12;

  /// Empty, or what is wrong.
  std::string validate() const;
};

struct batch_writer_state {
  static inline const char* name = "batch-writer";

  messages::batch_writer_actor::stateful_pointer<batch_writer_state> self = nullptr;
  batch_writer_config config;
  std::unique_ptr<storage::store> store; ///< null: not open
  std::string installation;
  std::vector<column_type> types;
  std::uint64_t layout = 0; ///< of the frames that it takes

  struct queued_frame {
    std::unique_ptr<record::frame_view> frame;
    messages::ingestor_actor from;
    std::uint32_t messages = 0;
    bool asked = false;       ///< for its messages; what is behind it waits, in order
    std::uint32_t checks = 0; ///< since it was asked for
  };
  std::deque<queued_frame> queue;
  std::uint64_t queued_messages = 0;
  struct attached_ingestor {
    messages::ingestor_actor handle;
    std::uint16_t version = messages::link_version_oldest; ///< of its node, or older
    std::uint64_t attach = 0;                              ///< its number; 0: it has none
    std::uint64_t frames = 0;                              ///< that have come since
    std::uint32_t checks = 0;                              ///< since something came of it
  };
  std::vector<attached_ingestor> ingestors; ///< attached and alive

  /// About sessions; answered once the database is there. One of a kind for each session and ingestor.
  struct question {
    enum class kind : std::uint8_t { enlist, settle, list };
    kind what = kind::list;
    session_record session;
    messages::ingestor_actor from; ///< null: it gets no answer
  };
  std::deque<question> questions;

  bool refused = false;    ///< an ingestor, for its columns: it attaches again and again
  bool committing = false; ///< a commit message is under way
  std::unique_ptr<backoff> waits;
  std::uint64_t failures = 0; ///< since the last success
  monotonic failing_since;    ///< where there are failures
  bool alarmed = false;
  bool checking = false; ///< a check message is under way
  bool written = false;  ///< since the last check
  bool retrying = false; ///< a retry message is under way; nothing else touches the database
  bool stopping = false;

  void open();
  void on_attach(const attached_ingestor& ingestor, std::uint64_t frames);
  void forget(const caf::actor_addr& ingestor);
  void on_write(const record::frame& frame, const messages::ingestor_actor& from);
  void on_numbered_write(const record::frame& frame, const messages::ingestor_actor& from, std::uint64_t attach,
                         std::uint64_t number);
  void enqueue(std::unique_ptr<record::frame_view> frame, const messages::ingestor_actor& from);
  std::unique_ptr<record::frame_view> open_frame(const record::frame& frame, const messages::ingestor_actor& from);
  void on_down(const caf::actor_addr& ingestor);
  void ask_for_messages(std::size_t frames);
  void ask(queued_frame& queued);
  void on_question(question asked);
  bool answer_questions();
  result<void> answer(const question& asked);
  void on_commit();
  void on_check();
  void miss_silent();
  void on_retry();
  void on_exit();
  void ask_to_detach();
  void reply(const std::vector<storage::frame_outcome>& outcomes);
  void tell(const messages::ingestor_actor& ingestor, messages::batch_committed batch);
  void retry_later(const error& reason);
  void recovered();
  void probe();
  void schedule_commit();
  void welcome(const attached_ingestor& ingestor);
  attached_ingestor* find(const caf::actor_addr& ingestor);
  void quit_when_done();
};

messages::batch_writer_actor::behavior_type
batch_writer(messages::batch_writer_actor::stateful_pointer<batch_writer_state> self, batch_writer_config config);

} // namespace penstock::actors
