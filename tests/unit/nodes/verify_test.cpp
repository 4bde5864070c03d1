#include "fixture.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/verify.hpp"

#include <nlohmann/json.hpp>

#include <sstream>
#include <thread>

namespace penstock::nodes::test {
namespace {

using testing::HasSubstr;

class verify_test : public nodes_test {
protected:
  /// Messages, all in the ledger and confirmed; `write_ledger` puts them on disk.
  std::vector<generated_message> make(int count, double malformed_percent = 0) {
    auto made = generator({.devices = 10, .malformed_percent = malformed_percent});
    std::vector<generated_message> messages;
    for (int i = 0; i < count; ++i) {
      messages.push_back(made.next(at_second(i)));
      const auto& message = messages.back();
      const auto number = ledger_.add(
        message.malformed, at_second(i),
        message.malformed ? storage::key_text{storage::dead_letter_id(message.topic, message.payload)} : message.key);
      ledger_.acknowledge(number);
    }
    return messages;
  }

  int run(std::chrono::milliseconds wait = 0ms) {
    EXPECT_TRUE(ledger_.write(file("ledger.csv")));
    verify_options options;
    options.config = file("penstock.yaml");
    options.pipeline = "telemetry";
    options.ledger = file("ledger.csv");
    options.wait = wait;
    options.json = true;
    out_.str("");
    err_.str("");
    const int code = verify(options, out_, err_);
    if (!out_.str().empty())
      seen_ = nlohmann::json::parse(out_.str());
    options.json = false;
    out_.str("");
    verify(options, out_, err_);
    return code;
  }

