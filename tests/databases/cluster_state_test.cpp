// Who owns what in a cluster: decided by one database, by its clock.
#include "fixture.hpp"
#include "storage/cluster_state.hpp"

#include <thread>

namespace penstock::storage::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class cluster_state_test : public database_test {
public:
  std::unique_ptr<cluster_state> state() const {
    auto made = open_cluster_state(settings());
    EXPECT_TRUE(made) << made.error().to_string();
    const auto ready = (*made)->prepare();
    EXPECT_TRUE(ready) << ready.error().to_string();
    return *std::move(made);
  }
  static cluster_node node(const std::string& name, const std::string& instance = "1") {
    return {name, name + "-" + instance, "127.0.0.1:7001", "127.0.0.1:8081", {"ingest", "write"}, "0.5.0"};
  }
  /// Another program puts the end of a lease into the past.
  void expire(const std::string& name, std::chrono::minutes ago = 1min) {
    const auto microseconds = std::chrono::microseconds{ago}.count();
    other().run("UPDATE penstock_nodes SET lease_until = lease_until - " + std::to_string(microseconds) +
                " WHERE name = '" + name + "'");
  }
  static shard_owner free_shard(std::uint32_t shard = 0) { return {{"telemetry", shard}, "", "", 0, ""}; }
  static cluster_snapshot got(result<cluster_snapshot> read) {
    EXPECT_TRUE(read) << read.error().to_string();
    return read ? *std::move(read) : cluster_snapshot{};
  }
};

TEST_F(cluster_state_test, a_node_joins_renews_and_leaves) {
  const auto mine = state();
  EXPECT_THAT(got(mine->read()).nodes, IsEmpty());
  auto seen = got(mine->renew(node("a"), 3s));
  ASSERT_THAT(seen.nodes, SizeIs(1));
  EXPECT_GT(seen.nodes[0].lease_left, 2s);
  EXPECT_LE(seen.nodes[0].lease_left, 3s);
  auto expected = node("a");
  expected.lease_left = seen.nodes[0].lease_left;
  EXPECT_EQ(seen.nodes[0], expected);
  const auto theirs = state();
  seen = got(theirs->renew(node("b"), 10s));
  ASSERT_THAT(seen.nodes, SizeIs(2));
  EXPECT_EQ(seen.nodes[1].name, "b");
  seen = got(mine->renew(node("a"), 20s));
  EXPECT_GT(seen.nodes[0].lease_left, 15s);
  ASSERT_TRUE(mine->leave(node("a")));
  EXPECT_THAT(got(theirs->read()).nodes, SizeIs(1));
}

TEST_F(cluster_state_test, a_name_belongs_to_one_process_while_its_lease_lasts) {
  const auto mine = state();
  got(mine->renew(node("a", "1"), 10s));
  const auto theirs = state();
  const auto refused = theirs->renew(node("a", "2"), 10s);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::fenced);
  expire("a");
  EXPECT_EQ(got(theirs->renew(node("a", "2"), 10s)).nodes[0].instance, "a-2");
  const auto back = mine->renew(node("a", "1"), 10s);
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, errc::fenced);
}

TEST_F(cluster_state_test, it_is_one_cluster_s_at_a_time) {
  const auto of = [](const char* cluster, const char* name) {
    auto made = node(name);
    made.cluster = cluster;
    return made;
  };
  const auto both = state();
  got(both->renew(of("one", "a"), 10s));
  const auto refused = both->renew(of("two", "b"), 10s);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::fenced);
  EXPECT_THAT(refused.error().message, HasSubstr("another cluster, 'one', whose node 'a' is alive"));
  auto seen = got(both->renew(of("one", "c"), 10s));
  ASSERT_THAT(seen.nodes, SizeIs(2));
  EXPECT_EQ(seen.nodes[1].cluster, "one");
  expire("a");
  expire("c"); // a cluster that is renamed while none of its nodes runs
  EXPECT_THAT(got(both->renew(of("two", "b"), 10s)).nodes, SizeIs(3));
}

