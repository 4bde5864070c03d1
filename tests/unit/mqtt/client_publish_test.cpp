// Publishing with claims of the caller, against a real mosquitto.
#include "mqtt/client.hpp"
#include "tests/unit/mqtt/client_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::mqtt {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

/// Its token is its packet id.
outbound claimed(std::uint16_t packet_id, std::string payload) {
  outbound out{"t", std::move(payload), 2, false, packet_id};
  out.packet_id = packet_id;
  out.correlation = "c-" + out.payload;
  out.message_id = "m-" + out.payload;
  return out;
}

client_options publisher_options(const test_broker& broker) {
  auto out = broker.options("publisher");
  out.release_by_caller = true;
  return out;
}

struct party {
  party(io_thread& io, client_options options) : mqtt(io, std::move(options), seen.handlers()) { mqtt.start(); }
  bool connected() {
    return seen.await([&] { return seen.state.connected; });
  }
  recorder seen;
  client mqtt;
};

TEST(client_publish, releases_when_the_caller_says_so) {
  test_broker broker;
  io_thread io;
  party receiver{io, broker.options("receiver", {"t"})};
  party sender{io, publisher_options(broker)};
  ASSERT_TRUE(receiver.connected());
  ASSERT_TRUE(sender.connected());
  sender.mqtt.publish({claimed(300, "a"), claimed(2, "b"), claimed(65'534, "c")});
  ASSERT_TRUE(sender.seen.await([&] { return sender.seen.past_pubrec.size() == 3; }));
  EXPECT_FALSE(sender.seen.await_for(100ms, [&] { return !sender.seen.published.empty(); }));
  EXPECT_THAT(receiver.seen.payloads(), IsEmpty()) << "mosquitto delivers at PUBREL";
  sender.mqtt.release_published({300, 2});
  sender.mqtt.release_published({65'534});
  ASSERT_TRUE(sender.seen.await([&] { return sender.seen.published.size() == 3; }));
  ASSERT_TRUE(receiver.seen.await([&] { return receiver.seen.received.size() == 3; }));
  EXPECT_THAT(receiver.seen.payloads(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(receiver.seen.received[1].correlation, "c-b");
  EXPECT_EQ(receiver.seen.received[1].message_id, "m-b");
}

TEST(client_publish, goes_on_with_what_a_former_process_left) {
  test_broker broker;
  io_thread io;
  party receiver{io, broker.options("receiver", {"t"})};
  ASSERT_TRUE(receiver.connected());
  {
    party former{io, publisher_options(broker)};
    ASSERT_TRUE(former.connected());
    former.mqtt.publish({claimed(9, "released"), claimed(5, "received"), claimed(7, "claimed")});
    ASSERT_TRUE(former.seen.await([&] { return former.seen.past_pubrec.size() == 3; }));
  }
  party sender{io, publisher_options(broker)};
  ASSERT_TRUE(sender.connected());
  ASSERT_TRUE(sender.seen.now().session_present);
  sender.mqtt.proceed({{claimed(9, ""), resumed_state::released},
                       {claimed(5, "received"), resumed_state::published},
                       {claimed(7, "claimed"), resumed_state::published},
                       {claimed(8, "never sent"), resumed_state::published}});
  sender.mqtt.publish({claimed(1, "new")});
  ASSERT_TRUE(sender.seen.await([&] { return sender.seen.past_pubrec.size() == 4; }));
  sender.mqtt.release_published({5, 7, 8, 1});
  ASSERT_TRUE(sender.seen.await([&] { return sender.seen.published.size() == 5; }));
  for (const auto& [token, reason] : sender.seen.published)
    EXPECT_EQ(reason, 0) << token;
  ASSERT_TRUE(receiver.seen.await([&] { return receiver.seen.received.size() >= 5; }));
  EXPECT_THAT(receiver.seen.payloads(), ElementsAre("released", "received", "claimed", "never sent", "new"));
}

TEST(client_publish, reports_all_of_a_write_at_once) {
  test_broker broker;
  io_thread io;
  party sender{io, publisher_options(broker)};
  ASSERT_TRUE(sender.connected());
  std::vector<outbound> messages;
  for (std::uint64_t i = 0; i < 100; ++i)
    messages.push_back({"t", "p", 0, false, i});
  sender.mqtt.publish(std::move(messages));
  ASSERT_TRUE(sender.seen.await([&] { return sender.seen.published.size() == 100; }));
  EXPECT_EQ(sender.seen.publish_reports, 1u);
}

TEST(client_publish, tells_the_window_while_connected) {
  test_broker broker;
  io_thread io;
  auto options = publisher_options(broker);
  options.publish_window_max = 7;
  party sender{io, options};
  ASSERT_TRUE(sender.connected());
  EXPECT_EQ(sender.seen.now().publish_window, 7u);
  broker.process().stop();
  ASSERT_TRUE(sender.seen.await([&] { return !sender.seen.state.connected; }));
  EXPECT_EQ(sender.seen.now().publish_window, 0u);
}

TEST(client_publish, on_request_asks_before_each_connection_and_sends_nothing_before_it_may) {
  test_broker broker;
  io_thread io;
  party receiver{io, broker.options("receiver", {"t"})};
  ASSERT_TRUE(receiver.connected());
  auto options = publisher_options(broker);
  options.on_request = true;
  party sender{io, std::move(options)};
  ASSERT_TRUE(sender.seen.await([&] { return sender.seen.dials_wanted == 1; }));
  EXPECT_FALSE(sender.seen.await_for(100ms, [&] { return sender.seen.state.connected; }));
  sender.mqtt.dial();
  ASSERT_TRUE(sender.connected());
  sender.mqtt.publish({claimed(1, "a")});
  EXPECT_FALSE(sender.seen.await_for(100ms, [&] { return !sender.seen.past_pubrec.empty(); }));
  sender.mqtt.proceed({});
  ASSERT_TRUE(sender.seen.await([&] { return sender.seen.past_pubrec.size() == 1; }));

  broker.process().stop();
  ASSERT_FALSE(broker.process().alive());
  ASSERT_TRUE(broker.process().start());
  ASSERT_TRUE(sender.seen.await([&] { return sender.seen.dials_wanted == 2 && !sender.seen.state.connected; }));
  EXPECT_FALSE(sender.seen.await_for(300ms, [&] { return sender.seen.state.connected; }));
}

} // namespace
} // namespace penstock::mqtt
