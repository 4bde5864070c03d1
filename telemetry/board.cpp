#include "telemetry/board.hpp"

#include <algorithm>
#include <utility>

namespace penstock::telemetry {

namespace {

template <class Map, class Key>
auto values_of(const Map& map, const std::vector<Key>&) {
  std::vector<Key> values;
  values.reserve(map.size());
  for (const auto& [name, value] : map)
    values.push_back(value);
  return values;
}

/// The worst state of the lanes, with its reason; the latest error; the sums of the rest.
writer_status together(const std::vector<writer_status>& writers) {
  if (writers.empty())
    return {};
  writer_status all = writers.front();
  for (std::size_t index = 1; index < writers.size(); ++index) {
    const auto& next = writers[index];
    if (next.state > all.state) {
      all.state = next.state;
      all.reason = next.reason;
    }
    all.alarm = all.alarm || next.alarm;
    all.queue_frames += next.queue_frames;
    all.queue_records += next.queue_records;
    all.commits += next.commits;
    all.commit_records += next.commit_records;
    if (next.last_error_at && (!all.last_error_at || *next.last_error_at > *all.last_error_at)) {
      all.last_error = next.last_error;
      all.last_error_at = next.last_error_at;
    }
  }
  return all;
}

template <class Pipeline>
std::vector<std::string> unconnected(const Pipeline& pipeline) {
  std::vector<std::string> reasons;
  for (const auto& shard : pipeline.shards)
    if (!shard.connection.connected)
      reasons.push_back(pipeline.name + "/" + std::to_string(shard.shard) +
                        " is not connected: " + shard.connection.reason);
  return reasons;
}

} // namespace

std::uint64_t account::rejected_total() const {
  std::uint64_t total = 0;
  for (const auto& [reason, count] : rejected)
    total += count;
  return total;
}

bool account::balanced() const {
  return received == committed + duplicate + dead_lettered + rejected_total() + in_flight;
}

account& account::operator+=(const account& other) {
  received += other.received;
  committed += other.committed;
  duplicate += other.duplicate;
  dead_lettered += other.dead_lettered;
  in_flight += other.in_flight;
  for (const auto& [reason, count] : other.rejected)
    rejected[reason] += count;
  return *this;
}

std::string_view name_of(writer_state state) noexcept {
  switch (state) {
  case writer_state::running: return "running";
  case writer_state::waiting: return "waiting";
  case writer_state::stopped: return "stopped";
  }
  return "unknown";
}

shard_board::shard_board(std::uint32_t shard) { status_.shard = shard; }

std::uint64_t shard_board::begin(std::string_view reason) {
  std::lock_guard lock{mutex_};
  drop_in_flight(reason);
  status_.connection.connected = false;
  status_.connection.reason = "waits for the answer of a batch-writer";
  return ++incarnation_;
}

void shard_board::end() {
  std::lock_guard lock{mutex_};
  drop_in_flight("redelivery");
}

void shard_board::drop_in_flight(std::string_view reason) {
  if (status_.account.in_flight > 0)
    status_.account.rejected[std::string{reason}] += std::exchange(status_.account.in_flight, 0);
  status_.credit = 0;
  status_.unacknowledged_bytes = 0;
  oldest_.reset();
}

void shard_board::apply(const account_delta& delta, monotonic now) {
  std::lock_guard lock{mutex_};
  if (delta.incarnation != 0 && delta.incarnation != incarnation_)
    return;
  status_.account.received += delta.received;
  status_.account.committed += delta.committed;
  status_.account.duplicate += delta.duplicate;
  status_.account.dead_lettered += delta.dead_lettered;
  status_.account.in_flight = delta.in_flight;
  if (delta.received > 0)
    received_.add(delta.received, now);
  if (const auto done = delta.committed + delta.duplicate + delta.dead_lettered; done > 0)
    committed_.add(done, now);
}

void shard_board::connected(bool session_present, bool session_lost, std::uint8_t protocol) {
  std::lock_guard lock{mutex_};
  auto& connection = status_.connection;
  connection.connected = true;
  connection.session_present = session_present;
  connection.protocol = protocol;
  connection.reason.clear();
  ++connection.connects;
  connection.sessions_lost += session_lost ? 1 : 0;
}

void shard_board::disconnected(std::string_view reason) {
  std::lock_guard lock{mutex_};
  status_.connection.connected = false;
  status_.connection.reason = reason.empty() ? "disconnected" : reason;
}

void shard_board::paused(bool paused) {
  std::lock_guard lock{mutex_};
  status_.paused = paused;
}

bool shard_board::paused() const {
  std::lock_guard lock{mutex_};
  return status_.paused;
}

void shard_board::credit(std::uint64_t records) {
  std::lock_guard lock{mutex_};
  status_.credit = records;
}

void shard_board::unacknowledged(std::uint64_t bytes, std::optional<wall_time> oldest) {
  std::lock_guard lock{mutex_};
  status_.unacknowledged_bytes = bytes;
  oldest_ = oldest;
}

shard_status shard_board::status(wall_time now, monotonic now_monotonic) const {
  std::lock_guard lock{mutex_};
  shard_status status = status_;
  // The wall clock may have been set back since.
  if (oldest_ && *oldest_ < now)
    status.lag = std::chrono::duration_cast<std::chrono::milliseconds>(now - *oldest_);
  status.received_rate = received_.per_second(now_monotonic);
  status.committed_rate = committed_.per_second(now_monotonic);
  return status;
}

writer_board::writer_board(std::uint32_t lane) { status_.lane = lane; }

void writer_board::running() {
  {
    std::lock_guard lock{mutex_};
    status_.alarm = false;
  }
  worker_board::running();
}

void writer_board::alarm() {
  std::lock_guard lock{mutex_};
  status_.alarm = true;
}

void writer_board::queue(std::uint64_t frames, std::uint64_t records) {
  std::lock_guard lock{mutex_};
  status_.queue_frames = frames;
  status_.queue_records = records;
}

void writer_board::commit(std::uint64_t records) {
  std::lock_guard lock{mutex_};
  ++status_.commits;
  status_.commit_records += records;
}

writer_status writer_board::status() const {
  std::lock_guard lock{mutex_};
  return status_;
}

void pipeline_board::latency(std::chrono::microseconds arrival_to_commit, std::uint64_t count) {
  const auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(arrival_to_commit.count(), 0));
  std::lock_guard lock{mutex_};
  latency_.record(value, count);
}

