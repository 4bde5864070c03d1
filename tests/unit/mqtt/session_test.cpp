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

// --- connecting
// -------------------------------------------------------------------------------------------------------

TEST(session, asks_for_a_session_that_stays_and_says_what_it_can_take) {
  peer broker;
  broker.options.receive_max = 100'000;
  broker.options.user = "u";
  broker.options.password = "p";
  broker.options.will = last_will{"status", "gone", 1, true};
  broker.open();
  const auto connect = broker.connect();
  EXPECT_EQ(connect.version, version::v5);
  EXPECT_EQ(connect.client_id, "client");
  EXPECT_FALSE(connect.clean_start);
  EXPECT_EQ(connect.session_expiry_s, 0xffffffff);
  EXPECT_EQ(connect.receive_maximum, 65'535);
  EXPECT_EQ(connect.topic_alias_max, 100);
  EXPECT_EQ(connect.keep_alive_s, 30);
  EXPECT_EQ(connect.user, "u");
  EXPECT_EQ(connect.password, "p");
  ASSERT_TRUE(connect.will);
  EXPECT_EQ(connect.will->topic, "status");
}

TEST(session, subscribes_after_every_connack) {
  peer broker;
  broker.options.subscriptions = {"a/#", "$share/g/b"};
  for (const bool present : {false, true}) {
    broker.open();
    broker.accept(present);
    const auto asked = broker.subscribe();
    ASSERT_EQ(asked.subscriptions.size(), 2u);
    EXPECT_EQ(asked.subscriptions[1].filter, "$share/g/b");
    EXPECT_EQ(asked.subscriptions[0].options & 3, 1);
    EXPECT_FALSE(broker.client().subscribed());
    broker.send_suback(asked.packet_id, std::string("\x01\x00", 2));
    EXPECT_TRUE(broker.client().subscribed());
  }
}

TEST(session, reports_a_refused_subscription_with_its_filter) {
  peer broker;
  broker.options.subscriptions = {"a", "secret/#"};
  broker.open();
  broker.accept();
  const auto failure = broker.send_suback(broker.subscribe().packet_id, "\x01\x87");
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->code, errc::not_authorised);
  EXPECT_THAT(failure->message, HasSubstr("secret/#"));
}

TEST(session, refusals_have_names) {
  struct expectation {
    version in;
    std::uint8_t reason;
    errc code;
    std::string text;
  };
  for (const auto& one : {expectation{version::v5, 0x87, errc::not_authorised, "not authorised (0x87)"},
                          expectation{version::v5, 0x86, errc::not_authorised, "bad user name or password (0x86)"},
                          expectation{version::v5, 0x89, errc::broker_busy, "server busy (0x89)"},
                          expectation{version::v5, 0x85, errc::configuration, "client identifier"},
                          expectation{version::v3_1_1, 1, errc::unsupported, "unacceptable protocol version"},
                          expectation{version::v3_1_1, 2, errc::configuration, "client identifier rejected"},
                          expectation{version::v3_1_1, 3, errc::broker_busy, "server unavailable"},
                          expectation{version::v3_1_1, 4, errc::not_authorised, "bad user name"},
                          expectation{version::v3_1_1, 5, errc::not_authorised, "not authorised"},
                          expectation{version::v3_1_1, 77, errc::protocol_violation, "return code 77"}}) {
    peer broker;
    broker.options.version = one.in;
    broker.open();
    connack_packet answer;
    answer.reason = one.reason;
    const auto failure = broker.send_connack(answer);
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->code, one.code) << failure->message;
    EXPECT_THAT(failure->message, HasSubstr(one.text));
    EXPECT_FALSE(broker.client().fell_back());
  }
}

TEST(session, falls_back_to_3_1_1_when_the_broker_refuses_5) {
  for (const std::string& refusal : {std::string{"\x20\x02\x00\x01", 4}, std::string{"\x20\x03\x00\x84\x00", 5}}) {
    peer broker;
    broker.open();
    EXPECT_EQ(broker.connect().version, version::v5);
    ASSERT_TRUE(broker.send(refusal));
    EXPECT_TRUE(broker.client().fell_back());
    broker.open();
    EXPECT_FALSE(broker.client().fell_back());
    EXPECT_EQ(broker.connect().version, version::v3_1_1);
    broker.accept();
    EXPECT_TRUE(broker.client().established());
  }
}

