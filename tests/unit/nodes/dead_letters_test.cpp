#include "fixture.hpp"
#include "nodes/dead_letter_routes.hpp"
#include "nodes/dead_letters.hpp"
#include "nodes/exit_codes.hpp"
#include "web/http_client.hpp"
#include "web/http_server.hpp"

#include <nlohmann/json.hpp>

#include <sstream>
#include <thread>

namespace penstock::nodes::test {
namespace {

using testing::HasSubstr;
using testing::Not;

class dead_letters_test : public nodes_test {
protected:
  static constexpr const char* topic = "users/ada/devices/d1/telemetry";
  static constexpr const char* repaired = R"({"time":"2026-01-01T00:00:00Z","sequence_id":7,"temperature":21.5})";

  dead_letters_test() { options_.config = file("penstock.yaml"); }

  /// From now on a server is asked.
  void serve(bool admin = true) {
    auto served = std::make_shared<config::configuration>(configuration());
    served->node.admin = admin;
    add_dead_letter_routes(server_, [served] { return served; });
    ASSERT_TRUE(server_.start({"127.0.0.1", 0}));
    options_.config.clear();
    options_.url = "http://" + server_.address().to_string() + "/";
  }

  std::string store_bad(storage::store& into, const std::string& payload) {
    store(into, topic, payload);
    return storage::dead_letter_id(topic, payload);
  }

  int list(std::size_t limit = 100) {
    out_.str("");
    return dead_letters_list(options_, limit, out_, err_);
  }
  int show(const std::string& id) {
    out_.str("");
    return dead_letters_show(options_, id, out_, err_);
  }
  int replay(const replay_options& what) {
    out_.str("");
    return dead_letters_replay(options_, what, out_, err_);
  }
  nlohmann::json json() const { return nlohmann::json::parse(out_.str()); }

  dead_letters_options options_;
  std::ostringstream out_;
  std::ostringstream err_;

private:
  web::http_server server_;
};

TEST_F(dead_letters_test, they_are_listed_as_a_table_and_as_json) {
  auto db = database();
  const auto id = store_bad(*db, "no json");
  store_bad(*db, "{}");
  ASSERT_EQ(list(), exit_done) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr(id.substr(0, 12)));
  EXPECT_THAT(out_.str(), HasSubstr(topic));
  EXPECT_THAT(out_.str(), HasSubstr("payload_malformed"));
  EXPECT_THAT(out_.str(), HasSubstr("2 dead letters"));
  options_.json = true;
  ASSERT_EQ(list(1), exit_done);
  EXPECT_EQ(json()["total"], 2);
  EXPECT_EQ(json()["dead_letters"].size(), 1u);
}

TEST_F(dead_letters_test, a_payload_is_shown_as_text_or_as_hex) {
  auto db = database();
  const auto text = store_bad(*db, "no json");
  const auto binary = store_bad(*db, std::string{"\x01\xff", 2});
  ASSERT_EQ(show(text.substr(0, 8)), exit_done) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("no json"));
  ASSERT_EQ(show(binary), exit_done);
  EXPECT_THAT(out_.str(), HasSubstr("01ff"));
  options_.json = true;
  ASSERT_EQ(show(binary), exit_done);
  EXPECT_EQ(json()["payload_hex"], "01ff");
}

TEST_F(dead_letters_test, an_id_that_fits_none_or_several_is_refused) {
  auto db = database();
  EXPECT_EQ(show("abc"), exit_verdict_bad);
  store_bad(*db, "a");
  store_bad(*db, "b");
  EXPECT_EQ(show(""), exit_verdict_bad);
  EXPECT_THAT(err_.str(), HasSubstr("more than one"));
}

TEST_F(dead_letters_test, a_repaired_payload_becomes_a_row_and_the_letter_goes) {
  auto db = database();
  const auto id = store_bad(*db, "no json");
  std::ofstream{file("repaired.json")} << repaired;
  EXPECT_EQ(replay({.id = id, .all = false, .payload = file("repaired.json")}), exit_done) << err_.str();
  EXPECT_EQ(*db->row_count(storage::table_of(pipeline())), 1u);
  EXPECT_EQ(*db->dead_letter_count("telemetry"), 0u);
}

TEST_F(dead_letters_test, one_that_fails_again_stays_and_counts_the_attempt) {
  auto db = database();
  const auto id = store_bad(*db, "no json");
  options_.json = true;
  EXPECT_EQ(replay({.id = id, .all = false, .payload = {}}), exit_verdict_bad);
  EXPECT_EQ(json()["replayed"], 0);
  EXPECT_EQ(json()["failed"][0]["id"], id);
  const auto letters = db->dead_letters({"telemetry", id, 1});
  ASSERT_TRUE(letters);
  ASSERT_EQ(letters->size(), 1u);
  EXPECT_EQ(letters->front().attempts, 1u);
}

