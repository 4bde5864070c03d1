// Publishing with packet ids and releases of the caller, who keeps both in a database.
#include "core/assert.hpp"
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

constexpr auto received = publish_stage::received;
constexpr auto done = publish_stage::done;
constexpr std::uint8_t outcome_unknown = 0x92;

outbound claimed(std::uint16_t packet_id, std::string payload, std::uint8_t qos = 2) {
  outbound out{"t", std::move(payload), qos, false, packet_id};
  out.packet_id = packet_id;
  return out;
}

/// The tokens of `claimed` are the packet ids.
peer publisher() {
  peer out;
  out.options.release_by_caller = true;
  return out;
}

void release(peer& broker, std::vector<std::uint16_t> ids) { broker.client().release_published(ids); }

// --- packet ids
// -------------------------------------------------------------------------------------------------------

TEST(packet_ids, are_the_callers_where_it_gives_them) {
  auto broker = publisher();
  broker.open();
  broker.accept();
  for (const std::uint16_t id : {65'534, 1, 300})
    broker.client().publish(claimed(id, std::to_string(id)));
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 65534 65534", "PUBLISH 1 1", "PUBLISH 300 300"));
  broker.ack(packet_type::pubrec, 300);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{300, 0, received}));
}

TEST(packet_ids, that_are_in_flight_or_wait_are_not_to_be_used_again) {
  auto broker = publisher();
  broker.open();
  broker.accept_window(1);
  broker.client().publish(claimed(1, "in flight"));
  broker.client().publish(claimed(2, "waits"));
  EXPECT_THROW(broker.client().publish(claimed(1, "again")), assertion_failed);
  EXPECT_THROW(broker.client().publish(claimed(2, "again")), assertion_failed);
  EXPECT_THROW(broker.client().resume(claimed(1, "again"), resumed_state::published), assertion_failed);
  EXPECT_THROW(broker.client().publish(claimed(65'535, "SUBSCRIBE has it")), assertion_failed);
  EXPECT_THROW(broker.client().publish({"t", "the session's", 1, false, 9}), assertion_failed);
  broker.ack(packet_type::pubrec, 1);
  EXPECT_THROW(broker.client().publish(claimed(1, "again")), assertion_failed);
  release(broker, {1});
  broker.ack(packet_type::pubcomp, 1);
  broker.client().publish(claimed(1, "free"));
  EXPECT_EQ(broker.client().waiting(), 1u);
}

TEST(packet_ids, of_the_session_and_of_the_caller_do_not_mix) {
  peer broker;
  broker.client().publish({"t", "the session's", 1, false, 9});
  EXPECT_THROW(broker.client().publish(claimed(5, "mine", 1)), assertion_failed);
  auto without = claimed(5, "QoS 0 has none", 0);
  broker.client().publish(std::move(without));
  EXPECT_EQ(broker.client().waiting(), 2u);
}

TEST(packet_ids, are_free_again_after_a_refusal) {
  auto broker = publisher();
  broker.open();
  broker.accept();
  auto bad = claimed(4, "");
  bad.topic = "a/#";
  broker.client().publish(std::move(bad));
  broker.client().publish(claimed(4, "good"));
  broker.ack(packet_type::pubrec, 4, 0x97);
  broker.client().publish(claimed(4, "better"));
  EXPECT_THAT(broker.completions(), ElementsAre(completion{4, 0x90, done}, completion{4, 0x97, done}));
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 4 good", "PUBLISH 4 better"));
}

// --- properties
// -------------------------------------------------------------------------------------------------------

TEST(properties, go_out_with_the_message_and_come_in_with_it) {
  for (const auto version : {version::v5, version::v3_1_1}) {
    const bool five = version == version::v5;
    peer broker;
    broker.options.version = version;
    broker.open();
    broker.accept();
    outbound message{"t", "p", 1, false, 1};
    message.correlation = std::string{"\x00\xff", 2};
    message.message_id = "row-7-1";
    broker.client().publish(message);
    std::string bytes;
    std::vector<std::uint64_t> tokens;
    broker.client().take_output(broker.now, bytes, tokens);
    packet_view packet;
    ASSERT_EQ(scan(bytes, packet), scan_status::complete);
    const auto sent = decode_publish(packet, version);
    ASSERT_TRUE(sent);
    EXPECT_EQ(sent->correlation, five ? message.correlation : "");
    EXPECT_EQ(sent->message_id, five ? message.message_id : "");

    burst out;
    ASSERT_TRUE(broker.client().feed(bytes, broker.now, out));
    ASSERT_EQ(out.messages.size(), 1u);
    EXPECT_EQ(out.messages[0].payload, "p");
    EXPECT_EQ(out.messages[0].correlation, five ? message.correlation : "");
    EXPECT_EQ(out.messages[0].message_id, five ? message.message_id : "");
  }
}

TEST(properties, count_into_the_brokers_maximum_packet_size) {
  auto broker = publisher();
  broker.open();
  connack_packet answer;
  answer.packet_bytes_max = 100;
  ASSERT_FALSE(broker.send_connack(answer));
  // Header 2, topic 3, packet id 2, length of the properties 1, correlation 3 + 9, message id 5 + 11 + 4.
  auto fits = claimed(1, std::string(60, 'x'));
  fits.correlation = "123456789";
  fits.message_id = "1234";
  auto too_large = fits;
  too_large.token = too_large.packet_id = 2;
  too_large.message_id = "12345";
  broker.client().publish(std::move(fits));
  broker.client().publish(std::move(too_large));
  EXPECT_EQ(broker.output().size(), 1u);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{2, 0x95, done}));
}

TEST(properties, that_no_packet_can_hold_are_refused) {
  peer broker;
  broker.open();
  broker.accept();
  outbound message{"t", "p", 1, false, 1};
  message.correlation = std::string(65'536, 'c');
  broker.client().publish(message);
  message.correlation.clear();
  message.message_id = std::string(65'536, 'm');
  broker.client().publish(message);
  message.message_id = "\xff";
  broker.client().publish(message);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{1, 0x95}, completion{1, 0x95}, completion{1, 0x83}));
  EXPECT_THAT(broker.output(), IsEmpty());
}

// --- release by the caller
// --------------------------------------------------------------------------------------------

TEST(release_by_caller, holds_pubrel_back_until_the_caller_asks) {
  auto broker = publisher();
  broker.open();
  broker.accept();
  for (const std::uint16_t id : {11, 12, 13})
    broker.client().publish(claimed(id, std::to_string(id)));
  broker.output();
  for (const std::uint16_t id : {11, 12, 13})
    broker.ack(packet_type::pubrec, id, id == 12 ? 0x10 : 0);
  EXPECT_THAT(broker.output(), IsEmpty());
  EXPECT_THAT(broker.completions(),
              ElementsAre(completion{11, 0, received}, completion{12, 0x10, received}, completion{13, 0, received}));
  release(broker, {13, 11});
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 13", "PUBREL 11")) << "in the caller's order";
  broker.ack(packet_type::pubcomp, 13);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{13, 0, done}));
  EXPECT_EQ(broker.client().in_flight(), 2u);
}