TEST_F(cluster_state_test, tables_of_an_older_penstock_are_taken_on) {
  got(state()->renew(node("a"), 10s));
  other().run("ALTER TABLE penstock_nodes DROP COLUMN cluster");
  const auto newer = state();
  auto mine = node("b");
  mine.cluster = "one";
  const auto seen = got(newer->renew(mine, 10s)); // of a nobody knows to which cluster it belongs
  ASSERT_THAT(seen.nodes, SizeIs(2));
  EXPECT_EQ(seen.nodes[0].cluster, "");
  EXPECT_EQ(seen.nodes[1].cluster, "one");
}

TEST_F(cluster_state_test, no_lease_outlasts_a_clock_that_went_back) {
  const auto mine = state();
  got(mine->renew(node("a"), 10s));
  expire("a", -60min);
  const auto seen = got(mine->renew(node("b"), 10s));
  EXPECT_LE(seen.nodes[0].lease_left, config::lease_max);
  EXPECT_GT(seen.nodes[0].lease_left, 50s);
}

TEST_F(cluster_state_test, nodes_that_are_dead_for_long_are_forgotten_when_another_joins) {
  const auto mine = state();
  for (const auto* name : {"a", "b", "c"})
    got(mine->renew(node(name), 10s));
  ASSERT_TRUE(mine->drain("c", true));
  expire("a", 25h);
  expire("b", 23h);
  expire("c", 25h);
  const auto names = [](const cluster_snapshot& seen) {
    std::vector<std::string> all;
    for (const auto& each : seen.nodes)
      all.push_back(each.name);
    return all;
  };
  EXPECT_THAT(names(got(mine->renew(node("d"), 10s))), ElementsAre("b", "c", "d"));
}

TEST_F(cluster_state_test, a_shard_has_one_owner_and_each_has_an_epoch) {
  const auto mine = state();
  const auto theirs = state();
  got(mine->renew(node("a"), 10s));
  got(theirs->renew(node("b"), 10s));
  EXPECT_EQ(*mine->acquire(free_shard(), node("a")), 1u);
  EXPECT_EQ(*theirs->acquire(free_shard(), node("b")), std::nullopt); // as it was known, it is not any more
  auto seen = got(theirs->read());
  ASSERT_THAT(seen.shards, ElementsAre(shard_owner{{"telemetry", 0}, "a", "a-1", 1, ""}));
  EXPECT_EQ(*theirs->acquire(seen.shards[0], node("b")), std::nullopt); // its owner is alive
  expire("a");
  EXPECT_EQ(*theirs->acquire(seen.shards[0], node("b")), 2u);
  EXPECT_FALSE(*mine->release(seen.shards[0]));
  EXPECT_EQ(got(mine->read()).shards[0].node, "b");
}

TEST_F(cluster_state_test, a_shard_is_given_back_and_taken) {
  const auto both = state();
  got(both->renew(node("a"), 10s));
  got(both->renew(node("b"), 10s));
  ASSERT_EQ(*both->acquire(free_shard(3), node("a")), 1u);
  EXPECT_TRUE(*both->release({{"telemetry", 3}, "a", "a-1", 1, ""}));
  EXPECT_FALSE(*both->release({{"telemetry", 3}, "a", "a-1", 1, ""}));
  const auto known = got(both->read()).shards[0];
  EXPECT_EQ(known, (shard_owner{{"telemetry", 3}, "", "", 1, ""}));
  EXPECT_EQ(*both->acquire(known, node("b")), 2u);
}

TEST_F(cluster_state_test, nobody_acquires_whose_own_lease_is_over) {
  const auto mine = state();
  EXPECT_EQ(*mine->acquire(free_shard(), node("a")), std::nullopt);
  got(mine->renew(node("a"), 10s));
  expire("a");
  EXPECT_EQ(*mine->acquire(free_shard(), node("a")), std::nullopt);
  got(mine->renew(node("a"), 10s));
  EXPECT_EQ(*mine->acquire(free_shard(), node("a")), 1u);
}

