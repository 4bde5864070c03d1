#include "mqtt/codec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace penstock::mqtt {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using testing::HasSubstr;

class both_versions : public testing::TestWithParam<version> {};
INSTANTIATE_TEST_SUITE_P(codec, both_versions, testing::Values(version::v3_1_1, version::v5),
                         [](const auto& one) { return one.param == version::v5 ? "v5" : "v3_1_1"; });

packet_view whole(std::string_view bytes) {
  packet_view packet;
  EXPECT_EQ(scan(bytes, packet), scan_status::complete);
  EXPECT_EQ(packet.size, bytes.size());
  return packet;
}

/// Of a decoder's result.
template <class T>
T value(result<T> outcome) {
  EXPECT_TRUE(outcome) << (outcome ? "" : outcome.error().to_string());
  return outcome ? *outcome : T{};
}

/// Decodes as whatever the packet says it is.
result<void> decode_any(const packet_view& packet, version version) {
  const auto outcome_of = [](const auto& outcome) { return outcome ? result<void>{} : result<void>{outcome.error()}; };
  switch (packet.type) {
  case packet_type::connect: return outcome_of(decode_connect(packet));
  case packet_type::connack: return outcome_of(decode_connack(packet, version));
  case packet_type::publish: return outcome_of(decode_publish(packet, version));
  case packet_type::puback:
  case packet_type::pubrec:
  case packet_type::pubrel:
  case packet_type::pubcomp: return outcome_of(decode_ack(packet, version));
  case packet_type::subscribe: return outcome_of(decode_subscribe(packet, version));
  case packet_type::suback: return outcome_of(decode_suback(packet, version));
  case packet_type::unsubscribe: return outcome_of(decode_unsubscribe(packet, version));
  case packet_type::unsuback: return outcome_of(decode_unsuback(packet, version));
  case packet_type::pingreq:
  case packet_type::pingresp: return decode_ping(packet);
  case packet_type::disconnect: return outcome_of(decode_disconnect(packet, version));
  case packet_type::auth: return error{errc::protocol_violation, "AUTH"};
  }
  return error{errc::protocol_violation, "no such type"};
}

// --- the stream
// -------------------------------------------------------------------------------------------------------

TEST(scan, says_how_long_a_packet_is_as_soon_as_its_header_is_there) {
  const std::string bytes = "\x30\xc8\x01"s + std::string(200, 'x');
  packet_view packet;
  EXPECT_EQ(scan(""sv, packet), scan_status::incomplete);
  EXPECT_EQ(scan(std::string_view{bytes}.substr(0, 2), packet), scan_status::incomplete);
  EXPECT_EQ(packet.size, 0u);
  EXPECT_EQ(scan(std::string_view{bytes}.substr(0, 3), packet), scan_status::incomplete);
  EXPECT_EQ(packet.size, 203u);
  const std::string longer = bytes + "more";
  EXPECT_EQ(scan(longer, packet), scan_status::complete);
  EXPECT_EQ(packet.size, 203u);
  EXPECT_EQ(packet.body, std::string(200, 'x'));
}

TEST(scan, refuses_type_0_and_lengths_that_are_too_long) {
  packet_view packet;
  EXPECT_EQ(scan("\x00\x00"sv, packet), scan_status::malformed);
  EXPECT_EQ(scan("\x30\xff\xff\xff\xff"sv, packet), scan_status::malformed);
  EXPECT_EQ(scan("\x30\xff\xff\xff"sv, packet), scan_status::incomplete);
  EXPECT_EQ(scan("\x30\x80\x00"sv, packet), scan_status::malformed) << "0 in two bytes";
  EXPECT_EQ(scan("\x30\xff\xff\xff\x7f"sv, packet), scan_status::incomplete);
  EXPECT_EQ(packet.size, packet_bytes_limit);
}

// --- there and back
// ---------------------------------------------------------------------------------------------------