TEST(release_by_caller, ignores_what_is_not_received) {
  auto broker = publisher();
  broker.open();
  broker.accept_window(2);
  for (const std::uint16_t id : {1, 2, 3})
    broker.client().publish(claimed(id, std::to_string(id)));
  broker.output();
  broker.ack(packet_type::pubrec, 1);
  release(broker, {1, 1, 2, 3, 4, 0, 65'535});
  release(broker, {1});
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 1"));
  EXPECT_TRUE(broker.ack(packet_type::pubcomp, 2)) << "a PUBCOMP that no PUBREL has asked for";
}

TEST(release_by_caller, counts_what_is_received_into_the_window) {
  auto broker = publisher();
  broker.options.publish_window_max = 2;
  broker.open();
  broker.accept();
  for (const std::uint16_t id : {1, 2, 3})
    broker.client().publish(claimed(id, std::to_string(id)));
  broker.output();
  broker.ack(packet_type::pubrec, 1);
  EXPECT_THAT(broker.output(), IsEmpty()) << "the broker counts it until PUBCOMP";
  release(broker, {1});
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 1"));
  broker.ack(packet_type::pubcomp, 1);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 3 3"));
}

TEST(release_by_caller, reports_a_received_message_once_though_pubrec_comes_again) {
  auto broker = publisher();
  broker.open();
  broker.accept();
  broker.client().publish(claimed(1, "a"));
  broker.output();
  broker.ack(packet_type::pubrec, 1);
  broker.ack(packet_type::pubrec, 1);
  broker.ack(packet_type::pubrec, 1, 0x91);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{1, 0, received}));
  EXPECT_THAT(broker.output(), IsEmpty());
  release(broker, {1});
  broker.ack(packet_type::pubrec, 1);
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 1", "PUBREL 1"));
}

