// Unsubscribing, draining and ending a session.
#include "mqtt/session.hpp"
#include "tests/unit/mqtt/session_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::mqtt {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint16_t packet_id = 65'535;

} // namespace

TEST(unsubscribing, comes_after_the_subscriptions_are_confirmed_with_every_connection) {
  peer broker;
  broker.options.subscriptions = {"new/#"};
  broker.options.unsubscriptions = {"old/#", "$share/g/old"};
  for (const bool present : {false, true}) {
    broker.open();
    broker.accept(present);
    EXPECT_THAT(broker.output(), ElementsAre("SUBSCRIBE"));
    ASSERT_FALSE(broker.send_suback(packet_id, "\x01"));
    EXPECT_TRUE(broker.client().subscribed());
    EXPECT_FALSE(broker.client().settled());
    EXPECT_THAT(broker.unsubscribe(), ElementsAre("old/#", "$share/g/old"));
    EXPECT_FALSE(broker.publish("old/1", "still on its way", 1, 1));
    ASSERT_FALSE(broker.send_unsuback(packet_id, std::string("\x00\x11", 2))) << "0x11: there was none";
    EXPECT_TRUE(broker.client().settled());
    EXPECT_EQ(broker.client().unsubscribe_refusal(), "");
  }
}

TEST(unsubscribing, is_not_waited_for_where_there_is_nothing_to_unsubscribe) {
  peer broker;
  broker.options.subscriptions = {"a"};
  broker.open();
  broker.accept();
  EXPECT_FALSE(broker.client().settled());
  ASSERT_FALSE(broker.send_suback(packet_id, "\x01"));
  EXPECT_TRUE(broker.client().settled());
}

TEST(unsubscribing, takes_the_answer_of_3_1_1_which_has_no_reasons) {
  peer broker;
  broker.options.version = version::v3_1_1;
  broker.options.unsubscriptions = {"old"};
  broker.open();
  broker.accept();
  EXPECT_THAT(broker.unsubscribe(), ElementsAre("old"));
  ASSERT_FALSE(broker.send_unsuback(packet_id, ""));
  EXPECT_TRUE(broker.client().settled());
}

TEST(unsubscribing, names_what_the_broker_refuses_and_goes_on) {
  peer broker;
  broker.options.unsubscriptions = {"a", "b", "c"};
  broker.options.drained_after = 1s;
  broker.open();
  broker.accept();
  broker.output();
  ASSERT_FALSE(broker.send_unsuback(packet_id, std::string("\x87\x00\x83", 3)));
  EXPECT_THAT(broker.client().unsubscribe_refusal(), HasSubstr("a (not authorised), c ("));
  broker.now += 1min;
  ASSERT_TRUE(broker.client().tick(broker.now, true));
  broker.answer_ping();
  EXPECT_FALSE(broker.client().drained()) << "more may come at any time";
}

TEST(unsubscribing, refuses_an_answer_that_fits_no_question) {
  for (const bool asked : {false, true}) {
    peer broker;
    if (asked)
      broker.options.unsubscriptions = {"a", "b"};
    broker.open();
    broker.accept();
    EXPECT_TRUE(broker.send_unsuback(packet_id, std::string(1, '\0'))) << asked;
  }
}

namespace {

struct draining : ::testing::Test {
  draining() {
    broker.options.unsubscriptions = {"old"};
    broker.options.drained_after = 1s;
    broker.open();
    broker.accept(true);
    broker.output();
    broker.send_unsuback(packet_id, std::string(1, '\0'));
  }
  std::vector<std::string> after(std::chrono::milliseconds time, bool reading = true) {
    broker.now += time;
    EXPECT_TRUE(broker.client().tick(broker.now, reading));
    return broker.output_if_any();
  }
  bool drained() { return broker.client().drained(); }
  peer broker;
};

} // namespace

TEST_F(draining, is_over_when_silence_is_followed_by_an_answer) {
  EXPECT_EQ(broker.client().deadline(true), broker.now + 1s);
  EXPECT_THAT(after(999ms), IsEmpty());
  EXPECT_THAT(after(1ms), ElementsAre("PINGREQ"));
  EXPECT_FALSE(drained());
  broker.answer_ping();
  EXPECT_TRUE(drained());
}

TEST_F(draining, goes_on_while_messages_come) {
  after(900ms);
  broker.publish("t", "1", 1, 1);
  broker.client().release(1);
  broker.output();
  EXPECT_THAT(after(999ms), IsEmpty());
  EXPECT_THAT(after(1ms), ElementsAre("PINGREQ"));
  broker.publish("t", "2", 1, 2); // made room for by the acknowledgement
  broker.answer_ping();
  EXPECT_FALSE(drained());
  broker.client().release(2);
  broker.output();
  EXPECT_THAT(after(1s), ElementsAre("PINGREQ"));
  broker.answer_ping();
  EXPECT_TRUE(drained());
}

TEST_F(draining, waits_for_what_is_not_released) {
  broker.publish("t", "1", 1, 1);
  for (int second = 0; second < 10; ++second)
    EXPECT_THAT(after(1s), IsEmpty());
  broker.client().release(1);
  EXPECT_THAT(broker.output(), ElementsAre("PUBACK 1"));
  EXPECT_THAT(after(1s), ElementsAre("PINGREQ"));
}

// The answer to an earlier PINGREQ says nothing of what the broker did since.
TEST_F(draining, counts_answers) {
  EXPECT_THAT(after(30s, false), ElementsAre("PINGREQ")) << "while it does not read";
  EXPECT_THAT(after(1s), ElementsAre("PINGREQ"));
  broker.answer_ping();
  EXPECT_FALSE(drained());
  broker.answer_ping();
  EXPECT_TRUE(drained());
}

TEST_F(draining, waits_for_the_end_of_a_handshake_of_qos_2) {
  broker.publish("t", "1", 2, 1);
  broker.client().release(1);
  broker.output();
  EXPECT_THAT(after(1s), ElementsAre("PINGREQ"));
  broker.ack(packet_type::pubrel, 1); // the broker takes packets in their order: before its PINGRESP
  broker.answer_ping();
  EXPECT_FALSE(drained()) << "the PUBCOMP makes room for another message";
  broker.output();
  EXPECT_THAT(after(1s), ElementsAre("PINGREQ"));
  broker.answer_ping();
  EXPECT_TRUE(drained());
}

TEST_F(draining, begins_anew_with_a_connection) {
  after(1s);
  broker.answer_ping();
  EXPECT_TRUE(drained());
  broker.client().close();
  EXPECT_FALSE(drained());
}

TEST_F(draining, takes_a_missing_answer_for_a_dead_connection) {
  EXPECT_THAT(after(1s), ElementsAre("PINGREQ"));
  broker.now += 15s;
  EXPECT_FALSE(broker.client().tick(broker.now, true));
}

TEST(ending, tells_the_broker_to_forget_the_session) {
  peer broker;
  broker.open();
  broker.accept();
  broker.client().finish(true);
  std::string bytes;
  std::vector<std::uint64_t> tokens;
  broker.client().take_output(broker.now, bytes, tokens);
  packet_view packet;
  ASSERT_EQ(scan(bytes, packet), scan_status::complete);
  const auto last = decode_disconnect(packet, version::v5);
  ASSERT_TRUE(last);
  EXPECT_EQ(last->reason, 0);
  EXPECT_EQ(last->session_expiry_s, 0u);
}

} // namespace penstock::mqtt