TEST(session, knows_that_the_broker_has_lost_its_session) {
  peer broker;
  broker.open();
  broker.accept(false);
  EXPECT_FALSE(broker.client().session_lost()) << "the first is new to this process";
  broker.open();
  broker.accept(true);
  EXPECT_TRUE(broker.client().session_present());
  EXPECT_FALSE(broker.client().session_lost());
  broker.open();
  broker.accept(false);
  EXPECT_TRUE(broker.client().session_lost());
}

TEST(session, knows_that_the_broker_has_lost_what_an_earlier_process_had) {
  peer broker;
  broker.options.was_there = true;
  broker.open();
  broker.accept(false);
  EXPECT_TRUE(broker.client().session_lost());
}

TEST(session, ends_over_what_a_broker_may_not_send) {
  struct expectation {
    std::string bytes;
    std::string text;
  };
  for (const auto& one :
       {expectation{std::string{"\x20\x03\x00\x00\x00", 5}, "second CONNACK"},
        expectation{std::string{"\xc0\x00", 2}, "PINGREQ"}, expectation{std::string{"\xf0\x00", 2}, "AUTH"},
        expectation{std::string{"\x00\x00", 2}, "malformed packet header"},
        expectation{std::string{"\x90\x04\x00\x01\x00\x00", 6}, "SUBACK without"},
        expectation{std::string{"\x30\x80\x80\x80\x7f", 5}, "more than the limit"},
        expectation{std::string{"\x30\x06\x00\x00\x03\x23\x00\x65", 8}, "topic alias 101 is above"},
        expectation{std::string{"\x30\x06\x00\x00\x03\x23\x00\x05", 8}, "topic alias 5 is not known"}}) {
    peer broker;
    broker.open();
    broker.accept();
    const auto failure = broker.send(one.bytes);
    ASSERT_TRUE(failure) << one.text;
    EXPECT_EQ(failure->code, errc::protocol_violation);
    EXPECT_THAT(failure->message, HasSubstr(one.text));
  }
  peer early;
  early.open();
  EXPECT_THAT(early.publish("t", "p", 0)->message, HasSubstr("before CONNACK"));
}

TEST(session, tells_why_the_broker_disconnects) {
  peer broker;
  broker.open();
  broker.accept();
  std::string bytes;
  encode(bytes, disconnect_packet{0x8e, "elsewhere"}, version::v5);
  const auto failure = broker.send(bytes);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->code, errc::connection_lost);
  EXPECT_THAT(failure->message, HasSubstr("session taken over (0x8e), elsewhere"));
}

// --- inbound
// ----------------------------------------------------------------------------------------------------------

TEST(session, acknowledges_only_what_is_released_in_order_of_arrival_in_one_piece) {
  peer broker;
  broker.open();
  broker.accept();
  broker.publish("t", "a", 1, 30);
  broker.publish("t", "b", 0);
  broker.publish("t", "c", 2, 20);
  broker.publish("t", "d", 1, 10);
  EXPECT_THAT(broker.output(), IsEmpty());
  broker.client().release(1);
  EXPECT_THAT(broker.output(), ElementsAre("PUBACK 30"));
  broker.client().release(3);
  EXPECT_THAT(broker.output(), ElementsAre("PUBREC 20"));
  broker.client().release(2);
  broker.client().release(3);
  EXPECT_THAT(broker.output(), IsEmpty()) << "each only once";
  broker.client().release(99);
  EXPECT_THAT(broker.output(), ElementsAre("PUBACK 10"));
  EXPECT_EQ(broker.client().unreleased(), 0u);
  EXPECT_EQ(broker.client().unreleased_bytes(), 0u);
}