TEST(release_by_caller, does_not_release_what_it_does_not_know) {
  auto broker = publisher();
  broker.open();
  broker.accept(true);
  broker.ack(packet_type::pubrec, 7);
  EXPECT_THAT(broker.output(), IsEmpty()) << "the handshake of a former process, which is about to be resumed";
  broker.client().resume(claimed(7, "a"), resumed_state::published);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 7 a dup"));
}

TEST(release_by_caller, completes_refusals_and_goes_on) {
  auto broker = publisher();
  broker.open();
  broker.accept_window(1);
  broker.client().publish(claimed(1, "a"));
  broker.client().publish(claimed(2, "b", 1));
  broker.client().publish(claimed(3, "c"));
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 1 a"));
  broker.ack(packet_type::pubrec, 1, 0x97);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 2 b"));
  broker.ack(packet_type::puback, 2, 0x87);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 3 c"));
  EXPECT_THAT(broker.completions(), ElementsAre(completion{1, 0x97, done}, completion{2, 0x87, done}));
}

TEST(release_by_caller, takes_a_pubcomp_that_knows_nothing_for_success) {
  auto broker = publisher();
  broker.open();
  broker.accept(true);
  broker.client().resume(claimed(1, ""), resumed_state::released);
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 1"));
  broker.ack(packet_type::pubcomp, 1, 0x92);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{1, 0, done}));
}

// --- reconnecting in one process
// --------------------------------------------------------------------------------------

TEST(release_by_caller, goes_on_over_a_new_connection) {
  auto broker = publisher();
  broker.open();
  broker.accept();
  for (const std::uint16_t id : {4, 3, 2, 1})
    broker.client().publish(claimed(id, std::to_string(id)));
  broker.ack(packet_type::pubrec, 4);
  broker.ack(packet_type::pubrec, 3);
  release(broker, {4});
  broker.completions();
  broker.output();
  broker.open();
  broker.accept_window(3, true);
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 4", "PUBLISH 2 2 dup")) << "3 is received, and counts";
  EXPECT_THAT(broker.completions(), IsEmpty());
  release(broker, {3});
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 3"));
  broker.ack(packet_type::pubcomp, 4);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 1 1 dup"));
}

TEST(release_by_caller, keeps_a_release_that_comes_without_a_connection) {
  for (const bool present : {true, false}) {
    auto broker = publisher();
    broker.open();
    broker.accept();
    broker.client().publish(claimed(1, "a"));
    broker.output();
    broker.ack(packet_type::pubrec, 1);
    broker.completions();
    broker.client().close();
    release(broker, {1});
    EXPECT_FALSE(broker.client().has_output());
    broker.open();
    broker.accept(present);
    if (present) {
      EXPECT_THAT(broker.output(), ElementsAre("PUBREL 1"));
      EXPECT_THAT(broker.completions(), IsEmpty());
    } else {
      EXPECT_THAT(broker.output(), IsEmpty());
      EXPECT_THAT(broker.completions(), ElementsAre(completion{1, 0, done}));
    }
  }
}

