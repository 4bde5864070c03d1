// The client against a real mosquitto.
#include "mqtt/client.hpp"
#include "tests/unit/mqtt/client_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::mqtt {
namespace {

using testing::ElementsAre;

TEST(client, receives_what_it_publishes_and_acknowledges_it_when_released) {
  test_broker broker;
  io_thread io;
  recorder sink;
  client receiver{io, broker.options("receiver", {"t/#"}), sink.handlers()};
  receiver.start();
  ASSERT_TRUE(sink.await([&] { return sink.state.connected; }));
  recorder source;
  client sender{io, broker.options("sender"), source.handlers()};
  sender.start();
  sender.publish({{"t/0", "zero", 0, false, 1}, {"t/1", "one", 1, false, 2}, {"t/2", "two", 2, false, 3}});
  ASSERT_TRUE(sink.await([&] { return sink.received.size() == 3; }));
  ASSERT_TRUE(source.await([&] { return source.published.size() == 3; }));
  EXPECT_THAT(sink.payloads(), ElementsAre("zero", "one", "two"));
}

} // namespace
} // namespace penstock::mqtt
