#include "sample.hpp"
#include "telemetry/metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace penstock::telemetry {

namespace {

using testing::HasSubstr;

struct exposed {
  std::map<std::string, std::string> types; // by family
  std::map<std::string, std::string> helps; // by family
  std::map<std::string, double> samples;    // by name and labels, as written
};

/// The family that a sample belongs to, by the rules of its type.
std::string family_of(const std::string& sample, const exposed& so_far) {
  for (const char* suffix : {"_bucket", "_sum", "_count"})
    if (sample.ends_with(suffix)) {
      const auto family = sample.substr(0, sample.size() - std::string_view{suffix}.size());
      if (const auto type = so_far.types.find(family); type != so_far.types.end() && type->second == "histogram")
        return family;
    }
  return sample;
}

/// Text format 0.0.4, strictly: HELP and TYPE once a family and before its samples, families in one piece, no sample
/// twice.
exposed parse(const std::string& text) {
  static const std::regex comment{R"(# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+))"};
  static const std::regex sample{
    R"re(([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_]\w*="([^"\\]|\\.)*"(,[a-zA-Z_]\w*="([^"\\]|\\.)*")*)\})? (\+Inf|NaN|-?[0-9.]+(e[+-]?[0-9]+)?))re"};
  exposed result;
  std::set<std::string> ended;
  std::string current;
  EXPECT_TRUE(text.ends_with('\n'));
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);) {
    std::smatch part;
    if (std::regex_match(line, part, comment)) {
      auto& known = part[1] == "HELP" ? result.helps : result.types;
      EXPECT_TRUE(known.emplace(part[2], part[3]).second) << line;
      if (current != part[2])
        ended.insert(current);
      current = part[2];
      EXPECT_FALSE(ended.contains(current)) << line;
    } else if (std::regex_match(line, part, sample)) {
      EXPECT_EQ(family_of(part[1], result), current) << line;
      EXPECT_TRUE(result.samples.emplace(part[1].str() + part[2].str(), std::stod(part[7])).second) << line;
    } else {
      ADD_FAILURE() << "not a line of the format: " << line;
    }
  }
  return result;
}

std::string document() {
  std::ifstream file{PENSTOCK_SOURCE_DIR "/docs/operation.md"};
  return {std::istreambuf_iterator<char>{file}, {}};
}

} // namespace

TEST(metrics, are_in_the_text_format_with_help_and_type) {
  const auto out = parse(to_prometheus(sample()));
  EXPECT_GT(out.samples.size(), 50u);
  for (const auto& [family, type] : out.types) {
    EXPECT_TRUE(out.helps.contains(family)) << family;
    EXPECT_EQ(type == "counter", family.ends_with("_total")) << family;
  }
}

TEST(metrics, show_the_account_by_shard) {
  const auto samples = parse(to_prometheus(sample())).samples;
  const std::string shard = R"({pipeline="telemetry",shard="0"})";
  EXPECT_EQ(samples.at("penstock_received_total" + shard), 1'234'634);
  EXPECT_EQ(samples.at("penstock_committed_total" + shard), 1'234'000);
  EXPECT_EQ(samples.at("penstock_duplicate_total" + shard), 400);
  EXPECT_EQ(samples.at("penstock_dead_lettered_total" + shard), 100);
  EXPECT_EQ(samples.at("penstock_in_flight" + shard), 67);
  EXPECT_EQ(samples.at(R"(penstock_rejected_total{pipeline="telemetry",shard="0",reason="redelivery"})"), 67);
}