TEST(release_by_caller, sends_nothing_again_to_a_broker_that_has_lost_the_session) {
  auto broker = publisher();
  broker.open();
  broker.accept_window(4);
  broker.client().publish(claimed(1, "released"));
  broker.client().publish(claimed(2, "received"));
  broker.client().publish(claimed(3, "published"));
  broker.client().publish(claimed(4, "published", 1));
  broker.client().publish(claimed(5, "never sent"));
  broker.ack(packet_type::pubrec, 1);
  broker.ack(packet_type::pubrec, 2);
  release(broker, {1});
  broker.completions();
  broker.open();
  broker.accept(false);
  EXPECT_THAT(broker.completions(),
              ElementsAre(completion{1, 0, done}, completion{2, outcome_unknown, done},
                          completion{3, outcome_unknown, done}, completion{4, outcome_unknown, done}));
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 5 never sent"));
  release(broker, {2});
  EXPECT_THAT(broker.output(), IsEmpty());
  broker.client().publish(claimed(2, "claimed anew"));
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 2 claimed anew"));
}

TEST(caller_ids, stay_with_qos_1_messages_that_start_anew) {
  peer broker;
  broker.open();
  broker.accept_window(1);
  broker.client().publish(claimed(9, "a", 1));
  broker.client().publish(claimed(3, "b", 1));
  broker.output();
  broker.open();
  broker.accept(false);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 9 a", "PUBLISH 3 b"));
  EXPECT_THROW(broker.client().publish(claimed(9, "c", 1)), assertion_failed);
}

TEST(session, answers_no_pubrec_for_what_waits_to_be_sent_again) {
  peer broker;
  broker.open();
  broker.accept();
  for (const std::uint64_t token : {1, 2})
    broker.client().publish({"t", std::to_string(token), 2, false, token});
  broker.output();
  broker.open();
  broker.accept_window(1, true);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 1 1 dup"));
  broker.ack(packet_type::pubrec, 2);
  EXPECT_THAT(broker.output(), IsEmpty()) << "PUBREL here and PUBLISH later would make two messages";
}

// --- resuming what a former process left
// ------------------------------------------------------------------------------

TEST(resume, goes_on_in_the_order_of_the_claims_before_anything_new) {
  auto broker = publisher();
  broker.open();
  broker.accept_window(4, true);
  broker.client().resume(claimed(40, ""), resumed_state::released);
  broker.client().resume(claimed(7, ""), resumed_state::released);
  for (const std::uint16_t id : {9, 8, 30})
    broker.client().resume(claimed(id, std::to_string(id)), resumed_state::published);
  broker.client().publish(claimed(1, "new"));
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 40", "PUBREL 7", "PUBLISH 9 9 dup", "PUBLISH 8 8 dup"));
  broker.ack(packet_type::pubcomp, 40);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 30 30 dup"));
  broker.ack(packet_type::pubrec, 9);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{40, 0, done}, completion{9, 0, received}));
  broker.ack(packet_type::pubcomp, 7);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 1 new"));
}

TEST(resume, takes_qos_1_too) {
  auto broker = publisher();
  broker.open();
  broker.accept(true);
  broker.client().resume(claimed(5, "a", 1), resumed_state::published);
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 5 a dup"));
  broker.ack(packet_type::puback, 5);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{5, 0, done}));
  EXPECT_THROW(broker.client().resume(claimed(6, "", 1), resumed_state::released), assertion_failed);
  EXPECT_THROW(broker.client().resume(claimed(6, "", 0), resumed_state::published), assertion_failed);
  EXPECT_THROW(broker.client().resume({"t", "", 2, false, 6}, resumed_state::published), assertion_failed);
}

TEST(resume, outlasts_a_connection_that_breaks_meanwhile) {
  auto broker = publisher();
  broker.open();
  broker.accept(true);
  broker.client().close();
  broker.client().resume(claimed(2, ""), resumed_state::released);
  broker.client().resume(claimed(1, "a"), resumed_state::published);
  broker.open();
  broker.accept(true);
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 2", "PUBLISH 1 a dup"));
}

