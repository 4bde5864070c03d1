#include "cluster/membership.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/memory_cluster.hpp"

#include <gmock/gmock.h>

#include <set>

namespace penstock::cluster {

using namespace std::chrono_literals;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;

/// Nodes of one cluster with ten shards, in one process and one thread.
class membership_test : public testing::actor_fixture {
public:
  struct member {
    messages::membership_actor actor;
    std::shared_ptr<leases> held = std::make_shared<leases>();
    std::set<storage::shard_id> running;
    std::map<storage::shard_id, std::function<void()>> stopping; ///< those that are asked to, where `holds_back`
    bool holds_back = false;
    bool can_start = true;
    std::uint64_t released = 0;
  };

  ~membership_test() override {
    for (const auto& [unused, each] : members)
      caf::anon_send_exit(each->actor, caf::exit_reason::kill);
  }

  member& join(const std::string& name, const std::string& instance = "1") {
    auto& made = members[name + instance];
    made = std::make_unique<member>();
    auto* me = made.get();
    membership_config config;
    config.me.name = name;
    config.me.instance = name + instance;
    config.me.roles = {"ingest"};
    config.lease = 3s;
    config.open = [this, me]() -> result<std::unique_ptr<storage::cluster_state>> {
      if (cut_off.contains(me))
        return error{errc::database_unavailable, "cut off"};
      return std::unique_ptr<storage::cluster_state>{
        std::make_unique<testing::memory_cluster>(database, [this] { return system.clock().now(); })};
    };
    config.wanted = [this] {
      std::vector<wanted_shard> all;
      for (std::uint32_t shard = 0; shard < shards; ++shard)
        all.push_back({{"p", shard}, "ingest"});
      return all;
    };
    config.held = me->held;
    config.start = [me](const storage::shard_id& shard) {
      if (me->can_start)
        me->running.insert(shard);
      return me->can_start;
    };
    config.stop = [me](const storage::shard_id& shard, std::function<void()> on_done) {
      auto done = [me, shard, on_done = std::move(on_done)] {
        me->running.erase(shard);
        on_done();
      };
      if (me->holds_back)
        me->stopping[shard] = std::move(done);
      else
        done();
    };
    config.on_released = [me] { ++me->released; };
    me->actor = system.spawn(membership, config);
    settle();
    return *me;
  }
  void kill(member& which) {
    caf::anon_send_exit(which.actor, caf::exit_reason::kill);
    settle();
  }
  bool holds(const member& which, std::uint32_t shard) {
    return which.held->holds({"p", shard}, {}, system.clock().now());
  }
  /// Every shard runs at exactly one of them.
  void expect_all_run_once(const std::vector<member*>& nodes) {
    std::multiset<storage::shard_id> all;
    for (const auto* each : nodes)
      all.insert(each->running.begin(), each->running.end());
    EXPECT_THAT(all, SizeIs(shards));
    EXPECT_THAT(std::set<storage::shard_id>(all.begin(), all.end()), SizeIs(shards));
  }

