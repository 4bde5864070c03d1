// Load against a real mosquitto, with a subscriber that stores what comes, and verify as the judge.
#include "fixture.hpp"
#include "mqtt/client.hpp"
#include "mqtt/embedded_broker.hpp"
#include "nodes/command_support.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/load.hpp"
#include "nodes/verify.hpp"

#include <nlohmann/json.hpp>

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

namespace penstock::nodes::test {
namespace {

using testing::HasSubstr;

/// Keeps every message and acknowledges it, over a persistent session.
class collector {
public:
  collector(const config::broker& broker, std::uint8_t qos) {
    mqtt::client_options options;
    options.broker = broker;
    options.broker.reconnect_max = 100ms;
    options.client_id = "collector";
    options.subscriptions = {"users/#"};
    options.subscription_qos = qos;
    mqtt::client_handlers handlers;
    handlers.on_published = [](std::span<const mqtt::completion>) {};
    handlers.on_state = [this](const mqtt::connection_state& state) {
      const std::lock_guard lock{mutex_};
      connected_ = state.connected;
      changed_.notify_all();
    };
    handlers.on_burst = [this](const std::shared_ptr<const mqtt::burst>& burst) {
      const std::lock_guard lock{mutex_};
      for (const auto& message : burst->messages)
        messages_.emplace_back(message.topic, message.payload);
      client_->release(burst->first + burst->messages.size() - 1);
      changed_.notify_all();
    };
    client_ = std::make_unique<mqtt::client>(io_, std::move(options), std::move(handlers));
    client_->start();
    std::unique_lock lock{mutex_};
    EXPECT_TRUE(changed_.wait_for(lock, 10s, [this] { return connected_; }));
  }

  void wait_for(std::size_t count) {
    std::unique_lock lock{mutex_};
    EXPECT_TRUE(changed_.wait_for(lock, 30s, [&] { return messages_.size() >= count; })) << messages_.size();
  }

  std::vector<std::pair<std::string, std::string>> messages() {
    const std::lock_guard lock{mutex_};
    return messages_;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool connected_ = false;
  std::vector<std::pair<std::string, std::string>> messages_;
  mqtt::io_thread io_;
  std::unique_ptr<mqtt::client> client_;
};

class load_test : public nodes_test {
protected:
  load_test() {
    mqtt::embedded_broker_options options;
    options.directory = file("broker");
    broker_.emplace(std::move(options));
    const auto port = broker_->start();
    EXPECT_TRUE(port) << port.error().message;
    configure(*port);
    options_.config = file("penstock.yaml");
    options_.pipeline = "telemetry";
    options_.ledger = file("ledger.csv");
    options_.devices = 20;
    options_.count = 2'000;
    options_.connections = 3;
  }

  config::broker broker() const {
    config::broker reached;
    reached.host = "127.0.0.1";
    reached.port = broker_->port();
    return reached;
  }

  int run() { return load(options_, out_, err_); }

  /// What verify says of the ledger once all that was collected is stored.
  nlohmann::json judge(collector& collected) {
    auto db = database();
    store(*db, collected.messages());
    verify_options options;
    options.config = file("penstock.yaml");
    options.ledger = file("ledger.csv");
    options.json = true;
    std::ostringstream out;
    verify(options, out, err_);
    return nlohmann::json::parse(out.str());
  }