TEST_F(dead_letters_test, all_are_replayed_once_what_refused_them_is_gone) {
  sql("CREATE TABLE raw_telemetry(time BIGINT NOT NULL, user_id TEXT NOT NULL, device_id TEXT NOT NULL,"
      " sequence_id BIGINT NOT NULL, temperature REAL, battery BIGINT, extra_data TEXT NOT NULL,"
      " PRIMARY KEY(time, user_id, device_id, sequence_id))");
  sql("CREATE TRIGGER refuse BEFORE INSERT ON raw_telemetry BEGIN SELECT RAISE(ABORT, 'closed for repairs'); END");
  auto db = database();
  auto made = generator();
  for (int i = 0; i < 5; ++i) {
    const auto message = made.next(at_second(i));
    store(*db, message.topic, message.payload);
  }
  store_bad(*db, "no json");
  ASSERT_EQ(*db->dead_letter_count("telemetry"), 6u);
  EXPECT_EQ(replay({.id = {}, .all = true, .payload = {}}), exit_verdict_bad) << "nothing has changed";
  EXPECT_EQ(*db->dead_letter_count("telemetry"), 6u);
  sql("DROP TRIGGER refuse");
  EXPECT_EQ(replay({.id = {}, .all = true, .payload = {}}), exit_verdict_bad) << "one is no JSON still";
  EXPECT_THAT(out_.str(), HasSubstr("5 replayed, 1 failed again"));
  EXPECT_EQ(*db->row_count(storage::table_of(pipeline())), 5u);
  EXPECT_EQ(*db->dead_letter_count("telemetry"), 1u);
}

TEST_F(dead_letters_test, a_letter_whose_row_is_there_already_just_goes) {
  auto db = database();
  const auto id = store_bad(*db, "no json");
  store(*db, topic, repaired);
  std::ofstream{file("repaired.json")} << repaired;
  EXPECT_EQ(replay({.id = id, .all = false, .payload = file("repaired.json")}), exit_done);
  EXPECT_EQ(*db->row_count(storage::table_of(pipeline())), 1u);
  EXPECT_EQ(*db->dead_letter_count("telemetry"), 0u);
}

TEST_F(dead_letters_test, a_list_shows_no_more_than_its_limit_and_says_how_many_there_are) {
  auto db = database();
  for (int i = 0; i < 5; ++i)
    store_bad(*db, "bad " + std::to_string(i));
  ASSERT_EQ(list(2), exit_done);
  EXPECT_THAT(out_.str(), HasSubstr("5 dead letters, 2 shown"));
  ASSERT_EQ(list(0), exit_done);
  EXPECT_THAT(out_.str(), Not(HasSubstr("shown")));
}

TEST_F(dead_letters_test, a_replay_of_all_reaches_every_letter_once_over_many_pages) {
  auto db = database();
  sql("CREATE TRIGGER refuse BEFORE INSERT ON raw_telemetry BEGIN SELECT RAISE(ABORT, 'closed for repairs'); END");
  std::vector<std::pair<std::string, std::string>> messages;
  auto made = generator();
  for (int i = 0; i < 900; ++i) {
    const auto message = made.next(at_second(i));
    messages.emplace_back(message.topic, message.payload);
  }
  for (int i = 0; i < 100; ++i)
    messages.emplace_back(topic, "bad " + std::to_string(i));
  store(*db, messages);
  sql("DROP TRIGGER refuse");
  options_.json = true;
  EXPECT_EQ(replay({.id = {}, .all = true, .payload = {}}), exit_verdict_bad) << err_.str();
  EXPECT_EQ(json()["replayed"], 900);
  EXPECT_EQ(json()["failed"].size(), 100u);
  EXPECT_FALSE(json().contains("next"));
  EXPECT_EQ(*db->row_count(storage::table_of(pipeline())), 900u);
  const auto stay = db->dead_letters({.pipeline = "telemetry", .id = {}, .limit = 0});
  ASSERT_EQ(stay->size(), 100u);
  for (const auto& letter : *stay)
    EXPECT_EQ(letter.attempts, 1u);
}

