// A configuration and a database of the telemetry shape in a folder of the test's own.
#pragma once

#include "config/load.hpp"
#include "nodes/ledger.hpp"
#include "nodes/payload_generator.hpp"
#include "nodes/row_key.hpp"
#include "storage/store.hpp"
#include "tests/support/temporary_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace penstock::nodes::test {

using namespace std::chrono_literals;

inline wall_time at_second(std::int64_t second) { return wall_time{std::chrono::seconds{1'700'000'000 + second}}; }

class nodes_test : public testing::Test {
protected:
  nodes_test() { configure(1883); }

  std::filesystem::path file(const std::string& name) const { return directory_.file(name); }

  void configure(std::uint16_t broker_port) {
    std::ofstream{file("penstock.yaml")} << "data: .\nbrokers: {main: {url: \"mqtt://127.0.0.1:" << broker_port
                                         << R"("}}
databases: {telemetry: {url: "sqlite:telemetry.db", synchronous: "off"}}
ingest:
  telemetry:
    broker: main
    topics: ["users/{user_id}/devices/{device_id}/telemetry"]
    qos: 1
    format: json
    database: telemetry
    table: raw_telemetry
    key: [time, user_id, device_id, sequence_id]
    columns:
      time:        {from: payload.time, type: timestamp}
      user_id:     {from: topic.user_id, type: text}
      device_id:   {from: topic.device_id, type: text}
      sequence_id: {from: payload.sequence_id, type: integer}
      temperature: {from: payload.temperature, type: real, optional: true}
      battery:     {from: payload.battery, type: integer, optional: true}
      extra_data:  {from: payload.rest, type: json}
)";
    auto loaded = config::load_file(file("penstock.yaml"));
    if (auto* problems = std::get_if<std::vector<config::problem>>(&loaded))
      throw std::runtime_error(problems->front().to_string());
    configuration_ = std::get<config::configuration>(std::move(loaded));
  }

  const config::configuration& configuration() const { return configuration_; }
  const config::ingest& pipeline() const { return configuration_.ingest.at("telemetry"); }

  payload_generator generator(generator_options options = {}) {
    options.started = at_second(0);
    auto made = payload_generator::make(pipeline(), options);
    EXPECT_TRUE(made);
    return *std::move(made);
  }

  /// Opened for writing, with its table.
  std::unique_ptr<storage::store> database() {
    auto opened = storage::open(configuration_.databases.at("telemetry"));
    EXPECT_TRUE(opened);
    EXPECT_TRUE((*opened)->prepare(storage::table_of(pipeline())));
    return *std::move(opened);
  }

  void store(storage::store& into, const std::string& topic, const std::string& payload) {
    const auto frame = single_decoder{pipeline()}.decode(topic, payload, at_second(0));
    const record::frame_view* const frames[] = {frame.get()};
    ASSERT_TRUE(into.write(frames));
  }

  /// All in one transaction.
  void store(storage::store& into, const std::vector<std::pair<std::string, std::string>>& messages) {
    single_decoder decoder{pipeline()};
    std::vector<std::unique_ptr<record::frame_view>> frames;
    std::vector<const record::frame_view*> views;
    for (const auto& [topic, payload] : messages) {
      frames.push_back(decoder.decode(topic, payload, at_second(0)));
      views.push_back(frames.back().get());
    }
    ASSERT_TRUE(into.write(views));
  }

  void sql(const std::string& statement) {
    sqlite3* connection = nullptr;
    ASSERT_EQ(sqlite3_open(file("telemetry.db").c_str(), &connection), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(connection, statement.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(connection);
    sqlite3_close(connection);
  }

private:
  temporary_directory directory_;
  config::configuration configuration_;
};

} // namespace penstock::nodes::test
