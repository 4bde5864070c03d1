#include "actors/batch_writer.hpp"
#include "actors/ingestor.hpp"
#include "actors/pipeline_actors.hpp"
#include "tests/support/cluster_fixture.hpp"
#include "tests/support/memory_store.hpp"
#include "tests/support/readings.hpp"
#include "tests/support/scripted_session.hpp"

#include <gmock/gmock.h>

namespace penstock::actors {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

namespace {

/// Node "a" has an ingestor; "b" and "c" can have batch-writers of its lane. All write to one database.
struct agent_test : ::testing::Test {
  ~agent_test() override {
    for (const auto& each : spawned)
      caf::anon_send_exit(each, caf::exit_reason::kill);
    network.settle();
    spawned.clear();
  }

  /// As a supervisor does it.
  void started(testing::simulated_node& node, const std::string& name, const char* kind, const caf::actor& child) {
    spawned.push_back(child);
    node.directory.up(name, kind, child);
    if (node.agent)
      caf::anon_send(node.agent, messages::started_atom_v, name, caf::actor_cast<caf::strong_actor_ptr>(child));
  }

  caf::actor start_writer(testing::simulated_node& node, std::uint32_t demand_max = 10, std::uint32_t lane = 0) {
    batch_writer_config config;
    config.name = writer_name("p", lane);
    config.lane = lane;
    config.table = storage::table_of(pipeline);
    config.records_max = pipeline.batch.records_max;
    config.demand_max = demand_max;
    config.open = testing::opens(database);
    config.board = node.board.writer("p", lane);
    const auto writer = caf::actor_cast<caf::actor>(node.system.spawn(batch_writer, config));
    started(node, config.name, "batch-writer", writer);
    return writer;
  }

  caf::actor start_ingestor(testing::simulated_node& node) {
    ingestor_config config;
    config.name = ingestor_name("p", 0);
    config.pipeline = pipeline;
    config.open_session = testing::scripted(broker);
    config.board = node.board.shard("p", 0);
    config.pipeline_board = node.board.pipeline("p");
    const auto ingestor = caf::actor_cast<caf::actor>(node.system.spawn(actors::ingestor, config));
    started(node, config.name, "ingestor", ingestor);
    return ingestor;
  }

  void link_a_and_b(std::uint16_t version_of_b = messages::link_version) {
    a.start_agent();
    b.start_agent("plant-7", version_of_b);
    network.connect(a, b);
    a.tell({&b});
    b.tell({&a}, {{{"p", 0}, 1}});
    network.settle();
  }

  void deliver(int from, int to) {
    std::vector<std::string> payloads;
    for (int i = from; i <= to; ++i)
      payloads.push_back(R"({"id":")" + std::to_string(i) + R"("})");
    broker->deliver("t/1", payloads);
  }

  /// Sent to its batch-writer, whose database is locked.
  void have_eight_messages_wait_at_b() {
    link_a_and_b();
    start_ingestor(a);
    start_writer(b);
    network.settle();
    database->write_failures.assign(100, {errc::database_busy, "locked"});
    deliver(1, 8);
    network.settle();
  }

  telemetry::account account() { return a.board.snapshot().pipelines.at(0).account; }

