// One publish pipeline's actors, with a scripted broker, and a source table and a tracking table in memory.
#pragma once

#include "actors/poller.hpp"
#include "actors/publisher.hpp"
#include "tests/support/actor_fixture.hpp"

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

/// A table with an integer key; `rows` are what is visible.
struct memory_table {
  std::map<std::int64_t, std::string> rows; ///< the monitor by id
  std::size_t padding = 0;                  ///< bytes in each payload
  std::optional<wall_time> since;           ///< when all of them were made; nothing: `order` is no time
  std::uint64_t reads = 0;
  std::optional<error> failure;
};

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

class memory_source final : public storage::source {
public:
  explicit memory_source(std::shared_ptr<memory_table> table) : table_(std::move(table)) {}
  path newest() const override { return path::id; }
  void begin_behind(const std::string& position) override { begin_ = id_of(position); }
  result<std::vector<storage::source_row>> read(path, const std::string& behind, std::size_t rows_max) override {
    ++table_->reads;
    if (table_->failure)
      return *table_->failure;
    std::vector<storage::source_row> rows;
    for (auto next = table_->rows.upper_bound(id_of(behind)); next != table_->rows.end() && rows.size() < rows_max;
         ++next)
      rows.push_back(row_of(*next));
    return rows;
  }
  result<std::vector<storage::source_row>> read_ids(std::span<const id_range> ranges, std::size_t) override {
    std::vector<storage::source_row> rows;
    for (const auto& each : table_->rows)
      for (const auto& range : ranges)
        if (range.first <= each.first && each.first <= range.last)
          rows.push_back(row_of(each));
    return rows;
  }
  result<std::vector<storage::source_row>> read_records(std::span<const std::string> ids) override {
    std::vector<storage::source_row> rows;
    for (const auto& id : ids)
      if (const auto found = table_->rows.find(std::stoll(id)); found != table_->rows.end())
        rows.push_back(row_of(*found));
    return rows;
  }
  /// `values` is the monitor.
  result<std::vector<storage::source_row>> read_changes(std::span<const storage::changed_row> changes) override {
    std::vector<storage::source_row> rows;
    for (const auto& change : changes) {
      rows.push_back(row_of({std::stoll(change.key[0]), change.values}));
      rows.back().version = change.version;
    }
    return rows;
  }
  result<std::string> end(path) override {
    return table_->rows.empty() ? std::string{} : storage::position_of(table_->rows.rbegin()->first);
  }
  result<bool> is_before(const std::string& left, const std::string& right) override {
    const auto between = table_->rows.upper_bound(id_of(left));
    return between != table_->rows.end() && !right.empty() && between->first <= id_of(right);
  }
  std::string earlier(const std::string&, std::chrono::milliseconds) override { return {}; }

private:
  static std::int64_t id_of(const std::string& position) {
    return position.empty() ? std::numeric_limits<std::int64_t>::min() : std::stoll(position.substr(3));
  }
  storage::source_row row_of(const std::pair<const std::int64_t, std::string>& row) const {
    storage::source_row made;
    made.id = row.first;
    made.record_id = std::to_string(row.first);
    made.order = made.record_id;
    made.since = table_->since;
    made.topic = "t/" + row.second;
    made.payload = "payload " + made.record_id + std::string(table_->padding, '.');
    made.hash = row.second.empty() ? 0u : static_cast<unsigned char>(row.second.back());
    made.position = storage::position_of(row.first);
    made.wanted = row.first > begin_;
    made.refusal = row.second == "bad" ? "no topic fits" : "";
    return made;
  }
  std::shared_ptr<memory_table> table_;
  std::int64_t begin_ = std::numeric_limits<std::int64_t>::min();
};

/// What a tracking database holds, over all its connections.
struct memory_records {
  struct record {
    storage::claimed_record claim;
    std::string state;
    std::uint64_t epoch = 0;
  };
  std::map<std::string, record> records; ///< by record id and version
  std::map<std::uint32_t, storage::adopted_shard> shards;
  std::set<std::string> retries;
  std::uint64_t beats = 0;
  std::uint64_t commits = 0;
  std::uint64_t opened = 0;
  std::optional<error> open_failure;
  std::optional<error> commit_failure;
  bool paused = false;

  std::size_t count(const std::string& state) const {
    return static_cast<std::size_t>(
      std::count_if(records.begin(), records.end(), [&](const auto& each) { return each.second.state == state; }));
  }
};

