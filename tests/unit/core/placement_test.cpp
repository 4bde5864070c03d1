#include "core/placement.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <random>

namespace penstock {
namespace {

std::vector<std::string> names(std::size_t count) {
  std::vector<std::string> all;
  for (std::size_t number = 0; number < count; ++number)
    all.push_back("node-" + std::to_string(number));
  return all;
}

constexpr std::uint32_t shards = 1'000;

std::vector<std::string> owners(const placement& placed) {
  std::vector<std::string> all;
  for (std::uint32_t shard = 0; shard < shards; ++shard)
    all.push_back(*placed.owner_of("telemetry", shard));
  return all;
}

} // namespace

TEST(placement, nobody_owns_a_shard_where_there_are_no_nodes) {
  EXPECT_EQ(placement({}).owner_of("telemetry", 0), nullptr);
}

TEST(placement, does_not_depend_on_the_order_of_the_nodes) {
  auto nodes = names(7);
  const auto before = owners(placement{nodes});
  std::shuffle(nodes.begin(), nodes.end(), std::mt19937{1});
  EXPECT_EQ(owners(placement{nodes}), before);
}

TEST(placement, deals_shards_about_evenly) {
  std::map<std::string, int> counts;
  for (const auto& owner : owners(placement{names(10)}))
    ++counts[owner];
  ASSERT_EQ(counts.size(), 10u);
  for (const auto& [name, count] : counts) {
    EXPECT_GT(count, 60) << name; // 100, and three standard deviations are 29
    EXPECT_LT(count, 140) << name;
  }
}

TEST(placement, a_node_that_goes_moves_nothing_but_what_it_had) {
  auto nodes = names(100);
  const auto before = owners(placement{nodes});
  nodes.erase(nodes.begin() + 42);
  const auto after = owners(placement{nodes});
  for (std::uint32_t shard = 0; shard < shards; ++shard)
    if (before[shard] != "node-42") {
      EXPECT_EQ(after[shard], before[shard]);
    }
}

TEST(placement, a_node_that_comes_moves_nothing_but_what_it_gets) {
  const auto before = owners(placement{names(100)});
  auto nodes = names(100);
  nodes.emplace_back("another");
  const auto after = owners(placement{nodes});
  int moved = 0;
  for (std::uint32_t shard = 0; shard < shards; ++shard)
    if (after[shard] != before[shard]) {
      EXPECT_EQ(after[shard], "another");
      ++moved;
    }
  EXPECT_GT(moved, 0);
  EXPECT_LT(moved, 40); // a hundredth and some
}

TEST(placement, pipelines_are_dealt_independently) {
  const placement placed{names(10)};
  int alike = 0;
  for (std::uint32_t shard = 0; shard < shards; ++shard)
    alike += *placed.owner_of("a", shard) == *placed.owner_of("b", shard) ? 1 : 0;
  EXPECT_LT(alike, 150); // a tenth by chance
}

/// The same in every version and on every machine: nodes of two versions must agree.
TEST(placement, is_what_it_always_was) {
  const placement placed{{"a", "b", "c"}};
  std::string owners;
  for (std::uint32_t shard = 0; shard < 20; ++shard)
    owners += *placed.owner_of("telemetry", shard);
  EXPECT_EQ(owners, "ccababbbbbbcbabcbacc");
}

} // namespace penstock