TEST(session, counts_what_is_unreleased_over_all_connections) {
  peer broker;
  broker.open();
  broker.accept();
  broker.publish("t", "a", 1, 1);
  broker.open();
  broker.accept(true);
  broker.publish("t", "a", 1, 1);
  EXPECT_EQ(broker.client().unreleased(), 2u);
  EXPECT_EQ(broker.client().unreleased_bytes(), 2u * 9);
  broker.client().release(1);
  EXPECT_EQ(broker.client().unreleased(), 1u);
  EXPECT_EQ(broker.client().unreleased_bytes(), 9u);
}

TEST(session, sends_nothing_for_messages_of_a_former_connection_and_gives_redeliveries_new_numbers) {
  peer broker;
  broker.open();
  broker.accept();
  broker.publish("t", "a", 1, 1);
  broker.publish("t", "b", 2, 2);
  broker.open();
  broker.accept(true);
  broker.output();
  broker.client().release(2);
  EXPECT_THAT(broker.output(), IsEmpty());
  broker.publish("t", "a", 1, 1, true);
  broker.publish("t", "b", 2, 2, true);
  EXPECT_THAT(broker.received, ElementsAre("1 a", "2 b", "3 a", "4 b"));
  broker.client().release(4);
  EXPECT_THAT(broker.output(), ElementsAre("PUBACK 1", "PUBREC 2"));
}

TEST(session, completes_inbound_qos_2_and_delivers_it_once) {
  peer broker;
  broker.open();
  broker.accept();
  broker.publish("t", "a", 2, 7);
  broker.publish("t", "a", 2, 7, true);
  broker.client().release(1);
  EXPECT_THAT(broker.output(), ElementsAre("PUBREC 7")) << "once, though it came twice";
  broker.publish("t", "a", 2, 7, true);
  EXPECT_THAT(broker.output(), ElementsAre("PUBREC 7"));
  broker.ack(packet_type::pubrel, 7);
  EXPECT_THAT(broker.output(), ElementsAre("PUBCOMP 7"));
  broker.ack(packet_type::pubrel, 7);
  EXPECT_THAT(broker.output(), ElementsAre("PUBCOMP 7 0x92"));
  EXPECT_THAT(broker.received, ElementsAre("1 a"));
  broker.publish("t", "b", 2, 7);
  EXPECT_THAT(broker.received, ElementsAre("1 a", "2 b")) << "the identifier is free again";
}

TEST(session, remembers_qos_2_past_pubrec_over_a_reconnect_and_forgets_it_with_the_session) {
  peer broker;
  broker.open();
  broker.accept();
  broker.publish("t", "a", 2, 7);
  broker.client().release(1);
  broker.open();
  broker.accept(true);
  broker.output();
  broker.publish("t", "a", 2, 7, true);
  EXPECT_THAT(broker.received, ElementsAre("1 a"));
  EXPECT_THAT(broker.output(), ElementsAre("PUBREC 7"));
  broker.open();
  broker.accept(false);
  broker.publish("t", "a", 2, 7, true);
  EXPECT_THAT(broker.received, ElementsAre("1 a", "2 a"));
}

TEST(session, knows_no_identifier_of_before_where_others_may_have_used_it) {
  peer broker;
  broker.options.shared = true;
  broker.open();
  broker.accept();
  broker.publish("t", "a", 2, 7);
  broker.client().release(1);
  broker.open();
  broker.accept(true);
  broker.output();
  broker.publish("t", "of another", 2, 7, true);
  EXPECT_THAT(broker.received, ElementsAre("1 a", "2 of another"));
  EXPECT_THAT(broker.output(), IsEmpty());
  broker.client().release(2);
  EXPECT_THAT(broker.output(), ElementsAre("PUBREC 7"));
}

TEST(session, takes_a_reused_identifier_without_dup_for_a_new_message) {
  peer broker;
  broker.open();
  broker.accept();
  broker.publish("t", "a", 2, 7);
  broker.client().release(1);
  broker.publish("t", "b", 2, 7);
  EXPECT_THAT(broker.received, ElementsAre("1 a", "2 b"));
}

