// What `penstock cluster status` makes of the state database and of what the nodes say.
#include "nodes/cluster_report.hpp"
#include "nodes/section_digests.hpp"
#include "nodes/version.hpp"
#include "plant.hpp"

#include <gmock/gmock.h>

namespace penstock::nodes::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::Not;

storage::cluster_node node(const std::string& name, std::chrono::milliseconds left = 2500ms) {
  return {name, name + "-1", name + ":7000", name + ":8080", {"ingest", "write"}, "0.5.0", false, left};
}

const auto status_of_a = ordered_json::parse(R"({
  "node": {"name": "a"}, "ready": false, "not_ready": ["telemetry/0 is not connected: refused"],
  "pipelines": {"telemetry": {"lag_ms": 12, "credit": 5000}},
  "publish": {"T": {"oldest_ms": 1500, "shards": [
    {"window": 100, "account": {"in_flight": 30}}, {"window": 10, "account": {"in_flight": 40}}]}},
  "cluster": {"links": {"b": {"up": true, "reason": ""}, "c": {"up": false, "reason": "no\nanswer"}}}
})");

TEST(cluster_report, has_what_the_nodes_say) {
  const storage::cluster_snapshot seen{{node("a"), node("b")}, {}};
  const auto report = report_of(plant(), seen, {{"a", status_of_a}, {"b", error{errc::timed_out, "silent"}}});
  const auto& a = report["nodes"][0];
  EXPECT_EQ(a["links"].size(), 2u);
  EXPECT_EQ(a["pipelines"]["telemetry"], ordered_json::parse(R"({"lag_ms": 12, "demand": 5000})"));
  EXPECT_EQ(a["pipelines"]["T"], ordered_json::parse(R"({"lag_ms": 1500, "demand": 70})"));
  EXPECT_EQ(a["error"], nullptr);
  EXPECT_EQ(a["ready"], false);
  const auto& b = report["nodes"][1];
  EXPECT_EQ(b["links"], nullptr);
  EXPECT_THAT(b["error"].get<std::string>(), HasSubstr("silent"));
  const auto text = report_text(report);
  EXPECT_THAT(text, HasSubstr("1 of 2 up"));
  EXPECT_THAT(text, HasSubstr("NOT READY: a: telemetry/0 is not connected: refused\n"));
  EXPECT_THAT(text, HasSubstr("LINK DOWN: a to c: no\\nanswer\n"));
  EXPECT_THAT(text, HasSubstr("b does not say how it is: timed_out"));
  EXPECT_THAT(text, HasSubstr("  T          a     1,500 ms  70\n"));
}

TEST(cluster_report, names_what_is_not_as_in_this_file) {
  auto a = node("a");
  a.version = version();
  const storage::cluster_snapshot seen{{a, node("b")}, {}};
  auto sections = section_digests(plant());
  const auto told = [&] {
    return ordered_json{{"node", {{"name", "a"}}}, {"configuration", {{"sections", sections}}}};
  };
  const auto differs = [&] { return report_of(plant(), seen, {{"a", told()}, {"b", told()}})["nodes"]; };
  EXPECT_EQ(differs()[0]["differs"], ordered_json::array());
  EXPECT_EQ(differs()[1]["differs"], nullptr) << "another version may have other settings";
  sections.erase("publish.T");
  sections["ingest.telemetry"] = "another";
  sections["ingest.more"] = "there";
  EXPECT_EQ(differs()[0]["differs"], ordered_json({"ingest.telemetry", "publish.T", "ingest.more"}));
  EXPECT_THAT(report_text(report_of(plant(), seen, {{"a", told()}})),
              HasSubstr("ANOTHER CONFIGURATION: a: ingest.telemetry, publish.T, ingest.more are not as in this file"));
}

TEST(cluster_report, takes_what_an_older_or_newer_node_says) {
  const storage::cluster_snapshot seen{{node("a")}, {}};
  for (const char* said :
       {R"({"node": {}})", R"({"pipelines": [1], "publish": 3, "cluster": "x"})",
        R"({"pipelines": {"p": 1}, "cluster": {"links": [1, {}]}})", R"({"cluster": {"links": {"b": 1}}})"}) {
    const auto text = report_text(report_of(plant(), seen, {{"a", ordered_json::parse(said)}}));
    EXPECT_THAT(text, HasSubstr("1 of 1 nodes alive")) << said;
  }
}

TEST(cluster_report, shows_a_shard_of_an_older_configuration_only_while_somebody_owns_it) {
  storage::cluster_snapshot seen{{node("a"), node("b", -1s)}, {}};
  seen.shards = {{{"gone", 0}, "a", "a-1", 2, ""}, {{"gone", 1}, "b", "b-1", 2, ""}, {{"gone", 2}, "", "", 2, "a"}};
  const auto text = report_text(report_of(plant(), seen, {}));
  EXPECT_THAT(text, HasSubstr("gone/0                    -        a       2      not in this configuration\n"));
  EXPECT_THAT(text, Not(HasSubstr("gone/1")));
  EXPECT_THAT(text, Not(HasSubstr("gone/2")));
}

TEST(cluster_report, an_owner_is_a_process_not_a_name) {
  storage::cluster_snapshot seen{{node("a")}, {{{"telemetry", 0}, "a", "a-0", 7, ""}}};
  const auto report = report_of(plant(), seen, {});
  EXPECT_EQ(report["shards"][1]["owned"], false) << "it belonged to the process before this one";
  EXPECT_EQ(report["nodes"][0]["shards"], 0);
}

} // namespace
} // namespace penstock::nodes::test
