#include "raw_client.hpp"
#include "web/http_client.hpp"
#include "web/http_server.hpp"
#include "web/http_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <thread>
#include <vector>

namespace penstock::web {

namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class http_server_test : public testing::Test {
protected:
  void serve(http_options options = {}) {
    server_ = std::make_unique<http_server>(options);
    server_->route("GET", "/hello", [](const http_request&) { return http_response{200, "text/plain", "hello", {}}; });
    server_->route("POST", "/echo", [](const http_request& request) {
      return http_response{200, "text/plain", request.body, {{"X-Size", std::to_string(request.body.size())}}};
    });
    server_->route("GET", "/see", [](const http_request& request) {
      auto seen =
        nlohmann::json{{"query", request.query}, {"agent", request.headers.at("x-agent")}, {"path", request.path}};
      return http_response{200, "application/json", seen.dump(), {}};
    });
    server_->route("GET", "/broken",
                   [](const http_request&) -> http_response { throw std::runtime_error{"out of order"}; });
    server_->route_prefix("GET", "/tree/", [](const http_request& request) {
      return http_response{200, "text/plain", request.path, {}};
    });
    server_->route_prefix("GET", "/tree/top/", [](const http_request&) {
      return http_response{200, "text/plain", "top", {}};
    });
    const auto started = server_->start({"127.0.0.1", 0});
    ASSERT_TRUE(started) << started.error().to_string();
  }

  std::string url(const std::string& path) const {
    return "http://" + authority("127.0.0.1", server_->address().port) + path;
  }

  /// The answer to one raw request on a connection of its own.
  std::string ask(std::string_view request) const {
    raw_client client{server_->address()};
    client.send(request);
    return client.read_answer();
  }

  std::unique_ptr<http_server> server_;
};

constexpr std::string_view hello = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

} // namespace

TEST_F(http_server_test, answers_on_the_port_that_the_system_chose) {
  serve();
  EXPECT_NE(server_->address().port, 0);
  const auto answer = http_get(url("/hello"));
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->status, 200u);
  EXPECT_EQ(answer->body, "hello");
  EXPECT_EQ(answer->content_type, "text/plain");
  EXPECT_EQ(answer->headers.at("x-content-type-options"), "nosniff");
}

TEST_F(http_server_test, says_why_it_cannot_listen) {
  serve();
  http_server second;
  const auto taken = second.start(server_->address());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, errc::address_in_use);
  EXPECT_THAT(taken.error().message, HasSubstr("cannot listen on 127.0.0.1:"));
  EXPECT_THAT(taken.error().message, HasSubstr("in use"));
  http_server third;
  const auto elsewhere = third.start({"192.0.2.1", 0});
  ASSERT_FALSE(elsewhere);
  EXPECT_THAT(elsewhere.error().message, HasSubstr("192.0.2.1:0"));
}

TEST_F(http_server_test, hands_over_what_was_sent) {
  serve();
  const auto answer = ask("GET /see?a=1&b=x%20y HTTP/1.1\r\nHost: a\r\nX-Agent: one\r\nx-agent: two\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr(R"("query":{"a":"1","b":"x y"})"));
  EXPECT_THAT(answer, HasSubstr(R"("agent":"one, two")"));
  const auto echo = http_post(url("/echo"), std::string(1'000'000, 'x'));
  ASSERT_TRUE(echo) << echo.error().to_string();
  EXPECT_EQ(echo->headers.at("x-size"), "1000000");
}

TEST_F(http_server_test, the_longest_prefix_wins) {
  serve();
  EXPECT_EQ(http_get(url("/tree/a%2Fb/c"))->body, "/tree/a/b/c");
  EXPECT_EQ(http_get(url("/tree/top/x"))->body, "top");
  EXPECT_EQ(http_get(url("/tree"))->status, 404u);
}

TEST_F(http_server_test, errors_are_json) {
  serve();
  const auto unknown = http_get(url("/nothing"));
  EXPECT_EQ(unknown->status, 404u);
  EXPECT_EQ(nlohmann::json::parse(unknown->body)["error"], "no such path");
  const auto wrong = http_post(url("/hello"), "");
  EXPECT_EQ(wrong->status, 405u);
  EXPECT_EQ(wrong->headers.at("allow"), "GET, HEAD");
  EXPECT_TRUE(nlohmann::json::accept(wrong->body));
  const auto broken = http_get(url("/broken"));
  EXPECT_EQ(broken->status, 500u);
  EXPECT_EQ(nlohmann::json::parse(broken->body)["error"], "out of order");
}

TEST_F(http_server_test, head_has_the_length_and_no_body) {
  serve();
  raw_client client{server_->address()};
  client.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(client.read_answer(true), HasSubstr("Content-Length: 5\r\n"));
  client.send(hello);
  EXPECT_THAT(client.read_answer(), StartsWith("HTTP/1.1 200")) << "no body came between";
}

TEST_F(http_server_test, keeps_a_connection_for_many_requests) {
  serve();
  raw_client client{server_->address()};
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(client.send(hello));
    ASSERT_THAT(client.read_answer(), EndsWith("\r\n\r\nhello"));
  }
  std::string many;
  for (int round = 0; round < 50; ++round)
    many += hello;
  client.send(many);
  for (int round = 0; round < 50; ++round)
    ASSERT_THAT(client.read_answer(), EndsWith("\r\n\r\nhello"));
}

TEST_F(http_server_test, closes_when_asked_to) {
  serve();
  raw_client client{server_->address()};
  client.send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.read_answer(), HasSubstr("hello"));
  EXPECT_TRUE(client.closed());
  raw_client old{server_->address()};
  old.send("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.read_answer(), HasSubstr("hello"));
  EXPECT_TRUE(old.closed());
}