histogram pipeline_board::latency() const {
  std::lock_guard lock{mutex_};
  return latency_;
}

board::board(node_status node) : node_(std::move(node)) {}

board::~board() = default;

board::pipeline_slot& board::slot_of(const std::string& pipeline) {
  auto& found = pipelines_[pipeline];
  if (!found.pipeline) {
    found.pipeline = std::make_shared<pipeline_board>();
    found.retirement = std::make_shared<retirement_board>();
  }
  return found;
}

std::shared_ptr<pipeline_board> board::pipeline(const std::string& name) {
  std::lock_guard lock{mutex_};
  return slot_of(name).pipeline;
}

std::shared_ptr<writer_board> board::writer(const std::string& pipeline, std::uint32_t lane) {
  std::lock_guard lock{mutex_};
  auto& slot = slot_of(pipeline).writers[lane];
  if (!slot)
    slot = std::make_shared<writer_board>(lane);
  return slot;
}

std::shared_ptr<shard_board> board::shard(const std::string& pipeline, std::uint32_t shard) {
  std::lock_guard lock{mutex_};
  auto& slot = slot_of(pipeline).shards[shard];
  if (!slot)
    slot = std::make_shared<shard_board>(shard);
  return slot;
}

std::shared_ptr<retirement_board> board::retirement(const std::string& pipeline) {
  std::lock_guard lock{mutex_};
  return slot_of(pipeline).retirement;
}

std::shared_ptr<publish_board> board::publish(const std::string& pipeline) {
  std::lock_guard lock{mutex_};
  return publishes_[pipeline].pipeline;
}

std::shared_ptr<publish_shard_board> board::publish_shard(const std::string& pipeline, std::uint32_t shard) {
  std::lock_guard lock{mutex_};
  auto& slot = publishes_[pipeline].shards[shard];
  if (!slot)
    slot = std::make_shared<publish_shard_board>(shard);
  return slot;
}