  config::ingest pipeline = testing::readings_pipeline();
  std::shared_ptr<testing::memory_database> database = std::make_shared<testing::memory_database>();
  std::shared_ptr<testing::broker_script> broker = std::make_shared<testing::broker_script>();
  testing::simulated_network network;
  testing::simulated_node a{network, "a"};
  testing::simulated_node b{network, "b"};
  testing::simulated_node c{network, "c"};
  std::vector<caf::actor> spawned;
};

} // namespace

TEST_F(agent_test, nodes_that_are_told_of_each_other_have_a_link) {
  link_a_and_b();
  EXPECT_TRUE(a.link_to("b").up);
  EXPECT_TRUE(b.link_to("a").up);
  EXPECT_EQ(a.link_to("b").address, "b:7000");
  EXPECT_EQ(a.link_to("b").version, messages::link_version);
}

TEST_F(agent_test, a_dial_is_tried_again_until_the_peer_answers) {
  a.start_agent();
  b.start_agent();
  a.tell({&b});
  network.settle();
  EXPECT_FALSE(a.link_to("b").up);
  EXPECT_THAT(a.link_to("b").reason, HasSubstr("refused"));
  network.connect(a, b);
  network.pass(10s);
  EXPECT_TRUE(a.link_to("b").up);
  EXPECT_TRUE(b.link_to("a").up); // which nobody told it of yet
}

TEST_F(agent_test, a_node_of_another_cluster_is_refused_by_both) {
  a.start_agent("plant-7");
  b.start_agent("plant-8");
  network.connect(a, b);
  a.tell({&b});
  b.tell({&a});
  network.settle();
  EXPECT_FALSE(a.link_to("b").up);
  EXPECT_FALSE(b.link_to("a").up);
  EXPECT_THAT(a.link_to("b").reason, HasSubstr("plant-8"));
}

TEST_F(agent_test, a_node_of_the_next_link_version_is_a_peer_and_its_version_is_shown) {
  a.start_agent();
  b.start_agent("plant-7", messages::link_version + 1);
  network.connect(a, b);
  a.tell({&b});
  network.settle();
  EXPECT_TRUE(a.link_to("b").up);
  EXPECT_EQ(a.link_to("b").version, messages::link_version + 1);
}

TEST_F(agent_test, a_shard_that_is_released_wakes_the_memberships_of_the_peers) {
  link_a_and_b();
  caf::anon_send(a.agent, messages::detach_atom_v);
  network.settle();
  EXPECT_EQ(b.wakes, 1u);
  EXPECT_EQ(a.wakes, 0u);
  network.cut(a, b);
  network.settle();
  caf::anon_send(a.agent, messages::detach_atom_v);
  network.settle();
  EXPECT_EQ(b.wakes, 1u); // it looks at its next renewal
}

TEST_F(agent_test, a_peer_of_a_link_version_that_knows_of_no_wake_is_sent_none) {
  a.start_agent();
  b.start_agent("plant-7", 1);
  network.connect(a, b);
  a.tell({&b});
  network.settle();
  ASSERT_TRUE(a.link_to("b").up);
  caf::anon_send(a.agent, messages::detach_atom_v);
  network.settle();
  EXPECT_EQ(b.wakes, 0u);
}

TEST_F(agent_test, a_session_is_recorded_by_the_batch_writer_of_another_node) {
  link_a_and_b();
  start_ingestor(a);
  start_writer(b);
  network.settle();
  EXPECT_TRUE(broker->open);
  ASSERT_EQ(database->sessions.size(), 1u);
  EXPECT_THAT(database->sessions.begin()->second.filters, ElementsAre("t/+"));
}

TEST_F(agent_test, a_batch_writer_of_a_link_version_that_knows_of_no_sessions_is_not_asked) {
  link_a_and_b(2);
  start_ingestor(a);
  start_writer(b);
  network.settle();
  EXPECT_TRUE(broker->open);
  EXPECT_TRUE(database->sessions.empty());
}

TEST(refusal_of, names_what_keeps_two_nodes_apart) {
  const messages::hello me{"plant-7", "a", "1", 3, 2};
  EXPECT_THAT(refusal_of(me, {"plant-7", "b", "2", 4, 3}), IsEmpty());
  EXPECT_THAT(refusal_of(me, {"plant-8", "b", "2", 3, 2}), HasSubstr("another cluster"));
  EXPECT_THAT(refusal_of(me, {"plant-7", "a", "2", 3, 2}), HasSubstr("the name of this node"));
  EXPECT_THAT(refusal_of(me, {"plant-7", "b", "2", 1, 1}), HasSubstr("link version"));
  EXPECT_THAT(refusal_of(me, {"plant-7", "b", "2", 5, 4}), HasSubstr("link version"));
}

TEST_F(agent_test, frames_go_to_the_lanes_owner_and_are_acknowledged_by_its_commit) {
  link_a_and_b();
  start_ingestor(a);
  start_writer(b);
  network.settle();
  ASSERT_TRUE(broker->started);
  deliver(1, 25); // more than is demanded at once
  network.settle();
  EXPECT_EQ(database->rows.size(), 25u);
  EXPECT_EQ(broker->released.back(), 25u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(agent_test, a_writer_that_was_there_before_the_link_is_told_over_it) {
  a.start_agent();
  b.start_agent();
  start_ingestor(a);
  start_writer(b);
  b.tell({&a}, {{{"p", 0}, 1}});
  network.settle();
  EXPECT_FALSE(broker->started);
  network.connect(a, b);
  a.tell({&b});
  network.settle();
  EXPECT_TRUE(broker->started);
}

TEST_F(agent_test, a_writer_is_told_once_the_node_owns_its_lane) {
  link_a_and_b();
  b.tell({&a}, {});
  start_ingestor(a);
  start_writer(b);
  network.settle();
  EXPECT_FALSE(broker->started);
  b.tell({&a}, {{{"p", 0}, 1}});
  network.settle();
  EXPECT_TRUE(broker->started);
}

TEST_F(agent_test, nothing_is_acknowledged_while_the_owner_cannot_commit_and_all_goes_to_the_next_owner) {
  have_eight_messages_wait_at_b();
  EXPECT_THAT(broker->released, IsEmpty());
  network.cut(a, b); // b is lost with eight messages
  network.settle();
  EXPECT_FALSE(a.link_to("b").up);
  EXPECT_FALSE(b.link_to("a").up);
  EXPECT_THAT(broker->released, IsEmpty());
  EXPECT_EQ(account().in_flight, 8u);
  database->write_failures.clear();
  c.start_agent();
  network.connect(a, c);
  a.tell({&c});
  c.tell({&a}, {{{"p", 0}, 2}});
  start_writer(c);
  network.settle();
  EXPECT_EQ(database->rows.size(), 8u);
  EXPECT_THAT(broker->released, ElementsAre(8));
  EXPECT_TRUE(account().balanced());
}

TEST_F(agent_test, frames_that_were_lost_on_the_way_are_sent_again_when_the_link_returns) {
  link_a_and_b();
  const auto ingestor = start_ingestor(a);
  start_writer(b);
  network.settle();
  deliver(1, 4);
  for (int i = 0; i < 20; ++i)
    a.step_alone(); // sent, and not yet read at the other end
  network.cut(a, b);
  network.settle();
  EXPECT_THAT(database->rows, IsEmpty());
  EXPECT_THAT(broker->released, IsEmpty());
  network.connect(a, b);
  network.pass(1s);
  EXPECT_EQ(database->rows.size(), 4u);
  EXPECT_THAT(broker->released, ElementsAre(4));
}

TEST_F(agent_test, messages_go_over_a_link_only_where_a_row_is_refused) {
  link_a_and_b();
  start_ingestor(a);
  start_writer(b);
  network.settle();
  deliver(1, 3);
  network.settle();
  database->write_failures = {{errc::row_refused, "a constraint"}};
  deliver(4, 6);
  network.settle();
  EXPECT_THAT(database->with_messages, ElementsAre(false, true));
  EXPECT_EQ(database->rows.size(), 6u);
  EXPECT_EQ(broker->released.back(), 6u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(agent_test, messages_that_are_asked_for_are_those_of_the_rows_of_the_lane) {
  pipeline.writers = 2;
  link_a_and_b();
  b.tell({&a}, {{{"p", 0}, 1}, {{"p", 1}, 1}});
  start_ingestor(a);
  start_writer(b, 100, 0);
  start_writer(b, 100, 1);
  network.settle();
  database->write_failures = {
    {errc::row_refused, "a constraint"}}; // of one lane: the other's is not to come in its place
  deliver(1, 15);
  broker->deliver("t/1", {"{", R"({"id":"16"})", "}"});
  deliver(17, 40);
  network.settle();
  EXPECT_EQ(database->rows.size(), 40u);
  EXPECT_THAT(database->letters, UnorderedElementsAre("{", "}"));
  EXPECT_THAT(database->payloads, ::testing::SizeIs(::testing::AllOf(::testing::Gt(0u), ::testing::Lt(40u))));
  EXPECT_EQ(account().duplicate, 0u);
  for (const auto& [id, payload] : database->payloads)
    EXPECT_EQ(payload, R"({"id":")" + id + R"("})");
  EXPECT_EQ(broker->released.back(), 42u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(agent_test, what_a_lost_node_was_sent_goes_with_its_messages_to_a_batch_writer_of_this_node) {
  have_eight_messages_wait_at_b();
  network.cut(a, b);
  network.settle();
  database->write_failures.clear();
  a.tell({}, {{{"p", 0}, 2}});
  start_writer(a);
  network.settle();
  EXPECT_THAT(database->with_messages, ElementsAre(true));
  EXPECT_EQ(database->payloads["8"], R"({"id":"8"})");
  EXPECT_EQ(broker->released.back(), 8u);
}

TEST_F(agent_test, a_batch_writer_of_a_link_version_that_asks_for_nothing_gets_messages_at_once) {
  link_a_and_b(3);
  start_ingestor(a);
  start_writer(b);
  network.settle();
  deliver(1, 3);
  network.settle();
  EXPECT_THAT(database->with_messages, ElementsAre(true));
}

TEST_F(agent_test, a_link_that_returns_doubles_no_demand) {
  link_a_and_b();
  start_ingestor(a);
  const auto writer = caf::actor_cast<messages::batch_writer_actor>(start_writer(b, 10));
  network.settle();
  database->write_failures.assign(1'000, {errc::database_busy, "locked"});
  deliver(1, 100);
  for (int i = 0; i < 5; ++i) {
    network.settle();
    network.cut(a, b);
    network.settle();
    network.connect(a, b);
    network.pass(500ms);
    ASSERT_TRUE(a.link_to("b").up);
    EXPECT_LE(b.board.writer("p", 0)->status().queue_records, 10u);
  }
  database->write_failures.clear();
  network.pass(10s);
  EXPECT_EQ(database->rows.size(), 100u);
  EXPECT_EQ(broker->released.back(), 100u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(agent_test, what_is_lost_between_nodes_while_the_link_stands_is_sent_again_after_a_silence) {
  link_a_and_b();
  start_ingestor(a);
  start_writer(b, 10);
  network.settle();
  deliver(1, 10);
  while (a.step_alone()) {
  }
  network.lose(a, b);
  network.settle();
  EXPECT_THAT(database->rows, IsEmpty());
  network.pass(20s);
  EXPECT_EQ(database->rows.size(), 10u);
  EXPECT_EQ(broker->released.back(), 10u);
  EXPECT_EQ(account().duplicate, 0u);
}

TEST_F(agent_test, what_comes_behind_something_that_was_lost_does_not_overtake_it) {
  link_a_and_b();
  start_ingestor(a);
  start_writer(b, 10);
  network.settle();
  deliver(1, 4);
  while (a.step_alone()) {
  }
  network.lose(a, b);
  deliver(5, 8);
  network.settle();
  EXPECT_THAT(database->rows, IsEmpty());
  EXPECT_THAT(broker->released, IsEmpty());
  network.pass(20s);
  EXPECT_EQ(database->rows.size(), 8u);
  EXPECT_EQ(account().duplicate, 0u);
  EXPECT_EQ(broker->released.back(), 8u);
}

TEST_F(agent_test, an_answer_that_is_lost_while_the_link_stands_is_asked_for_and_demand_is_what_it_was) {
  link_a_and_b();
  start_ingestor(a);
  start_writer(b, 10);
  network.settle();
  database->write_failures = {{errc::database_busy, "locked"}};
  deliver(1, 10);
  network.settle();
  for (int i = 0; i < 100; ++i) // the batch-writer waits, and tries again
    b.pass_alone(10ms);
  ASSERT_EQ(database->rows.size(), 10u);
  network.lose(a, b);
  network.pass(20s);
  EXPECT_EQ(broker->released.back(), 10u);
  EXPECT_EQ(account().duplicate, 10u);
  deliver(11, 40); // three times what the batch-writer demands
  network.settle();
  EXPECT_EQ(database->rows.size(), 40u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(agent_test, a_writer_whose_news_was_lost_while_the_link_stands_is_told_again) {
  link_a_and_b();
  start_ingestor(a);
  network.settle();
  start_writer(b);
  b.pass_alone(10ms);
  network.lose(a, b);
  network.settle();
  EXPECT_FALSE(broker->open);
  network.pass(11s);
  a.tell({&b});
  network.settle();
  deliver(1, 4);
  network.settle();
  EXPECT_EQ(database->rows.size(), 4u);
}

/// The state of an actor that a test has spawned.
template <class Interface, class State>
State& state_of(const caf::actor& handle) {
  return dynamic_cast<typename Interface::template stateful_pointer<State>>(
           caf::actor_cast<caf::abstract_actor*>(handle))
    ->state;
}

TEST_F(agent_test, a_batch_writer_of_a_link_version_that_knows_of_no_batches_is_attached_to_as_it_knows) {
  link_a_and_b(messages::batches_version - 1);
  start_ingestor(a);
  const auto writer = start_writer(b);
  network.settle();
  const auto& attached = state_of<messages::batch_writer_actor, batch_writer_state>(writer).ingestors;
  ASSERT_EQ(attached.size(), 1u);
  EXPECT_EQ(attached.front().version, messages::link_version_oldest);
  deliver(1, 25);
  network.settle();
  EXPECT_EQ(database->rows.size(), 25u);
  EXPECT_EQ(broker->released.back(), 25u);
}

// CAF tells at once of the end of what is to be watched over a link that is lost already; a second link may be up by
// then.
struct former_link_test : agent_test {
  former_link_test() {
    link_a_and_b();
    ingestor = start_ingestor(a);
    writer = start_writer(b);
    network.settle();
    ingestor_at_b = state_of<messages::batch_writer_actor, batch_writer_state>(writer).ingestors.at(0).handle;
    writer_at_a = state_of<messages::ingestor_actor, ingestor_state>(ingestor).lanes.at(0).writer;
    agent_at_b = state_of<messages::agent_actor, agent_state>(caf::actor_cast<caf::actor>(b.agent)).peers.at("a").agent;
    network.cut(a, b);
    network.settle();
    network.connect(a, b);
    network.pass(1s);
  }
  template <class Handle>
  void hears_of_the_end(const caf::actor& who, const Handle& of) {
    caf::anon_send(who, caf::down_msg{of.address(), caf::exit_reason::remote_link_unreachable});
    network.settle();
  }
  void expect_flow() {
    deliver(1, 30); // three times what the batch-writer demands at first
    network.settle();
    EXPECT_EQ(database->rows.size(), 30u);
  }

  caf::actor ingestor;
  caf::actor writer;
  messages::ingestor_actor ingestor_at_b;
  messages::batch_writer_actor writer_at_a;
  messages::agent_actor agent_at_b;
};

TEST_F(former_link_test, its_end_takes_no_demand_from_the_ingestor) {
  hears_of_the_end(writer, ingestor_at_b);
  expect_flow();
}

TEST_F(former_link_test, its_end_takes_no_batch_writer_from_the_ingestor) {
  hears_of_the_end(ingestor, writer_at_a);
  expect_flow();
}

TEST_F(former_link_test, its_end_does_not_end_the_next_one) {
  hears_of_the_end(caf::actor_cast<caf::actor>(b.agent), agent_at_b);
  EXPECT_TRUE(b.link_to("a").up);
  expect_flow();
}

TEST_F(agent_test, a_writer_that_is_to_end_lets_its_ingestors_go_and_nothing_is_written_twice) {
  link_a_and_b();
  start_ingestor(a);
  const auto writer = start_writer(b);
  network.settle();
  deliver(1, 40);
  network.settle();
  bool ended = false;
  writer->attach_functor([&ended](const caf::error&) { ended = true; });
  broker->deliver("t/1", {R"({"id":"41"})"});
  caf::anon_send_exit(writer, caf::exit_reason::user_shutdown);
  network.settle();
  EXPECT_TRUE(ended); // though its ingestors live on
  EXPECT_EQ(broker->released.back(), 41u);
  c.start_agent();
  network.connect(a, c);
  a.tell({&b, &c});
  c.tell({&a}, {{{"p", 0}, 2}});
  start_writer(c);
  deliver(42, 60);
  network.settle();
  EXPECT_EQ(database->rows.size(), 60u);
  EXPECT_EQ(broker->released.back(), 60u);
  EXPECT_EQ(account().duplicate, 0u);
  EXPECT_TRUE(account().balanced());
}

TEST_F(agent_test, a_former_owner_of_a_lane_is_not_heard_any_more) {
  link_a_and_b();
  b.tell({&a}, {{{"p", 0}, 2}});
  c.start_agent();
  network.connect(a, c);
  a.tell({&b, &c});
  c.tell({&a}, {{{"p", 0}, 1}});
  start_ingestor(a);
  start_writer(b);
  network.settle();
  start_writer(c); // of a node that was paused, say
  network.settle();
  deliver(1, 5);
  network.settle();
  EXPECT_EQ(b.board.writer("p", 0)->status().commit_records, 5u);
  EXPECT_EQ(c.board.writer("p", 0)->status().commit_records, 0u);
}

TEST_F(agent_test, the_writer_of_the_node_comes_first) {
  link_a_and_b();
  start_ingestor(a);
  start_writer(b);
  network.settle();
  start_writer(a);
  a.tell({&b}, {{{"p", 0}, 2}});
  network.settle();
  deliver(1, 5);
  network.settle();
  EXPECT_EQ(a.board.writer("p", 0)->status().commit_records, 5u);
  EXPECT_EQ(b.board.writer("p", 0)->status().commit_records, 0u);
}

TEST_F(agent_test, an_agent_that_is_restarted_finds_who_is_there) {
  link_a_and_b();
  start_ingestor(a);
  start_writer(b);
  network.settle();
  a.stop_agent();
  network.settle();
  EXPECT_FALSE(b.link_to("a").up);
  a.start_agent();
  a.tell({&b});
  network.settle();
  EXPECT_TRUE(a.link_to("b").up) << a.link_to("b").reason;
  deliver(1, 5);
  network.settle();
  EXPECT_EQ(broker->released.back(), 5u);
}

TEST_F(agent_test, an_ingestor_of_other_columns_gets_no_demand) {
  link_a_and_b();
  start_writer(b);
  auto other = pipeline.columns.front();
  other.name = "other";
  pipeline.columns.push_back(other);
  start_ingestor(a);
  network.settle();
  EXPECT_FALSE(broker->started);
}

TEST_F(agent_test, a_peer_that_leaves_the_cluster_is_not_dialled_any_more) {
  a.start_agent();
  a.tell({&b, &c});
  network.settle();
  EXPECT_EQ(a.links->status().size(), 2u);
  a.tell({&c});
  network.settle();
  EXPECT_EQ(a.links->status().size(), 1u);
  b.start_agent();
  network.connect(a, b);
  network.pass(10s);
  EXPECT_FALSE(b.link_to("a").up);
}

} // namespace penstock::actors