TEST_F(http_server_test, malformed_requests_are_refused_and_the_connection_ends) {
  serve();
  for (const char* bad :
       {"nonsense\r\n\r\n", "GET\r\n\r\n", "GET /hello HTTP/9.9\r\nHost: a\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hello HTTP/1.1\r\n\r\n", "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"}) {
    raw_client client{server_->address()};
    client.send(bad);
    EXPECT_THAT(client.read_answer(), StartsWith("HTTP/1.1 400")) << bad;
    EXPECT_TRUE(client.closed()) << bad;
  }
  EXPECT_EQ(http_get(url("/hello"))->status, 200u);
}

TEST_F(http_server_test, refuses_more_header_than_it_takes) {
  serve();
  EXPECT_THAT(ask("GET /hello HTTP/1.1\r\nHost: a\r\nX-Long: " + std::string(9'000, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(ask("GET /hello HTTP/1.1\r\nHost: a\r\nX-Long: " + std::string(7'000, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 200"));
  std::string many = "GET /hello HTTP/1.1\r\nHost: a\r\n";
  for (int line = 0; line < 100'000; ++line)
    many += "X: y\r\n";
  EXPECT_THAT(ask(many), StartsWith("HTTP/1.1 431"));
}

TEST_F(http_server_test, refuses_more_body_than_it_takes) {
  serve();
  const std::string head = "POST /echo HTTP/1.1\r\nHost: a\r\n";
  EXPECT_THAT(ask(head + "Content-Length: 99999999999\r\n\r\n"), StartsWith("HTTP/1.1 413"));
  const std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  std::string chunked = head + "Transfer-Encoding: chunked\r\n\r\n";
  for (int count = 0; count < 17; ++count)
    chunked += chunk;
  EXPECT_THAT(ask(chunked + "0\r\n\r\n"), StartsWith("HTTP/1.1 413"));
}

TEST_F(http_server_test, a_request_may_come_byte_by_byte) {
  serve();
  raw_client client{server_->address()};
  for (const char byte : hello)
    ASSERT_TRUE(client.send({&byte, 1}));
  EXPECT_THAT(client.read_answer(), EndsWith("hello"));
}

TEST_F(http_server_test, a_client_that_does_not_finish_is_cut_off) {
  serve({.idle_timeout = 100ms});
  raw_client silent{server_->address()};
  raw_client half{server_->address()};
  half.send("GET /hello HTTP/1.1\r\nHost:");
  raw_client idle{server_->address()};
  idle.send(hello);
  EXPECT_THAT(idle.read_answer(), EndsWith("hello"));
  EXPECT_TRUE(silent.closed());
  EXPECT_TRUE(half.closed());
  EXPECT_TRUE(idle.closed());
}

TEST_F(http_server_test, a_client_that_trickles_is_cut_off_too) {
  serve({.idle_timeout = 200ms});
  raw_client client{server_->address()};
  const auto start = std::chrono::steady_clock::now();
  client.send("GET /hello HTTP/1.1\r\nHost: a\r\nX: ");
  while (client.send("x") && std::chrono::steady_clock::now() - start < 10s)
    std::this_thread::sleep_for(5ms);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
}

TEST_F(http_server_test, a_client_that_goes_away_in_the_middle_harms_nobody) {
  serve();
  for (int round = 0; round < 20; ++round) {
    raw_client client{server_->address()};
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
  }
  EXPECT_EQ(http_get(url("/hello"))->status, 200u);
}

TEST_F(http_server_test, has_room_for_so_many_connections_and_refuses_the_next) {
  serve({.connections_max = 3});
  std::deque<raw_client> clients;
  for (int number = 0; number < 3; ++number) {
    auto& client = clients.emplace_back(server_->address());
    client.send(hello);
    ASSERT_THAT(client.read_answer(), EndsWith("hello"));
  }
  raw_client refused{server_->address()};
  refused.send(hello);
  EXPECT_THAT(refused.read_answer(), StartsWith("HTTP/1.1 503"));
  EXPECT_TRUE(refused.closed());
  clients.pop_front();
  std::string answer;
  for (int attempt = 0; attempt < 1'000 && !answer.starts_with("HTTP/1.1 200"); ++attempt)
    answer = ask(hello);
  EXPECT_THAT(answer, EndsWith("hello")) << "a place became free";
}

TEST_F(http_server_test, serves_many_at_once) {
  serve();
  std::atomic<int> right = 0;
  std::vector<std::thread> clients;
  for (int number = 0; number < 16; ++number)
    clients.emplace_back([&, number] {
      for (int round = 0; round < 25; ++round) {
        const auto body = std::to_string(number) + "/" + std::to_string(round);
        const auto answer = http_post(url("/echo"), body);
        right += answer && answer->body == body ? 1 : 0;
      }
    });
  for (auto& client : clients)
    client.join();
  EXPECT_EQ(right, 16 * 25);
}

TEST_F(http_server_test, stops_with_connections_open) {
  serve();
  raw_client idle{server_->address()};
  idle.send(hello);
  EXPECT_THAT(idle.read_answer(), EndsWith("hello"));
  raw_client half{server_->address()};
  half.send("GET /he");
  const auto address = server_->address();
  server_->stop();
  server_->stop();
  server_.reset();
  EXPECT_TRUE(idle.closed());
  http_server again;
  EXPECT_TRUE(again.start(address)) << "the port is free at once";
}

TEST_F(http_server_test, routes_are_added_before_it_starts) {
  serve();
  EXPECT_THROW(server_->route("GET", "/late", {}), assertion_failed);
}

} // namespace penstock::web
