#include "sample.hpp"
#include "telemetry/status_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

namespace penstock::telemetry {

namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

std::string text_of(const snapshot& snapshot) { return *status_text(to_json(snapshot)); }

std::string document() {
  std::ifstream file{PENSTOCK_SOURCE_DIR "/docs/operation.md"};
  return {std::istreambuf_iterator<char>{file}, {}};
}

/// Every key but the names that users give.
void expect_documented(const json& value, const std::string& text, bool keys_are_names = false) {
  if (value.is_array()) {
    for (const auto& element : value)
      expect_documented(element, text);
  } else if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      if (!keys_are_names) {
        EXPECT_THAT(text, HasSubstr("`" + key + "`"));
      }
      expect_documented(member, text,
                        key == "pipelines" || key == "publish" || key == "actors" || key == "brokers" ||
                          key == "databases" || key == "links" || key == "rejected" || key == "sections");
    }
  }
}

} // namespace

TEST(status_json, has_the_documented_keys_and_no_other) {
  expect_documented(json::parse(to_json(sample())), document());
}

TEST(status_json, has_what_the_board_knows) {
  const auto status = json::parse(to_json(sample()));
  EXPECT_EQ(status["node"]["name"], "a");
  EXPECT_EQ(status["node"]["started"], "2026-03-01T11:58:30.000Z");
  EXPECT_EQ(status["node"]["uptime_seconds"], 90.0);
  EXPECT_EQ(status["ready"], false);
  EXPECT_EQ(status["not_ready"].size(), 5u);
  EXPECT_EQ(status["balanced"], true);
  const auto& pipeline = status["pipelines"]["telemetry"];
  EXPECT_EQ(pipeline["account"]["received"], 1'234'634);
  EXPECT_EQ(pipeline["account"]["rejected"]["redelivery"], 67);
  EXPECT_EQ(pipeline["lag_ms"], 1'250);
  EXPECT_EQ(pipeline["writer"]["state"], "waiting");
  EXPECT_EQ(pipeline["writer"]["last_error_at"], "2026-03-01T11:59:59.000Z");
  EXPECT_NEAR(pipeline["latency_ms"]["p50"].get<double>(), 3, 0.05);
  EXPECT_EQ(pipeline["shards"][1]["connection_reason"], "connection_lost: reset by \"peer\"\n");
  EXPECT_EQ(pipeline["retirement"]["sessions"], 3);
  EXPECT_EQ(status["actors"]["telemetry/ingestor/0"]["restarts"], 1);
  EXPECT_EQ(status["brokers"]["main"]["port"], 1883);
  EXPECT_EQ(status["cluster"]["links"]["b"]["up"], true);
  EXPECT_EQ(status["cluster"]["links"]["c"]["reason"], "no answer in time");
  EXPECT_EQ(status["cluster"]["member"], false);
  EXPECT_EQ(status["cluster"]["reason"], "the state database is away");
}

TEST(status_json, has_what_the_board_knows_of_a_publish_pipeline) {
  const auto pipeline = json::parse(to_json(sample()))["publish"]["TableA"];
  EXPECT_EQ(pipeline["account"]["claimed"], 1'234'577);
  EXPECT_EQ(pipeline["account"]["sent"], 1'234'010);
  EXPECT_EQ(pipeline["account"]["balanced"], true);
  EXPECT_EQ(pipeline["state"], "waiting");
  EXPECT_EQ(pipeline["reason"], "database_busy: locked");
  EXPECT_EQ(pipeline["found_late"], 42);
  EXPECT_EQ(pipeline["slot"], (json{{"name", "penstock_1_tablea_2"}, {"lag_bytes", 3u << 20}, {"lost", 1}}));
  EXPECT_EQ(pipeline["oldest_ms"], 2'500);
  EXPECT_EQ(pipeline["shards"][0]["window"], 1'000);
  EXPECT_EQ(pipeline["shards"][1]["connected"], false);
}

TEST(status_text, shows_a_publish_pipeline) {
  const auto text = text_of(sample());
  EXPECT_THAT(text, HasSubstr("publish TableA: sent "));
  EXPECT_THAT(text, HasSubstr("1,234,577 claimed = 1,234,010 sent + 60 refused + 7 held + 500 in flight: balanced"));
  EXPECT_THAT(text, HasSubstr("the poller is waiting: database_busy: locked"));
}

TEST(status_json, has_the_alerts_that_are_raised) {
  const auto alerts = json::parse(to_json(sample()))["alerts"];
  ASSERT_EQ(alerts.size(), 1u);
  EXPECT_EQ(alerts[0]["rule"], "slow");
  EXPECT_EQ(alerts[0]["state"], "raised");
  EXPECT_EQ(alerts[0]["value"], 7'200);
  EXPECT_EQ(alerts[0]["since"], "2026-03-01T11:59:57.000Z");
  const auto payload = json::parse(to_json(sample().alerts.at(1), "a"));
  EXPECT_EQ(payload["node"], "a");
  EXPECT_EQ(payload["state"], "cleared");
  EXPECT_EQ(payload["unit"], "percent");
}

TEST(status_json, has_the_use_of_connections_and_of_the_tracking_table) {
  const auto status = json::parse(to_json(sample()));
  EXPECT_EQ(status["databases"]["plant"]["connections"], 1);
  EXPECT_EQ(status["databases"]["plant"]["connections_max"], 20);
  EXPECT_TRUE(status["databases"]["file"]["connections_max"].is_null());
  EXPECT_EQ(status["publish"]["TableA"]["tracking_rows"], 12'345'678);
  EXPECT_NEAR(status["publish"]["TableA"]["shards"][1]["lag_ms"]["max"].get<double>(), 40, 0.1);
  EXPECT_EQ(status["publish"]["TableA"]["lag_ms"]["count"], 2) << "of all shards";
}

TEST(status_text, shows_raised_alerts_before_all_else) {
  const auto text = text_of(sample());
  const auto alert = text.find("  ALERT slow of TableA, since 2026-03-01T11:59:57.000Z: lag 7.2 s, over 5s\n");
  ASSERT_NE(alert, std::string::npos) << text;
  EXPECT_LT(alert, text.find("is not connected"));
  EXPECT_EQ(text.find("failing"), std::string::npos);
  EXPECT_THAT(text, HasSubstr("  database plant: 1 of 20 connections\n"));
  EXPECT_THAT(text, HasSubstr("  database file: 0 connections\n"));
}

TEST(status_json, is_valid_whatever_a_peer_said) {
  board board;
  board.shard("p", 0)->disconnected("\xff\x01\"");
  EXPECT_TRUE(json::accept(to_json(board.snapshot())));
}

TEST(status_json, an_unbalanced_pipeline_unbalances_the_node) {
  board board;
  board.shard("p", 0)->apply({.received = 3, .in_flight = 2});
  EXPECT_EQ(json::parse(to_json(board.snapshot()))["balanced"], false);
}

TEST(status_text, shows_the_conservation_equation) {
  EXPECT_THAT(text_of(sample()),
              HasSubstr("  1,234,634 received = 1,234,000 committed + 400 duplicate + 100 dead-lettered"
                        "\n    + 67 rejected (redelivery) + 67 in flight: balanced\n"));
  board broken;
  broken.shard("p", 0)->apply({.received = 3, .in_flight = 2});
  EXPECT_THAT(text_of(broken.snapshot()), HasSubstr(": NOT BALANCED\n"));
}

TEST(status_text, shows_what_is_wrong) {
  const auto text = text_of(sample());
  EXPECT_THAT(text, HasSubstr("NOT READY"));
  EXPECT_THAT(text, HasSubstr("waiting: database_busy: locked"));
  EXPECT_THAT(text, HasSubstr("telemetry/1 is not connected: connection_lost"));
  EXPECT_THAT(text, HasSubstr("  down\n"));
  EXPECT_THAT(text, HasSubstr("killed"));
  EXPECT_THAT(text, HasSubstr("1.2 s")) << "the lag";
  EXPECT_THAT(text, HasSubstr("RETIRING 3 sessions that no shard has any more"));
}

TEST(status_text, tells_what_came_of_a_configuration_that_was_read_again) {
  snapshot seen;
  EXPECT_THAT(text_of(seen), testing::Not(HasSubstr("configuration")));
  seen.configuration = {1, wall_time{}, true, "publish.B added", {}};
  EXPECT_THAT(text_of(seen), HasSubstr("configuration read again, 1970-01-01T00:00:00.000Z: publish.B added"));
  seen.configuration = {2, wall_time{}, false, "p.yaml:1:1: broken", {}};
  EXPECT_THAT(text_of(seen), HasSubstr("configuration NOT TAKEN"));
}

TEST(status_text, fits_a_terminal_of_100_columns) {
  std::istringstream lines{text_of(sample())};
  for (std::string line; std::getline(lines, line);)
    EXPECT_LE(line.size(), 100u) << line;
}

TEST(status_text, is_aligned) {
  std::istringstream lines{text_of(sample())};
  std::string header;
  while (std::getline(lines, header) && header.find(" shard ") == std::string::npos) {
  }
  std::string row;
  ASSERT_TRUE(std::getline(lines, row));
  EXPECT_EQ(header.find("connection"), row.find("MQTT 5"));
  EXPECT_EQ(header.find("credit") + 6, row.find("5,000") + 5);
}

TEST(status_text, passes_no_control_characters_to_the_terminal) {
  board board;
  board.shard("p", 0)->disconnected("a\x1b[2Jb\nc");
  const auto text = text_of(board.snapshot());
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("\nc")));
}

TEST(status_text, takes_a_status_of_another_version) {
  const auto text =
    status_text(R"({"node": {"name": "b"}, "pipelines": {"p": {"new": 1, "shards": [{}]}}, "more": []})");
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, HasSubstr("pipeline p"));
}

TEST(status_text, refuses_what_is_not_a_status) {
  for (const char* other :
       {"", "<html>", "[]", "{}", R"({"node": {}, "ready": "yes"})", R"({"node": 3, "brokers": [1]})"}) {
    const auto text = status_text(other);
    ASSERT_FALSE(text) << other;
    EXPECT_EQ(text.error().code, errc::payload_malformed);
  }
}

} // namespace penstock::telemetry
