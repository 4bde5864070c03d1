#include "config/reload.hpp"
#include "tests/unit/config/support.hpp"

#include <gmock/gmock.h>

namespace penstock::config {

using namespace test;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace {

const std::string brokers = "brokers: {main: {url: 'mqtt://h'}, other: {url: 'mqtt://o', password: a, user: u}}\n";
const std::string databases =
  "databases: {plant: {url: 'sqlite:plant.db'}, sent: {url: 'sqlite:sent.db'}, db: {url: 'sqlite:db.db'}}\n";
const std::string meters = "ingest:\n  meters: {broker: other, topics: ['m/{id}'], database: db, table: m, key: [id],"
                           " columns: {id: {from: topic.id, type: text}}}\n";

std::string table(const std::string& name, const std::string& more = {}) {
  return "  " + name + ": {database: plant, table: " + name + ", key: Id, broker: main, topic: 't/" + name + "'" +
         more + "}\n";
}

reload_plan plan(const std::string& before, const std::string& after) {
  return plan_reload(loaded(before), loaded(after));
}

std::vector<std::string> waiting(const reload_plan& plan) {
  std::vector<std::string> paths;
  for (const auto& each : plan.at_next_start)
    paths.push_back(each.path);
  return paths;
}

TEST(reload, nothing_is_touched_where_nothing_has_changed) {
  const auto text = brokers + databases + meters + "publish:\n" + table("A");
  const auto made = plan(text, "# a comment\n" + text);
  EXPECT_THAT(made.parts, IsEmpty());
  EXPECT_EQ(made.to_text(), "2 pipelines unchanged");
}

TEST(reload, what_came_went_and_changed_is_named) {
  const auto made = plan(brokers + databases + meters + "publish:\n" + table("A") + table("B"),
                         brokers + databases + meters + "publish:\n" + table("B", ", qos: 1, detect: {poll: 1s}") +
                           table("C") + "log: {level: debug}\n");
  EXPECT_EQ(made.to_text(), "publish.A removed, publish.B changed (detect.poll, qos), publish.C added, log.level is "
                            "debug, 1 pipeline unchanged");
}

TEST(reload, a_table_that_comes_leaves_the_shares_of_the_others_alone) {
  const auto one = brokers + databases + "publish:\n" + table("A", ", shards: 4");
  const auto two = one + table("B", ", shards: 4");
  const auto made = plan(one, two);
  EXPECT_EQ(made.to_text(), "publish.B added, 1 pipeline unchanged");
  EXPECT_EQ(made.next.publish.at("A").in_flight_max, 1'000);
  EXPECT_EQ(made.next.publish.at("B").in_flight_max, 500);
  EXPECT_THAT(made.at_next_start, IsEmpty());
  EXPECT_EQ(plan_reload(made.next, loaded(two)).to_text(), "2 pipelines unchanged");
  EXPECT_EQ(plan(one, brokers + databases + "publish:\n" + table("A", ", shards: 4, in_flight_max: 7")).to_text(),
            "publish.A changed (in_flight_max), 0 pipelines unchanged");
}

TEST(reload, a_broker_or_database_changes_the_pipelines_that_use_it) {
  const auto tables = "publish:\n" + table("A") + table("B", ", tracking: {database: sent}");
  const auto before = brokers + databases + meters + tables;
  const auto with = [&](const std::string& what, const std::string& other) {
    auto text = before;
    text.replace(text.find(what), what.size(), other);
    return plan(before, text).to_text();
  };
  EXPECT_EQ(with("password: a", "password: b"),
            "ingest.meters changed (brokers.other.password), 2 pipelines unchanged");
  EXPECT_EQ(with("'sqlite:sent.db'", "'sqlite:s.db'"), "publish.B changed (databases.sent.url), 2 pipelines unchanged");
  EXPECT_EQ(with("{url: 'mqtt://h'}", "{url: 'mqtt://h', keep_alive: 9s}"),
            "publish.A changed (brokers.main.keep_alive), publish.B changed (brokers.main.keep_alive), 1 pipeline "
            "unchanged");
}

TEST(reload, a_pipeline_may_change_its_direction) {
  const auto one = brokers + databases + meters;
  const auto other = brokers + databases + "publish:\n" + table("meters");
  EXPECT_EQ(plan(one, other).to_text(), "ingest.meters removed, publish.meters added, 0 pipelines unchanged");
}

TEST(reload, what_a_node_cannot_take_waits_for_the_next_start) {
  const auto before = brokers + databases + meters;
  const auto after = "node: {name: b, http: off}\nsupervision: {window: 2m}\nlog: {format: json}\n" + before;
  const auto made = plan(before, after);
  EXPECT_EQ(made.to_text(), "1 pipeline unchanged");
  EXPECT_THAT(waiting(made), ElementsAre("log.format", "node.http", "node.name", "supervision.window"));
  // And is told again the next time.
  EXPECT_THAT(waiting(plan_reload(made.next, loaded(after))),
              ElementsAre("log.format", "node.http", "node.name", "supervision.window"));
}

TEST(reload, an_embedded_broker_stays_as_it_is_and_so_do_those_who_would_need_another) {
  const std::string rest = databases + "publish:\n" + table("A");
  const auto embedded = "brokers: {main: {embedded: true}}\n" + rest;
  const auto moved = plan(embedded, "brokers: {main: {embedded: true, port: 1884}}\n" + rest);
  EXPECT_EQ(moved.to_text(), "1 pipeline unchanged");
  EXPECT_THAT(waiting(moved), ElementsAre("brokers.main.port"));
  const auto replaced = plan(embedded, "brokers: {main: {url: 'mqtt://h'}}\n" + rest);
  EXPECT_EQ(replaced.to_text(), "1 pipeline unchanged");
  EXPECT_TRUE(replaced.next.brokers.at("main").embedded);
  EXPECT_THAT(waiting(replaced), ::testing::Contains("brokers.main.url"));
  // A new one is not started, nor is what needs it.
  const auto grown = plan("brokers: {x: {url: 'mqtt://h'}}\n" + databases, embedded);
  EXPECT_EQ(grown.to_text(), "0 pipelines unchanged");
  EXPECT_THAT(grown.next.publish, IsEmpty());
  EXPECT_THAT(waiting(grown), ::testing::Contains("publish.A.table"));
  // One that goes, with its pipelines.
  const auto gone = plan(embedded, "brokers: {x: {url: 'mqtt://h'}}\n" + databases);
  EXPECT_EQ(gone.to_text(), "publish.A removed, 0 pipelines unchanged");
  EXPECT_TRUE(gone.next.brokers.contains("main"));
}

TEST(reload, presence_is_made_anew_when_its_settings_or_its_broker_have_changed) {
  const auto with = [](const std::string& control) { return brokers + databases + control; };
  const std::string control = "control: {broker: other}\n";
  EXPECT_EQ(plan(with(""), with(control)).to_text(), "control added, 0 pipelines unchanged");
  EXPECT_EQ(plan(with(control), with("")).to_text(), "control removed, 0 pipelines unchanged");
  EXPECT_EQ(plan(with(control), with("control: {broker: other, status_topic: s}\n")).to_text(),
            "control changed (status_topic), 0 pipelines unchanged");
  EXPECT_EQ(plan(with(control), with("control: {broker: main}\n")).to_text(),
            "control changed (broker), 0 pipelines unchanged");
}

TEST(reload, thresholds_concern_nobody_but_the_alerter) {
  const auto with = [](const std::string& more, const std::string& alerts) {
    return brokers + databases + "publish:\n" + table("A", more) + table("B") + alerts;
  };
  EXPECT_EQ(plan(with("", ""), with(", lag_warning: 1s", "")).to_text(),
            "alerts changed (publish.A.lag_warning), 2 pipelines unchanged");
  const auto made = plan(with("", ""), with("", "alerts: {broker: other, rules: {slow: {over: 2s}}}\n"));
  EXPECT_THAT(made.to_text(), HasSubstr("rules.slow.over"));
  EXPECT_EQ(made.unchanged, 2u);
  EXPECT_EQ(made.next.alerts.broker, "other");
}

TEST(reload, long_lists_of_changes_are_cut_short) {
  const auto before = brokers + databases + "publish:\n" + table("A");
  const auto after = brokers + databases + "publish:\n" +
                     table("A", ", qos: 1, retain: true, shards: 2, where: x, start: now, retries_max: 1,"
                                " publish_timeout: 1s");
  EXPECT_THAT(plan(before, after).to_text(), HasSubstr("and "));
  EXPECT_THAT(plan(before, after).to_text(), HasSubstr(" more), 0 pipelines unchanged"));
}

} // namespace

} // namespace penstock::config
