// The broker's end of a session, step by step, without sockets: what the client writes is decoded, what it is sent is
// encoded.
#pragma once

#include "mqtt/session.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace penstock::mqtt {

class peer {
public:
  session_options options = [] {
    session_options out;
    out.client_id = "client";
    return out;
  }();
  monotonic now{std::chrono::hours{1}};
  std::vector<std::string> received; ///< "SEQUENCE PAYLOAD"
  std::vector<std::string> topics;
  std::vector<std::uint64_t> tokens; ///< of QoS 0 messages in the last output

  session& client() {
    if (!client_)
      client_ = std::make_unique<session>(options);
    return *client_;
  }

  void open() {
    client().open(now);
    pending_.clear();
  }
  connect_packet connect() {
    take();
    packet_view packet = next();
    auto decoded = decode_connect(packet);
    EXPECT_TRUE(decoded);
    return decoded ? *decoded : connect_packet{};
  }
  void accept(bool present = false) {
    connack_packet answer;
    answer.session_present = present;
    const auto failure = send_connack(answer);
    EXPECT_FALSE(failure) << failure->to_string();
  }
  std::optional<error> send_connack(const connack_packet& answer) {
    std::string bytes;
    encode(bytes, answer, client().protocol());
    auto failure = send(bytes);
    take();
    pending_.erase(0, next().size); // the CONNECT
    return failure;
  }
  subscribe_packet subscribe() {
    auto decoded = decode_subscribe(next(), client().protocol());
    EXPECT_TRUE(decoded);
    return decoded ? *decoded : subscribe_packet{};
  }
  std::optional<error> send_suback(std::uint16_t id, const std::string& reasons) {
    std::string bytes;
    encode_suback(bytes, {id, reasons}, client().protocol());
    return send(bytes);
  }
  std::vector<std::string> unsubscribe() {
    take();
    packet_view packet = next();
    auto decoded = decode_unsubscribe(packet, client().protocol());
    EXPECT_TRUE(decoded);
    std::vector<std::string> filters;
    if (decoded)
      filters.assign(decoded->filters.begin(), decoded->filters.end());
    pending_.erase(0, packet.size);
    return filters;
  }
  std::optional<error> send_unsuback(std::uint16_t id, const std::string& reasons) {
    std::string bytes;
    encode_unsuback(bytes, {id, reasons}, client().protocol());
    return send(bytes);
  }
  std::optional<error> answer_ping() {
    std::string bytes;
    encode_pingresp(bytes);
    return send(bytes);
  }
  std::optional<error> publish(std::string_view topic, std::string_view payload, std::uint8_t qos, std::uint16_t id = 0,
                               bool duplicate = false) {
    std::string bytes;
    encode(bytes, publish_packet{topic, payload, id, 0, qos, duplicate, false}, client().protocol());
    return send(bytes);
  }
  std::optional<error> publish_alias(std::string_view topic, std::string_view payload, std::uint16_t alias) {
    std::string bytes;
    encode(bytes, publish_packet{topic, payload, 0, alias, 0, false, false}, version::v5);
    return send(bytes);
  }
  std::optional<error> ack(packet_type type, std::uint16_t id, std::uint8_t reason = 0) {
    std::string bytes;
    encode(bytes, ack_packet{type, id, reason}, client().protocol());
    return send(bytes);
  }

  std::optional<error> send(const std::string& bytes) {
    burst out;
    const auto taken = client().feed(bytes, now, out);
    sequence number = out.first;
    for (const auto& message : out.messages) {
      received.push_back(std::to_string(number++) + " " + std::string{message.payload});
      topics.emplace_back(message.topic);
    }
    if (!taken)
      return taken.error();
    EXPECT_EQ(*taken, bytes.size());
    return std::nullopt;
  }

  /// What the client has written since the last call, one text a packet.
  std::vector<std::string> output() {
    take();
    std::vector<std::string> out;
    while (!pending_.empty()) {
      const packet_view packet = next();
      if (packet.size == 0)
        break;
      out.push_back(describe(packet));
      pending_.erase(0, packet.size);
    }
    return out;
  }
  /// As output, but without counting as a write.
  std::vector<std::string> output_if_any() { return client().has_output() ? output() : std::vector<std::string>{}; }
  std::vector<std::uint16_t> published_ids() {
    take();
    std::vector<std::uint16_t> out;
    while (!pending_.empty()) {
      const packet_view packet = next();
      out.push_back(decode_publish(packet, client().protocol())->packet_id);
      pending_.erase(0, packet.size);
    }
    return out;
  }
  void accept_window(std::uint16_t receive_maximum, bool present = false) {
    connack_packet answer;
    answer.session_present = present;
    answer.receive_maximum = receive_maximum;
    EXPECT_FALSE(send_connack(answer));
  }
  std::vector<completion> completions() { return client().take_completions(); }

private:
  void take() {
    std::string bytes;
    client().take_output(now, bytes, tokens);
    pending_ += bytes;
  }
  packet_view next() {
    packet_view packet;
    EXPECT_EQ(scan(pending_, packet), scan_status::complete);
    return packet;
  }
  std::string describe(const packet_view& packet) {
    std::string text{name_of(packet.type)};
    if (packet.type == packet_type::publish) {
      const auto message = *decode_publish(packet, client().protocol());
      text += " " + std::to_string(message.packet_id) + " " + std::string{message.payload};
      text += message.duplicate ? " dup" : "";
      text += message.retained ? " retained" : "";
    } else if (packet.type >= packet_type::puback && packet.type <= packet_type::pubcomp) {
      const auto ack = *decode_ack(packet, client().protocol());
      text += " " + std::to_string(ack.packet_id) + (ack.reason == 0x92 ? " 0x92" : "");
    }
    return text;
  }

  std::unique_ptr<session> client_;
  std::string pending_;
};

} // namespace penstock::mqtt