TEST(metrics, show_connections_lag_and_restarts) {
  const auto samples = parse(to_prometheus(sample())).samples;
  EXPECT_EQ(samples.at(R"(penstock_lag_seconds{pipeline="telemetry",shard="0"})"), 1.25);
  EXPECT_EQ(samples.at(R"(penstock_connected{pipeline="telemetry",shard="0"})"), 1);
  EXPECT_EQ(samples.at(R"(penstock_connected{pipeline="telemetry",shard="1"})"), 0);
  EXPECT_EQ(samples.at(R"(penstock_sessions_lost_total{pipeline="telemetry",shard="1"})"), 1);
  EXPECT_EQ(samples.at(R"(penstock_sessions_retiring{pipeline="telemetry"})"), 3);
  EXPECT_EQ(samples.at(R"(penstock_writer_state{pipeline="telemetry",state="waiting"})"), 1);
  EXPECT_EQ(samples.at(R"(penstock_writer_state{pipeline="telemetry",state="running"})"), 0);
  EXPECT_EQ(samples.at(R"(penstock_actor_restarts_total{actor="telemetry/ingestor/0"})"), 1);
  EXPECT_EQ(samples.at("process_cpu_seconds_total"), 1.5);
  EXPECT_EQ(samples.at("penstock_ready"), 0);
}

TEST(metrics, the_latency_histogram_is_cumulative_and_ends_with_everything) {
  const auto samples = parse(to_prometheus(sample())).samples;
  const auto at_most = [&](const std::string& bound) {
    return samples.at("penstock_commit_latency_seconds_bucket{pipeline=\"telemetry\",le=\"" + bound + "\"}");
  };
  EXPECT_EQ(at_most("0.001"), 0);
  EXPECT_EQ(at_most("0.005"), 1'234'000);
  EXPECT_EQ(at_most("0.05"), 1'234'500);
  EXPECT_EQ(at_most("+Inf"), 1'234'500);
  EXPECT_EQ(samples.at(R"(penstock_commit_latency_seconds_count{pipeline="telemetry"})"), 1'234'500);
  EXPECT_NEAR(samples.at(R"(penstock_commit_latency_seconds_sum{pipeline="telemetry"})"), 3'722, 0.001);
}

TEST(metrics, show_alerts_connections_and_the_size_of_the_tracking_table) {
  const auto samples = parse(to_prometheus(sample())).samples;
  EXPECT_EQ(samples.at(R"(penstock_alerts_raised{rule="slow",pipeline="TableA"})"), 1);
  EXPECT_EQ(samples.at(R"(penstock_alerts_raised{rule="failing",pipeline="TableA"})"), 0);
  EXPECT_EQ(samples.at(R"(penstock_database_connections{database="plant"})"), 1);
  EXPECT_EQ(samples.at(R"(penstock_database_connections_max{database="plant"})"), 20);
  EXPECT_FALSE(samples.contains(R"(penstock_database_connections_max{database="file"})"));
  EXPECT_EQ(samples.at(R"(penstock_publish_tracking_rows{pipeline="TableA"})"), 12'345'678);
  EXPECT_EQ(samples.at(R"(penstock_publish_lag_seconds_count{pipeline="TableA",shard="1"})"), 1);
}

TEST(metrics, large_counters_keep_every_digit) {
  board board;
  board.shard("p", 0)->apply({.received = 1'234'567'890'123, .in_flight = 0});
  EXPECT_EQ(parse(to_prometheus(board.snapshot())).samples.at(R"(penstock_received_total{pipeline="p",shard="0"})"),
            1'234'567'890'123.0);
}

TEST(metrics, an_empty_node_is_exposed_too) {
  const auto out = parse(to_prometheus(board{}.snapshot()));
  EXPECT_TRUE(out.types.contains("penstock_build_info"));
  EXPECT_FALSE(out.types.contains("penstock_received_total"));
}

TEST(metrics, names_from_outside_are_escaped) {
  board board;
  board.actor_up("a\"b\\c\nd", "x");
  EXPECT_TRUE(parse(to_prometheus(board.snapshot())).samples.contains(R"(penstock_actor_alive{actor="a\"b\\c\nd"})"));
}

TEST(metrics, each_is_documented_with_its_type) {
  const auto text = document();
  const auto out = parse(to_prometheus(sample()));
  for (const auto& [family, type] : out.types)
    EXPECT_THAT(text, HasSubstr("| `" + family + "` | " + type + " |"));
  const std::regex row{R"(\| `(\w+)` \| (?:counter|gauge|histogram) \|)"};
  for (std::sregex_iterator found{text.begin(), text.end(), row}, end; found != end; ++found)
    EXPECT_TRUE(out.types.contains((*found)[1])) << "documented but not exported: " << (*found)[1];
}

} // namespace penstock::telemetry
