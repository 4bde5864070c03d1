// The poller of one publish pipeline: finds new rows of the source table, claims them for the shards as far as their
// publishers demand, and records what became of them; all shards' claims, releases and confirmations in one transaction
// at a time. Spawned detached, since the databases block.
//
// With QoS 2, what it promises rests on the order of each step: a claim is committed before its PUBLISH, a release
// before its PUBREL, and a packet id is used again only after `sent` is committed. With QoS 1 a row is recorded once,
// when it is acknowledged (decision 15): until then it counts as not read. After a failure of the tracking database it
// starts over from what is committed there: it raises the epochs, and every publisher makes its session anew.
//
// It owns the shards whose publishers attach, and lets go of those whose publishers detach: it claims nothing more for
// them, ends what is in flight, and leaves the rest to whoever attaches next, on whatever node. When shards come it
// begins to find rows anew, from where all of its shards were read to.
//
// Where rows were dealt to shards in another way before, what was claimed then comes to its end first, by the sessions
// that it was claimed for; rows of one monitor keep their order so. For shards that the pipeline does not have any more
// the poller with shard 0 starts publishers of its own, and ends their sessions.
//
// poller.cpp: when it does what; poller_shards.cpp: the shards and their sessions; poller_commit.cpp: what is written.
//
// Bounded: it reads no more rows than there is room for in the publishers' windows, and two reads more (one is ahead).
#pragma once