TEST(resume, completes_at_once_when_the_session_is_another_meanwhile) {
  auto broker = publisher();
  broker.open();
  broker.accept(true);
  broker.open();
  broker.accept(false);
  broker.open();
  broker.accept(true); // the session of the second connection
  broker.client().resume(claimed(2, ""), resumed_state::released);
  broker.client().resume(claimed(1, "a"), resumed_state::published);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{2, 0, done}, completion{1, outcome_unknown, done}));
  EXPECT_THAT(broker.output(), IsEmpty());
  EXPECT_EQ(broker.client().in_flight(), 0u);
}

TEST(resume, completes_when_the_next_connack_shows_the_session_lost) {
  auto broker = publisher();
  broker.open();
  broker.accept(true);
  broker.client().resume(claimed(2, ""), resumed_state::released);
  broker.client().resume(claimed(1, "a"), resumed_state::published);
  broker.output();
  broker.open();
  broker.accept(false);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{2, 0, done}, completion{1, outcome_unknown, done}));
  EXPECT_THAT(broker.output(), IsEmpty());
}

TEST(resume, refuses_what_this_broker_cannot_take) {
  auto broker = publisher();
  broker.open();
  connack_packet answer;
  answer.session_present = true;
  answer.packet_bytes_max = 50;
  ASSERT_FALSE(broker.send_connack(answer));
  broker.client().resume(claimed(1, std::string(50, 'x')), resumed_state::published);
  broker.client().resume(claimed(2, "b"), resumed_state::published);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{1, 0x95, done}));
  EXPECT_THAT(broker.output(), ElementsAre("PUBLISH 2 b dup"));
  EXPECT_EQ(broker.client().in_flight(), 1u);
}

// --- publish_timeout
// --------------------------------------------------------------------------------------------------

peer impatient_publisher() {
  auto out = publisher();
  out.options.publish_timeout = 5s;
  out.options.keep_alive = 0s;
  return out;
}

TEST(publish_timeout, ends_the_connection_over_an_unanswered_publish) {
  auto broker = impatient_publisher();
  broker.open();
  broker.accept();
  EXPECT_FALSE(broker.client().deadline(true));
  broker.client().publish(claimed(1, "a"));
  EXPECT_FALSE(broker.client().deadline(true)) << "not written yet";
  broker.output();
  const auto written = broker.now;
  EXPECT_EQ(broker.client().deadline(true), written + 5s);
  broker.now += 1s;
  broker.client().publish(claimed(2, "b"));
  broker.output();
  EXPECT_EQ(broker.client().deadline(true), written + 5s) << "the oldest counts";
  broker.ack(packet_type::pubrec, 1);
  EXPECT_EQ(broker.client().deadline(true), written + 6s) << "what waits for the caller does not";
  broker.now = written + 6s - 1ms;
  EXPECT_TRUE(broker.client().tick(broker.now, true));
  broker.now += 1ms;
  const auto given_up = broker.client().tick(broker.now, true);
  ASSERT_FALSE(given_up);
  EXPECT_EQ(given_up.error().code, errc::timed_out);
  EXPECT_THAT(given_up.error().message, HasSubstr("5000 ms"));
}

TEST(publish_timeout, counts_for_pubrel_too_and_begins_anew_with_a_connection) {
  auto broker = impatient_publisher();
  broker.open();
  broker.accept();
  broker.client().publish(claimed(1, "a"));
  broker.output();
  broker.ack(packet_type::pubrec, 1);
  broker.now += 1h;
  EXPECT_TRUE(broker.client().tick(broker.now, true));
  release(broker, {1});
  broker.output();
  EXPECT_EQ(broker.client().deadline(true), broker.now + 5s);
  broker.now += 5s;
  EXPECT_FALSE(broker.client().tick(broker.now, true));
  broker.open();
  EXPECT_FALSE(broker.client().deadline(true));
  broker.accept(true);
  broker.output();
  EXPECT_EQ(broker.client().deadline(true), broker.now + 5s);
  broker.ack(packet_type::pubcomp, 1);
  EXPECT_FALSE(broker.client().deadline(true));
}

