#include "actors/alerter.hpp"
#include "tests/support/actor_fixture.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace penstock::actors {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

namespace {

using message = std::pair<std::string, nlohmann::json>; ///< topic, payload

/// Takes the place of a presence: keeps what it is told.
caf::behavior recorder(caf::event_based_actor*, std::shared_ptr<std::vector<message>> to) {
  return {
    [to](messages::retain_atom, const std::string& topic, const std::string& text) {
      to->emplace_back(topic, nlohmann::json::parse(text));
    },
  };
}

struct alerter_test : testing::actor_fixture {
  std::shared_ptr<telemetry::publish_board> pipeline = board.publish("TableA");
  std::shared_ptr<telemetry::publish_shard_board> shard = board.publish_shard("TableA", 0);
  std::shared_ptr<std::vector<message>> told = std::make_shared<std::vector<message>>();
  config::configuration configuration;
  caf::actor presence;
  caf::actor running;

  alerter_test() {
    configuration.alerts.broker = "main";
    pipeline->running();
    shard->connected(true, 5);
  }
  ~alerter_test() override {
    for (const auto& each : {presence, running})
      if (each)
        caf::anon_send_exit(each, caf::exit_reason::kill);
  }

  void spawn_presence() {
    presence = system.spawn(recorder, told);
    directory.up("presence", "presence", presence);
  }
  void spawn() {
    auto config = alerter_config_of(configuration);
    config.board = &board;
    config.directory = &directory;
    config.presence = "presence";
    running = caf::actor_cast<caf::actor>(system.spawn(alerter, config));
    settle();
  }
  void end(caf::actor& one) {
    caf::anon_send_exit(one, caf::exit_reason::kill);
    one = nullptr;
    settle();
  }
  /// The row that waits longest was made so long ago.
  void waits_for(std::chrono::seconds age) { pipeline->oldest(wall_now() - age); }
  telemetry::alert_status status(const std::string& rule, const std::string& of = "TableA") {
    for (const auto& each : board.snapshot().alerts)
      if (each.rule == rule && each.pipeline == of)
        return each;
    ADD_FAILURE() << "no alert " << rule << " of " << of;
    return {};
  }
  std::vector<std::string> raised() {
    std::vector<std::string> names;
    for (const auto& each : board.snapshot().alerts)
      if (each.state == alert_state::raised)
        names.push_back(each.rule + "/" + each.pipeline);
    return names;
  }
  std::vector<nlohmann::json> told_of(const std::string& topic) {
    std::vector<nlohmann::json> payloads;
    for (const auto& [at, payload] : *told)
      if (at == topic)
        payloads.push_back(payload);
    return payloads;
  }
};

constexpr auto slow_topic = "penstock/a/alerts/slow/TableA";

} // namespace

