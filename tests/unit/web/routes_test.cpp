#include "raw_client.hpp"
#include "web/http_client.hpp"
#include "web/http_text.hpp"
#include "web/routes.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <mutex>
#include <vector>

namespace penstock::web {

namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class routes_test : public testing::Test {
protected:
  void serve(bool admin) {
    add_routes(server_, board_,
               admin ? kill_hook{[this](const std::string& actor) { return kill(actor); }} : kill_hook{});
    ASSERT_TRUE(server_.start({"127.0.0.1", 0}));
  }

  bool kill(const std::string& actor) {
    std::lock_guard lock{mutex_};
    killed_.push_back(actor);
    return actor != "nobody";
  }

  http_response get(const std::string& path) { return *http_get("http://" + host() + path); }
  std::string host() const { return authority("127.0.0.1", server_.address().port); }

  std::string post(const std::string& path, const std::string& host, const std::string& more = "") {
    raw_client client{server_.address()};
    client.send("POST " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + more + "Content-Length: 0\r\n\r\n");
    return client.read_answer();
  }

  std::vector<std::string> killed() {
    std::lock_guard lock{mutex_};
    return killed_;
  }

  telemetry::board board_{{.name = "a", .version = "1.2.3", .started = {}}};
  http_server server_;

private:
  std::mutex mutex_;
  std::vector<std::string> killed_;
};

} // namespace

TEST_F(routes_test, healthz_answers_while_the_process_works) {
  board_.shard("telemetry", 0);
  serve(false);
  EXPECT_EQ(get("/healthz").status, 200u);
}

TEST_F(routes_test, readyz_says_what_is_not_ready) {
  const auto shard = board_.shard("telemetry", 0);
  const auto writer = board_.writer("telemetry", 0);
  serve(false);
  const auto before = get("/readyz");
  EXPECT_EQ(before.status, 503u);
  EXPECT_EQ(json::parse(before.body)["ready"], false);
  EXPECT_EQ(json::parse(before.body)["reasons"].size(), 2u);
  shard->connected(true, false, 5);
  writer->running();
  const auto after = get("/readyz");
  EXPECT_EQ(after.status, 200u);
  EXPECT_THAT(json::parse(after.body)["reasons"], IsEmpty());
  shard->disconnected("\xff not UTF-8");
  EXPECT_EQ(get("/readyz").status, 503u);
}

TEST_F(routes_test, metrics_and_status_show_the_board) {
  board_.shard("telemetry", 0)->apply({.received = 5, .in_flight = 5});
  serve(false);
  const auto metrics = get("/metrics");
  EXPECT_EQ(metrics.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_THAT(metrics.body, HasSubstr("penstock_received_total{pipeline=\"telemetry\",shard=\"0\"} 5"));
  const auto status = get("/status");
  EXPECT_EQ(status.content_type, "application/json");
  EXPECT_EQ(json::parse(status.body)["pipelines"]["telemetry"]["account"]["received"], 5);
}

TEST_F(routes_test, kill_names_the_actor_by_its_path) {
  serve(true);
  EXPECT_THAT(post("/admin/actors/telemetry/ingestor/0/kill", host()), StartsWith("HTTP/1.1 202"));
  EXPECT_THAT(post("/admin/actors/telemetry%2Fwriter/kill", host(), "Origin: http://" + host() + "\r\n"),
              StartsWith("HTTP/1.1 202"));
  EXPECT_THAT(post("/admin/actors/nobody/kill", host()), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(killed(), ElementsAre("telemetry/ingestor/0", "telemetry/writer", "nobody"));
}

TEST_F(routes_test, kill_is_refused_to_pages_from_elsewhere) {
  serve(true);
  const std::string path = "/admin/actors/telemetry/writer/kill";
  EXPECT_THAT(post(path, "evil.example"), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(post(path, authority("evil.example", server_.address().port)), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(post(path, host(), "Origin: http://evil.example\r\n"), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(post(path, host(), "Origin: null\r\n"), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(killed(), IsEmpty());
}

TEST_F(routes_test, kill_is_off_unless_the_node_allows_it) {
  serve(false);
  EXPECT_THAT(post("/admin/actors/telemetry/writer/kill", host()), StartsWith("HTTP/1.1 403"));
}

TEST_F(routes_test, kill_takes_nothing_but_its_own_path_and_method) {
  serve(true);
  EXPECT_EQ(get("/admin/actors/telemetry/writer/kill").status, 405u);
  EXPECT_THAT(post("/admin/actors/kill", host()), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(post("/admin/actors//kill", host()), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(post("/admin/actors/telemetry/writer", host()), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(killed(), IsEmpty());
}

} // namespace penstock::web
