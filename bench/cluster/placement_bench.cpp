// What each node works out after each renewal: its part of the placement of 1,000 shards over 100 nodes. That a change
// moves only the shards of the nodes concerned is a test (tests/unit/core/placement_test.cpp); here it is counted how
// many those are.
#include "cluster/plan.hpp"
#include "core/placement.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace penstock::cluster {
namespace {

using namespace std::chrono_literals;

std::string name_of(std::int64_t number) { return "node-" + std::to_string(number); }

std::vector<wanted_shard> wanted(std::int64_t shards) {
  std::vector<wanted_shard> all;
  for (std::uint32_t shard = 0; shard < shards; ++shard)
    all.push_back({{"telemetry", shard}, "ingest"});
  return all;
}

std::vector<std::string> names(std::int64_t nodes) {
  std::vector<std::string> all;
  for (std::int64_t number = 0; number < nodes; ++number)
    all.push_back(name_of(number));
  return all;
}

/// Each shard is where it belongs.
storage::cluster_snapshot settled(std::int64_t nodes, const std::vector<wanted_shard>& shards) {
  storage::cluster_snapshot seen;
  for (const auto& name : names(nodes))
    seen.nodes.push_back({name, name + "-instance", "10.0.0.1:7000", "", {"ingest", "write"}, "1", false, 3s});
  const placement placed{names(nodes)};
  for (const auto& shard : shards) {
    const auto& owner = *placed.owner_of(shard.id.pipeline, shard.id.shard);
    seen.shards.push_back({shard.id, owner, owner + "-instance", 1, ""});
  }
  return seen;
}

void plan_of_a_node(benchmark::State& state) {
  const auto shards = wanted(state.range(0));
  auto seen = settled(state.range(1), shards);
  seen.nodes.back().lease_left = -1s; // its shards are to be taken
  for (auto unused : state)
    benchmark::DoNotOptimize(plan_of(seen, name_of(0) + "-instance", shards));
}
BENCHMARK(plan_of_a_node)->ArgNames({"shards", "nodes"})->Args({1'000, 100})->Unit(benchmark::kMillisecond);

/// `before` nodes become `after`: shards that have another owner then, and those of them that no newcomer gets and no
/// node that is gone had.
void change(benchmark::State& state) {
  const auto before = names(state.range(1));
  const auto after = names(state.range(2));
  std::int64_t moved = 0;
  std::int64_t needlessly = 0;
  for (auto unused : state) {
    moved = needlessly = 0;
    const placement was{before};
    const placement is{after};
    for (std::uint32_t shard = 0; shard < state.range(0); ++shard) {
      const auto& from = *was.owner_of("telemetry", shard);
      const auto& to = *is.owner_of("telemetry", shard);
      if (from == to)
        continue;
      ++moved;
      const auto is_in = [](const std::vector<std::string>& all, const std::string& name) {
        return std::find(all.begin(), all.end(), name) != all.end();
      };
      needlessly += is_in(after, from) && is_in(before, to) ? 1 : 0;
    }
  }
  state.counters["moved"] = static_cast<double>(moved);
  state.counters["needlessly"] = static_cast<double>(needlessly);
}
BENCHMARK(change)
  ->ArgNames({"shards", "before", "after"})
  ->Args({1'000, 100, 99})
  ->Args({1'000, 100, 101})
  ->Unit(benchmark::kMillisecond);

} // namespace
} // namespace penstock::cluster
