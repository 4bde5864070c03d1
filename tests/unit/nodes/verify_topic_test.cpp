// Verify against a real mosquitto, with a publisher that does as it is told.
#include "mqtt/embedded_broker.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/load_table.hpp"
#include "nodes/publisher_pool.hpp"
#include "nodes/verify_topic.hpp"
#include "publish_fixture.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <sstream>
#include <thread>

namespace penstock::nodes::test {
namespace {

using testing::HasSubstr;

class verify_topic_test : public publish_test {
protected:
  verify_topic_test() {
    mqtt::embedded_broker_options options;
    options.directory = file("broker");
    broker_.emplace(std::move(options));
    const auto port = broker_->start();
    EXPECT_TRUE(port) << port.error().message;
    configure(*port);
    options_.config = file("penstock.yaml");
    options_.pipeline = "TableA";
    options_.ledger = file("rows.csv");
    options_.json = true;
  }

  config::broker broker() const {
    config::broker reached;
    reached.host = "127.0.0.1";
    reached.port = broker_->port();
    return reached;
  }

  /// A ledger of rows 1 to `count` of one monitor, committed just now.
  std::vector<row_line> make_ledger(int count, bool finished = true) {
    const auto now = wall_now().time_since_epoch().count();
    std::vector<row_line> rows;
    for (int id = 1; id <= count; ++id)
      rows.push_back({.committed_us = now, .order = id, .monitor = "m00001", .key = {std::to_string(id)}});
    write(rows, finished);
    return rows;
  }
  void write(const std::vector<row_line>& rows, bool finished = true) {
    row_ledger ledger{{"TableA", {"RecordId"}, {}}};
    for (const auto& row : rows)
      ledger.add(row);
    EXPECT_TRUE(ledger.write(file("rows.csv"), finished));
  }

  static mqtt::outbound message_of(const row_line& row) {
    mqtt::outbound message;
    message.topic = "data/tableA/" + row.monitor;
    message.payload = R"({"id": )" + row.key.at(0) + R"(, "value": 1.5})";
    message.qos = 2;
    return message;
  }
  void publish(const std::vector<mqtt::outbound>& messages) {
    publisher_pool publisher{broker(), 1};
    ASSERT_EQ(publisher.wait_connected(10s), 1u);
    publisher.publish(0, messages);
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (publisher.outstanding() > 0 && std::chrono::steady_clock::now() < until)
      static_cast<void>(publisher.take(10ms));
    EXPECT_EQ(publisher.outstanding(), 0u);
    publisher.stop();
  }
  void publish(const std::vector<row_line>& rows) {
    std::vector<mqtt::outbound> messages;
    for (const auto& row : rows)
      messages.push_back(message_of(row));
    publish(messages);
  }

  int subscribe() {
    auto only = options_;
    only.subscribe = true;
    only.ledger.clear();
    return verify_topic(only, out_, err_);
  }
  int run(std::chrono::milliseconds wait = 5s) {
    options_.wait = wait;
    out_.str("");
    const int code = verify_topic(options_, out_, err_);
    if (options_.json && !out_.str().empty())
      seen_ = nlohmann::json::parse(out_.str());
    return code;
  }