#include "actors/publisher.hpp"
#include "actors/row_finder.hpp"
#include "config/config.hpp"
#include "core/backoff.hpp"
#include "core/claim_ledger.hpp"
#include "messages/messages.hpp"
#include "mqtt/message.hpp"
#include "storage/change_stream.hpp"
#include "storage/change_watch.hpp"
#include "storage/source.hpp"
#include "storage/tracking.hpp"
#include "telemetry/publish_board.hpp"

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace penstock::actors {

struct poller_config {
  std::string name; ///< "TableA/poller"
  config::publish pipeline;
  std::function<result<std::unique_ptr<storage::source>>()> open_source;
  std::function<result<std::unique_ptr<storage::tracking>>()> open_tracking;
  /// Wakes the poller when the source may have changed; empty: it only polls.
  std::function<std::unique_ptr<storage::change_watch>(std::function<void()> on_change)> watch_source;
  /// Where changes are told by the source's log; empty: queries find the rows.
  std::function<result<std::unique_ptr<storage::change_stream>>(const std::string& installation,
                                                                std::function<void()> on_more)>
    open_changes;
  /// In a cluster: this node's lease of the shard lasts, and was renewed since then. Empty: every shard is its own.
  std::function<bool(std::uint32_t shard, monotonic since)> holds;
  /// In a cluster: another living node has the shard, since its file is another.
  std::function<bool(std::uint32_t shard)> runs_elsewhere;
  /// The publisher of a shard that the pipeline does not have any more, but for its board.
  std::function<publisher_config(std::uint32_t shard)> former_shard;
  std::shared_ptr<telemetry::publish_board> board;
  std::vector<std::shared_ptr<telemetry::publish_shard_board>> shards; ///< by number
  std::size_t read_max = 5'000;                                        ///< rows in one read
  std::size_t claims_bytes_max = 8u << 20;     ///< payload in one read or transaction; a single row may be larger
  std::size_t in_flight_bytes_max = 64u << 20; ///< payload that is read or claimed and has had no answer, about
  /// The epochs are checked while nothing is written; and whether the pipeline is paused.
  std::chrono::milliseconds renew_every{2'000};
  std::chrono::milliseconds takeover_after{10'000}; ///< a fenced poller waits until its successor is silent for so long
  std::chrono::milliseconds pace_max{50};           ///< the longest that a commit waits for more to write
  std::chrono::milliseconds drain_max{5'000};       ///< at the end, also a shard's: for handshakes that are open
  std::chrono::milliseconds adopt_every{200}; ///< between two looks whether a shard that is attached may be adopted
  std::chrono::milliseconds retry_min{50};
  std::chrono::milliseconds retry_max{5'000};

  /// Empty, or what is wrong.
  std::string validate() const;
};

struct poller_state {
  static inline const char* name = "poller";

  /// What is to be recorded of a row.
  struct unrecorded_claim {
    storage::claimed_record record;
    row_finder::found_row row; ///< without its payload
  };
  /// What is known of a claim beside its handshake.
  struct open_claim {
    std::optional<wall_time> since; ///< of the row, where it has a time
    std::uint32_t attempts = 1;
    std::size_t bytes = 0;                      ///< of its payload
    std::optional<unrecorded_claim> unrecorded; ///< QoS 1: it is nowhere but here
  };
  struct shard_state {
    explicit shard_state(std::uint16_t ids_max) : ledger(ids_max) {}
    void go_offline();
    bool has_open() const; ///< something whose end is not recorded
    claim_ledger ledger;
    messages::publisher_actor publisher;
    std::uint64_t incarnation = 0; ///< of its session
    std::uint64_t account = 0;     ///< the number of this poller on the shard's board
    bool adopted = false;          ///< `epoch` is the one that was raised last, as far as this process knows
    bool finishing = false;        ///< adopted for its claims alone
    bool leaving = false;          ///< its publisher has detached
    monotonic leaving_since;
    std::uint64_t epoch = 0;
    std::uint64_t settled_seq = 0; ///< as it was adopted
    bool wants_dial = false;
    std::optional<messages::connected> connected; ///< a CONNACK that is not answered yet
    bool online = false;                          ///< it was answered
    std::deque<row_finder::found_row> pending;
    std::unordered_map<std::uint64_t, open_claim> claims; ///< by claim_seq
    std::vector<mqtt::completion> failures;               ///< not yet written
    std::vector<unrecorded_claim> ended;                  ///< QoS 1: to be recorded with the next commit
    std::uint64_t sent = 0;                               ///< acknowledged and not yet written
  };
  /// What one transaction writes, and what follows from it.
  struct round {
    storage::tracking_changes changes;
    std::vector<claim_ledger::progress> progress;                   ///< of the shards in changes.shards
    std::vector<storage::claimed_record> claims;                    ///< to be recorded
    std::vector<row_finder::found_row> rows;                        ///< of the claims
    std::vector<std::uint64_t> first_new;                           ///< by shard: the seq of its first new claim
    std::vector<storage::claimed_record> unrecorded;                ///< QoS 1: to be published, by shard and seq
    std::vector<std::pair<std::uint32_t, std::uint64_t>> reclaimed; ///< QoS 2: to be read and published again
    std::vector<telemetry::publish_delta> deltas;                   ///< by shard
  };

  messages::poller_actor::stateful_pointer<poller_state> self = nullptr;
  poller_config config;
  std::unique_ptr<storage::source> source;     ///< null: not open
  std::unique_ptr<storage::tracking> tracking; ///< null: not open
  std::unique_ptr<row_finder> finder;
  std::unique_ptr<storage::change_watch> watch;
  std::string installation;
  std::vector<shard_state> shards;              ///< those of the pipeline; then, while they are finished, former ones
  std::optional<storage::source_cursor> cursor; ///< as of the last look that succeeded

  std::uint64_t timer = 0; ///< a step message with another number is not heard
  monotonic step_at;
  monotonic next_poll;
  monotonic next_renewal;
  monotonic next_pause_check;
  monotonic last_commit;
  monotonic::duration commit_took{}; ///< with the look for rows before it
  std::uint64_t gathered = 0;        ///< answers since then
  std::unique_ptr<backoff> waits;
  /// A wake-up is on its way: the next one need not be.
  std::shared_ptr<std::atomic<bool>> waking = std::make_shared<std::atomic<bool>>(false);
  monotonic next_lag_check;
  monotonic next_former_look;
  bool slot_warned = false;
  bool woken = true;        ///< the source may have changed
  bool waiting_out = false; ///< after a failure, for step_at
  bool working = false;     ///< something was committed since the databases were opened
  monotonic working_since;
  bool failing = false;
  bool bytes_full = false;       ///< by in_flight_bytes_max, as of the last step
  bool paused = false;           ///< by the control topic
  bool paused_lastingly = false; ///< by the tracking database
  bool adopting = false;         ///< new shards wait for what is open; QoS 1: until what is in flight is recorded
  bool finishing = false;        ///< of when rows were dealt in another way
  /// Of shards elsewhere: up to which claim is waited for. What they claim later, they do with another file.
  std::map<std::uint32_t, std::uint64_t> awaited;
  std::map<std::uint32_t, messages::publisher_actor> formers; ///< of shards that the pipeline does not have any more
  bool stopping = false;
  monotonic stopping_since;
  monotonic fenced_at;
  std::optional<std::uint64_t> successor; ///< fenced: the heartbeat of who owns the shards now

  // handlers
  void on_attach(std::uint32_t shard, const messages::publisher_actor& publisher);
  void on_detach(std::uint32_t shard, const messages::publisher_actor& publisher);
  void on_dial(const messages::shard_session& from);
  void on_connected(const messages::connected& message);
  void on_session_down(const messages::shard_session& from);
  void on_answers(const messages::shard_session& from, const std::vector<mqtt::completion>& answers);
  void on_publisher_down(const caf::actor_addr& ended);
  void on_step();
  void on_exit();

  // one step: find rows, write, then send
  result<void> step();
  result<void> open();
  void close();
  std::unique_ptr<row_finder> make_finder();
  result<void> adopt_attached();
  std::vector<std::uint32_t> to_be_adopted() const;
  result<void> look_for_former();
  bool is_left(std::uint32_t number) const;
  result<bool> finish_former();
  void start_former(std::uint32_t number);
  void end_former(caf::exit_reason reason);
  bool owns_first() const;
  result<void> adopt(const std::vector<std::uint32_t>& numbers);
  result<void> adopt_claims(const std::vector<std::uint32_t>& numbers);
  void begin(const storage::adopted_shard& adopted);
  void let_go();
  void forget(shard_state& shard);
  bool is_idle() const;
  bool owns_all_attached() const;
  bool finds_for_all() const;
  bool reads_for(std::uint32_t number) const;
  void note_slot(const storage::slot_state& slot, bool made_anew);
  std::function<void()> wake();
  void works();
  result<void> read_pause();
  result<void> find_rows();
  result<void> commit(bool rows_found);
  round collect();
  void end_failures(std::uint32_t number, round& now);
  void end_failure(std::uint32_t number, const mqtt::completion& failure, round& now);
  void claim_again(std::uint32_t number, open_claim claim, const storage::claim_end& end, round& now);
  void end_claim(std::uint32_t number, open_claim claim, storage::claim_end end, round& now);
  void make_claims(round& now);
  void make_claim(std::uint32_t number, row_finder::found_row found, round& now);
  void take_ended(std::uint32_t number, round& now);
  void add_progress(round& now);
  result<void> drop_tracked(round& now);
  result<void> refuse_unrecordable(round& now, const error& why);
  void claim_the_others(round& now, const std::vector<bool>& again);
  result<bool> write(round& now, bool publish_meanwhile);
  void show(round& now);
  result<void> settle(round now);
  void publish(std::vector<storage::claimed_record> claims);
  result<void> publish_again(const round& now);
  result<void> answer(std::uint32_t number);
  result<void> resume(std::uint32_t number, const messages::connected& session);
  result<std::vector<storage::claimed_record>> claims_to_resume(std::uint32_t number);
  mqtt::outbound outbound_of(storage::claimed_record claim) const;
  std::uint32_t shard_of(const storage::source_row& row) const;

  shard_state* session_of(const messages::shard_session& from);
  result<void> watch_successor();
  void cut_sessions();
  void welcome(shard_state& shard);
  void failed(const error& reason);
  void schedule(monotonic when);
  void schedule_commit();
  void schedule_now() { schedule(std::chrono::steady_clock::time_point{}); }
  monotonic now() const;
  std::size_t room() const;
  std::size_t pending_rows() const;
  std::size_t bytes_in_flight() const;
  std::size_t open_claims() const;
  bool drained() const;
  /// QoS 1: rows are recorded when they are acknowledged, and not before.
  bool records_at_end() const { return config.pipeline.qos < 2; }
  bool is_paused() const { return paused || paused_lastingly; }
  result<void> watch_lag();
};

messages::poller_actor::behavior_type poller(messages::poller_actor::stateful_pointer<poller_state> self,
                                             poller_config config);

} // namespace penstock::actors