TEST_P(both_versions, connect_comes_back_as_it_went) {
  connect_packet sent;
  sent.version = GetParam();
  sent.client_id = "penstock-1";
  sent.clean_start = false;
  sent.keep_alive_s = 30;
  sent.user = "device";
  sent.password = "\0secret"sv;
  sent.will = will_packet{"status", "gone", 2, true};
  sent.session_expiry_s = 0xffffffff;
  sent.receive_maximum = 1000;
  sent.packet_bytes_max = 65'536;
  sent.topic_alias_max = 100;
  std::string bytes;
  encode(bytes, sent);
  const auto got = value(decode_connect(whole(bytes)));
  EXPECT_EQ(got.version, GetParam());
  EXPECT_EQ(got.client_id, "penstock-1");
  EXPECT_FALSE(got.clean_start);
  EXPECT_EQ(got.keep_alive_s, 30);
  EXPECT_EQ(got.user, "device");
  EXPECT_EQ(got.password, "\0secret"sv);
  ASSERT_TRUE(got.will);
  EXPECT_EQ(got.will->topic, "status");
  EXPECT_EQ(got.will->payload, "gone");
  EXPECT_EQ(got.will->qos, 2);
  EXPECT_TRUE(got.will->retain);
  if (GetParam() == version::v5) {
    EXPECT_EQ(got.session_expiry_s, 0xffffffff);
    EXPECT_EQ(got.receive_maximum, 1000);
    EXPECT_EQ(got.packet_bytes_max, 65'536u);
    EXPECT_EQ(got.topic_alias_max, 100);
  }
}

TEST_P(both_versions, connack_comes_back_as_it_went) {
  connack_packet sent;
  sent.session_present = true;
  sent.receive_maximum = 20;
  sent.qos_max = 1;
  sent.retain_available = false;
  sent.shared_subscriptions_available = false;
  sent.packet_bytes_max = 1000;
  sent.topic_alias_max = 7;
  sent.keep_alive_s = 15;
  sent.assigned_client_id = "given";
  sent.reason_text = "welcome";
  std::string bytes;
  encode(bytes, sent, GetParam());
  const auto got = value(decode_connack(whole(bytes), GetParam()));
  EXPECT_TRUE(got.session_present);
  EXPECT_EQ(got.reason, 0);
  if (GetParam() == version::v5) {
    EXPECT_EQ(got.receive_maximum, 20);
    EXPECT_EQ(got.qos_max, 1);
    EXPECT_FALSE(got.retain_available);
    EXPECT_FALSE(got.shared_subscriptions_available);
    EXPECT_EQ(got.packet_bytes_max, 1000u);
    EXPECT_EQ(got.topic_alias_max, 7);
    EXPECT_EQ(got.keep_alive_s, 15);
    EXPECT_EQ(got.assigned_client_id, "given");
    EXPECT_EQ(got.reason_text, "welcome");
  }
}

TEST_P(both_versions, publish_comes_back_as_it_went) {
  for (std::uint8_t qos = 0; qos < 3; ++qos)
    for (const std::size_t size : {0u, 1u, 120u, 127u, 128u, 16'384u, 2'097'152u}) {
      const std::string payload(size, 'p');
      const auto id = static_cast<std::uint16_t>(qos == 0 ? 0 : 0xabcd);
      std::string bytes;
      encode(bytes, publish_packet{"a/ü/topic", payload, id, 0, qos, qos > 0, true}, GetParam());
      const auto got = value(decode_publish(whole(bytes), GetParam()));
      EXPECT_EQ(got.topic, "a/ü/topic");
      EXPECT_EQ(got.payload, payload);
      EXPECT_EQ(got.packet_id, id);
      EXPECT_EQ(got.qos, qos);
      EXPECT_EQ(got.duplicate, qos > 0);
      EXPECT_TRUE(got.retained);
    }
}

TEST(publish, carries_a_topic_alias_with_or_without_a_topic) {
  for (const std::string_view topic : {"t", ""}) {
    std::string bytes;
    encode(bytes, publish_packet{topic, "p", 0, 3, 0, false, false}, version::v5);
    const auto got = value(decode_publish(whole(bytes), version::v5));
    EXPECT_EQ(got.topic, topic);
    EXPECT_EQ(got.topic_alias, 3);
    EXPECT_EQ(got.payload, "p");
  }
}

TEST(publish, skips_the_properties_that_nobody_reads) {
  // payload format, message expiry, content type, response topic, correlation data, two subscription ids, two user
  // properties
  const std::string properties =
    "\x01\x01\x02\x00\x00\x00\x09\x03\x00\x01j\x08\x00\x01r\x09\x00\x02\x00\xff\x0b\x05\x0b\x80\x01"
    "\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01w"s;
  const std::string body = "\x00\x01t"s + static_cast<char>(properties.size()) + properties + "payload";
  const std::string bytes = "\x30"s + static_cast<char>(body.size()) + body;
  const auto got = value(decode_publish(whole(bytes), version::v5));
  EXPECT_EQ(got.payload, "payload");
}

TEST_P(both_versions, publish_carries_correlation_and_message_id_where_the_version_can) {
  using namespace std::string_view_literals;
  for (const std::size_t size : {0u, 1u, 100u, 127u, 128u, 20'000u, 65'535u})
    for (const std::uint16_t alias : {0, 3}) {
      const std::string correlation(size, '\xff');
      const std::string id = size == 0 ? "" : "m-" + std::to_string(size);
      publish_packet sent{"t", "payload", 7, alias, 1, false, false};
      sent.correlation = correlation;
      sent.message_id = id;
      std::string bytes;
      encode(bytes, sent, GetParam());
      EXPECT_EQ(bytes.size(), encoded_size(sent, GetParam()));
      const auto got = value(decode_publish(whole(bytes), GetParam()));
      EXPECT_EQ(got.payload, "payload");
      EXPECT_EQ(got.correlation, GetParam() == version::v5 ? correlation : "");
      EXPECT_EQ(got.message_id, GetParam() == version::v5 ? id : "");
      EXPECT_EQ(got.topic_alias, GetParam() == version::v5 ? alias : 0);
    }
}

TEST(publish, knows_the_size_it_will_have) {
  for (const std::size_t size : {0u, 120u, 121u, 16'000u, 16'377u, 16'378u, 2'097'142u, 2'097'143u})
    for (const std::uint8_t qos : {0, 1})
      for (const auto version : {version::v3_1_1, version::v5}) {
        const std::string payload(size, 'p');
        const publish_packet sent{"topic", payload, static_cast<std::uint16_t>(qos), 0, qos, false, false};
        std::string bytes;
        encode(bytes, sent, version);
        EXPECT_EQ(bytes.size(), encoded_size(sent, version)) << size;
      }
}

TEST(publish, finds_the_message_id_among_other_user_properties) {
  const std::string properties = "\x26\x00\x01k\x00\x01v\x26\x00\x0bpenstock-id\x00\x02id"
                                 "\x26\x00\x0bpenstock-id\x00\x02no"s;
  const std::string body = "\x00\x01t"s + static_cast<char>(properties.size()) + properties + "payload";
  const std::string bytes = "\x30"s + static_cast<char>(body.size()) + body;
  const auto got = value(decode_publish(whole(bytes), version::v5));
  EXPECT_EQ(got.message_id, "id");
  EXPECT_EQ(got.correlation, "");
}

TEST_P(both_versions, acknowledgements_come_back_as_they_went) {
  for (const auto type : {packet_type::puback, packet_type::pubrec, packet_type::pubrel, packet_type::pubcomp})
    for (const std::uint8_t reason : {0x00, 0x92}) {
      std::string bytes;
      encode(bytes, ack_packet{type, 0x1234, reason}, GetParam());
      const auto got = value(decode_ack(whole(bytes), GetParam()));
      EXPECT_EQ(got.type, type);
      EXPECT_EQ(got.packet_id, 0x1234);
      EXPECT_EQ(got.reason, GetParam() == version::v5 ? reason : 0);
    }
}

TEST(encode_success, is_what_encode_makes_of_success) {
  for (const auto type : {packet_type::puback, packet_type::pubrec})
    for (const auto version : {version::v3_1_1, version::v5}) {
      std::string quick;
      encode_success(quick, type, 0xfffe);
      std::string full;
      encode(full, ack_packet{type, 0xfffe, 0}, version);
      EXPECT_EQ(quick, full);
    }
}

TEST_P(both_versions, subscriptions_and_their_answers_come_back_as_they_went) {
  std::string bytes;
  encode(bytes, subscribe_packet{9, {{"a/+/b", 1}, {"$share/g/c/#", 2}}}, GetParam());
  const auto asked = value(decode_subscribe(whole(bytes), GetParam()));
  EXPECT_EQ(asked.packet_id, 9);
  ASSERT_EQ(asked.subscriptions.size(), 2u);
  EXPECT_EQ(asked.subscriptions[1].filter, "$share/g/c/#");
  EXPECT_EQ(asked.subscriptions[1].options, 2);

  bytes.clear();
  encode_suback(bytes, {9, "\x01\x80"sv}, GetParam());
  const auto answer = value(decode_suback(whole(bytes), GetParam()));
  EXPECT_EQ(answer.packet_id, 9);
  EXPECT_EQ(answer.reasons, "\x01\x80"sv);

  bytes.clear();
  encode(bytes, unsubscribe_packet{10, {"a/+/b", "c/#"}}, GetParam());
  const auto removed = value(decode_unsubscribe(whole(bytes), GetParam()));
  EXPECT_EQ(removed.packet_id, 10);
  EXPECT_THAT(removed.filters, testing::ElementsAre("a/+/b", "c/#"));

  bytes.clear();
  encode_unsuback(bytes, {10, "\x00\x11"sv}, GetParam());
  const auto gone = value(decode_unsuback(whole(bytes), GetParam()));
  EXPECT_EQ(gone.packet_id, 10);
  EXPECT_EQ(gone.reasons, GetParam() == version::v5 ? "\x00\x11"sv : ""sv);
}

TEST_P(both_versions, pings_and_disconnect_come_back_as_they_went) {
  std::string bytes;
  encode_pingreq(bytes);
  EXPECT_EQ(bytes, "\xc0\x00"sv);
  EXPECT_TRUE(decode_ping(whole(bytes)));
  bytes.clear();
  encode_pingresp(bytes);
  EXPECT_EQ(bytes, "\xd0\x00"sv);
  EXPECT_TRUE(decode_ping(whole(bytes)));
  for (const std::uint8_t reason : {0x00, 0x8e}) {
    bytes.clear();
    encode(bytes, disconnect_packet{reason, reason == 0 ? "" : "why"}, GetParam());
    const auto got = value(decode_disconnect(whole(bytes), GetParam()));
    EXPECT_EQ(got.reason, GetParam() == version::v5 ? reason : 0);
    EXPECT_EQ(got.reason_text, GetParam() == version::v5 && reason != 0 ? "why" : "");
  }
}

TEST(connack, of_a_3_1_1_broker_that_refuses_5_is_understood) {
  EXPECT_EQ(value(decode_connack(whole("\x20\x02\x00\x01"sv), version::v5)).reason, 1);
}

// --- malformed
// --------------------------------------------------------------------------------------------------------

struct malformed_case {
  std::string_view bytes;
  std::string_view text;
  version in = version::v5;
};

class malformed : public testing::TestWithParam<malformed_case> {};

TEST_P(malformed, packet_is_an_error_with_a_name) {
  const auto outcome = decode_any(whole(GetParam().bytes), GetParam().in);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, errc::protocol_violation);
  EXPECT_THAT(outcome.error().message, HasSubstr(GetParam().text));
}

constexpr auto v3 = version::v3_1_1;

INSTANTIATE_TEST_SUITE_P(publish, malformed,
                         testing::Values(malformed_case{"\x36\x05\x00\x01t\x00\x01"sv, "QoS 3"},
                                         malformed_case{"\x38\x04\x00\x01t\x00"sv, "DUP with QoS 0"},
                                         malformed_case{"\x30\x00"sv, "the topic is cut off"},
                                         malformed_case{"\x30\x03\x00\x02t"sv, "the topic is cut off"},
                                         malformed_case{"\x32\x04\x00\x01t\x00"sv, "packet identifier"},
                                         malformed_case{"\x32\x06\x00\x01t\x00\x00\x00"sv, "packet identifier"},
                                         malformed_case{"\x30\x02\x00\x00"sv, "neither topic nor topic alias", v3},
                                         malformed_case{"\x30\x03\x00\x00\x00"sv, "neither topic nor topic alias"},
                                         malformed_case{"\x30\x04\x00\x01+\x00"sv, "wildcard"},
                                         malformed_case{"\x30\x04\x00\x01\x00\x00"sv, "U+0000"},
                                         malformed_case{"\x30\x05\x00\x02\xc3\x28\x00"sv, "UTF-8"},
                                         malformed_case{"\x30\x06\x00\x03\xed\xa0\x80\x00"sv, "UTF-8"},
                                         malformed_case{"\x30\x03\x00\x01t"sv, "length of the properties"},
                                         malformed_case{"\x30\x04\x00\x01t\x05"sv, "cut off"},
                                         malformed_case{"\x30\x06\x00\x01t\x02\x05\x01"sv, "unknown property"},
                                         malformed_case{"\x30\x06\x00\x01t\x02\x7f\x01"sv, "unknown property"},
                                         malformed_case{"\x30\x07\x00\x01t\x03\x21\x00\x01"sv, "does not belong"},
                                         malformed_case{"\x30\x08\x00\x01t\x04\x01\x01\x01\x01"sv, "given twice"},
                                         malformed_case{"\x30\x06\x00\x01t\x02\x01\x02"sv, "value of a property"},
                                         malformed_case{"\x30\x07\x00\x01t\x03\x23\x00\x00"sv, "value of a property"},
                                         malformed_case{"\x30\x06\x00\x01t\x02\x0b\x00"sv, "value of a property"},
                                         malformed_case{"\x30\x08\x00\x01t\x04\x08\x00\x01#"sv,
                                                        "value of a property"}));

INSTANTIATE_TEST_SUITE_P(
  others, malformed,
  testing::Values(
    malformed_case{"\x20\x01\x00"sv, "reason code is missing"}, malformed_case{"\x20\x03\x02\x00\x00"sv, "reserved"},
    malformed_case{"\x20\x03\x01\x87\x00"sv, "refusal with session present"},
    malformed_case{"\x21\x03\x00\x00\x00"sv, "reserved flags"},
    malformed_case{"\x20\x06\x00\x00\x03\x21\x00\x00"sv, "value of a property"},
    malformed_case{"\x20\x08\x00\x00\x05\x16\x00\x02zz"sv, "without a method"},
    malformed_case{"\x20\x03\x00\x00\x00"sv, "bytes after its end", v3},
    malformed_case{"\x40\x01\x00"sv, "packet identifier"}, malformed_case{"\x40\x02\x00\x00"sv, "packet identifier"},
    malformed_case{"\x42\x02\x00\x01"sv, "reserved flags"}, malformed_case{"\x60\x02\x00\x01"sv, "reserved flags"},
    malformed_case{"\x40\x05\x00\x01\x00\x00\x00"sv, "bytes after its end"},
    malformed_case{"\x40\x03\x00\x01\x00"sv, "bytes after its end", v3},
    malformed_case{"\x82\x03\x00\x01\x00"sv, "no filter"},
    malformed_case{"\x82\x07\x00\x01\x00\x00\x01t\x03"sv, "options"},
    malformed_case{"\x82\x06\x00\x01\x00\x01t\x04"sv, "options", v3},
    malformed_case{"\x82\x08\x00\x01\x00\x00\x02#a\x00"sv, "filter is malformed"},
    malformed_case{"\x90\x03\x00\x01\x00"sv, "no reason code"}, malformed_case{"\xa2\x03\x00\x01\x00"sv, "no filter"},
    malformed_case{"\xb0\x03\x00\x01\x00"sv, "bytes after its end", v3},
    malformed_case{"\xd0\x01\x00"sv, "bytes after its end"}, malformed_case{"\xd1\x00"sv, "reserved flags"},
    malformed_case{"\xe0\x01\x00"sv, "bytes after its end", v3}, malformed_case{"\xe0\x03\x8e\x02\x1f"sv, "cut off"},
    malformed_case{"\xe0\x04\x8e\x02\x1f\x00"sv, "value of a property"},
    malformed_case{"\x10\x06\x00\x04MQTX"sv, "not MQTT"},
    malformed_case{"\x10\x0c\x00\x04MQTT\x04\x01\x00\x00\x00\x00"sv, "reserved connect flag", v3},
    malformed_case{"\x10\x0c\x00\x04MQTT\x04\x10\x00\x00\x00\x00"sv, "flags of the will", v3},
    malformed_case{"\x10\x0e\x00\x04MQTT\x04\x40\x00\x00\x00\x00\x00\x00"sv, "password", v3}));

TEST(malformed_corpus, every_packet_cut_off_in_its_body_is_an_error_or_a_shorter_packet_and_never_read_beyond) {
  connect_packet connect;
  connect.client_id = "id";
  connect.will = will_packet{"w", "p", 1, false};
  connect.user = "u";
  connect.password = "p";
  connect.receive_maximum = 5;
  connack_packet connack;
  connack.reason_text = "text";
  connack.keep_alive_s = 3;
  std::vector<std::string> packets(6);
  encode(packets[0], connect);
  encode(packets[1], connack, version::v5);
  encode(packets[2], publish_packet{"topic", "payload", 7, 2, 1, false, false}, version::v5);
  encode(packets[3], subscribe_packet{1, {{"a", 0}, {"b", 1}}}, version::v5);
  encode_suback(packets[4], {1, "\x00\x01"sv}, version::v5);
  encode(packets[5], disconnect_packet{0x8e, "why"}, version::v5);
  for (const auto& bytes : packets) {
    const packet_view full = whole(bytes);
    for (std::size_t size = 0; size < full.body.size(); ++size) {
      // On the heap to the byte, so that the address sanitizer sees one too many.
      const std::vector<char> cut(full.body.begin(), full.body.begin() + static_cast<std::ptrdiff_t>(size));
      packet_view packet = full;
      packet.body = {cut.data(), cut.size()};
      const auto outcome = decode_any(packet, version::v5);
      if (!outcome) {
        EXPECT_EQ(outcome.error().code, errc::protocol_violation) << outcome.error().message;
      }
    }
  }
}

TEST(malformed_corpus, random_bytes_never_do_more_than_fail) {
  std::mt19937 random{20'240'229};
  std::size_t failures = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::vector<char> bytes(random() % 40 + 2);
    for (auto& byte : bytes)
      byte = static_cast<char>(random() % 4 == 0 ? random() : random() % 8);
    bytes[0] = static_cast<char>((random() % 15 + 1) << 4 | (random() % 3 == 0 ? random() % 16 : 0));
    bytes[1] = static_cast<char>(bytes.size() - 2);
    const auto outcome =
      decode_any(whole({bytes.data(), bytes.size()}), round % 2 == 0 ? version::v5 : version::v3_1_1);
    failures += outcome ? 0 : 1;
  }
  EXPECT_GT(failures, 100'000u);
}

// --- texts
// ------------------------------------------------------------------------------------------------------------

TEST(valid_string, is_well_formed_utf_8_without_null) {
  for (const auto good : {""sv, "plain"sv, "ä"sv, "€"sv, "😀"sv, "\xed\x9f\xbf"sv, "\xee\x80\x80"sv,
                          "\xf4\x8f\xbf\xbf"sv, "longer than eight: ä€😀 + #"sv})
    EXPECT_TRUE(valid_string(good)) << good;
  for (const auto bad :
       {"\0"sv, "12345678\0"sv,
        "1234\x00"
        "678"sv,
        "\x80"sv, "\xc0\x80"sv, "\xc1\xbf"sv, "\xc3"sv, "\xe0\x9f\xbf"sv, "\xed\xa0\x80"sv, "\xf0\x8f\xbf\xbf"sv,
        "\xf4\x90\x80\x80"sv, "\xf5\x80\x80\x80"sv, "\xe2\x82"sv, "\xf0\x9f\x98"sv, "1234567\xc3"sv})
    EXPECT_FALSE(valid_string(bad)) << testing::PrintToString(bad);
}

TEST(valid_topic, finds_wildcards_at_every_position) {
  EXPECT_TRUE(valid_topic("users/1/devices/2/telemetry"));
  EXPECT_TRUE(valid_topic("/"));
  EXPECT_FALSE(valid_topic(""));
  EXPECT_FALSE(valid_topic(std::string(65'536, 'x')));
  for (std::size_t at = 0; at < 20; ++at)
    for (const char wildcard : {'+', '#', '\0'}) {
      std::string topic(20, 'x');
      topic[at] = wildcard;
      EXPECT_FALSE(valid_topic(topic)) << at;
    }
}

TEST(valid_filter, knows_where_wildcards_may_stand) {
  for (const auto good : {"a", "#", "+", "a/#", "+/+", "a/+/b", "/", "$share/g/a/#", "$share/g/+", "$SYS/#"})
    EXPECT_TRUE(valid_filter(good)) << good;
  for (const auto bad : {"", "a#", "#/a", "a+", "+a", "a/+b", "$share/g", "$share//a", "$share/g/", "$share/+/a"})
    EXPECT_FALSE(valid_filter(bad)) << bad;
}

TEST(names, are_known_for_every_packet_and_reason) {
  for (unsigned type = 1; type < 16; ++type)
    EXPECT_THAT(std::string{name_of(static_cast<packet_type>(type))}, testing::MatchesRegex("[A-Z]+"));
  EXPECT_EQ(reason_name(0x87), "not authorised");
  EXPECT_EQ(reason_name(0x7f), "unknown reason");
  EXPECT_EQ(return_code_name(5), "not authorised");
}

} // namespace
} // namespace penstock::mqtt
