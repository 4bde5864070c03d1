#include "cluster/plan.hpp"

#include <gmock/gmock.h>

#include <map>
#include <set>

namespace penstock::cluster {
namespace {

using namespace std::chrono_literals;
using storage::cluster_node;
using storage::cluster_snapshot;
using storage::shard_owner;
using ::testing::IsEmpty;
using ::testing::SizeIs;

cluster_node node(const std::string& name, std::vector<std::string> roles = {"ingest", "write"}) {
  return {name, name + "-1", "", "", std::move(roles), "", false, 3s};
}

std::vector<wanted_shard> shards(std::uint32_t count, const std::string& role = "ingest") {
  std::vector<wanted_shard> all;
  for (std::uint32_t shard = 0; shard < count; ++shard)
    all.push_back({{"p", shard}, role});
  return all;
}

/// Nodes that act on the same snapshot, as the state database lets them.
struct world {
  cluster_snapshot state;

  shard_owner& shard(const storage::shard_id& id) {
    for (auto& each : state.shards)
      if (each.id == id)
        return each;
    state.shards.push_back({id, {}, {}, 0, {}});
    return state.shards.back();
  }
  /// Every living node carries out its plan once. How many shards changed their owner.
  std::size_t round(const std::vector<wanted_shard>& wanted) {
    std::size_t changes = 0;
    for (const auto& each : std::vector{state.nodes}) {
      const auto mine = plan_of(state, each.instance, wanted);
      for (const auto& given : mine.give) {
        shard(given.id).node.clear();
        shard(given.id).instance.clear();
        ++changes;
      }
      for (const auto& known : mine.acquire) {
        auto& taken = shard(known.id);
        EXPECT_EQ(taken, known.epoch == 0 ? (shard_owner{known.id, {}, {}, 0, {}}) : known);
        taken.node = each.name;
        taken.instance = each.instance;
        ++taken.epoch;
        ++changes;
      }
    }
    return changes;
  }
  void settle(const std::vector<wanted_shard>& wanted) {
    for (int rounds = 0; rounds < 5 && round(wanted) > 0; ++rounds)
      continue;
    EXPECT_EQ(round(wanted), 0u);
  }
  std::map<storage::shard_id, std::string> owners() const {
    std::map<storage::shard_id, std::string> all;
    for (const auto& each : state.shards)
      if (!each.node.empty())
        all[each.id] = each.node;
    return all;
  }
  std::set<std::string> owning() const {
    std::set<std::string> names;
    for (const auto& [unused, name] : owners())
      names.insert(name);
    return names;
  }
};

} // namespace

TEST(cluster_plan, a_single_node_acquires_everything) {
  const world one{{{node("a")}, {}}};
  const auto mine = plan_of(one.state, "a-1", shards(5));
  EXPECT_THAT(mine.acquire, SizeIs(5));
  EXPECT_THAT(mine.give, IsEmpty());
  EXPECT_THAT(mine.keep, IsEmpty());
}

TEST(cluster_plan, nodes_share_without_agreeing) {
  world all{{{node("a"), node("b"), node("c")}, {}}};
  all.settle(shards(30));
  EXPECT_THAT(all.owners(), SizeIs(30));
  EXPECT_THAT(all.owning(), SizeIs(3));
}

TEST(cluster_plan, who_joins_is_given_its_part_and_no_more_moves) {
  world all{{{node("a"), node("b")}, {}}};
  all.settle(shards(100));
  const auto before = all.owners();
  all.state.nodes.push_back(node("c"));
  all.settle(shards(100));
  for (const auto& [id, owner] : all.owners())
    EXPECT_TRUE(owner == before.at(id) || owner == "c");
  EXPECT_THAT(all.owning(), SizeIs(3));
}

TEST(cluster_plan, the_shards_of_the_dead_are_taken_and_no_others) {
  world all{{{node("a"), node("b"), node("c")}, {}}};
  all.settle(shards(100));
  const auto before = all.owners();
  all.state.nodes[1].lease_left = 0s;
  all.settle(shards(100));
  for (const auto& [id, owner] : all.owners()) {
    EXPECT_NE(owner, "b");
    EXPECT_TRUE(owner == before.at(id) || before.at(id) == "b");
  }
  EXPECT_THAT(all.owners(), SizeIs(100));
}

TEST(cluster_plan, a_process_that_came_back_acquires_what_its_predecessor_had) {
  world all{{{node("a")}, {}}};
  all.settle(shards(3));
  all.state.nodes[0].instance = "a-2";
  const auto mine = plan_of(all.state, "a-2", shards(3));
  ASSERT_THAT(mine.acquire, SizeIs(3));
  EXPECT_EQ(mine.acquire[0].instance, "a-1");
  EXPECT_EQ(mine.acquire[0].epoch, 1u);
}

TEST(cluster_plan, whose_lease_is_over_does_nothing) {
  world all{{{node("a")}, {}}};
  all.settle(shards(3));
  all.state.nodes[0].lease_left = -1s;
  const auto mine = plan_of(all.state, "a-1", shards(3));
  EXPECT_THAT(mine.keep, IsEmpty());
  EXPECT_THAT(mine.give, IsEmpty());
  EXPECT_THAT(plan_of(all.state, "unknown", shards(3)).acquire, IsEmpty());
}

TEST(cluster_plan, a_shard_goes_to_who_has_its_role) {
  world all{{{node("a", {"ingest"}), node("b", {"publish"}), node("c", {"write", "web"})}, {}}};
  auto wanted = shards(10, "ingest");
  wanted.push_back({{"q", 0}, "publish"});
  wanted.push_back({{"r", 0}, "nobody's"});
  all.settle(wanted);
  EXPECT_THAT(all.owners(), SizeIs(11));
  EXPECT_EQ(all.owners().at({"p", 7}), "a");
  EXPECT_EQ(all.owners().at({"q", 0}), "b");
}

TEST(cluster_plan, a_draining_node_gives_what_others_can_take) {
  world all{{{node("a"), node("b")}, {}}};
  all.settle(shards(20));
  all.state.nodes[0].draining = true;
  all.settle(shards(20));
  EXPECT_EQ(all.owning(), std::set<std::string>{"b"});
  all.state.nodes[1].draining = true;
  all.settle(shards(20)); // somebody must
  EXPECT_THAT(all.owners(), SizeIs(20));
  EXPECT_THAT(all.owning(), SizeIs(2));
}

TEST(cluster_plan, a_pinned_shard_goes_where_it_is_pinned_while_that_node_can) {
  world all{{{node("a"), node("b")}, {}}};
  all.settle(shards(10));
  const storage::shard_id moved{"p", 4};
  const auto there = all.owners().at(moved);
  const std::string other = there == "a" ? "b" : "a";
  all.shard(moved).pinned = other;
  all.settle(shards(10));
  EXPECT_EQ(all.owners().at(moved), other);
  for (auto& each : all.state.nodes)
    if (each.name == other)
      each.lease_left = 0s;
  all.settle(shards(10));
  EXPECT_EQ(all.owners().at(moved), there);
}

TEST(cluster_plan, what_the_configuration_has_no_more_is_given) {
  world all{{{node("a")}, {}}};
  all.settle(shards(3));
  const auto mine = plan_of(all.state, "a-1", shards(2));
  ASSERT_THAT(mine.give, SizeIs(1));
  EXPECT_EQ(mine.give[0].id, (storage::shard_id{"p", 2}));
}

} // namespace penstock::cluster
