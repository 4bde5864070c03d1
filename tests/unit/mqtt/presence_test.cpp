// Presence against a real mosquitto, seen by another client.
#include "mqtt/presence.hpp"
#include "tests/unit/mqtt/client_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

namespace penstock::mqtt {
namespace {

using testing::HasSubstr;

class presence_test : public testing::Test {
protected:
  presence_options options() {
    config::control control;
    control.status_topic = "site/{node}/status";
    control.control_topic = "site/{node}/control";
    return presence_options_of(control, broker.options("x").broker, "i1", "no\"de", "1.2");
  }
  void watch() {
    watcher.start();
    ASSERT_TRUE(seen.await([&] { return seen.state.connected; }));
  }
  bool await_status(const std::string& text) {
    return seen.await(
      [&] { return !seen.received.empty() && seen.received.back().payload.find(text) != std::string::npos; });
  }

  test_broker broker;
  io_thread io;
  recorder seen;
  client watcher{io, broker.options("watcher", {"site/#"}), seen.handlers()};
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> commands;
};

TEST_F(presence_test, is_online_until_it_is_stopped) {
  watch();
  presence node{options(), {}};
  node.start();
  ASSERT_TRUE(await_status(R"("status": "online")"));
  {
    const std::lock_guard lock{seen.mutex};
    EXPECT_EQ(seen.received.back().topic, "site/no\"de/status");
    EXPECT_THAT(seen.received.back().payload,
                HasSubstr(R"({"node": "no\"de", "status": "online", "version": "1.2", "pid": )"));
  }
  node.report(R"({"status": "paused"})");
  EXPECT_TRUE(await_status("paused"));
  node.stop();
  EXPECT_TRUE(await_status(R"("status": "offline")"));
}

TEST_F(presence_test, hands_on_commands) {
  presence node{options(), [&](std::string command) {
                  const std::lock_guard lock{mutex};
                  commands.push_back(std::move(command));
                  changed.notify_all();
                }};
  node.start();
  recorder source;
  client sender{io, broker.options("sender"), source.handlers()};
  sender.start();
  // Retained: it arrives whether the subscription or the command is there first.
  sender.publish({{"site/no\"de/control", "pause", 1, true, 1}});
  std::unique_lock lock{mutex};
  EXPECT_TRUE(changed.wait_for(lock, patience, [&] { return !commands.empty(); }));
  EXPECT_EQ(commands.front(), "pause");
}

TEST_F(presence_test, is_online_again_after_the_broker_was_away) {
  presence node{options(), {}, [](const std::string&) {}};
  node.start();
  watch();
  ASSERT_TRUE(await_status("online"));
  broker.process().stop();
  const auto before = seen.count();
  ASSERT_TRUE(broker.process().start());
  EXPECT_TRUE(seen.await([&] { return seen.received.size() > before; }));
  EXPECT_TRUE(await_status("online"));
}

TEST_F(presence_test, leaves_its_last_will_when_it_is_cut_off) {
  watch();
  {
    presence node{options(), {}, [](const std::string&) {}};
    node.start();
    ASSERT_TRUE(await_status("online"));
    recorder thief_sees;
    client thief{io, broker.options(options().client_id), thief_sees.handlers()};
    thief.start();
    EXPECT_TRUE(seen.await([&] {
      return std::any_of(seen.received.begin(), seen.received.end(),
                         [](const auto& one) { return one.payload.find("offline") != std::string::npos; });
    }));
  }
}

TEST_F(presence_test, keeps_the_last_text_of_a_topic_retained_through_an_outage) {
  auto options = alert_options_of(broker.options("x").broker, "i1", "n", "1.2");
  EXPECT_EQ(options.client_id, "penstock-i1-alerts-n");
  presence node{options, {}, [](const std::string&) {}};
  node.retain("site/1", "first");
  node.start();
  watch();
  ASSERT_TRUE(await_status("first"));
  broker.process().stop();
  node.retain("site/1", "second");
  node.retain("site/1", "third");
  node.retain("site/2", "other");
  ASSERT_TRUE(broker.process().start());
  recorder late;
  client reader{io, broker.options("late", {"site/#"}), late.handlers()};
  reader.start();
  const auto has = [&](const std::string& topic, const std::string& payload) {
    return std::any_of(late.received.begin(), late.received.end(),
                       [&](const auto& message) { return message.topic == topic && message.payload == payload; });
  };
  EXPECT_TRUE(late.await([&] { return has("site/1", "third") && has("site/2", "other"); }));
  const std::lock_guard lock{late.mutex};
  EXPECT_TRUE(std::all_of(late.received.begin(), late.received.end(),
                          [](const auto& message) { return message.topic == "site/1" || message.topic == "site/2"; }))
    << "no status: it has no topic";
}

TEST(presence, stops_quickly_while_no_broker_is_there) {
  presence_options options;
  options.broker.port = 1; // nobody listens
  options.client_id = "x";
  options.status_topic = "s";
  std::promise<std::string> failure;
  presence node{options, {}, [&](const std::string& reason) { failure.set_value(reason); }};
  node.start();
  auto told = failure.get_future();
  ASSERT_EQ(told.wait_for(patience), std::future_status::ready);
  EXPECT_NE(told.get(), "");
  const auto began = std::chrono::steady_clock::now();
  node.stop();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds{5});
}

} // namespace
} // namespace penstock::mqtt