TEST(session, resolves_topic_aliases_until_the_connection_ends) {
  peer broker;
  broker.open();
  broker.accept();
  broker.publish_alias("first", "1", 3);
  broker.publish_alias("", "2", 3);
  broker.publish_alias("second", "3", 3);
  broker.publish_alias("", "4", 3);
  EXPECT_THAT(broker.topics, ElementsAre("first", "first", "second", "second"));
  broker.open();
  broker.accept(true);
  EXPECT_TRUE(broker.publish_alias("", "5", 3)) << "aliases belong to a connection";
}

TEST(session, keeps_the_topics_of_one_burst_though_an_alias_changes_in_it) {
  peer broker;
  broker.open();
  broker.accept();
  std::string bytes;
  for (const auto& [topic, payload] : {std::pair{"first", "1"}, {"", "2"}, {"second", "3"}, {"", "4"}})
    encode(bytes, publish_packet{topic, payload, 0, 3, 0, false, false}, version::v5);
  ASSERT_FALSE(broker.send(bytes));
  EXPECT_THAT(broker.topics, ElementsAre("first", "first", "second", "second"));
}

// --- outbound
// ---------------------------------------------------------------------------------------------------------

TEST(session, publishes_every_qos_and_reports_it) {
  peer broker;
  broker.client().publish({"t", "before the connection", 1, false, 1});
  broker.open();
  broker.accept();
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 1 before the connection"));
  broker.ack(packet_type::puback, 1);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{1, 0}));
  broker.client().publish({"t", "two", 2, true, 2});
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 1 two retained"));
  broker.ack(packet_type::pubrec, 1);
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 1"));
  EXPECT_THAT(broker.completions(), IsEmpty());
  broker.ack(packet_type::pubcomp, 1);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{2, 0}));
  broker.client().publish({"t", "zero", 0, false, 3});
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 0 zero"));
  EXPECT_THAT(broker.tokens, ElementsAre(3u));
}

TEST(session, reports_refusals_and_goes_on) {
  peer broker;
  broker.open();
  broker.accept();
  broker.client().publish({"t", "a", 1, false, 1});
  broker.client().publish({"t", "b", 2, false, 2});
  broker.output();
  broker.ack(packet_type::puback, 1, 0x97);
  broker.ack(packet_type::pubrec, 2, 0x87);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{1, 0x97}, completion{2, 0x87}));
  EXPECT_THAT(broker.output(), IsEmpty()) << "a refused PUBREC needs no PUBREL";
  EXPECT_EQ(broker.client().in_flight(), 0u);
}

TEST(session, refuses_what_this_broker_cannot_take) {
  peer broker;
  broker.open();
  connack_packet answer;
  answer.qos_max = 1;
  answer.retain_available = false;
  answer.packet_bytes_max = 100;
  ASSERT_FALSE(broker.send_connack(answer));
  broker.client().publish({"t/#", "", 0, false, 1});
  broker.client().publish({"t", "", 2, false, 2});
  broker.client().publish({"t", "", 0, true, 3});
  broker.client().publish({"t", std::string(100, 'x'), 0, false, 4});
  EXPECT_THAT(broker.completions(),
              ElementsAre(completion{1, 0x90}, completion{2, 0x9b}, completion{3, 0x9a}, completion{4, 0x95}));
  EXPECT_THAT(broker.output(), IsEmpty());
}