std::shared_ptr<database_board> board::database(const std::string& name, std::optional<std::uint32_t> connections_max) {
  std::lock_guard lock{mutex_};
  auto& found = databases_[name];
  if (!found)
    found = std::make_shared<database_board>(connections_max);
  return found;
}

void board::alerts(std::vector<alert_status> seen) {
  std::lock_guard lock{mutex_};
  alerts_ = std::move(seen);
}

namespace {
void place_in(std::set<std::uint32_t>& elsewhere, std::uint32_t number, bool here) {
  if (here)
    elsewhere.erase(number);
  else
    elsewhere.insert(number);
}
} // namespace

void board::place(const std::string& pipeline, std::uint32_t shard, bool here) {
  const std::lock_guard lock{mutex_};
  if (const auto ingest = pipelines_.find(pipeline); ingest != pipelines_.end())
    place_in(ingest->second.elsewhere, shard, here);
  if (const auto publish = publishes_.find(pipeline); publish != publishes_.end())
    place_in(publish->second.elsewhere, shard, here);
}

void board::place_writer(const std::string& pipeline, std::uint32_t lane, bool here) {
  const std::lock_guard lock{mutex_};
  if (const auto ingest = pipelines_.find(pipeline); ingest != pipelines_.end())
    place_in(ingest->second.writers_elsewhere, lane, here);
}

void board::trim_ingest(const std::string& pipeline, std::uint32_t shards, std::uint32_t writers) {
  std::lock_guard lock{mutex_};
  const auto found = pipelines_.find(pipeline);
  if (found == pipelines_.end())
    return;
  auto& slot = found->second;
  slot.shards.erase(slot.shards.lower_bound(shards), slot.shards.end());
  slot.writers.erase(slot.writers.lower_bound(writers), slot.writers.end());
  if (shards == 0)
    pipelines_.erase(found);
}

void board::trim_publish(const std::string& pipeline, std::uint32_t shards) {
  std::lock_guard lock{mutex_};
  const auto found = publishes_.find(pipeline);
  if (found == publishes_.end())
    return;
  auto& slot = found->second;
  slot.shards.erase(slot.shards.lower_bound(shards), slot.shards.end());
  if (shards == 0)
    publishes_.erase(found);
}

board::told board::pause(const std::string& pipeline, bool pause) {
  std::lock_guard lock{mutex_};
  told all;
  for (const auto& [name, slot] : pipelines_)
    if (pipeline.empty() || name == pipeline) {
      slot.retirement->paused(pause);
      all.retiring.push_back(name);
      for (const auto& [shard, status] : slot.shards) {
        status->paused(pause);
        all.ingest.emplace_back(name, shard);
      }
    }
  for (const auto& [name, slot] : publishes_)
    if (pipeline.empty() || name == pipeline) {
      slot.pipeline->paused(pause);
      all.publish.push_back(name);
    }
  return all;
}

void board::actor_up(const std::string& name, std::string_view kind) {
  std::lock_guard lock{mutex_};
  const auto [position, first] = actors_.try_emplace(name);
  auto& actor = position->second;
  actor.restarts += first ? 0 : 1;
  actor.name = name;
  actor.kind = kind;
  actor.alive = true;
}

void board::actor_down(const std::string& name, std::string_view reason) {
  std::lock_guard lock{mutex_};
  const auto position = actors_.find(name);
  if (position == actors_.end())
    return;
  position->second.alive = false;
  if (!reason.empty())
    position->second.last_failure = reason;
}

void board::forget_actors(const std::string& name) {
  std::lock_guard lock{mutex_};
  std::erase_if(actors_, [&](const auto& each) { return each.first == name || each.first.starts_with(name + "/"); });
}

void board::configuration_in_force(std::map<std::string, std::string> sections) {
  std::lock_guard lock{mutex_};
  configuration_.sections = std::move(sections);
}

void board::configuration_read(bool taken, std::string outcome, wall_time now) {
  std::lock_guard lock{mutex_};
  ++configuration_.reads;
  configuration_.read_at = now;
  configuration_.taken = taken;
  configuration_.outcome = std::move(outcome);
}

void board::broker(const std::string& name, std::int64_t pid, std::uint16_t port) {
  std::lock_guard lock{mutex_};
  brokers_[name] = {name, pid, port};
}