  ledger ledger_{{"telemetry", {"time", "user_id", "device_id", "sequence_id"}, {}}};
  nlohmann::json seen_;
  std::ostringstream out_; // as text
  std::ostringstream err_;
};

TEST_F(verify_test, all_stored_once_is_good) {
  auto db = database();
  for (const auto& message : make(50))
    store(*db, message.topic, message.payload);
  EXPECT_EQ(run(), exit_done) << err_.str();
  EXPECT_EQ(seen_["verdict"], "good");
  EXPECT_EQ(seen_["sent"], 50);
  EXPECT_EQ(seen_["confirmed"], 50);
  EXPECT_EQ(seen_["stored"], 50);
  EXPECT_EQ(seen_["missing"], 0);
  EXPECT_EQ(seen_["foreign"], 0);
  EXPECT_THAT(out_.str(), HasSubstr("verdict: good"));
}

TEST_F(verify_test, a_confirmed_message_that_is_nowhere_is_missing_and_named) {
  auto db = database();
  const auto messages = make(50);
  for (std::size_t i = 0; i < messages.size(); ++i)
    if (i != 20)
      store(*db, messages[i].topic, messages[i].payload);
  EXPECT_EQ(run(), exit_verdict_bad);
  EXPECT_EQ(seen_["missing"], 1);
  ASSERT_EQ(seen_["offenders"].size(), 1u);
  EXPECT_EQ(seen_["offenders"][0]["what"], "missing");
  EXPECT_EQ(seen_["offenders"][0]["line"], 22);
  EXPECT_EQ(seen_["offenders"][0]["key"]["time"], messages[20].key[0]);
  EXPECT_THAT(out_.str(), HasSubstr("verdict: BAD"));
}

TEST_F(verify_test, only_ten_offenders_are_named) {
  database();
  make(50);
  EXPECT_EQ(run(), exit_verdict_bad);
  EXPECT_EQ(seen_["missing"], 50);
  EXPECT_EQ(seen_["offenders"].size(), 10u);
}

TEST_F(verify_test, an_unconfirmed_message_may_be_there_or_not) {
  auto db = database();
  auto made = generator();
  const auto there = made.next(at_second(0));
  const auto gone = made.next(at_second(1));
  ledger_.add(false, at_second(0), there.key);
  ledger_.add(false, at_second(1), gone.key);
  store(*db, there.topic, there.payload);
  EXPECT_EQ(run(), exit_done);
  EXPECT_EQ(seen_["sent"], 2);
  EXPECT_EQ(seen_["confirmed"], 0);
  EXPECT_EQ(seen_["unconfirmed_stored"], 1);
}

TEST_F(verify_test, a_row_that_is_there_twice_is_repeated) {
  database();
  sql("DROP TABLE raw_telemetry");
  sql("CREATE TABLE raw_telemetry(time BIGINT, user_id TEXT, device_id TEXT, sequence_id BIGINT, temperature REAL,"
      " battery BIGINT, extra_data TEXT)");
  for (const auto& message : make(5)) {
    const auto& key = message.key;
    sql("INSERT INTO raw_telemetry VALUES(" + key[0] + ",'" + key[1] + "','" + key[2] + "'," + key[3] + ",1,1,'{}')");
  }
  sql("INSERT INTO raw_telemetry SELECT * FROM raw_telemetry WHERE sequence_id = 0 LIMIT 2");
  sql("INSERT INTO raw_telemetry SELECT * FROM raw_telemetry ORDER BY time LIMIT 1"); // a third time: still one
  EXPECT_EQ(run(), exit_verdict_bad) << err_.str();
  EXPECT_EQ(seen_["repeated"], 2);
  EXPECT_EQ(seen_["stored"], 5);
  EXPECT_EQ(seen_["missing"], 0);
  EXPECT_EQ(seen_["offenders"][0]["what"], "repeated");
}

TEST_F(verify_test, malformed_messages_must_be_dead_letters) {
  auto db = database();
  const auto messages = make(100, 20);
  std::size_t malformed = 0;
  const generated_message* withheld = nullptr;
  for (const auto& message : messages) {
    malformed += message.malformed ? 1 : 0;
    if (message.malformed && withheld == nullptr)
      withheld = &message;
    else
      store(*db, message.topic, message.payload);
  }
  ASSERT_GT(malformed, 5u);
  EXPECT_EQ(run(), exit_verdict_bad);
  EXPECT_EQ(seen_["dead_letters"]["missing"], 1);
  EXPECT_EQ(seen_["offenders"][0]["what"], "dead_letter_missing");
  EXPECT_EQ(seen_["offenders"][0]["id"], storage::dead_letter_id(withheld->topic, withheld->payload));

  store(*db, withheld->topic, withheld->payload);
  EXPECT_EQ(run(), exit_done);
  EXPECT_EQ(seen_["dead_letters"]["expected"], malformed);
  EXPECT_EQ(seen_["dead_letters"]["unexpected"], 0);
}

TEST_F(verify_test, dead_letters_and_rows_of_others_are_told_apart_and_not_held_against_it) {
  auto db = database();
  auto others = generator({.devices = 3, .seed = 99});
  for (int i = 0; i < 4; ++i) {
    const auto message = others.next(at_second(100'000 + i));
    store(*db, message.topic, message.payload);
  }
  store(*db, "users/u/devices/d/telemetry", "no json");
  for (const auto& message : make(10))
    store(*db, message.topic, message.payload);
  EXPECT_EQ(run(), exit_done);
  EXPECT_EQ(seen_["foreign"], 4);
  EXPECT_EQ(seen_["dead_letters"]["unexpected"], 1);
}

TEST_F(verify_test, a_good_message_that_the_database_refused_is_a_dead_letter_not_missing) {
  sql("CREATE TABLE raw_telemetry(time BIGINT NOT NULL, user_id TEXT NOT NULL, device_id TEXT NOT NULL,"
      " sequence_id BIGINT NOT NULL CHECK(sequence_id < 3), temperature REAL, battery BIGINT, extra_data TEXT NOT NULL,"
      " PRIMARY KEY(time, user_id, device_id, sequence_id))");
  auto db = database();
  for (const auto& message : make(40)) // 10 devices: sequences 0 to 3
    store(*db, message.topic, message.payload);
  EXPECT_EQ(run(), exit_done) << out_.str();
  EXPECT_EQ(seen_["stored"], 30);
  EXPECT_EQ(seen_["dead_letters"]["refused"], 10);
}

TEST_F(verify_test, latencies_come_from_the_samples_of_the_ledger) {
  auto db = database();
  for (const auto& message : make(3))
    store(*db, message.topic, message.payload);
  ledger_.visible(0, at_second(0) + 4ms);
  ledger_.visible(1, at_second(1) + 20ms);
  EXPECT_EQ(run(), exit_done);
  EXPECT_EQ(seen_["latency_ms"]["samples"], 2);
  EXPECT_NEAR(seen_["latency_ms"]["p50"].get<double>(), 4, 0.1);
  EXPECT_DOUBLE_EQ(seen_["latency_ms"]["max"].get<double>(), 20);
}

TEST_F(verify_test, it_waits_for_what_is_still_on_its_way) {
  auto db = database();
  const auto messages = make(10);
  std::jthread later{[&] {
    for (const auto& message : messages)
      store(*db, message.topic, message.payload);
  }};
  EXPECT_EQ(run(20s), exit_done);
  EXPECT_LT(seen_["waited_s"].get<double>(), 15);
}

TEST_F(verify_test, waiting_ends_with_a_verdict_when_the_time_is_over) {
  database();
  make(2);
  EXPECT_EQ(run(600ms), exit_verdict_bad);
  EXPECT_GE(seen_["waited_s"].get<double>(), 0.6);
  EXPECT_THAT(err_.str(), HasSubstr("2 still missing"));
}

TEST_F(verify_test, a_database_that_is_not_there_cannot_be_reached) {
  make(2);
  EXPECT_EQ(run(), exit_unavailable);
  EXPECT_FALSE(std::filesystem::exists(file("telemetry.db")));
}

TEST_F(verify_test, a_ledger_of_another_key_and_a_pipeline_that_is_not_there_are_refused) {
  database();
  ledger_ = ledger{{"telemetry", {"time"}, {}}};
  EXPECT_EQ(run(), exit_configuration);
  EXPECT_THAT(err_.str(), HasSubstr("key columns"));
  verify_options options;
  options.config = file("penstock.yaml");
  options.pipeline = "nothing";
  options.ledger = file("ledger.csv");
  EXPECT_EQ(verify(options, out_, err_), exit_configuration);
  options.ledger = file("nothing.csv");
  EXPECT_EQ(verify(options, out_, err_), exit_configuration);
}

} // namespace
} // namespace penstock::nodes::test
