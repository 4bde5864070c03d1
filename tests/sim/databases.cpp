#include "tests/sim/databases.hpp"

#include "tests/sim/broker.hpp"
#include "tests/sim/connection.hpp"
#include "tests/sim/process.hpp"

#include <utility>

namespace penstock::sim {

namespace {

class state_connection final : public storage::cluster_state, connection {
public:
  state_connection(world& given, process& from)
    : connection(given, from, service::state),
      // Its clock is nobody else's.
      database_(given.the_databases().state, [&given] { return given.now() + std::chrono::hours{1'000}; }) {}

  result<void> prepare() override {
    return ask([&] { return database_.prepare(); });
  }
  result<storage::cluster_snapshot> renew(const storage::cluster_node& me, std::chrono::milliseconds lease) override {
    return ask([&] { return database_.renew(me, lease); });
  }
  result<storage::cluster_snapshot> read() override {
    return ask([&] { return database_.read(); });
  }
  result<std::optional<std::uint64_t>> acquire(const storage::shard_owner& known,
                                               const storage::cluster_node& me) override {
    return ask([&] {
      auto epoch = database_.acquire(known, me);
      if (epoch && *epoch)
        world_.trace("{} acquires {}/{} with epoch {}", from_.name(), known.id.pipeline, known.id.shard, **epoch);
      return epoch;
    });
  }
  result<bool> release(const storage::shard_owner& mine) override {
    return ask([&] {
      auto released = database_.release(mine);
      if (released && *released)
        world_.trace("{} releases {}/{}", from_.name(), mine.id.pipeline, mine.id.shard);
      return released;
    });
  }
  result<void> leave(const storage::cluster_node& me) override {
    return ask([&] { return database_.leave(me); });
  }
  result<bool> drain(const std::string& node, bool draining) override { return database_.drain(node, draining); }
  result<bool> pin(const storage::shard_id& shard, const std::string& node) override {
    return database_.pin(shard, node);
  }

private:
  testing::memory_cluster database_;
};

class tracking_connection final : public storage::tracking, connection {
public:
  tracking_connection(world& given, process& from)
    : connection(given, from, service::tracking), database_(given.the_databases().records, given.given().shards) {}

  result<std::string> prepare() override {
    return ask([&] { return database_.prepare(); });
  }
  result<std::vector<storage::former_claims>> former() override {
    return ask([&] { return database_.former(); });
  }
  result<std::vector<storage::adopted_shard>> adopt(std::span<const std::uint32_t> shards, adoption what) override {
    return ask([&] {
      auto mine = database_.adopt(shards, what);
      for (const auto& each : *mine) {
        world_.trace("{} adopts shard {} with epoch {}", from_.name(), each.shard, each.epoch);
        world_.the_databases().owners[each.shard] = {from_.name(), each.epoch};
        confirm(each.shard);
      }
      return mine;
    });
  }
  result<std::vector<storage::claimed_record>> open_claims(std::uint32_t shard, std::uint64_t behind) override {
    return ask([&] { return database_.open_claims(shard, behind); });
  }
  result<std::uint64_t> heartbeat() override {
    return ask([&] { return database_.heartbeat(); });
  }
  result<void> check(std::span<const storage::shard_progress> shards) override {
    return ask([&] {
      auto done = database_.check(shards);
      for (const auto& each : shards)
        if (done)
          confirm(each.shard);
      return done;
    });
  }
  result<bool> commit(const storage::tracking_changes& changes) override {
    check_leases(changes);
    return ask([&] {
      auto done = database_.commit(changes);
      world_.trace("{} commits {} claims, {} ends: {}", from_.name(), changes.claims.size(), changes.ends.size(),
                   done ? (*done ? "done" : "tracked already") : done.error().message);
      if (done && *done)
        check_owner(changes);
      for (const auto& claim : changes.claims)
        world_.the_broker().note_claim(claim.shard, std::stoll(claim.record_id));
      return done;
    });
  }
  result<std::vector<storage::refused_claim>> refused(std::span<const storage::claimed_record> claims) override {
    return ask([&] { return database_.refused(claims); });
  }
  result<bool> paused() override {
    return ask([&] { return database_.paused(); });
  }
  result<void> pause(bool paused) override { return database_.pause(paused); }
  result<std::vector<std::size_t>> untracked(std::span<const storage::record_key> records, known_by which) override {
    return ask([&] { return database_.untracked(records, which); });
  }
  result<std::vector<std::string>> retries(std::size_t records_max) override {
    return ask([&] { return database_.retries(records_max); });
  }

private:
  void check_owner(const storage::tracking_changes& changes) {
    for (const auto& each : changes.shards) {
      confirm(each.shard);
      const auto& owner = world_.the_databases().owners[each.shard];
      if (owner.who != from_.name() || owner.epoch != each.epoch)
        world_.violate(fmt::format("{} has written for shard {} with epoch {}, which is not its own", from_.name(),
                                   each.shard, each.epoch));
    }
  }
  void confirm(std::uint32_t shard) { world_.the_databases().confirmed[{from_.name(), shard}] = world_.steps(); }
  /// With QoS 1 a claim is written at its end.
  void check_leases(const storage::tracking_changes& changes) {
    if (world_.given().qos == 2 && from_.alive)
      for (const auto& claim : changes.claims)
        if (!from_.may_claim(claim.shard))
          world_.violate(fmt::format("{} claims rows for shard {}, and its lease is over", from_.name(), claim.shard));
  }
  testing::memory_tracking database_;
};

class source_connection final : public storage::source, connection {
public:
  source_connection(world& given, process& from)
    : connection(given, from, service::source), database_(given.the_databases().table) {}

  path newest() const override { return database_.newest(); }
  void begin_behind(const std::string& position) override { database_.begin_behind(position); }
  result<std::vector<storage::source_row>> read(path along, const std::string& behind, std::size_t rows_max) override {
    return ask([&] { return database_.read(along, behind, rows_max); });
  }
  result<std::vector<storage::source_row>> read_ids(std::span<const id_range> ranges, std::size_t rows_max) override {
    return ask([&] { return database_.read_ids(ranges, rows_max); });
  }
  result<std::vector<storage::source_row>> read_records(std::span<const std::string> ids) override {
    return ask([&] { return database_.read_records(ids); });
  }
  result<std::vector<storage::source_row>> read_changes(std::span<const storage::changed_row> changes) override {
    return ask([&] { return database_.read_changes(changes); });
  }
  result<std::string> end(path along) override {
    return ask([&] { return database_.end(along); });
  }
  result<bool> is_before(const std::string& left, const std::string& right) override {
    return ask([&] { return database_.is_before(left, right); });
  }
  std::string earlier(const std::string& position, std::chrono::milliseconds before) override {
    return database_.earlier(position, before);
  }

private:
  testing::memory_source database_;
};

} // namespace

result<std::unique_ptr<storage::cluster_state>> databases::open_state(process& from) {
  return open_connection<storage::cluster_state, state_connection>(world_, from, service::state);
}

result<std::unique_ptr<storage::tracking>> databases::open_tracking(process& from) {
  return open_connection<storage::tracking, tracking_connection>(world_, from, service::tracking);
}

result<std::unique_ptr<storage::source>> databases::open_source(process& from) {
  return open_connection<storage::source, source_connection>(world_, from, service::source);
}

void databases::add_row(std::int64_t id, const std::string& monitor, bool late) {
  table->rows[id] = monitor;
  if (late)
    late_.insert(id);
}

void databases::check_published(std::int64_t row, std::uint16_t packet_id) {
  const auto found = records->records.find(std::to_string(row) + "/");
  if (found == records->records.end())
    return world_.violate(fmt::format("row {} was published, and is not claimed", row));
  const auto& [claim, state, epoch] = found->second;
  if (claim.packet_id != packet_id)
    world_.violate(
      fmt::format("row {} was published with packet id {}, and is claimed with {}", row, packet_id, claim.packet_id));
}

void databases::check_released(std::int64_t row) {
  const auto found = records->records.find(std::to_string(row) + "/");
  if (found == records->records.end())
    return world_.violate(fmt::format("row {} was released, and is not claimed", row));
  const auto& [claim, state, epoch] = found->second;
  if (records->shards[claim.shard].released_seq < claim.seq)
    world_.violate(fmt::format("PUBREL for row {} was sent before its release was committed", row));
}

void databases::excuse_open_claims(std::uint32_t shard, std::set<std::int64_t>& rows) const {
  for (const auto& [unused, each] : records->records)
    if (each.state == "claimed" && each.claim.shard == shard)
      rows.insert(std::stoll(each.claim.record_id));
}

} // namespace penstock::sim