TEST(session, has_no_more_in_flight_than_window_and_receive_maximum) {
  for (const auto& [own, theirs, expected] : {std::tuple{3, 65'535, 3}, {1000, 2, 2}}) {
    peer broker;
    broker.options.publish_window_max = static_cast<std::uint16_t>(own);
    broker.open();
    connack_packet answer;
    answer.receive_maximum = static_cast<std::uint16_t>(theirs);
    ASSERT_FALSE(broker.send_connack(answer));
    for (std::uint64_t i = 0; i < 10; ++i)
      broker.client().publish({"t", "p", 1, false, i});
    EXPECT_EQ(broker.output().size(), static_cast<std::size_t>(expected));
    EXPECT_EQ(broker.client().waiting(), 10u - static_cast<std::size_t>(expected));
    broker.ack(packet_type::puback, 1);
    EXPECT_EQ(broker.output().size(), 1u);
  }
}

TEST(session, has_twenty_in_flight_on_3_1_1) {
  peer broker;
  broker.options.version = version::v3_1_1;
  broker.open();
  broker.accept();
  for (std::uint64_t i = 0; i < 50; ++i)
    broker.client().publish({"t", "p", 2, false, i});
  EXPECT_EQ(broker.output().size(), 20u);
}

TEST(session, sends_again_after_a_reconnect_what_is_in_flight_with_dup_and_in_order) {
  peer broker;
  broker.open();
  broker.accept();
  for (const auto& [payload, qos] : {std::pair{"a", 1}, {"b", 2}, {"c", 2}, {"d", 1}})
    broker.client().publish(
      {"t", payload, static_cast<std::uint8_t>(qos), false, static_cast<std::uint64_t>(*payload)});
  broker.ack(packet_type::pubrec, 3);
  broker.ack(packet_type::puback, 1);
  broker.output();
  broker.open();
  broker.client().publish({"t", "e", 1, false, 'e'});
  broker.accept(true);
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 3", "PUBLISH 2 b dup", "PUBLISH 4 d dup", "PUBLISH 1 e"));
}

TEST(session, resumes_no_more_than_the_new_receive_maximum_allows) {
  peer broker;
  broker.open();
  broker.accept();
  for (std::uint64_t i = 1; i < 5; ++i)
    broker.client().publish({"t", std::to_string(i), 1, false, i});
  broker.open();
  connack_packet answer;
  answer.session_present = true;
  answer.receive_maximum = 2;
  ASSERT_FALSE(broker.send_connack(answer));
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 1 1 dup", "PUBLISH 2 2 dup"));
  broker.ack(packet_type::puback, 4);
  EXPECT_THAT(broker.output(), IsEmpty()) << "not sent on this connection: a stray answer";
  broker.ack(packet_type::puback, 1);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 3 3 dup"));
}

TEST(session, starts_anew_when_the_broker_has_lost_it) {
  peer broker;
  broker.open();
  broker.accept();
  broker.client().publish({"t", "a", 1, false, 1});
  broker.client().publish({"t", "b", 2, false, 2});
  broker.client().publish({"t", "c", 2, false, 3});
  broker.client().publish({"t", "d", 1, false, 4});
  broker.ack(packet_type::pubrec, 3);
  broker.open();
  broker.accept(false);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 1 a", "PUBLISH 2 d"));
  EXPECT_THAT(broker.completions(), ElementsAre(completion{2, 0x92}, completion{3, 0}))
    << "before PUBREC the outcome is unknown, after it the message has arrived";
}

TEST(session, never_reuses_an_identifier_in_use) {
  peer broker;
  broker.options.publish_window_max = 3;
  broker.open();
  broker.accept();
  for (std::uint64_t i = 0; i < 100; ++i)
    broker.client().publish({"t", std::to_string(i), 1, false, i});
  std::set<std::uint16_t> in_use;
  std::size_t done = 0;
  std::vector<std::uint16_t> ids;
  while (done < 100) {
    for (const auto id : broker.published_ids()) {
      EXPECT_TRUE(in_use.insert(id).second);
      ids.push_back(id);
    }
    // The middle one first, so that identifiers come back out of order.
    const auto id = *std::next(in_use.begin(), static_cast<std::ptrdiff_t>(in_use.size() / 2));
    in_use.erase(id);
    broker.ack(packet_type::puback, id);
    ++done;
  }
  EXPECT_EQ(ids.size(), 100u);
}

TEST(session, reports_qos_0_that_was_not_written) {
  peer broker;
  broker.open();
  broker.accept();
  broker.client().publish({"t", "zero", 0, false, 9});
  broker.client().close();
  EXPECT_THAT(broker.completions(), ElementsAre(completion{9, 0x80}));
}

TEST(session, ends_over_answers_that_do_not_fit) {
  for (const auto type : {packet_type::puback, packet_type::pubcomp}) {
    peer broker;
    broker.open();
    broker.accept();
    broker.client().publish({"t", "b", 2, false, 2});
    EXPECT_TRUE(broker.ack(type, 1)) << name_of(type);
  }
  peer broker;
  broker.open();
  broker.accept();
  EXPECT_FALSE(broker.ack(packet_type::puback, 500)) << "a late answer does no harm";
  broker.ack(packet_type::pubrec, 500);
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 500 0x92"));
}

TEST(session, says_goodbye_and_sends_nothing_after_it) {
  peer broker;
  broker.open();
  broker.accept();
  broker.publish("t", "a", 1, 1);
  broker.client().release(1);
  broker.client().finish();
  broker.client().publish({"t", "late", 1, false, 1});
  EXPECT_THAT(broker.output(), ElementsAre("PUBACK 1", "DISCONNECT"));
}

// --- keep alive
// -------------------------------------------------------------------------------------------------------

TEST(keep_alive, pings_when_nothing_was_sent_and_gives_up_without_an_answer) {
  peer broker;
  broker.open();
  broker.accept();
  broker.output();
  ASSERT_EQ(broker.client().deadline(true), broker.now + 22'500ms);
  broker.now += 22'499ms;
  ASSERT_TRUE(broker.client().tick(broker.now, true));
  EXPECT_THAT(broker.output_if_any(), IsEmpty());
  broker.now += 1ms;
  ASSERT_TRUE(broker.client().tick(broker.now, true));
  EXPECT_THAT(broker.output(), ElementsAre("PINGREQ"));
  broker.now += 14'999ms;
  EXPECT_TRUE(broker.client().tick(broker.now, true));
  broker.now += 1ms;
  const auto given_up = broker.client().tick(broker.now, true);
  ASSERT_FALSE(given_up);
  EXPECT_EQ(given_up.error().code, errc::timed_out);
}

TEST(keep_alive, is_content_with_an_answer) {
  peer broker;
  broker.open();
  broker.accept();
  broker.output();
  for (int round = 0; round < 5; ++round) {
    broker.now += 23s;
    ASSERT_TRUE(broker.client().tick(broker.now, true));
    EXPECT_THAT(broker.output(), ElementsAre("PINGREQ"));
    broker.now += 1s;
    ASSERT_FALSE(broker.send(std::string{"\xd0\x00", 2}));
  }
}

TEST(keep_alive, asks_a_silent_broker_though_it_sends_itself) {
  peer broker;
  broker.open();
  broker.accept();
  for (int second = 0; second < 30; second += 10) {
    broker.client().publish({"t", "p", 0, false, 1});
    broker.output();
    broker.now += 10s;
  }
  ASSERT_TRUE(broker.client().tick(broker.now, true));
  EXPECT_THAT(broker.output(), ElementsAre("PINGREQ"));
}

TEST(keep_alive, pings_while_it_does_not_read_and_expects_no_answer) {
  peer broker;
  broker.open();
  broker.accept();
  broker.output();
  for (int round = 0; round < 20; ++round) {
    broker.now += 23s;
    ASSERT_TRUE(broker.client().tick(broker.now, false));
    EXPECT_THAT(broker.output(), ElementsAre("PINGREQ"));
    EXPECT_EQ(broker.client().deadline(false), broker.now + 22'500ms);
  }
  broker.client().reading_resumed(broker.now);
  broker.now += 15s;
  EXPECT_TRUE(broker.client().tick(broker.now, true)) << "its silence counts from when it is heard again";
}

TEST(keep_alive, follows_the_broker) {
  peer broker;
  broker.open();
  connack_packet answer;
  answer.keep_alive_s = 4;
  ASSERT_FALSE(broker.send_connack(answer));
  broker.client().publish({"t", "p", 0, false, 1});
  broker.output();
  EXPECT_EQ(broker.client().deadline(true), broker.now + 3s);
}

TEST(keep_alive, can_be_off) {
  peer broker;
  broker.options.keep_alive = 0s;
  broker.open();
  broker.accept();
  EXPECT_FALSE(broker.client().deadline(true));
  broker.now += 24h;
  EXPECT_TRUE(broker.client().tick(broker.now, true));
  EXPECT_FALSE(broker.client().has_output());
}

} // namespace
} // namespace penstock::mqtt
