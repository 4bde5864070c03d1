// The databases of a simulation, in memory: what the tests of actors have (tests/support), behind connections that are
// slow, busy, lost or cut off. What they hold outlives every node.
#pragma once

#include "cluster/leases.hpp"
#include "storage/cluster_state.hpp"
#include "tests/sim/world.hpp"
#include "tests/support/memory_cluster.hpp"
#include "tests/support/memory_publish.hpp"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

namespace penstock::sim {

class databases {
public:
  explicit databases(world& given) : world_(given) {}

  result<std::unique_ptr<storage::cluster_state>> open_state(process& from);
  result<std::unique_ptr<storage::tracking>> open_tracking(process& from);
  result<std::unique_ptr<storage::source>> open_source(process& from);

  void add_row(std::int64_t id, const std::string& monitor, bool late);
  const std::string& monitor_of(std::int64_t id) const { return table->rows.at(id); }
  /// It became visible after a row with a higher id.
  bool is_late(std::int64_t id) const { return late_.contains(id); }

  // What the broker is sent must be committed.
  void check_published(std::int64_t row, std::uint16_t packet_id);
  void check_released(std::int64_t row);
  void excuse_open_claims(std::uint32_t shard, std::set<std::int64_t>& rows) const;

  /// Who has raised the epoch of a shard last.
  struct owner {
    std::string who; ///< a process
    std::uint64_t epoch = 0;
  };
  std::map<std::uint32_t, owner> owners;
  /// A transaction has shown a process that a shard is still its own, later than at that step of the world.
  bool is_confirmed(const std::string& who, std::uint32_t shard, std::uint64_t since) const {
    const auto found = confirmed.find({who, shard});
    return found != confirmed.end() && found->second > since;
  }
  std::map<std::pair<std::string, std::uint32_t>, std::uint64_t> confirmed; ///< at which step last
  /// By the state database.
  storage::shard_owner owner_of(std::uint32_t shard) const {
    const auto found = state->shards.find({"p", shard});
    return found == state->shards.end() ? storage::shard_owner{} : found->second;
  }

  std::shared_ptr<testing::memory_table> table = std::make_shared<testing::memory_table>();
  std::shared_ptr<testing::memory_records> records = std::make_shared<testing::memory_records>();
  std::shared_ptr<testing::memory_state> state = std::make_shared<testing::memory_state>();

private:
  world& world_;
  std::set<std::int64_t> late_;
};

} // namespace penstock::sim