TEST_F(dead_letters_test, a_lock_is_waited_for) {
  auto db = database();
  store_bad(*db, "no json");
  const auto id = storage::dead_letter_id(topic, "no json");
  std::ofstream{file("repaired.json")} << repaired;
  sqlite3* locker = nullptr;
  ASSERT_EQ(sqlite3_open(file("telemetry.db").c_str(), &locker), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(locker, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  // Longer than one try waits.
  std::thread holder{[locker] {
    std::this_thread::sleep_for(1500ms);
    sqlite3_close(locker);
  }};
  EXPECT_EQ(replay({.id = id, .all = false, .payload = file("repaired.json")}), exit_done) << err_.str();
  holder.join();
  EXPECT_EQ(*db->dead_letter_count("telemetry"), 0u);
}

TEST_F(dead_letters_test, a_node_gives_the_same_answers_as_its_database) {
  auto db = database();
  const auto bad = store_bad(*db, "no json");
  const auto binary = store_bad(*db, std::string{"\x01\xff", 2});
  const auto everything = [&] {
    std::string said;
    for (const bool as_json : {false, true}) {
      options_.json = as_json;
      EXPECT_EQ(list(), exit_done) << err_.str();
      said += out_.str();
      EXPECT_EQ(show(bad), exit_done) << err_.str();
      said += out_.str();
      EXPECT_EQ(show(binary.substr(0, 10)), exit_done) << err_.str();
      said += out_.str();
      EXPECT_EQ(show("nothing/of?that&kind"), exit_verdict_bad);
    }
    return said + err_.str();
  };
  const auto by_config = everything();
  err_.str("");
  serve();
  EXPECT_EQ(everything(), by_config);
}

TEST_F(dead_letters_test, a_node_replays_as_it_is_told) {
  auto db = database();
  const auto text = store_bad(*db, "no json");
  const auto again = store_bad(*db, "none either");
  std::ofstream{file("repaired.json")} << repaired;
  serve();
  EXPECT_EQ(replay({.id = text, .all = false, .payload = file("repaired.json")}), exit_done) << err_.str();
  EXPECT_EQ(*db->row_count(storage::table_of(pipeline())), 1u);
  options_.json = true;
  EXPECT_EQ(replay({.id = {}, .all = true, .payload = {}}), exit_verdict_bad);
  EXPECT_EQ(json()["failed"][0]["id"], again);
  std::ofstream{file("binary")} << '\xff';
  EXPECT_EQ(replay({.id = again, .all = false, .payload = file("binary")}), exit_verdict_bad);
  EXPECT_EQ(db->dead_letters({})->at(0).attempts, 2u);
}

TEST_F(dead_letters_test, a_node_refuses_to_replay_without_administration_and_from_other_origins) {
  auto db = database();
  store_bad(*db, "no json");
  serve(false);
  EXPECT_EQ(list(), exit_done);
  EXPECT_EQ(replay({.id = {}, .all = true, .payload = {}}), exit_configuration);
  EXPECT_THAT(err_.str(), HasSubstr("admin: true"));
  EXPECT_EQ(db->dead_letters({})->at(0).attempts, 0u);
}

TEST_F(dead_letters_test, a_node_says_what_is_wrong_with_a_question) {
  auto db = database();
  store_bad(*db, "a");
  serve();
  const auto post = [&](const std::string& body) {
    return web::http_post(options_.url + "dead-letters/replay", body)->status;
  };
  for (const char* body : {"", "[]", "{}", R"({"id":1})", R"({"all":"yes"})", R"({"all":false})",
                           R"({"id":"a","all":true})", R"({"all":true,"payload":"x"})", R"({"all":true,"more":"x"})",
                           R"({"id":"a","payload_hex":"0g"})", R"({"id":"a","payload_hex":"012"})",
                           R"({"id":"a","payload":"x","payload_hex":"00"})", R"({"all":true,"pipeline":"none"})"})
    EXPECT_EQ(post(body), 400u) << body;
  EXPECT_EQ(post(R"({"id":"zz"})"), 404u);
  EXPECT_EQ(db->dead_letters({})->at(0).attempts, 0u);
  EXPECT_EQ(web::http_get(options_.url + "dead-letters?limit=some")->status, 400u);
  EXPECT_EQ(web::http_get(options_.url + "dead-letters?limit=0")->status, 200u);
  EXPECT_EQ(web::http_get(options_.url + "dead-letters?pipeline=none")->status, 400u);
  EXPECT_EQ(web::http_get(options_.url + "dead-letters/replay")->status, 405u);
  std::filesystem::remove(file("telemetry.db"));
  EXPECT_EQ(web::http_get(options_.url + "dead-letters")->status, 503u);
  options_.url = "http://127.0.0.1:1";
  EXPECT_EQ(list(), exit_unavailable);
  options_.url = "nonsense";
  EXPECT_EQ(list(), exit_usage);
}

TEST_F(dead_letters_test, wrong_use_and_missing_things_have_their_codes) {
  EXPECT_EQ(list(), exit_unavailable);
  EXPECT_FALSE(std::filesystem::exists(file("telemetry.db")));
  EXPECT_EQ(replay({}), exit_usage);
  EXPECT_EQ(replay({.id = "abc", .all = true, .payload = {}}), exit_usage);
  EXPECT_EQ(replay({.id = "abc", .all = false, .payload = file("nothing")}), exit_usage);
  options_.pipeline = "nothing";
  EXPECT_EQ(list(), exit_configuration);
}

} // namespace
} // namespace penstock::nodes::test