TEST_F(cluster_state_test, a_process_that_comes_back_owns_nothing_of_its_predecessor) {
  const auto mine = state();
  got(mine->renew(node("a", "1"), 10s));
  ASSERT_EQ(*mine->acquire(free_shard(), node("a", "1")), 1u);
  expire("a");
  const auto seen = got(mine->renew(node("a", "2"), 10s));
  EXPECT_EQ(seen.shards[0].instance, "a-1"); // and is nobody's now
  EXPECT_EQ(*mine->acquire(seen.shards[0], node("a", "2")), 2u);
}

TEST_F(cluster_state_test, who_leaves_gives_everything_back) {
  const auto mine = state();
  got(mine->renew(node("a"), 10s));
  for (std::uint32_t shard = 0; shard < 3; ++shard)
    ASSERT_TRUE(*mine->acquire(free_shard(shard), node("a")));
  ASSERT_TRUE(mine->leave(node("a")));
  const auto seen = got(mine->read());
  EXPECT_THAT(seen.nodes, IsEmpty());
  ASSERT_THAT(seen.shards, SizeIs(3));
  EXPECT_EQ(seen.shards[2].node, "");
  EXPECT_EQ(seen.shards[2].epoch, 1u);
}

TEST_F(cluster_state_test, an_operator_drains_nodes_and_pins_shards) {
  const auto mine = state();
  got(mine->renew(node("a"), 10s));
  ASSERT_TRUE(*mine->acquire(free_shard(), node("a")));
  EXPECT_TRUE(*mine->drain("a", true));
  EXPECT_TRUE(*mine->drain("a", true));
  EXPECT_FALSE(*mine->drain("nobody", true));
  EXPECT_TRUE(*mine->pin({"telemetry", 0}, "a"));
  EXPECT_TRUE(*mine->pin({"telemetry", 0}, "a"));
  EXPECT_FALSE(*mine->pin({"telemetry", 7}, "a"));
  const auto seen = got(mine->renew(node("a"), 10s));
  EXPECT_TRUE(seen.nodes[0].draining);
  EXPECT_EQ(seen.shards[0].pinned, "a");
  EXPECT_TRUE(*mine->drain("a", false));
  EXPECT_FALSE(got(mine->read()).nodes[0].draining);
}

TEST_F(cluster_state_test, of_many_that_want_a_shard_one_gets_it) {
  constexpr int nodes = 4;
  constexpr std::uint32_t shards = 20;
  std::vector<std::vector<std::uint32_t>> owned(nodes);
  state();
  std::vector<std::thread> threads;
  for (int number = 0; number < nodes; ++number)
    threads.emplace_back([&, number] {
      auto mine = open_cluster_state(settings());
      ASSERT_TRUE(mine);
      const auto me = node("n" + std::to_string(number));
      // A lock that another holds is waited for, and tried again.
      for (int attempt = 0; attempt < 100 && !(*mine)->renew(me, 60s); ++attempt)
        std::this_thread::yield();
      for (std::uint32_t shard = 0; shard < shards; ++shard)
        for (int attempt = 0; attempt < 100; ++attempt) {
          const auto got = (*mine)->acquire(free_shard(shard), me);
          if (!got)
            continue;
          if (*got)
            owned[static_cast<std::size_t>(number)].push_back(shard);
          break;
        }
    });
  for (auto& thread : threads)
    thread.join();
  std::vector<std::uint32_t> all;
  for (const auto& some : owned)
    all.insert(all.end(), some.begin(), some.end());
  std::sort(all.begin(), all.end());
  ASSERT_THAT(all, SizeIs(shards));
  for (std::uint32_t shard = 0; shard < shards; ++shard)
    EXPECT_EQ(all[shard], shard);
}

} // namespace
} // namespace penstock::storage::test
