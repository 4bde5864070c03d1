// The examples of docs/testing.md, as they stand there (tests/documented_examples_test.py compares them).
#include "tests/support/cluster_fixture.hpp"
#include "tests/support/pipeline_fixture.hpp"
#include "tests/support/publish_fixture.hpp"

using namespace std::chrono_literals;

using documented_ingest = penstock::testing::pipeline_fixture;

TEST_F(documented_ingest, messages_are_released_once_their_rows_are_committed) {
  spawn_writer();
  spawn_ingestor(broker);
  settle();
  database->write_failures = {{penstock::errc::database_busy, "locked"}};
  broker->deliver("t/1", payloads(1, 3));
  settle();
  EXPECT_TRUE(broker->released.empty());
  pass(1s); // it is tried again
  EXPECT_EQ(database->rows.size(), 3u);
  EXPECT_EQ(broker->released.back(), 3u);
}

using documented_publish = penstock::testing::publish_fixture;

TEST_F(documented_publish, a_row_is_sent_once_its_claim_is_committed) {
  begin(); // a poller, a publisher, and a session that stands
  records->commit_failure = penstock::error{penstock::errc::database_busy, "locked"};
  rows(1, 1);
  pass(1s);
  EXPECT_TRUE(script->published.empty());
  records->commit_failure.reset();
  pass(10s);
  script->connect(true); // a failure makes the session anew
  settle();
  EXPECT_EQ(published_ids(), std::vector<std::string>{"1"});
}

TEST(documented_nodes, both_ends_see_that_a_link_is_cut) {
  penstock::testing::simulated_network network;
  penstock::testing::simulated_node a{network, "a"};
  penstock::testing::simulated_node b{network, "b"};
  a.start_agent();
  b.start_agent();
  network.connect(a, b);
  a.tell({&b});
  network.settle();
  EXPECT_TRUE(b.link_to("a").up);
  network.cut(a, b);
  network.settle();
  EXPECT_FALSE(a.link_to("b").up || b.link_to("a").up);
}

using documented_actor = penstock::testing::actor_fixture;

TEST_F(documented_actor, acts_when_its_time_has_come) {
  int acted = 0;
  const auto actor = system.spawn([&acted](caf::event_based_actor* self) -> caf::behavior {
    self->delayed_send(self, 1s, caf::tick_atom::value);
    return {[&acted](caf::tick_atom) { ++acted; }};
  });
  const penstock::testing::ended_at_scope_exit ends{actor};
  settle();
  pass(900ms);
  EXPECT_EQ(acted, 0);
  pass(100ms);
  EXPECT_EQ(acted, 1);
}
