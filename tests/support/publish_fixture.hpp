// One publish pipeline's actors, with a scripted broker, and a source table and a tracking table in memory.
#pragma once

#include "actors/pipeline_actors.hpp"
#include "actors/poller.hpp"
#include "actors/publisher.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/memory_publish.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace penstock::testing {

/// What a server's log has of changes, over all its connections. One row is one transaction, unless `open`.
struct memory_log {
  struct entry {
    storage::changed_row row;
    storage::log_place end = 0; ///< of its transaction
    bool last = true;           ///< of its transaction
  };
  std::vector<entry> entries;
  storage::log_place place = 100;   ///< how far the log goes
  storage::log_place confirmed = 0; ///< of the slot
  bool told = true;                 ///< false: the server holds everything back
  bool made_anew = false;
  std::uint64_t opened = 0;
  std::uint64_t readers = 0;
  std::size_t read_at_once = 0; ///< the most rows that one read was given
  std::optional<error> failure;

  /// A change of a row, in a transaction of its own.
  void change(std::int64_t id, storage::changed_row::kind made_by, const std::string& values, bool last = true) {
    storage::changed_row row;
    row.made_by = made_by;
    row.at = place;
    row.key = {std::to_string(id)};
    row.values = values;
    place += 10;
    entries.push_back({std::move(row), place, last});
    for (auto each = entries.rbegin(); last && each != entries.rend() && (each == entries.rbegin() || !each->last);
         ++each)
      each->end = place;
  }
};

class memory_stream final : public storage::change_stream {
public:
  memory_stream(std::shared_ptr<memory_log> log, std::function<void()> on_more)
    : log_(std::move(log)), on_more_(std::move(on_more)) {
    ++log_->opened;
    ++log_->readers;
    while (next_ < log_->entries.size() && log_->entries[next_].end <= log_->confirmed)
      ++next_;
  }
  ~memory_stream() override { --log_->readers; }
  memory_stream(const memory_stream&) = delete;
  memory_stream& operator=(const memory_stream&) = delete;

  bool is_new() const override { return log_->made_anew; }
  result<std::vector<event>> read(std::size_t rows_max, std::size_t) override {
    if (log_->failure)
      return *log_->failure;
    std::vector<event> events;
    std::size_t rows = 0;
    for (; log_->told && next_ < log_->entries.size() && rows < rows_max; ++next_, ++rows) {
      const auto& one = log_->entries[next_];
      events.push_back({event::kind::change, one.row, 0});
      if (one.last)
        events.push_back({event::kind::commit, {}, one.end});
    }
    log_->read_at_once = std::max(log_->read_at_once, rows);
    if (log_->told && next_ == log_->entries.size())
      events.push_back({event::kind::reached, {}, log_->place});
    return events;
  }
  result<void> confirm(storage::log_place place) override {
    log_->confirmed = std::max(log_->confirmed, place);
    return {};
  }
  result<void> ask() override {
    on_more_();
    return {};
  }
  result<storage::log_end> end() override { return storage::log_end{log_->place, log_->place}; }
  result<storage::slot_state> slot() override {
    return storage::slot_state{"slot", log_->confirmed, log_->place - log_->confirmed, "reserved"};
  }

private:
  std::shared_ptr<memory_log> log_;
  std::function<void()> on_more_;
  std::size_t next_ = 0;
};

/// What the test sees of a shard's sessions, and how it speaks to the last one.
struct publish_script {
  std::uint64_t sessions = 0;
  bool open = false;
  bool dialled = false;
  bool stopped = false;
  bool forgotten = false;                ///< stopped, and the broker was to end the session
  std::vector<mqtt::resumption> resumed; ///< of the last `proceed`
  std::uint64_t proceeded = 0;
  std::vector<mqtt::outbound> published; ///< by all sessions, in order
  std::vector<std::uint16_t> released;
  actors::publish_session_handlers handlers;

  void connect(bool present, std::size_t window = 10) {
    mqtt::connection_state state;
    state.connected = true;
    state.session_present = present;
    state.protocol = 5;
    state.publish_window = window;
    handlers.on_state(state);
  }
  void disconnect() {
    dialled = false;
    handlers.on_state({});
  }
  void ask_to_dial() { handlers.on_dial(); }
  void answer(std::vector<mqtt::completion> answers) { handlers.on_published(answers); }
  void received(std::uint64_t seq) { answer({{seq, 0, mqtt::publish_stage::received}}); }
  void done(std::uint64_t seq, std::uint8_t reason = 0) { answer({{seq, reason, mqtt::publish_stage::done}}); }
};

class scripted_publish_session final : public actors::publish_session {
public:
  scripted_publish_session(std::shared_ptr<publish_script> script, actors::publish_session_handlers handlers)
    : script_(std::move(script)) {
    script_->handlers = std::move(handlers);
    script_->open = true;
    script_->dialled = false;
    ++script_->sessions;
  }
  ~scripted_publish_session() override {
    script_->open = false;
    script_->handlers = {};
  }
  void start() override { script_->handlers.on_dial(); }
  void dial() override { script_->dialled = true; }
  void proceed(std::vector<mqtt::resumption> handshakes) override {
    script_->resumed = std::move(handshakes);
    ++script_->proceeded;
  }
  void publish(std::vector<mqtt::outbound> messages) override {
    script_->published.insert(script_->published.end(), messages.begin(), messages.end());
  }
  void release_published(std::vector<std::uint16_t> packet_ids) override {
    script_->released.insert(script_->released.end(), packet_ids.begin(), packet_ids.end());
  }
  void stop(std::function<void()> done) override {
    script_->stopped = true;
    done();
  }
  void forget(std::function<void()> done) override {
    script_->forgotten = true;
    done();
  }

private:
  std::shared_ptr<publish_script> script_;
};