TEST(publish_timeout, expects_no_answer_while_nothing_is_read) {
  auto broker = impatient_publisher();
  broker.open();
  broker.accept();
  broker.client().publish(claimed(1, "a", 1));
  broker.output();
  broker.now += 1h;
  EXPECT_FALSE(broker.client().deadline(false));
  EXPECT_TRUE(broker.client().tick(broker.now, false));
  broker.client().reading_resumed(broker.now);
  EXPECT_EQ(broker.client().deadline(true), broker.now + 5s);
  EXPECT_TRUE(broker.client().tick(broker.now, true));
}

TEST(publish_timeout, leaves_keep_alive_its_own_time) {
  auto broker = impatient_publisher();
  broker.options.keep_alive = 4s;
  broker.open();
  broker.accept();
  broker.client().publish(claimed(1, "a"));
  broker.output();
  EXPECT_EQ(broker.client().deadline(true), broker.now + 3s);
  broker.now += 3s;
  ASSERT_TRUE(broker.client().tick(broker.now, true));
  EXPECT_THAT(broker.output(), ElementsAre("PINGREQ"));
  EXPECT_EQ(broker.client().deadline(true), broker.now + 2s);
}

TEST(session, keeps_the_reason_code_with_which_the_broker_ends_the_connection) {
  peer broker;
  broker.open();
  broker.accept();
  EXPECT_EQ(broker.client().broker_reason(), 0);
  std::string bytes;
  encode(bytes, disconnect_packet{0x8e, ""}, version::v5);
  ASSERT_TRUE(broker.send(bytes));
  EXPECT_EQ(broker.client().broker_reason(), 0x8e);
  broker.client().close();
  EXPECT_EQ(broker.client().broker_reason(), 0);
  broker.open();
  connack_packet answer;
  answer.reason = 0x87;
  ASSERT_TRUE(broker.send_connack(answer));
  EXPECT_EQ(broker.client().broker_reason(), 0x87);
}

// --- on request
// -------------------------------------------------------------------------------------------------------

peer publisher_on_request() {
  auto out = publisher();
  out.options.on_request = true;
  return out;
}

TEST(on_request, nothing_is_published_before_the_caller_says_so) {
  auto broker = publisher_on_request();
  broker.client().publish(claimed(1, "early"));
  broker.open();
  broker.accept(true);
  broker.client().publish(claimed(2, "late"));
  broker.client().resume(claimed(9, "former"), resumed_state::published);
  broker.client().resume(claimed(8, ""), resumed_state::released);
  EXPECT_THAT(broker.output(), IsEmpty());
  broker.client().proceed();
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 8", "PUBLISH 9 former dup", "PUBLISH 1 early", "PUBLISH 2 late"));
}

TEST(on_request, after_a_reconnect_nothing_goes_on_before_the_caller_says_so) {
  auto broker = publisher_on_request();
  broker.open();
  broker.accept();
  broker.client().proceed();
  for (const std::uint16_t id : {1, 2, 3})
    broker.client().publish(claimed(id, std::to_string(id)));
  broker.ack(packet_type::pubrec, 1);
  broker.ack(packet_type::pubrec, 2);
  release(broker, {1});
  broker.output();
  broker.client().close();
  broker.open();
  broker.accept(true);
  release(broker, {2});
  EXPECT_THAT(broker.output(), IsEmpty());
  broker.client().proceed();
  EXPECT_THAT(broker.output(), ElementsAre("PUBREL 1", "PUBREL 2", "PUBLISH 3 3 dup"));
}

TEST(on_request, a_lost_session_is_told_before_the_caller_says_so) {
  auto broker = publisher_on_request();
  broker.open();
  broker.accept();
  broker.client().proceed();
  broker.client().publish(claimed(1, "a"));
  broker.output();
  broker.client().close();
  broker.open();
  broker.accept(false);
  EXPECT_THAT(broker.completions(), ElementsAre(completion{1, outcome_unknown, done}));
  EXPECT_THAT(broker.output(), IsEmpty());
}

TEST(on_request, proceeding_without_a_connection_does_nothing) {
  auto broker = publisher_on_request();
  broker.client().proceed();
  broker.open();
  broker.client().proceed();
  broker.accept();
  broker.client().publish(claimed(1, "a"));
  EXPECT_THAT(broker.output(), IsEmpty());
}

} // namespace
} // namespace penstock::mqtt
