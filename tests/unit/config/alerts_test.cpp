// The section `alerts`: what it takes, every problem with its place, what is printed of it.
#include "config/alert_rule.hpp"
#include "config/diff.hpp"
#include "tests/unit/config/support.hpp"

#include <gmock/gmock.h>

namespace penstock::config {

using namespace std::chrono_literals;
using namespace test;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace {

/// An ingest pipeline p on lines 1 to 13, a publish pipeline out behind it, then `text`.
std::string with_pipelines(const std::string& text, const std::string& of_ingest = {}) {
  return pipeline_with(0) + of_ingest +
         "publish: {out: {database: db, table: t2, key: Id, broker: main, topic: 'd/{Id}'}}\n" + text;
}
constexpr std::size_t first_line = 15; ///< of `text`, without `of_ingest`

struct alerts_case {
  std::string text;
  std::size_t line; ///< in the text, from 1
  std::string path;
  std::string says;
};
class alerts_problem : public ::testing::TestWithParam<alerts_case> {};

TEST_P(alerts_problem, is_the_only_one_and_has_its_place) {
  const auto& [text, line, path, says] = GetParam();
  const auto problems = problems_of(with_pipelines(text));
  ASSERT_EQ(problems.size(), 1u) << all_of(problems);
  EXPECT_EQ(problems[0].line, first_line + line - 1) << problems[0].to_string();
  EXPECT_EQ(problems[0].path, path);
  EXPECT_THAT(problems[0].to_string(), HasSubstr(says));
}

alerts_case rule_case(const std::string& rule, const std::string& setting, const std::string& says) {
  const std::string name = rule.substr(0, rule.find(':'));
  return {"alerts:\n  rules:\n    " + rule + "\n", 3, "alerts.rules." + name + setting, says};
}

INSTANTIATE_TEST_SUITE_P(
  rules, alerts_problem,
  ::testing::Values(
    rule_case("slow: {over: 5}", ".over", "a duration from 1ms to 7d, such as 5s, or never, where `when` is lag"),
    rule_case("slow: {over: 1%}", ".over", "a duration"), rule_case("slow: {over: 0s}", ".over", "a duration"),
    rule_case("failing: {over: 5s}", ".over", "a percentage from 0% to below 100%"),
    rule_case("failing: {over: 1}", ".over", "a percentage"),
    rule_case("failing: {over: 100%}", ".over", "a percentage"),
    rule_case("failing: {over: 0.001%}", ".over", "a percentage"),
    rule_case("tracking: {over: 1%}", ".over", "a number, such as 500, 20k or 10M"),
    rule_case("tracking: {over: 10 MiB}", ".over", "a number"),
    rule_case("tracking: {when: lag, over: 5s}", ".when", "is always tracking_rows for this rule"),
    rule_case("mine: {over: 5s}", ".when", "is missing"), rule_case("mine: {when: lag}", ".over", "is missing"),
    rule_case("mine: {when: lags, over: what}", ".when", "did you mean 'lag'"),
    rule_case("mine: {when: lag, over: 5s, for: 2d}", ".for", "from 0s to 1d"),
    rule_case("slow: {pipelines: [p, ouf]}", ".pipelines[1]", "is no pipeline; did you mean 'out'?; there is: p, out"),
    rule_case("tracking: {pipelines: [out, p]}", ".pipelines[1]", "is under `ingest`"),
    rule_case("slow: {above: 5s}", ".above", "is not a setting"),
    alerts_case{"alerts:\n  rules:\n    'a b': {when: lag, over: 5s}\n", 3, "alerts.rules.a...",
                "a name has letters"}));

INSTANTIATE_TEST_SUITE_P(
  topic, alerts_problem,
  ::testing::Values(
    alerts_case{"alerts: {broker: mian}\n", 1, "alerts.broker", "did you mean 'main'"},
    alerts_case{"alerts:\n  topic: 'x/{rule}/{pipeline}'\n", 2, "alerts.topic", "is for `broker`, which is missing"},
    alerts_case{"alerts:\n  broker: main\n  topic: 'x/{rule}/{pipeline}/#'\n", 3, "alerts.topic", "no + and #"},
    alerts_case{"alerts:\n  broker: main\n  topic: 'x/{rule}/{pipelines}'\n", 3, "alerts.topic", "{pipeline}"},
    alerts_case{"alerts:\n  broker: main\n  topic: 'x/{pipeline}'\n", 3, "alerts.topic", "needs a level {rule}"},
    alerts_case{"alerts:\n  broker: main\n  topic: 'x/{rule}'\n", 3, "alerts.topic", "needs a level {pipeline}"}));

TEST(alerts, three_rules_are_there_without_a_section) {
  const auto& rules = loaded("log: {level: info}").alerts.rules;
  ASSERT_EQ(rules.size(), 3u);
  EXPECT_EQ(rules.at("slow"), (alert_rule{"slow", alert_metric::lag, 5'000, 0ms, {}}));
  EXPECT_EQ(rules.at("failing"), (alert_rule{"failing", alert_metric::failure_rate, 100, 0ms, {}}));
  EXPECT_EQ(rules.at("tracking"), (alert_rule{"tracking", alert_metric::tracking_rows, 10'000'000, 0ms, {}}));
}

TEST(alerts, rules_are_added_changed_and_switched_off) {
  const auto alerts = loaded(with_pipelines(R"(alerts:
  broker: main
  topic: "plant/{rule}/{pipeline}"
  rules:
    slow: {over: 250ms, for: 1m, pipelines: [out]}
    failing: {over: 0.25%}
    tracking: {over: never}
    down: {when: outage, over: 1m}
    full: {when: tracking_rows, over: 20k}
)"))
                        .alerts;
  EXPECT_EQ(alerts.broker, "main");
  EXPECT_EQ(alerts.topic, "plant/{rule}/{pipeline}");
  ASSERT_EQ(alerts.rules.size(), 5u);
  EXPECT_EQ(alerts.rules.at("slow"), (alert_rule{"slow", alert_metric::lag, 250, 1min, {"out"}}));
  EXPECT_EQ(alerts.rules.at("failing").over, 25u);
  EXPECT_EQ(alerts.rules.at("tracking").over, std::nullopt);
  EXPECT_EQ(alerts.rules.at("down"), (alert_rule{"down", alert_metric::outage, 60'000, 0ms, {}}));
  EXPECT_EQ(alerts.rules.at("full").over, 20'000u);
}

TEST(alerts, lag_warning_of_a_pipeline_stands_in_for_the_threshold_of_slow) {
  const auto c = loaded(
    with_pipelines("alerts: {rules: {slow: {over: 7s}, late: {when: lag, over: 1m}}}\n", "    lag_warning: 250ms\n"));
  EXPECT_EQ(c.ingest.at("p").lag_warning, 250ms);
  EXPECT_EQ(c.publish.at("out").lag_warning, 7s);
  const auto& slow = c.alerts.rules.at("slow");
  EXPECT_EQ(threshold_of(slow, c.ingest.at("p").lag_warning), 250u);
  EXPECT_EQ(threshold_of(slow, c.publish.at("out").lag_warning), 7'000u);
  EXPECT_EQ(threshold_of(c.alerts.rules.at("late"), 250ms), 60'000u) << "only of slow";
  auto off = slow;
  off.over.reset();
  EXPECT_EQ(threshold_of(off, 250ms), std::nullopt);
}

TEST(alerts, are_printed_as_they_load) {
  for (const std::string& text :
       {std::string{},
        std::string{"alerts: {broker: main, rules: {slow: {over: never}, failing: {over: 0.05%, for: 5s}, "
                    "b: {when: outage, over: 90s, pipelines: [out]}}}\n"}}) {
    auto c = loaded(with_pipelines(text));
    c.publish.at("out").in_flight_given = true; // by what is printed
    EXPECT_EQ(loaded(show(c, false)), c) << show(c, false);
    EXPECT_EQ(loaded(show(c, true)), c) << show(c, true);
  }
}

TEST(alerts, a_difference_names_rule_and_threshold) {
  std::vector<std::string> found;
  for (const change& c :
       diff(loaded(with_pipelines("")), loaded(with_pipelines("alerts: {rules: {tracking: {over: 20M}}}\n"))))
    found.push_back(c.path + ": " + c.before + " -> " + c.after);
  EXPECT_THAT(found, ElementsAre("alerts.rules.tracking.over: 10M -> 20M"));
}

} // namespace

} // namespace penstock::config
