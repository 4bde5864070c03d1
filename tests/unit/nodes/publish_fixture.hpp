// A configuration with a publish pipeline from SQLite, in a folder of the test's own.
#pragma once

#include "config/load.hpp"
#include "core/types.hpp"
#include "nodes/row_ledger.hpp"
#include "storage/connection.hpp"
#include "tests/support/temporary_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace penstock::nodes::test {

using namespace std::chrono_literals;

class publish_test : public testing::Test {
protected:
  publish_test() { configure(); }

  std::filesystem::path file(const std::string& name) const { return directory_.file(name); }

  void configure(std::uint16_t broker_port = 1883, const std::string& more = "", int qos = 2) {
    std::ofstream{file("penstock.yaml")} << "data: .\nbrokers: {main: {url: \"mqtt://127.0.0.1:" << broker_port
                                         << R"("}}
databases: {plant: {url: "sqlite:plant.db", synchronous: "off", busy_timeout: 100ms}}
publish:
  TableA:
    database: plant
    table: TableA
    key: RecordId
    order: CreatedAt
    shard_by: MonitorId
    broker: main
    topic: "data/tableA/{MonitorId}"
    qos: )" << qos << R"(
    fields: {RecordId: id, MonitorId: monitor, Value: value}
)" << more;
    auto loaded = config::load_file(file("penstock.yaml"));
    if (auto* problems = std::get_if<std::vector<config::problem>>(&loaded))
      throw std::runtime_error(problems->front().to_string());
    configuration_ = std::get<config::configuration>(std::move(loaded));
  }

  const config::configuration& configuration() const { return configuration_; }
  const config::publish& pipeline() const { return configuration_.publish.at("TableA"); }

  std::unique_ptr<storage::connection> database(storage::access access = storage::access::read_write) {
    auto opened = storage::open_connection(configuration_.databases.at("plant"), access);
    if (!opened)
      throw std::runtime_error(opened.error().to_string());
    return *std::move(opened);
  }

  void sql(const std::string& statement) {
    const auto done = database()->change(statement);
    ASSERT_TRUE(done) << done.error().to_string();
  }

  /// The rows of a query, their values as text.
  std::vector<std::vector<std::string>> rows_of(const std::string& query) {
    std::vector<std::vector<std::string>> rows;
    const auto read = database()->read(query, [&](std::span<const storage::cell> row) {
      auto& values = rows.emplace_back();
      for (const auto& cell : row)
        values.emplace_back(cell.text);
    });
    EXPECT_TRUE(read) << read.error().to_string();
    return rows;
  }

  std::vector<row_line> ledger_rows() {
    std::vector<row_line> rows;
    const auto header = read_row_ledger(file("rows.csv"), [&](std::size_t, const row_line& row) {
      rows.push_back(row);
      return true;
    });
    EXPECT_TRUE(header) << header.error().message;
    return rows;
  }

private:
  temporary_directory directory_;
  config::configuration configuration_;
};

} // namespace penstock::nodes::test