  std::shared_ptr<testing::memory_state> database = std::make_shared<testing::memory_state>();
  std::map<std::string, std::unique_ptr<member>> members;
  std::set<const member*> cut_off;
  std::uint32_t shards = 10;
};

TEST_F(membership_test, a_node_alone_owns_everything) {
  auto& a = join("a");
  EXPECT_THAT(a.running, SizeIs(10));
  EXPECT_TRUE(holds(a, 0));
}

TEST_F(membership_test, what_could_not_be_started_is_started_later) {
  auto& a = join("a");
  auto& b = join("b");
  b.can_start = false; // its supervisors are being started
  pass(3s);
  EXPECT_THAT(b.running, IsEmpty());
  b.can_start = true;
  pass(2s);
  expect_all_run_once({&a, &b});
}

TEST_F(membership_test, a_node_that_joins_gets_its_part_and_only_that_moves) {
  auto& a = join("a");
  auto& b = join("b");
  pass(3s);
  expect_all_run_once({&a, &b});
  EXPECT_THAT(b.running, SizeIs(::testing::AllOf(::testing::Gt(1u), ::testing::Lt(9u))));
  const auto of_a = a.running;
  const auto of_b = b.running;
  auto& c = join("c");
  pass(3s);
  expect_all_run_once({&a, &b, &c});
  EXPECT_THAT(of_a, IsSupersetOf(a.running));
  EXPECT_THAT(of_b, IsSupersetOf(b.running));
}

TEST_F(membership_test, a_shard_is_acquired_only_when_its_owner_has_stopped_it) {
  auto& a = join("a");
  a.holds_back = true;
  auto& b = join("b");
  pass(5s);
  EXPECT_THAT(b.running, IsEmpty());
  ASSERT_THAT(a.stopping, ::testing::Not(IsEmpty()));
  const auto shard = a.stopping.begin()->first;
  EXPECT_FALSE(holds(a, shard.shard));
  a.stopping.at(shard)();
  settle();
  EXPECT_EQ(a.released, 1u);
  caf::anon_send(b.actor, messages::wake_atom_v);
  settle();
  EXPECT_TRUE(b.running.contains(shard));
  EXPECT_EQ(database->shards.at(shard).epoch, 2u);
}

TEST_F(membership_test, a_shard_that_does_not_stop_is_released_in_the_end) {
  auto& a = join("a");
  a.holds_back = true;
  auto& b = join("b");
  pass(29s);
  EXPECT_THAT(b.running, IsEmpty());
  pass(5s);
  EXPECT_THAT(b.running, ::testing::Not(IsEmpty()));
}

TEST_F(membership_test, the_shards_of_a_dead_node_are_taken_within_a_lease_and_a_second) {
  auto& a = join("a");
  auto& b = join("b");
  pass(3s);
  kill(b);
  pass(1900ms);
  EXPECT_LT(a.running.size(), 10u);
  pass(2100ms);
  EXPECT_THAT(a.running, SizeIs(10));
}

TEST_F(membership_test, the_shards_of_a_dead_node_are_taken_when_its_lease_ends_and_not_a_renewal_later) {
  auto& a = join("a");
  pass(500ms);
  auto& b = join("b"); // so that their renewals do not coincide
  pass(3s);
  kill(b); // which has just renewed its lease; a looks again 500 ms from now, and every second
  pass(2980ms);
  EXPECT_LT(a.running.size(), 10u);
  pass(40ms);
  EXPECT_THAT(a.running, SizeIs(10));
}

TEST_F(membership_test, a_node_that_was_cut_off_claims_nothing_and_stops_what_others_have_taken) {
  auto& a = join("a");
  auto& b = join("b");
  pass(3s);
  const auto shard = b.running.begin()->shard;
  cut_off = {&b};
  kill(b); // its connection and all it knew: only the leases are left, as of a process that hangs
  EXPECT_TRUE(holds(b, shard));
  pass(3s);
  EXPECT_FALSE(holds(b, shard));
  EXPECT_TRUE(b.held->owns({"p", shard})) << "what runs goes on";
  pass(1s);
  EXPECT_THAT(a.running, SizeIs(10));
}

TEST_F(membership_test, while_the_state_database_is_away_all_goes_on_and_nothing_is_claimed) {
  auto& a = join("a");
  database->failure = error{errc::database_unavailable, "away"};
  pass(2s);
  EXPECT_TRUE(holds(a, 0));
  pass(10s);
  EXPECT_FALSE(holds(a, 0));
  EXPECT_THAT(a.running, SizeIs(10));
  database->failure.reset();
  pass(400ms); // it tries again soon
  EXPECT_TRUE(holds(a, 0));
  EXPECT_THAT(a.running, SizeIs(10));
  EXPECT_EQ(database->shards.at({"p", 0}).epoch, 1u);
}

TEST_F(membership_test, after_an_outage_nothing_is_taken_from_nodes_that_come_back_a_little_later) {
  auto& a = join("a");
  auto& b = join("b");
  pass(3s);
  const auto shards_before = database->shards;
  database->failure = error{errc::database_unavailable, "away"};
  cut_off = {&b};
  pass(5s);
  database->failure.reset();
  pass(1s);
  EXPECT_TRUE(holds(a, a.running.begin()->shard));
  cut_off.clear();
  pass(2s);
  EXPECT_TRUE(holds(b, b.running.begin()->shard));
  pass(5s);
  EXPECT_EQ(database->shards, shards_before);
  expect_all_run_once({&a, &b});
}

TEST_F(membership_test, what_a_node_had_that_does_not_come_back_after_an_outage_is_taken_a_lease_later) {
  auto& a = join("a");
  auto& b = join("b");
  pass(3s);
  database->failure = error{errc::database_unavailable, "away"};
  kill(b);
  pass(5s);
  database->failure.reset();
  pass(2s);
  EXPECT_LT(a.running.size(), 10u);
  pass(3s);
  EXPECT_THAT(a.running, SizeIs(10));
}

TEST_F(membership_test, what_was_taken_while_it_was_cut_off_is_stopped_and_not_released) {
  auto& a = join("a");
  database->failure = error{errc::database_unavailable, "away"};
  pass(4s);
  database->failure.reset();
  for (auto& [unused, shard] : database->shards) {
    shard.node = "b";
    shard.instance = "b1";
    ++shard.epoch;
  }
  database->nodes["b"].node.name = "b";
  database->nodes["b"].node.instance = "b1";
  database->nodes["b"].node.roles = {"ingest"};
  database->nodes["b"].until = system.clock().now() + 100s;
  pass(1s);
  EXPECT_THAT(a.running, IsEmpty());
  EXPECT_EQ(a.released, 0u);
  EXPECT_EQ(database->shards.at({"p", 0}).instance, "b1");
}

TEST_F(membership_test, a_second_process_of_the_same_name_takes_nothing_while_the_first_lives) {
  auto& a = join("a", "1");
  auto& second = join("a", "2");
  pass(10s);
  EXPECT_THAT(a.running, SizeIs(10));
  EXPECT_THAT(second.running, IsEmpty());
  kill(a);
  pass(4s);
  EXPECT_THAT(second.running, SizeIs(10));
}

TEST_F(membership_test, a_process_whose_name_another_has_taken_stops_everything) {
  auto& a = join("a", "1");
  database->failure = error{errc::database_unavailable, "away"};
  pass(4s);
  database->failure.reset();
  database->nodes["a"].node.instance = "a2";
  database->nodes["a"].until = system.clock().now() + 100s;
  pass(2s);
  EXPECT_THAT(a.running, IsEmpty());
}

TEST_F(membership_test, a_node_that_ends_gives_everything_back_first) {
  auto& a = join("a");
  auto& b = join("b");
  pass(3s);
  b.holds_back = true;
  caf::anon_send_exit(b.actor, caf::exit_reason::user_shutdown);
  pass(2s);
  EXPECT_TRUE(database->nodes.contains("b"));
  EXPECT_TRUE(database->nodes.at("b").node.roles.empty());
  for (const auto& [unused, done] : b.stopping)
    done();
  pass(1s);
  EXPECT_FALSE(database->nodes.contains("b"));
  pass(1s);
  EXPECT_THAT(a.running, SizeIs(10));
}

TEST_F(membership_test, a_drained_node_gives_its_shards_and_a_pinned_shard_goes_where_it_is_told) {
  auto& a = join("a");
  auto& b = join("b");
  pass(3s);
  testing::memory_cluster state{database, [this] { return system.clock().now(); }};
  const auto shard = *a.running.begin();
  ASSERT_TRUE(*state.pin(shard, "b"));
  pass(3s);
  EXPECT_TRUE(b.running.contains(shard));
  ASSERT_TRUE(*state.drain("b", true));
  pass(3s);
  EXPECT_THAT(a.running, SizeIs(10));
  ASSERT_TRUE(*state.drain("b", false));
  pass(3s);
  expect_all_run_once({&a, &b});
  EXPECT_TRUE(b.running.contains(shard));
}

TEST_F(membership_test, a_membership_that_is_restarted_leaves_what_runs_alone) {
  auto& a = join("a");
  kill(a);
  const auto held = a.held;
  auto& again = *members.at("a1");
  EXPECT_EQ(&again, &a);
  a.running.clear(); // what it would start again
  membership_config config;
  config.me.name = "a";
  config.me.instance = "a1";
  config.me.roles = {"ingest"};
  config.open = [this]() -> result<std::unique_ptr<storage::cluster_state>> {
    return std::unique_ptr<storage::cluster_state>{
      std::make_unique<testing::memory_cluster>(database, [this] { return system.clock().now(); })};
  };
  config.wanted = [] { return std::vector<wanted_shard>{{{"p", 0}, "ingest"}}; };
  config.held = held;
  std::set<storage::shard_id> stopped;
  config.start = [&a](const storage::shard_id& shard) { return a.running.insert(shard).second; };
  config.stop = [&stopped](const storage::shard_id& shard, const std::function<void()>&) { stopped.insert(shard); };
  a.actor = system.spawn(membership, config);
  settle();
  EXPECT_THAT(a.running, IsEmpty());
  EXPECT_THAT(stopped, SizeIs(9)) << "those that are not wanted any more";
  EXPECT_TRUE(holds(a, 0));
}

} // namespace penstock::cluster