  std::optional<mqtt::embedded_broker> broker_;
  load_options options_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(load_test, everything_it_sends_arrives_and_stands_in_the_ledger) {
  for (const std::uint8_t qos : {1, 2}) {
    collector collected{broker(), qos};
    options_.qos = qos;
    options_.seed = qos;
    options_.malformed_percent = 2;
    ASSERT_EQ(run(), exit_done) << err_.str();
    collected.wait_for(2'000);
    EXPECT_EQ(collected.messages().size(), 2'000u);
    const auto seen = judge(collected);
    EXPECT_EQ(seen["verdict"], "good") << seen.dump(2);
    EXPECT_EQ(seen["sent"].get<int>() + seen["dead_letters"]["malformed"].get<int>(), 2'000);
    EXPECT_EQ(seen["confirmed"], seen["sent"]);
    EXPECT_GT(seen["dead_letters"]["malformed"], 0);
    EXPECT_EQ(seen["dead_letters"]["unexpected"], 0);
    sql("DELETE FROM penstock_dead_letters");
  }
}

TEST_F(load_test, copies_are_sent_as_well_and_counted) {
  collector collected{broker(), 1};
  options_.duplicates_percent = 10;
  ASSERT_EQ(run(), exit_done) << err_.str();
  std::size_t published = 0;
  ASSERT_TRUE(read_ledger(file("ledger.csv"), [&](std::size_t, const ledger_line& line) {
    published += line.copies;
    return true;
  }));
  EXPECT_GT(published, 2'100u);
  EXPECT_LT(published, 2'300u);
  collected.wait_for(published);
  EXPECT_EQ(judge(collected)["verdict"], "good");
}

TEST_F(load_test, a_broker_that_restarts_in_the_middle_costs_nothing) {
  collector collected{broker(), 1};
  options_.count = 3'000;
  options_.rate = 3'000;
  std::jthread restarting{[&] {
    collected.wait_for(500);
    broker_->stop();
    EXPECT_TRUE(broker_->start());
  }};
  ASSERT_EQ(run(), exit_done) << err_.str();
  restarting.join();
  collected.wait_for(3'000);
  const auto seen = judge(collected);
  EXPECT_EQ(seen["verdict"], "good") << seen.dump(2);
  EXPECT_EQ(seen["confirmed"], 3'000);
}

TEST_F(load_test, an_interrupted_load_writes_its_ledger) {
  interrupt outer; // before the other threads, so that none of them is ended by the signal
  collector collected{broker(), 1};
  options_.count = 1'000'000;
  options_.rate = 1'000;
  std::jthread impatient{[&] {
    collected.wait_for(100);
    ::kill(::getpid(), SIGINT);
  }};
  EXPECT_EQ(run(), exit_done);
  std::size_t lines = 0;
  ASSERT_TRUE(read_ledger(file("ledger.csv"), [&](std::size_t, const ledger_line& line) {
    EXPECT_TRUE(line.acknowledged);
    ++lines;
    return true;
  }));
  EXPECT_GE(lines, 100u);
  EXPECT_LT(lines, 100'000u);
  collected.wait_for(lines);
  EXPECT_EQ(judge(collected)["verdict"], "good");
}

TEST_F(load_test, qos_0_confirms_nothing) {
  options_.qos = 0;
  options_.count = 50;
  ASSERT_EQ(run(), exit_done);
  ASSERT_TRUE(read_ledger(file("ledger.csv"), [](std::size_t, const ledger_line& line) {
    EXPECT_FALSE(line.acknowledged);
    return true;
  }));
}

TEST_F(load_test, rows_that_appear_while_it_runs_give_latencies) {
  collector collected{broker(), 1};
  options_.count = 300;
  options_.rate = 300;
  auto db = database();
  std::jthread storing{[&] {
    for (std::size_t stored = 0; stored < 300;) {
      collected.wait_for(stored + 1);
      const auto messages = collected.messages();
      store(*db, {messages.begin() + static_cast<std::ptrdiff_t>(stored), messages.end()});
      stored = messages.size();
    }
  }};
  ASSERT_EQ(run(), exit_done) << err_.str();
  storing.join();
  std::size_t samples = 0;
  ASSERT_TRUE(read_ledger(file("ledger.csv"), [&](std::size_t, const ledger_line& line) {
    samples += line.visible_us != 0 ? 1 : 0;
    EXPECT_TRUE(line.visible_us == 0 || line.visible_us >= line.published_us);
    return true;
  }));
  EXPECT_GT(samples, 20u);
}

TEST_F(load_test, a_topic_alone_is_enough) {
  collector collected{broker(), 1};
  options_.config.clear();
  options_.pipeline.clear();
  options_.broker_url = "mqtt://127.0.0.1:" + std::to_string(broker_->port());
  options_.topic = "users/{user_id}/devices/{device_id}/telemetry";
  options_.count = 100;
  ASSERT_EQ(run(), exit_done) << err_.str();
  collected.wait_for(100);
  EXPECT_EQ(judge(collected)["verdict"], "good");
}

TEST_F(load_test, without_a_subscriber_it_says_so) {
  options_.count = 10;
  ASSERT_EQ(run(), exit_done);
  EXPECT_THAT(out_.str(), HasSubstr("no subscriber"));
  // The broker's "no matching subscribers" is no confirmation: these are not missing, and not hidden either.
  std::size_t unrouted = 0;
  ASSERT_TRUE(read_ledger(file("ledger.csv"), [&](std::size_t, const ledger_line& line) {
    EXPECT_FALSE(line.acknowledged);
    unrouted += line.unrouted ? 1 : 0;
    return true;
  }));
  EXPECT_GT(unrouted, 0u);
}

TEST_F(load_test, a_ledger_that_cannot_be_written_is_said_before_anything_is_sent) {
  collector collected{broker(), 1};
  options_.ledger = file("nowhere/ledger.csv");
  EXPECT_EQ(run(), exit_configuration);
  EXPECT_THAT(err_.str(), HasSubstr("cannot write the ledger"));
  EXPECT_TRUE(collected.messages().empty());
}

TEST_F(load_test, a_broker_that_is_not_there_is_unavailable) {
  broker_->stop();
  options_.timeout = 300ms;
  EXPECT_EQ(run(), exit_unavailable);
  EXPECT_THAT(err_.str(), HasSubstr("cannot be reached"));
}

TEST_F(load_test, a_broker_that_stays_away_ends_it_with_what_was_sent_in_the_ledger) {
  collector collected{broker(), 1};
  options_.rate = 1'000;
  options_.count = 100'000;
  options_.timeout = 300ms;
  std::jthread stopping{[&] {
    collected.wait_for(100);
    broker_->stop();
  }};
  EXPECT_EQ(run(), exit_unavailable);
  stopping.join();
  EXPECT_EQ(judge(collected)["missing"], 0);
}

} // namespace
} // namespace penstock::nodes::test