class publish_fixture : public actor_fixture {
protected:
  publish_fixture() {
    pipeline.name = "p";
    pipeline.table = "rows";
    pipeline.key = {"id"};
    pipeline.detect.poll = std::chrono::milliseconds{100};
    pipeline.in_flight_max = 100;
  }
  ~publish_fixture() override {
    if (poller)
      caf::anon_send_exit(poller, caf::exit_reason::kill);
    for (const auto& each : publishers)
      caf::anon_send_exit(each, caf::exit_reason::kill);
  }

  void spawn_poller() {
    actors::poller_config config;
    config.name = actors::poller_name("p");
    config.pipeline = pipeline;
    config.open_source = [table = table]() -> result<std::unique_ptr<storage::source>> {
      return std::unique_ptr<storage::source>{std::make_unique<memory_source>(table)};
    };
    config.open_tracking = [records = records,
                            shards = pipeline.shards]() -> result<std::unique_ptr<storage::tracking>> {
      ++records->opened;
      if (records->open_failure)
        return *records->open_failure;
      return std::unique_ptr<storage::tracking>{std::make_unique<memory_tracking>(records, shards)};
    };
    config.holds = holds;
    config.runs_elsewhere = runs_elsewhere;
    config.former_shard = [this](std::uint32_t shard) {
      auto former = publisher_of(shard);
      former.is_former = true;
      return former;
    };
    config.claims_bytes_max = bytes_max;
    config.in_flight_bytes_max = 2 * bytes_max;
    if (pipeline.detect.changes == config::change_source::logical)
      config.open_changes = [log =
                               log](const std::string&,
                                    std::function<void()> on_more) -> result<std::unique_ptr<storage::change_stream>> {
        return std::unique_ptr<storage::change_stream>{std::make_unique<memory_stream>(log, std::move(on_more))};
      };
    config.board = board.publish("p");
    for (std::uint32_t shard = 0; shard < pipeline.shards; ++shard)
      config.shards.push_back(board.publish_shard("p", shard));
    poller = system.spawn(actors::poller, config);
    for (const auto& each : publishers)
      introduce(each);
    settle();
  }
  actors::publisher_config publisher_of(std::uint32_t shard) {
    actors::publisher_config config;
    config.name = actors::publisher_name("p", shard);
    config.shard = shard;
    config.open_session = [script = script_of(shard)](const std::string&, actors::publish_session_handlers handlers) {
      return std::make_unique<scripted_publish_session>(script, std::move(handlers));
    };
    return config;
  }
  void spawn_publisher(std::uint32_t shard = 0) {
    auto config = publisher_of(shard);
    config.board = board.publish_shard("p", shard);
    publishers.push_back(system.spawn(actors::publisher, config));
    introduce(publishers.back());
    settle();
  }
  std::shared_ptr<publish_script> script_of(std::uint32_t shard) {
    if (shard == 0)
      return script;
    auto& other = other_scripts[shard];
    if (!other)
      other = std::make_shared<publish_script>();
    return other;
  }
  void introduce(const messages::publisher_actor& publisher) {
    if (poller)
      caf::anon_send(publisher, messages::poller_atom_v, caf::actor_cast<caf::strong_actor_ptr>(poller));
  }
  /// A poller, a publisher, and a session that stands.
  void begin(bool present = false, std::size_t window = 10) {
    spawn_poller();
    spawn_publisher();
    script->connect(present, window);
    settle();
  }
  void rows(std::int64_t first, std::int64_t last, const std::string& monitor = "m") {
    for (auto id = first; id <= last; ++id)
      table->rows[id] = monitor;
  }
  std::vector<std::string> published_ids(std::uint32_t shard = 0) {
    std::vector<std::string> ids;
    for (const auto& each : script_of(shard)->published)
      ids.push_back(each.message_id.substr(2));
    return ids;
  }
  telemetry::publish_status status() { return board.snapshot().publishes.at(0); }

  config::publish pipeline;
  std::size_t bytes_max = 8u << 20; ///< of payload in one read; twice as much may be in flight
  std::shared_ptr<memory_table> table = std::make_shared<memory_table>();
  std::shared_ptr<memory_log> log = std::make_shared<memory_log>(); ///< with `changes: logical`
  std::shared_ptr<memory_records> records = std::make_shared<memory_records>();
  std::shared_ptr<publish_script> script = std::make_shared<publish_script>(); ///< of shard 0
  std::map<std::uint32_t, std::shared_ptr<publish_script>> other_scripts;
  std::function<bool(std::uint32_t, monotonic)> holds; ///< leases; empty: there is no cluster
  std::function<bool(std::uint32_t)> runs_elsewhere;   ///< likewise
  messages::poller_actor poller;
  std::vector<messages::publisher_actor> publishers;
};

} // namespace penstock::testing