pipeline_status board::status_of(const std::string& name, const pipeline_slot& slot, wall_time now,
                                 monotonic now_monotonic) {
  pipeline_status pipeline;
  pipeline.name = name;
  pipeline.latency = slot.pipeline->latency();
  for (const auto& [lane, writer] : slot.writers)
    if (!slot.writers_elsewhere.contains(lane))
      pipeline.writers.push_back(writer->status());
  pipeline.writer = together(pipeline.writers);
  for (const auto& [number, shard] : slot.shards) {
    auto status = shard->status(now, now_monotonic);
    pipeline.account += status.account;
    if (slot.elsewhere.contains(number))
      continue;
    pipeline.credit += status.credit;
    pipeline.unacknowledged_bytes += status.unacknowledged_bytes;
    pipeline.lag = std::max(pipeline.lag, status.lag);
    pipeline.received_rate += status.received_rate;
    pipeline.committed_rate += status.committed_rate;
    pipeline.shards.push_back(std::move(status));
  }
  pipeline.retirement = {slot.retirement->sessions(), slot.retirement->status(now, now_monotonic)};
  pipeline.account += pipeline.retirement.drained.account;
  return pipeline;
}

publish_status board::status_of(const std::string& name, const publish_slot& slot, wall_time now,
                                monotonic now_monotonic) {
  auto pipeline = slot.pipeline->status(now);
  pipeline.name = name;
  pipeline.shards.reserve(slot.shards.size());
  for (const auto& [number, shard] : slot.shards) {
    auto status = shard->status(now_monotonic);
    pipeline.account += status.account;
    if (slot.elsewhere.contains(number))
      continue;
    pipeline.reclaimed += status.reclaimed;
    pipeline.backlog += status.backlog;
    pipeline.sent_rate += status.sent_rate;
    pipeline.lag.merge(status.lag);
    pipeline.shards.push_back(std::move(status));
  }
  return pipeline;
}

snapshot board::snapshot() const { return snapshot(wall_now(), std::chrono::steady_clock::now()); }

snapshot board::snapshot(wall_time now, monotonic now_monotonic) const {
  telemetry::snapshot result;
  result.taken = now;
  result.node = node_;
  result.process = process_now();
  std::lock_guard lock{mutex_};
  result.configuration = configuration_;
  result.actors = values_of(actors_, result.actors);
  result.brokers = values_of(brokers_, result.brokers);
  for (const auto& [name, slot] : pipelines_)
    result.pipelines.push_back(status_of(name, slot, now, now_monotonic));
  for (const auto& [name, slot] : publishes_)
    result.publishes.push_back(status_of(name, slot, now, now_monotonic));
  for (const auto& [name, database] : databases_)
    result.databases.push_back({name, database->connections(), database->connections_max()});
  result.membership = links_->membership(now_monotonic);
  result.links = links_->status();
  result.alerts = alerts_;
  return result;
}

std::vector<std::string> unready_of(const pipeline_status& pipeline) {
  auto reasons = unconnected(pipeline);
  for (const auto& writer : pipeline.writers)
    if (writer.state != writer_state::running)
      reasons.push_back(pipeline.name + ": " +
                        (pipeline.writers.size() == 1 ? "the writer" : "writer " + std::to_string(writer.lane)) +
                        " is " + std::string{name_of(writer.state)} + ": " + writer.reason);
  return reasons;
}

std::vector<std::string> unready_of(const publish_status& pipeline) {
  auto reasons = unconnected(pipeline);
  if (pipeline.state != writer_state::running)
    reasons.push_back(pipeline.name + ": the poller is " + std::string{name_of(pipeline.state)} + ": " +
                      pipeline.reason);
  return reasons;
}

readiness ready(const snapshot& snapshot) {
  readiness result;
  const auto note = [&result](const auto& pipelines) {
    for (const auto& pipeline : pipelines)
      for (auto& reason : unready_of(pipeline))
        result.reasons.push_back(std::move(reason));
  };
  note(snapshot.pipelines);
  note(snapshot.publishes);
  if (snapshot.membership && !snapshot.membership->member)
    result.reasons.push_back("the cluster: " + snapshot.membership->reason);
  result.ready = result.reasons.empty();
  return result;
}

} // namespace penstock::telemetry
