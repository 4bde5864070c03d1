// The client against a peer that does what no broker should.
#include "mqtt/client.hpp"
#include "mqtt/codec.hpp"
#include "tests/unit/mqtt/client_fixture.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>

namespace penstock::mqtt {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using boost::asio::ip::tcp;
using testing::HasSubstr;

/// Accepts one connection after the other; answers each with the next of `answers` as soon as something has come, and
/// waits until the client closes. After the last one it accepts nothing.
class scripted_peer {
public:
  explicit scripted_peer(std::vector<std::string> answers)
    : acceptor_(context_, {boost::asio::ip::address_v4::loopback(), 0}),
      thread_([this, answers = std::move(answers)] { run(answers); }) {}
  ~scripted_peer() {
    boost::system::error_code ignored;
    // Wakes a blocked accept.
    ::shutdown(acceptor_.native_handle(), SHUT_RDWR);
    thread_.join();
  }
  std::uint16_t port() { return port_; }
  int connections() const { return connections_; }

private:
  void run(const std::vector<std::string>& answers) {
    for (const auto& answer : answers) {
      boost::system::error_code failure;
      tcp::socket socket{context_};
      acceptor_.accept(socket, failure);
      if (failure)
        return;
      ++connections_;
      std::array<char, 4096> buffer{};
      socket.read_some(boost::asio::buffer(buffer), failure);
      boost::asio::write(socket, boost::asio::buffer(answer), failure);
      while (!failure)
        socket.read_some(boost::asio::buffer(buffer), failure);
    }
  }
  boost::asio::io_context context_;
  tcp::acceptor acceptor_;
  std::uint16_t port_ = acceptor_.local_endpoint().port();
  std::atomic<int> connections_ = 0;
  std::thread thread_;
};

client_options options_for(scripted_peer& peer) {
  client_options out;
  out.broker.host = "127.0.0.1";
  out.broker.port = peer.port();
  out.broker.reconnect_min = 5ms;
  out.broker.reconnect_max = 20ms;
  out.client_id = "c";
  return out;
}

const std::string accepted = "\x20\x03\x00\x00\x00"s;

TEST(broken_peer, ends_the_connection_with_a_named_error_and_the_next_may_be_better) {
  std::string message = accepted;
  encode(message, publish_packet{"t", "before the fault", 1, 0, 1, false, false}, version::v5);
  scripted_peer peer{{message + "\x36\x05\x00\x01t\x00\x01"s, "\xff\xff\xff\xff\xff"s,
                      "HTTP/1.1 400 Bad Request\r\n\r\n" + std::string(100, '.'), accepted}};
  io_thread io;
  recorder seen;
  client one{io, options_for(peer), seen.handlers()};
  one.start();
  ASSERT_TRUE(seen.await([&] { return seen.state.connects == 2; }));
  EXPECT_EQ(seen.received.size(), 1u) << "what came before a fault is delivered";
  std::string reasons;
  for (const auto& state : seen.states)
    reasons += state.reason ? state.reason->to_string() + "\n" : "";
  EXPECT_THAT(reasons, HasSubstr("protocol_violation: malformed PUBLISH: QoS 3"));
  EXPECT_THAT(reasons, HasSubstr("protocol_violation: malformed packet header"));
  EXPECT_THAT(reasons, HasSubstr("protocol_violation: PUBACK before CONNACK"));
}

TEST(broken_peer, that_never_answers_is_left_after_the_connect_timeout) {
  scripted_peer peer{{"", accepted}};
  io_thread io;
  recorder seen;
  auto options = options_for(peer);
  options.broker.connect_timeout = 100ms;
  client one{io, options, seen.handlers()};
  one.start();
  ASSERT_TRUE(seen.await([&] { return seen.state.connected; }));
  EXPECT_EQ(seen.states.front().reason->code, errc::timed_out);
}

TEST(broken_peer, that_announces_a_huge_packet_costs_no_memory) {
  scripted_peer peer{{accepted + "\x30\xff\xff\xff\x7f"s, accepted}};
  io_thread io;
  recorder seen;
  client one{io, options_for(peer), seen.handlers()};
  one.start();
  ASSERT_TRUE(seen.await([&] { return seen.state.connects == 2; }));
  EXPECT_THAT(seen.states[1].reason->message, HasSubstr("more than the limit"));
}

TEST(broken_peer, that_speaks_only_3_1_1_is_spoken_to_in_it_at_once) {
  scripted_peer peer{{"\x20\x02\x00\x01"s, "\x20\x02\x00\x00"s}};
  io_thread io;
  recorder seen;
  client one{io, options_for(peer), seen.handlers()};
  one.start();
  ASSERT_TRUE(seen.await([&] { return seen.state.connected; }));
  EXPECT_EQ(seen.now().protocol, 4);
  EXPECT_EQ(seen.states.size(), 1u) << "the fall-back is no failure";
}

TEST(broken_peer, that_does_not_answer_a_publish_is_left_and_the_handshake_goes_on) {
  const std::string resumed = "\x20\x03\x01\x00\x00"s;
  std::string pubrec;
  encode(pubrec, ack_packet{packet_type::pubrec, 5, 0}, version::v5);
  scripted_peer peer{{accepted, resumed + pubrec, resumed}};
  io_thread io;
  recorder seen;
  auto options = options_for(peer);
  options.release_by_caller = true;
  options.publish_timeout = 100ms;
  client one{io, options, seen.handlers()};
  one.start();
  ASSERT_TRUE(seen.await([&] { return seen.state.connected; }));
  outbound message{"t", "p", 2, false, 1};
  message.packet_id = 5;
  one.publish({message});
  // The second peer has its PUBREC ready; what waits for the caller is not ended.
  ASSERT_TRUE(seen.await([&] { return seen.past_pubrec.contains(1); }));
  EXPECT_FALSE(seen.await_for(300ms, [&] { return seen.state.connects > 2; }));
  one.release_published({5});
  ASSERT_TRUE(seen.await([&] { return seen.state.connects == 3; })) << "no PUBCOMP came";
  EXPECT_EQ(seen.states[1].reason->code, errc::timed_out);
  EXPECT_THAT(seen.states[1].reason->message, HasSubstr("PUBLISH or PUBREL"));
  EXPECT_EQ(seen.states[3].reason->code, errc::timed_out);
}

/// mosquitto 2.0.11 closes the connection without a word.
TEST(broken_peer, that_has_given_the_session_to_another_client_is_known_by_its_reason_code) {
  std::string goodbye;
  encode(goodbye, disconnect_packet{0x8e, ""}, version::v5);
  scripted_peer peer{{accepted + goodbye, accepted}};
  io_thread io;
  recorder seen;
  client one{io, options_for(peer), seen.handlers()};
  one.start();
  ASSERT_TRUE(seen.await([&] { return seen.state.connects == 2; }));
  EXPECT_EQ(seen.states[0].broker_reason, 0);
  EXPECT_EQ(seen.states[1].broker_reason, 0x8e);
  EXPECT_EQ(seen.states[2].broker_reason, 0);
}

TEST(broken_peer, that_stops_answering_pings_is_left) {
  connack_packet answer;
  answer.keep_alive_s = 1;
  std::string bytes;
  encode(bytes, answer, version::v5);
  scripted_peer peer{{bytes, accepted}};
  io_thread io;
  recorder seen;
  client one{io, options_for(peer), seen.handlers()};
  one.start();
  ASSERT_TRUE(seen.await([&] { return seen.state.connects == 2; }));
  EXPECT_EQ(seen.states[1].reason->code, errc::timed_out);
}

} // namespace
} // namespace penstock::mqtt
