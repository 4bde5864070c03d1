#include "web/http_client.hpp"
#include "web/http_text.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace penstock::web {

namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using tcp = boost::asio::ip::tcp;

/// Accepts one connection and sends `answer`, whatever it is asked; without one it says nothing until the peer goes.
class stand_in {
public:
  explicit stand_in(std::optional<std::string> answer)
    : thread_([this, answer = std::move(answer)] {
        auto peer = acceptor_.accept();
        boost::system::error_code ignored;
        char first = 0;
        boost::asio::read(peer, boost::asio::buffer(&first, 1), ignored);
        if (answer)
          boost::asio::write(peer, boost::asio::buffer(*answer), ignored);
        if (answer)
          peer.shutdown(tcp::socket::shutdown_send, ignored);
        std::string rest(1 << 16, ' ');
        while (!ignored)
          peer.read_some(boost::asio::buffer(rest), ignored);
      }) {}
  ~stand_in() { thread_.join(); }

  std::string url() const { return "http://" + authority("127.0.0.1", acceptor_.local_endpoint().port()) + "/status"; }

private:
  boost::asio::io_context io_;
  tcp::acceptor acceptor_{io_, {boost::asio::ip::make_address("127.0.0.1"), 0}};
  std::thread thread_;
};

errc code_of(const result<http_response>& answer) { return answer ? errc::none : answer.error().code; }

} // namespace

TEST(http_client, reads_an_answer) {
  stand_in server{"HTTP/1.1 503 Busy\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nX-A: b\r\n\r\nbusy"};
  const auto answer = http_get(server.url());
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->status, 503u);
  EXPECT_EQ(answer->body, "busy");
  EXPECT_EQ(answer->content_type, "text/plain");
  EXPECT_EQ(answer->headers.at("x-a"), "b");
}

TEST(http_client, reads_an_answer_that_ends_with_the_connection) {
  stand_in server{"HTTP/1.0 200 OK\r\n\r\nall of it"};
  const auto answer = http_get(server.url());
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->body, "all of it");
}

TEST(http_client, says_where_nobody_listens) {
  std::string address;
  {
    boost::asio::io_context io;
    tcp::acceptor freed{io, {boost::asio::ip::make_address("127.0.0.1"), 0}};
    address = authority("127.0.0.1", freed.local_endpoint().port());
  }
  const auto answer = http_get("http://" + address + "/status");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, errc::connection_refused);
  EXPECT_THAT(answer.error().message, HasSubstr(address));
}

TEST(http_client, gives_up_in_time) {
  stand_in server{std::nullopt};
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(code_of(http_get(server.url(), 100ms)), errc::timed_out);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

TEST(http_client, an_answer_that_breaks_off_is_no_answer) {
  stand_in server{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"};
  EXPECT_EQ(code_of(http_get(server.url())), errc::connection_lost);
  stand_in silent{""};
  EXPECT_EQ(code_of(http_get(silent.url())), errc::connection_lost);
}

TEST(http_client, an_answer_that_is_not_http_is_named) {
  stand_in server{"SSH-2.0-OpenSSH_9.2\r\n\r\n"};
  EXPECT_EQ(code_of(http_get(server.url())), errc::protocol_violation);
  stand_in huge{"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"};
  EXPECT_EQ(code_of(http_get(huge.url())), errc::protocol_violation);
}

TEST(http_client, refuses_what_is_not_a_url_that_it_can_ask) {
  EXPECT_EQ(code_of(http_get("https://127.0.0.1/")), errc::unsupported);
  for (const char* bad : {"", "127.0.0.1:8080", "http://", "http:///status", "http://a:b/", "http://127.0.0.1:1/a b",
                          "http://127.0.0.1:1/\r\nX: y"})
    EXPECT_EQ(code_of(http_get(bad)), errc::configuration) << bad;
}

} // namespace penstock::web