TEST_F(alerter_test, lag_raises_an_alert_which_is_shown_and_told_and_clears_again) {
  spawn_presence();
  spawn();
  waits_for(7s);
  pass(1s);
  EXPECT_THAT(raised(), ElementsAre("slow/TableA"));
  const auto shown = status("slow");
  EXPECT_GE(shown.value, 7'000);
  EXPECT_EQ(shown.threshold, 5'000);
  EXPECT_THAT(shown.text, HasSubstr("lag 7.0 s, over 5s"));
  ASSERT_THAT(told_of(slow_topic), SizeIs(1));
  const auto first = told_of(slow_topic).front();
  EXPECT_EQ(first["state"], "raised");
  EXPECT_EQ(first["node"], "a");
  EXPECT_EQ(first["rule"], "slow");
  EXPECT_EQ(first["pipeline"], "TableA");
  EXPECT_EQ(first["unit"], "ms");
  pipeline->oldest(std::nullopt);
  pass(9s);
  EXPECT_THAT(raised(), SizeIs(1)) << "it may come back";
  pass(2s);
  EXPECT_THAT(raised(), IsEmpty());
  ASSERT_THAT(told_of(slow_topic), SizeIs(2));
  EXPECT_EQ(told_of(slow_topic).back()["state"], "cleared");
}

TEST_F(alerter_test, what_was_never_raised_is_told_as_cleared_once_so_that_an_old_retained_alert_goes) {
  spawn_presence();
  spawn();
  pass(5s);
  EXPECT_THAT(*told, IsEmpty()) << "nothing is known yet";
  pass(60s);
  EXPECT_THAT(*told, SizeIs(3)) << "one for each rule";
  ASSERT_THAT(told_of(slow_topic), SizeIs(1));
  EXPECT_EQ(told_of(slow_topic).front()["state"], "cleared");
}

TEST_F(alerter_test, a_new_presence_is_told_every_state) {
  spawn();
  waits_for(7s);
  pass(20s);
  spawn_presence();
  pass(1s);
  EXPECT_THAT(*told, SizeIs(3));
  end(presence);
  told->clear();
  pass(2s);
  spawn_presence();
  pass(3s);
  ASSERT_THAT(*told, SizeIs(3));
  EXPECT_EQ(told_of(slow_topic).front()["state"], "raised");
}

TEST_F(alerter_test, an_alerter_that_is_restarted_goes_on_where_the_former_was) {
  spawn_presence();
  spawn();
  waits_for(7s);
  pass(1s);
  const auto since = status("slow").since;
  end(running);
  spawn();
  pass(3s);
  EXPECT_THAT(raised(), ElementsAre("slow/TableA"));
  EXPECT_EQ(status("slow").since, since);
}

TEST_F(alerter_test, an_alert_of_a_rule_that_is_gone_is_cleared) {
  spawn_presence();
  spawn();
  waits_for(7s);
  pass(1s);
  end(running);
  configuration.alerts.rules.erase("slow");
  spawn();
  pass(1s);
  EXPECT_THAT(raised(), IsEmpty());
  ASSERT_THAT(told_of(slow_topic), SizeIs(2));
  EXPECT_EQ(told_of(slow_topic).back()["state"], "cleared");
  pass(1s);
  EXPECT_THAT(board.snapshot().alerts, SizeIs(2)) << "it is forgotten";
}

TEST_F(alerter_test, a_share_of_refused_rows_raises_an_alert_until_a_minute_has_passed) {
  spawn();
  pass(1s);
  shard->apply({.claimed = 1'000, .sent = 990, .refused = 10, .in_flight = 0});
  pass(1s);
  EXPECT_THAT(raised(), IsEmpty()) << "1 % is not over 1 %";
  shard->apply({.claimed = 10'000, .sent = 9'899, .held = 101, .in_flight = 0});
  pass(1s);
  EXPECT_THAT(raised(), ElementsAre("failing/TableA")) << "111 of 11,000";
  EXPECT_EQ(status("failing").value, 1.01);
  pass(50s);
  EXPECT_THAT(raised(), SizeIs(1));
  pass(25s);
  EXPECT_THAT(raised(), IsEmpty());
}

TEST_F(alerter_test, rules_go_for_ingest_too_where_they_have_the_metric) {
  const auto ingest = board.shard("telemetry", 0);
  ingest->connected(true, false, 5);
  board.writer("telemetry", 0)->running();
  spawn();
  pass(1s);
  ingest->unacknowledged(10, wall_now() - 7s);
  ingest->apply({.received = 50, .committed = 48, .dead_lettered = 2, .in_flight = 0});
  pipeline->tracking_rows(10'000'001);
  pass(1s);
  EXPECT_THAT(raised(), ElementsAre("failing/telemetry", "slow/telemetry", "tracking/TableA"));
  EXPECT_THAT(board.snapshot().alerts, SizeIs(5)) << "no tracking table of telemetry";
}

TEST_F(alerter_test, an_outage_is_measured_from_its_beginning_and_says_what_is_down) {
  configuration.alerts.rules = {{"down", {"down", config::alert_metric::outage, 60'000, 0ms, {}}}};
  spawn();
  pass(5s);
  shard->disconnected("connection refused");
  pass(60s);
  EXPECT_THAT(raised(), IsEmpty());
  pass(2s);
  EXPECT_THAT(raised(), ElementsAre("down/TableA"));
  EXPECT_THAT(status("down").text, HasSubstr("over 1m: TableA/0 is not connected: connection refused"));
  shard->connected(true, 5);
  pass(12s);
  EXPECT_THAT(raised(), IsEmpty());
}

TEST_F(alerter_test, a_rule_goes_for_its_pipelines_and_each_may_have_its_own_threshold_of_lag) {
  const auto other = board.publish("TableB");
  config::publish settings;
  settings.lag_warning = 30s;
  configuration.publish["TableB"] = settings;
  configuration.alerts.rules["mine"] = {"mine", config::alert_metric::lag, 1'000, 0ms, {"TableA"}};
  spawn();
  waits_for(7s);
  other->oldest(wall_now() - 20s);
  pass(1s);
  EXPECT_THAT(raised(), ElementsAre("mine/TableA", "slow/TableA"));
  other->oldest(wall_now() - 31s);
  pass(1s);
  EXPECT_THAT(raised(), ElementsAre("mine/TableA", "slow/TableA", "slow/TableB"));
}

TEST_F(alerter_test, needs_what_it_looks_at) {
  EXPECT_NE(alerter_config{}.validate(), "");
  auto config = alerter_config_of(configuration);
  config.board = &board;
  config.directory = &directory;
  EXPECT_THAT(config.validate(), HasSubstr("a topic needs a presence"));
  config.presence = "presence";
  EXPECT_EQ(config.validate(), "");
}

} // namespace penstock::actors