  std::optional<mqtt::embedded_broker> broker_;
  verify_topic_options options_;
  nlohmann::json seen_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(verify_topic_test, what_came_between_subscribing_and_reading_is_good_once_and_in_order) {
  ASSERT_EQ(subscribe(), exit_done) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("data/tableA/+"));
  publish(make_ledger(200));
  EXPECT_EQ(run(), exit_done) << err_.str();
  EXPECT_EQ(seen_["verdict"], "good");
  EXPECT_EQ(seen_["rows"], 200);
  EXPECT_EQ(seen_["received"], 200);
  EXPECT_EQ(seen_["messages"], 200);
  EXPECT_EQ(seen_["lag_ms"]["samples"], 200);
  EXPECT_EQ(seen_["session_present"], true);
  EXPECT_EQ(seen_["client_id"], "penstock-verify-TableA");
  EXPECT_LT(seen_["waited_s"].get<double>(), 4.5);
}

TEST_F(verify_topic_test, a_row_that_does_not_come_is_missing_and_one_of_others_foreign) {
  ASSERT_EQ(subscribe(), exit_done);
  auto rows = make_ledger(10);
  rows[3].key = {"99"};
  publish(rows);
  publish({[] {
    mqtt::outbound nobody;
    nobody.topic = "data/tableA/x";
    nobody.payload = "no json";
    nobody.qos = 2;
    return nobody;
  }()});
  EXPECT_EQ(run(1500ms), exit_verdict_bad);
  EXPECT_EQ(seen_["missing"], 1);
  EXPECT_EQ(seen_["foreign"], 1);
  EXPECT_EQ(seen_["unreadable"], 1);
  EXPECT_EQ(seen_["offenders"][0]["what"], "missing");
  EXPECT_EQ(seen_["offenders"][0]["line"], 5);
  EXPECT_EQ(seen_["offenders"][0]["key"]["RecordId"], "4");
}

TEST_F(verify_topic_test, a_row_that_comes_twice_is_repeated_which_qos_1_allows) {
  ASSERT_EQ(subscribe(), exit_done);
  auto rows = make_ledger(10);
  rows.push_back(rows[2]);
  publish(rows);
  EXPECT_EQ(run(), exit_verdict_bad);
  EXPECT_EQ(seen_["repeated"], 1);
  EXPECT_EQ(seen_["missing"], 0);
  configure(broker_->port(), "", 1);
  publish(rows);
  EXPECT_EQ(run(), exit_done);
  EXPECT_EQ(seen_["repeated"], 1);
}

TEST_F(verify_topic_test, a_row_behind_a_later_one_is_reordered_and_one_that_was_committed_late_is_late) {
  ASSERT_EQ(subscribe(), exit_done);
  auto rows = make_ledger(10);
  rows[2].late = true;
  write(rows);
  std::swap(rows[2], rows[8]);
  publish(rows);
  EXPECT_EQ(run(), exit_verdict_bad);
  // Row 9 came early; 4 to 8 then are behind it.
  EXPECT_EQ(seen_["reordered"], 5);
  EXPECT_EQ(seen_["late"], 1);
  std::swap(rows[2], rows[8]);
  std::rotate(rows.begin() + 2, rows.begin() + 3, rows.end());
  publish(rows);
  EXPECT_EQ(run(), exit_done) << out_.str();
  EXPECT_EQ(seen_["reordered"], 0);
  EXPECT_EQ(seen_["late"], 1);
}

TEST_F(verify_topic_test, it_may_run_beside_the_load) {
  ASSERT_EQ(subscribe(), exit_done);
  make_ledger(0, false);
  std::jthread loading{[&] {
    std::this_thread::sleep_for(300ms);
    const auto rows = make_ledger(50, false);
    publish(rows);
    std::this_thread::sleep_for(300ms);
    write(rows, true);
  }};
  EXPECT_EQ(run(20s), exit_done) << err_.str();
  EXPECT_EQ(seen_["received"], 50);
  EXPECT_EQ(seen_["foreign"], 0);
  EXPECT_EQ(seen_["finished"], true);
}

TEST_F(verify_topic_test, a_load_that_does_not_end_proves_nothing) {
  ASSERT_EQ(subscribe(), exit_done);
  publish(make_ledger(3, false));
  options_.json = false;
  EXPECT_EQ(run(0ms), exit_verdict_bad);
  EXPECT_THAT(out_.str(), HasSubstr("the load had not ended"));
  EXPECT_THAT(out_.str(), HasSubstr("verdict: BAD"));
}

TEST_F(verify_topic_test, subscribing_throws_away_what_the_session_had_kept) {
  ASSERT_EQ(subscribe(), exit_done);
  const auto rows = make_ledger(5);
  publish(rows);
  ASSERT_EQ(subscribe(), exit_done);
  publish(rows);
  EXPECT_EQ(run(), exit_done);
  EXPECT_EQ(seen_["messages"], 5);
}

TEST_F(verify_topic_test, without_a_session_it_says_what_may_be_missing) {
  publish(make_ledger(5));
  EXPECT_EQ(run(0ms), exit_verdict_bad);
  EXPECT_EQ(seen_["missing"], 5);
  EXPECT_EQ(seen_["session_present"], false);
  EXPECT_THAT(err_.str(), HasSubstr("--subscribe"));
}

TEST_F(verify_topic_test, a_broker_that_is_not_there_is_unavailable) {
  make_ledger(1);
  broker_->stop();
  EXPECT_EQ(run(0ms), exit_unavailable);
  EXPECT_THAT(err_.str(), HasSubstr("cannot be reached"));
  EXPECT_EQ(subscribe(), exit_unavailable);
}

TEST_F(verify_topic_test, a_ledger_of_another_pipeline_is_refused) {
  row_ledger other{{"TableB", {"RecordId"}, {}}};
  ASSERT_TRUE(other.write(file("rows.csv"), true));
  EXPECT_EQ(run(), exit_configuration);
  EXPECT_THAT(err_.str(), HasSubstr("TableB"));
  options_.ledger = file("nowhere.csv");
  EXPECT_EQ(run(), exit_configuration);
}

TEST_F(verify_topic_test, what_load_inserted_is_good_when_it_is_published_as_it_was_committed) {
  ASSERT_EQ(subscribe(), exit_done);
  load_table_options load;
  load.config = file("penstock.yaml");
  load.create = true;
  load.count = 1'000;
  load.rate = 5'000;
  load.late_percent = 20;
  load.late_for = 200ms;
  load.rollbacks_percent = 10;
  load.ledger = file("rows.csv");
  ASSERT_EQ(load_table(load, out_, err_), exit_done) << err_.str();
  publish(ledger_rows());
  EXPECT_EQ(run(), exit_done) << out_.str();
  EXPECT_EQ(seen_["received"], 1'000);
  EXPECT_GT(seen_["late"], 0);
}

} // namespace
} // namespace penstock::nodes::test