class memory_tracking final : public storage::tracking {
public:
  explicit memory_tracking(std::shared_ptr<memory_records> database) : database_(std::move(database)) {}
  result<std::string> prepare() override { return std::string{"installation"}; }
  result<std::vector<storage::adopted_shard>> adopt(std::span<const std::uint32_t> shards) override {
    std::vector<storage::adopted_shard> mine;
    for (const auto shard : shards) {
      auto& one = database_->shards[shard];
      one.shard = shard;
      ++one.epoch;
      mine.push_back(one);
    }
    return mine;
  }
  result<std::vector<storage::claimed_record>> open_claims(std::uint32_t shard, std::uint64_t behind) override {
    std::vector<storage::claimed_record> claims;
    for (const auto& [unused, each] : database_->records)
      if (each.state == "claimed" && each.claim.shard == shard && each.claim.seq > behind)
        claims.push_back(each.claim);
    std::sort(claims.begin(), claims.end(), [](const auto& a, const auto& b) { return a.seq < b.seq; });
    return claims;
  }
  result<std::uint64_t> heartbeat() override { return database_->beats; }
  result<void> check(std::span<const storage::shard_progress> shards) override { return fence(shards); }
  result<bool> commit(const storage::tracking_changes& changes) override {
    if (database_->commit_failure)
      return *database_->commit_failure;
    if (auto owned = fence(changes.shards); !owned)
      return owned.error();
    for (const auto& claim : changes.claims)
      if (database_->records.contains(key(claim.record_id, claim.version)))
        return false;
    ++database_->commits;
    for (const auto& end : changes.ends)
      write(end);
    for (const auto& shard : changes.shards)
      write(shard);
    for (const auto& claim : changes.claims)
      database_->records[key(claim.record_id, claim.version)] = {claim, name_of(claim.state),
                                                                 database_->shards[claim.shard].epoch};
    for (const auto& id : changes.retried)
      database_->retries.erase(id);
    if (changes.cursor)
      for (const auto& shard : changes.shards)
        if (!shard.keeps_cursor)
          database_->shards[shard.shard].cursors = {*changes.cursor};
    return true;
  }
  result<bool> paused() override { return database_->paused; }
  result<void> pause(bool paused) override {
    database_->paused = paused;
    return {};
  }
  result<std::vector<std::size_t>> untracked(std::span<const storage::record_key> records, known_by which) override {
    std::vector<std::size_t> missing;
    for (std::size_t index = 0; index < records.size(); ++index) {
      const std::string id{records[index].record_id};
      const auto has = [&](const auto& each) { return each.second.claim.record_id == id; };
      const bool tracked = which == known_by::version
                             ? database_->records.contains(key(id, std::string{records[index].version}))
                             : std::any_of(database_->records.begin(), database_->records.end(), has);
      if (!tracked)
        missing.push_back(index);
    }
    return missing;
  }
  result<std::vector<std::string>> retries(std::size_t) override {
    return std::vector<std::string>{database_->retries.begin(), database_->retries.end()};
  }

private:
  static std::string name_of(storage::record_state state) {
    constexpr std::array names{"claimed", "sent", "refused", "held"};
    return names.at(static_cast<std::size_t>(state));
  }
  static std::string key(const std::string& id, const std::string& version) { return id + "/" + version; }
  result<void> fence(std::span<const storage::shard_progress> shards) {
    for (const auto& shard : shards)
      if (database_->shards[shard.shard].epoch != shard.epoch)
        return error{errc::fenced, "another process publishes now"};
    ++database_->beats;
    return {};
  }
  void write(const storage::claim_end& end) {
    for (auto& [unused, each] : database_->records) {
      if (each.claim.shard != end.shard || each.claim.seq != end.seq || each.state != "claimed")
        continue;
      if (end.outcome == storage::claim_end::kind::reclaim) {
        each.claim.seq = end.new_seq;
        each.claim.packet_id = end.new_packet_id;
        ++each.claim.attempts;
      } else {
        each.state = end.outcome == storage::claim_end::kind::held ? "held" : "refused";
      }
      return;
    }
  }
  void write(const storage::shard_progress& shard) {
    auto& owner = database_->shards[shard.shard];
    owner.claimed_seq = shard.claimed_seq;
    owner.released_seq = shard.released_seq;
    owner.settled_seq = shard.settled_seq;
    for (auto& [unused, each] : database_->records)
      for (const auto& [first, last] : shard.sent)
        if (each.state == "claimed" && each.claim.shard == shard.shard && first <= each.claim.seq &&
            each.claim.seq <= last)
          each.state = "sent";
  }
  std::shared_ptr<memory_records> database_;
};

/// What the test sees of a shard's sessions, and how it speaks to the last one.
struct publish_script {
  std::uint64_t sessions = 0;
  bool open = false;
  bool dialled = false;
  bool stopped = false;
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
    config.name = "p/poller";
    config.pipeline = pipeline;
    config.open_source = [table = table]() -> result<std::unique_ptr<storage::source>> {
      return std::unique_ptr<storage::source>{std::make_unique<memory_source>(table)};
    };
    config.open_tracking = [records = records]() -> result<std::unique_ptr<storage::tracking>> {
      ++records->opened;
      if (records->open_failure)
        return *records->open_failure;
      return std::unique_ptr<storage::tracking>{std::make_unique<memory_tracking>(records)};
    };
    config.holds = holds;
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
  void spawn_publisher(std::uint32_t shard = 0) {
    actors::publisher_config config;
    config.name = "p/publisher/" + std::to_string(shard);
    config.shard = shard;
    config.open_session = [script = script_of(shard)](const std::string&, actors::publish_session_handlers handlers) {
      return std::make_unique<scripted_publish_session>(script, std::move(handlers));
    };
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
  messages::poller_actor poller;
  std::vector<messages::publisher_actor> publishers;
};

} // namespace penstock::testing
