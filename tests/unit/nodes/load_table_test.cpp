// Rows in a real SQLite file, and the ledger of them.
#include "nodes/command_support.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/load_table.hpp"
#include "publish_fixture.hpp"

#include <algorithm>
#include <csignal>
#include <map>
#include <set>
#include <sstream>
#include <thread>

namespace penstock::nodes::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class load_table_test : public publish_test {
protected:
  load_table_test() {
    options_.config = file("penstock.yaml");
    options_.pipeline = "TableA";
    options_.create = true;
    options_.monitors = 20;
    options_.count = 3'000;
    options_.ledger = file("rows.csv");
  }

  int run() { return load_table(options_, out_, err_); }

  std::map<std::string, std::string> stored(const std::string& value) {
    std::map<std::string, std::string> rows;
    for (const auto& row : rows_of("SELECT RecordId, " + value + " FROM TableA"))
      rows[row[0]] = row[1];
    return rows;
  }

  load_table_options options_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(load_table_test, what_it_committed_and_nothing_else_is_there_and_in_the_ledger) {
  options_.rollbacks_percent = 10;
  ASSERT_EQ(run(), exit_done) << err_.str();
  const auto rows = stored("CreatedAt");
  const auto ledger = ledger_rows();
  EXPECT_EQ(rows.size(), 3'000u);
  EXPECT_EQ(ledger.size(), 3'000u);
  std::int64_t highest = 0;
  for (const auto& row : ledger) {
    ASSERT_TRUE(rows.contains(row.key.at(0)));
    EXPECT_EQ(rows.at(row.key.at(0)), std::to_string(row.order));
    EXPECT_FALSE(row.updated);
    EXPECT_FALSE(row.late);
    EXPECT_EQ(row.version, 0);
    EXPECT_GE(row.committed_us, row.order);
    highest = std::max<std::int64_t>(highest, std::stoll(row.key.at(0)));
  }
  EXPECT_GT(highest, 3'000); // gaps
  EXPECT_THAT(out_.str(), HasSubstr("committed 3,000 rows"));
}

TEST_F(load_table_test, within_a_monitor_the_order_rises_with_the_commits_but_for_what_is_late) {
  options_.late_percent = 10;
  options_.late_for = 300ms;
  options_.rate = 5'000;
  ASSERT_EQ(run(), exit_done) << err_.str();
  std::map<std::string, std::int64_t> newest;
  std::map<std::string, std::int64_t> newest_of_all;
  std::size_t late = 0;
  std::size_t behind = 0;
  for (const auto& row : ledger_rows()) {
    if (row.late) {
      ++late;
      behind += row.order < newest_of_all[row.monitor] ? 1 : 0;
    } else {
      EXPECT_GT(row.order, newest[row.monitor]);
      newest[row.monitor] = row.order;
    }
    newest_of_all[row.monitor] = std::max(newest_of_all[row.monitor], row.order);
  }
  EXPECT_EQ(newest.size(), 20u);
  EXPECT_GT(late, 0u);
  EXPECT_GT(behind, 0u);
}

TEST_F(load_table_test, updates_raise_the_version_and_stand_in_the_ledger) {
  configure(1883, "    on_update: publish\n    version: Version\n");
  options_.updates_percent = 30;
  ASSERT_EQ(run(), exit_done) << err_.str();
  const auto rows = stored("Version");
  std::map<std::string, std::int64_t> last;
  std::set<std::int64_t> versions;
  std::size_t updated = 0;
  for (const auto& row : ledger_rows()) {
    updated += row.updated ? 1 : 0;
    EXPECT_EQ(last.contains(row.key.at(0)), row.updated);
    EXPECT_GT(row.version, last[row.key.at(0)]);
    last[row.key.at(0)] = row.version;
    versions.insert(row.version);
  }
  EXPECT_EQ(versions.size(), 3'000u);
  EXPECT_GT(updated, 300u);
  EXPECT_EQ(rows.size(), 3'000u - updated);
  for (const auto& [id, version] : rows)
    EXPECT_EQ(version, std::to_string(last.at(id)));
}

TEST_F(load_table_test, a_second_load_goes_on_behind_the_first) {
  options_.count = 100;
  ASSERT_EQ(run(), exit_done);
  options_.create = false;
  ASSERT_EQ(run(), exit_done) << err_.str();
  EXPECT_THAT(rows_of("SELECT count(*), max(RecordId) FROM TableA"), ElementsAre(ElementsAre("200", "200")));
}

TEST_F(load_table_test, a_table_that_is_not_there_is_an_error_that_says_so) {
  options_.create = false;
  EXPECT_EQ(run(), exit_configuration);
  EXPECT_THAT(err_.str(), HasSubstr("--create"));
  EXPECT_FALSE(std::filesystem::exists(file("plant.db")));
  sql("CREATE TABLE other(x)");
  EXPECT_EQ(run(), exit_configuration);
  EXPECT_THAT(err_.str(), HasSubstr("there is no table \"TableA\""));
}

TEST_F(load_table_test, updates_of_a_pipeline_that_does_not_publish_them_are_refused) {
  options_.updates_percent = 1;
  EXPECT_EQ(run(), exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("on_update: publish"));
  options_.updates_percent = 0;
  options_.pipeline = "TableB";
  EXPECT_EQ(run(), exit_configuration);
  EXPECT_THAT(err_.str(), HasSubstr("there is no publish pipeline 'TableB'"));
}

TEST_F(load_table_test, a_row_that_the_database_refuses_ends_it) {
  sql("CREATE TABLE TableA(RecordId INTEGER PRIMARY KEY CHECK (RecordId < 500), CreatedAt BIGINT, MonitorId TEXT)");
  EXPECT_EQ(run(), exit_configuration);
  EXPECT_THAT(err_.str(), HasSubstr("row_refused"));
  EXPECT_EQ(ledger_rows().size(), stored("MonitorId").size());
}

TEST_F(load_table_test, a_signal_ends_it_with_the_ledger_of_what_is_there) {
  options_.count = 1'000'000;
  options_.rate = 1'000;
  options_.late_percent = 20;
  options_.late_for = 60'000ms;
  interrupt outer; // before the other thread, so that it is not ended by the signal
  std::jthread interrupting{[] {
    std::this_thread::sleep_for(500ms);
    ::kill(::getpid(), SIGTERM);
  }};
  EXPECT_EQ(run(), exit_done) << err_.str();
  EXPECT_GT(ledger_rows().size(), 0u);
  EXPECT_EQ(ledger_rows().size(), stored("MonitorId").size());
}

TEST_F(load_table_test, a_database_that_is_locked_for_a_while_is_tried_again) {
  configure();
  options_.count = 500;
  options_.create = true;
  ASSERT_EQ(run(), exit_done);
  auto other = database();
  ASSERT_TRUE(other->begin());
  std::jthread releasing{[&] {
    std::this_thread::sleep_for(700ms);
    other->roll_back();
  }};
  EXPECT_EQ(run(), exit_done) << err_.str();
  EXPECT_EQ(stored("MonitorId").size(), 1'000u);
}

} // namespace
} // namespace penstock::nodes::test
