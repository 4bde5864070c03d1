// The client against a real mosquitto.
#include "mqtt/client.hpp"
#include "tests/unit/mqtt/client_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

namespace penstock::mqtt {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<outbound> numbered(int first, int count, std::uint8_t qos, std::size_t size = 0) {
  std::vector<outbound> out;
  for (int i = first; i < first + count; ++i)
    out.push_back({"t", std::to_string(i) + " " + std::string(size, 'x'), qos, false, static_cast<std::uint64_t>(i)});
  return out;
}

/// A client with what it tells.
struct party {
  party(io_thread& io, client_options options) : mqtt(io, std::move(options), seen.handlers()) { mqtt.start(); }
  bool connected() {
    return seen.await([&] { return seen.state.connected; });
  }
  bool received(std::size_t count) {
    return seen.await([&] { return seen.received.size() >= count; });
  }
  bool published(std::size_t count) {
    return seen.await([&] { return seen.published.size() >= count; });
  }
  void stop() {
    mqtt.stop(seen.on_stopped());
    EXPECT_TRUE(seen.await([&] { return seen.stopped; }));
  }
  recorder seen;
  client mqtt;
};

TEST(client, receives_every_qos_with_both_versions) {
  test_broker broker;
  io_thread io;
  for (const auto version : {config::mqtt_version::v5, config::mqtt_version::v3_1_1}) {
    auto options = broker.options("receiver", {"t/#"});
    options.broker.version = version;
    party receiver{io, options};
    ASSERT_TRUE(receiver.connected());
    EXPECT_EQ(receiver.seen.now().protocol, static_cast<std::uint8_t>(version));
    options = broker.options("sender");
    options.broker.version = version;
    party sender{io, options};
    sender.mqtt.publish({{"t/0", "zero", 0, false, 1}, {"t/1", "one", 1, false, 2}, {"t/2", "two", 2, false, 3}});
    ASSERT_TRUE(receiver.received(3));
    ASSERT_TRUE(sender.published(3));
    EXPECT_THAT(receiver.seen.payloads(), ElementsAre("zero", "one", "two"));
    receiver.mqtt.release(3);
    receiver.stop();
    sender.stop();
  }
}

TEST(client, is_sent_again_what_it_did_not_release_and_nothing_else) {
  test_broker broker;
  io_thread io;
  for (const std::uint8_t qos : {1, 2}) {
    const auto options = broker.options("receiver-" + std::to_string(qos), {"t"});
    party sender{io, broker.options("sender")};
    {
      party receiver{io, options};
      ASSERT_TRUE(receiver.connected());
      sender.mqtt.publish(numbered(0, 10, qos));
      ASSERT_TRUE(receiver.received(10));
      receiver.mqtt.release(4);
      receiver.stop();
    }
    party again{io, options};
    ASSERT_TRUE(again.received(6));
    EXPECT_TRUE(again.seen.now().session_present);
    EXPECT_FALSE(again.seen.now().session_lost);
    EXPECT_THAT(again.seen.payloads(), ElementsAre("4 ", "5 ", "6 ", "7 ", "8 ", "9 "));
    EXPECT_EQ(again.seen.received.front().number, 1u);
    again.mqtt.release(6);
    again.stop();
  }
}

TEST(client, loses_nothing_while_the_broker_restarts) {
  test_broker broker;
  io_thread io;
  party receiver{io, broker.options("receiver", {"t"})};
  ASSERT_TRUE(receiver.connected());
  auto sending = broker.options("sender");
  sending.publish_window_max = 100;
  party sender{io, sending};
  constexpr int count = 20'000;
  sender.mqtt.publish(numbered(0, count, 1, 100));
  for (const std::size_t upto : {2'000u, 8'000u}) {
    ASSERT_TRUE(receiver.received(upto));
    receiver.mqtt.release(upto / 2);
    broker.process().stop();
    ASSERT_FALSE(broker.process().alive());
    ASSERT_TRUE(broker.process().start());
  }
  const auto all_there = [&] {
    std::set<std::string> distinct;
    for (const auto& one : receiver.seen.received)
      distinct.insert(one.payload);
    return distinct.size() == count;
  };
  // The condition is dear: only asked once enough has come.
  EXPECT_TRUE(receiver.seen.await([&] {
    receiver.mqtt.release(receiver.seen.received.back().number);
    return receiver.seen.received.size() >= count && all_there();
  }));
  EXPECT_TRUE(sender.published(count));
  EXPECT_GE(receiver.seen.now().connects, 3u);
}

TEST(client, reads_no_further_than_its_caps_until_something_is_released) {
  test_broker broker;
  io_thread io;
  party sender{io, broker.options("sender")};
  struct limits {
    std::uint32_t messages;
    std::uint64_t bytes;
  };
  for (const auto& limit : {limits{500, 1u << 30}, limits{20'000, 200'000}}) {
    auto options = broker.options("receiver-" + std::to_string(limit.messages), {"t"});
    options.in_flight_messages_max = limit.messages;
    options.in_flight_bytes_max = limit.bytes;
    party receiver{io, options};
    ASSERT_TRUE(receiver.connected());
    constexpr int count = 20'000;
    sender.mqtt.publish(numbered(0, count, 1, 1'000));
    ASSERT_TRUE(sender.seen.await([&] { return sender.seen.published.size() == count; }));
    sender.seen.published.clear();
    // One read may pass the cap, by what fits into one chunk.
    const std::size_t most = std::min<std::size_t>(limit.messages, limit.bytes / 1'000) + 256 * 1024 / 1'000 + 1;
    ASSERT_TRUE(receiver.received(std::min<std::size_t>(limit.messages, limit.bytes / 1'000 - 10)));
    // Everything has left the sender, and the receiver's socket is full or held back: no more comes.
    EXPECT_FALSE(receiver.seen.await_for(300ms, [&] { return receiver.seen.received.size() > most; }));
    while (receiver.seen.count() < count) {
      const std::size_t before = receiver.seen.count();
      receiver.mqtt.release(before);
      ASSERT_TRUE(receiver.received(before + 1));
    }
    receiver.mqtt.release(count);
    EXPECT_EQ(receiver.seen.now().connects, 1u);
  }
}

TEST(client, stops_reading_while_paused_and_stays_connected) {
  test_broker broker;
  io_thread io;
  auto options = broker.options("receiver", {"t"});
  options.broker.keep_alive = 1s;
  party receiver{io, options};
  receiver.mqtt.pause();
  ASSERT_TRUE(receiver.connected()) << "a client that is paused from the start connects all the same";
  party sender{io, broker.options("sender")};
  sender.mqtt.publish(numbered(0, 10, 1));
  ASSERT_TRUE(sender.published(10));
  // mosquitto ends a connection after one and a half times the keep alive without a word.
  EXPECT_FALSE(receiver.seen.await_for(
    2500ms, [&] { return receiver.seen.received.size() > 1 || !receiver.seen.state.connected; }));
  receiver.mqtt.resume();
  EXPECT_TRUE(receiver.received(10));
  EXPECT_EQ(receiver.seen.now().connects, 1u);
}

TEST(client, keeps_an_idle_connection_alive) {
  test_broker broker;
  io_thread io;
  auto options = broker.options("receiver", {"t"});
  options.broker.keep_alive = 1s;
  party receiver{io, options};
  ASSERT_TRUE(receiver.connected());
  EXPECT_FALSE(receiver.seen.await_for(2500ms, [&] { return !receiver.seen.state.connected; }));
}

TEST(client, hands_out_messages_larger_than_a_chunk) {
  test_broker broker;
  io_thread io;
  party receiver{io, broker.options("receiver", {"t"})};
  ASSERT_TRUE(receiver.connected());
  party sender{io, broker.options("sender")};
  std::string large(3'000'000, ' ');
  for (std::size_t i = 0; i < large.size(); ++i)
    large[i] = static_cast<char>('a' + i % 23);
  sender.mqtt.publish({{"t", "small", 1, false, 1}, {"t", large, 1, false, 2}, {"t", "end", 1, false, 3}});
  ASSERT_TRUE(receiver.received(3));
  EXPECT_TRUE(receiver.seen.received[1].payload == large);
  EXPECT_EQ(receiver.seen.received[2].payload, "end");
}

TEST(client, leaves_its_last_will_and_takes_it_back_when_stopped) {
  test_broker broker;
  io_thread io;
  party receiver{io, broker.options("receiver", {"will/#"})};
  ASSERT_TRUE(receiver.connected());
  auto options = broker.options("mortal");
  options.will = last_will{"will/mortal", "stopped", 1, false};
  {
    party mortal{io, options};
    ASSERT_TRUE(mortal.connected());
    mortal.stop();
  }
  options.will->payload = "cut off";
  {
    party mortal{io, options};
    ASSERT_TRUE(mortal.connected());
  }
  ASSERT_TRUE(receiver.received(1));
  EXPECT_THAT(receiver.seen.payloads(), ElementsAre("cut off"));
}

TEST(client, says_once_why_it_is_refused_and_gets_in_with_the_password) {
  temporary_directory secrets;
  const auto passwords = secrets.path() / "passwords";
  ASSERT_EQ(std::system(("mosquitto_passwd -b -c " + passwords.string() + " meter right").c_str()), 0);
  test_broker broker{{"per_listener_settings false", "password_file " + passwords.string()}, false};
  io_thread io;
  for (const auto version : {config::mqtt_version::v5, config::mqtt_version::v3_1_1}) {
    auto options = broker.options("c");
    options.broker.version = version;
    options.broker.user = "meter";
    options.broker.password.value = "wrong";
    {
      party refused{io, options};
      ASSERT_TRUE(refused.seen.await([&] { return refused.seen.state.reason.has_value(); }));
      EXPECT_EQ(refused.seen.now().reason->code, errc::not_authorised);
      EXPECT_THAT(refused.seen.now().reason->message, HasSubstr("not authorised"));
      EXPECT_THAT(refused.seen.now().reason->message, testing::Not(HasSubstr("wrong")));
      EXPECT_FALSE(refused.seen.await_for(400ms, [&] { return refused.seen.states.size() > 1; }));
    }
    options.broker.password.value = "right";
    party accepted{io, options};
    EXPECT_TRUE(accepted.connected());
  }
}

TEST(client, tells_that_nobody_listens_and_connects_when_somebody_does) {
  test_broker broker;
  broker.process().stop();
  io_thread io;
  party waiting{io, broker.options("c")};
  ASSERT_TRUE(waiting.seen.await([&] { return waiting.seen.state.reason.has_value(); }));
  EXPECT_EQ(waiting.seen.now().reason->code, errc::connection_refused);
  EXPECT_THAT(waiting.seen.now().reason->message, HasSubstr("127.0.0.1:"));
  ASSERT_TRUE(broker.process().start());
  EXPECT_TRUE(waiting.connected());
  EXPECT_FALSE(waiting.seen.now().reason);
}

TEST(client, notices_that_the_broker_has_lost_its_session) {
  test_broker broker;
  io_thread io;
  party receiver{io, broker.options("receiver", {"t"})};
  ASSERT_TRUE(receiver.connected());
  EXPECT_FALSE(receiver.seen.now().session_lost);
  broker.process().stop();
  std::filesystem::remove(broker.directory() / "mosquitto.db");
  ASSERT_TRUE(broker.process().start());
  ASSERT_TRUE(receiver.seen.await([&] { return receiver.seen.state.connects == 2; }));
  EXPECT_TRUE(receiver.seen.now().session_lost);
}

TEST(client, asks_before_it_takes_back_what_another_has_taken_over) {
  for (const auto version : {config::mqtt_version::v5, config::mqtt_version::v3_1_1}) {
    test_broker broker;
    io_thread io;
    std::atomic<bool> allowed = false;
    std::atomic<int> refused = 0;
    auto options = broker.options("same", {"t"});
    options.broker.version = version;
    options.may_dial = [&](bool taken_over, monotonic) {
      if (taken_over && !allowed)
        ++refused;
      return !taken_over || allowed;
    };
    party first{io, options};
    ASSERT_TRUE(first.connected());
    party second{io, broker.options("same", {"t"})};
    ASSERT_TRUE(second.connected());
    ASSERT_TRUE(first.seen.await([&] { return !first.seen.state.connected; }));
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (refused < 2 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    ASSERT_GE(refused, 2) << int(first.seen.now().broker_reason);
    EXPECT_EQ(second.seen.now().connects, 1u);
    allowed = true;
    EXPECT_TRUE(first.seen.await([&] { return first.seen.state.connects >= 2; }));
  }
}

TEST(client, runs_no_handler_once_it_is_destroyed) {
  test_broker broker;
  io_thread io;
  party sender{io, broker.options("sender")};
  ASSERT_TRUE(sender.connected());
  for (int round = 0; round < 20; ++round) {
    std::atomic<bool> destroyed = false;
    std::atomic<int> late = 0;
    {
      auto options = broker.options("receiver", {"t"});
      options.clean_start = true;
      client receiver{
        io,
        options,
        {[&](const auto&) { late += destroyed ? 1 : 0; }, [&](const auto&) { late += destroyed ? 1 : 0; }, {}}};
      receiver.start();
      sender.mqtt.publish(numbered(0, 200, 1));
      // Somewhere between connecting and receiving.
      ASSERT_TRUE(sender.seen.await([&] { return sender.seen.published.size() == 200; }));
      sender.seen.published.clear();
    }
    destroyed = true;
    EXPECT_EQ(late, 0);
  }
}

TEST(client, can_be_destroyed_by_its_own_handler) {
  test_broker broker;
  io_thread io;
  std::unique_ptr<client> doomed;
  std::promise<void> gone;
  client_handlers handlers;
  handlers.on_state = [&](const connection_state&) {
    doomed.reset();
    gone.set_value();
  };
  doomed = std::make_unique<client>(io, broker.options("c", {"t"}), handlers);
  doomed->start();
  EXPECT_EQ(gone.get_future().wait_for(patience), std::future_status::ready);
}

TEST(client, can_be_stopped_before_it_is_connected) {
  test_broker broker;
  broker.process().stop();
  io_thread io;
  party waiting{io, broker.options("c")};
  waiting.stop();
}

// --- TLS
// --------------------------------------------------------------------------------------------------------------

/// A CA, and certificates for "localhost" from it, made by the openssl tool.
class certificates {
public:
  certificates() {
    run("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=penstock-test-ca -keyout ca.key -out ca.pem");
    issue("localhost", "DNS:localhost");
    issue("elsewhere", "DNS:elsewhere.example");
  }
  std::filesystem::path file(const std::string& name) const { return directory_.path() / name; }

private:
  void issue(const std::string& name, const std::string& alternative) {
    std::ofstream{file(name + ".ext")} << "subjectAltName=" << alternative << "\n";
    run("req -newkey rsa:2048 -nodes -subj /CN=" + name + " -keyout " + name + ".key -out " + name + ".csr");
    run("x509 -req -days 2 -in " + name + ".csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile " + name +
        ".ext -out " + name + ".pem");
  }
  void run(const std::string& arguments) {
    const auto command = "cd " + directory_.path().string() + " && openssl " + arguments + " 2>openssl.log";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
  temporary_directory directory_;
};

const certificates& made_once() {
  static const certificates made;
  return made;
}

/// The embedded broker is found by a plain connection, so that the TLS listener is a second one.
struct tls_broker {
  explicit tls_broker(const std::string& certificate)
    : port(free_port()),
      process({"listener " + std::to_string(port) + " 127.0.0.1",
               "certfile " + made_once().file(certificate + ".pem").string(),
               "keyfile " + made_once().file(certificate + ".key").string(), "tls_version tlsv1.2"}) {
    // It opens its listeners one after the other, and this is the last.
    EXPECT_TRUE(accepts_within(port, patience));
  }
  client_options options() const {
    auto out = process.options("secure", {"t"});
    out.broker.host = "localhost";
    out.broker.port = port;
    out.broker.use_tls = true;
    out.broker.tls.ca = made_once().file("ca.pem");
    return out;
  }
  std::uint16_t port;
  test_broker process;
};

TEST(client_tls, carries_messages) {
  tls_broker broker{"localhost"};
  io_thread io;
  party both{io, broker.options()};
  ASSERT_TRUE(both.connected()) << both.seen.reason();
  // Many TLS records; mosquitto takes few messages a turn from them, which a busy machine makes slow.
  both.mqtt.publish(numbered(0, 1'000, 1, 500));
  ASSERT_TRUE(both.received(1'000));
  EXPECT_TRUE(both.published(1'000));
  both.mqtt.release(1'000);
  both.stop();
}

TEST(client_tls, refuses_a_certificate_for_another_host) {
  tls_broker broker{"elsewhere"};
  io_thread io;
  {
    party careful{io, broker.options()};
    ASSERT_TRUE(careful.seen.await([&] { return careful.seen.state.reason.has_value(); }));
    EXPECT_EQ(careful.seen.now().reason->code, errc::configuration);
    EXPECT_THAT(careful.seen.now().reason->message, HasSubstr("hostname mismatch"));
  }
  auto options = broker.options();
  options.broker.tls.verify = false;
  party careless{io, options};
  EXPECT_TRUE(careless.connected());
}

TEST(client_tls, refuses_an_unknown_authority_and_names_files_it_cannot_read) {
  tls_broker broker{"localhost"};
  io_thread io;
  auto options = broker.options();
  options.broker.tls.ca = made_once().file("elsewhere.pem");
  {
    party careful{io, options};
    ASSERT_TRUE(careful.seen.await([&] { return careful.seen.state.reason.has_value(); }));
    EXPECT_THAT(careful.seen.now().reason->message, HasSubstr("certificate is refused"));
  }
  options.broker.tls.ca = "/nonexistent/ca.pem";
  party blind{io, options};
  ASSERT_TRUE(blind.seen.await([&] { return blind.seen.state.reason.has_value(); }));
  EXPECT_THAT(blind.seen.now().reason->message, HasSubstr("/nonexistent/ca.pem"));
}

// --- the end of a session
// ---------------------------------------------------------------------------------------------

TEST(client, is_unsubscribed_from_what_a_former_configuration_left) {
  test_broker broker;
  io_thread io;
  for (const std::string filter : {"old/+", "$share/g/old/+"}) {
    {
      party former{io, broker.options("receiver", {filter})};
      ASSERT_TRUE(former.connected());
      former.stop();
    }
    auto options = broker.options("receiver", {"new"});
    options.unsubscriptions = {filter};
    party receiver{io, options};
    ASSERT_TRUE(receiver.seen.await([&] { return receiver.seen.settled == std::vector<std::string>{""}; }));
    party sender{io, broker.options("sender")};
    sender.mqtt.publish({{"old/1", "old", 1, false, 1}, {"new", "new", 1, false, 2}});
    ASSERT_TRUE(receiver.received(1));
    EXPECT_THAT(receiver.seen.payloads(), ElementsAre("new"));
    receiver.mqtt.release(1);
    receiver.stop();
  }
}

/// mosquitto hands out what is queued only as the window allows.
TEST(client, is_drained_when_the_broker_has_nothing_more_and_has_the_session_ended) {
  test_broker broker{{"max_inflight_messages 20", "max_queued_messages 0"}};
  io_thread io;
  for (const std::uint8_t qos : {1, 2}) {
    auto options = broker.options("receiver", {"t"});
    {
      party receiver{io, options};
      ASSERT_TRUE(receiver.connected());
      receiver.stop();
    }
    party sender{io, broker.options("sender")};
    sender.mqtt.publish(numbered(0, 500, qos));
    ASSERT_TRUE(sender.published(500));
    options.subscriptions = {};
    options.unsubscriptions = {"t"};
    options.drained_after = 50ms;
    party drain{io, options};
    std::size_t released = 0;
    while (!drain.seen.await_for(5ms, [&] { return drain.seen.drained; })) {
      released = drain.seen.count();
      drain.mqtt.release(released);
    }
    EXPECT_EQ(released, 500u) << "it is drained once all is released";
    EXPECT_EQ(drain.seen.count(), 500u);
    drain.mqtt.stop(drain.seen.on_stopped(), true);
    ASSERT_TRUE(drain.seen.await([&] { return drain.seen.stopped; }));
    party after{io, broker.options("receiver", {"u"})};
    ASSERT_TRUE(after.connected());
    EXPECT_FALSE(after.seen.now().session_present);
    after.mqtt.stop(after.seen.on_stopped(), true);
    ASSERT_TRUE(after.seen.await([&] { return after.seen.stopped; }));
  }
}

} // namespace
} // namespace penstock::mqtt
