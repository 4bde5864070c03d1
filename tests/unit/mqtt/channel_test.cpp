// The session over a byte stream that is cut, merged and broken off anywhere, against a broker that keeps its promises:
// nothing acknowledged is lost, and QoS 2 comes once.
#include "mqtt/session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace penstock::mqtt {
namespace {

/// The broker's state that outlives connections. Messages to the client are numbers as text.
class model_broker {
public:
  explicit model_broker(version version) : version_(version) {}

  void connect() {
    input_.clear();
    output_.clear();
    sent_.clear();
    greeted_ = false;
  }
  void receive(std::string_view bytes) {
    input_ += bytes;
    packet_view packet;
    while (scan(input_, packet) == scan_status::complete) {
      on_packet(packet);
      input_.erase(0, packet.size);
    }
  }
  /// To be delivered to the client.
  void enqueue(int number, std::uint8_t qos) { waiting_.push_back({number, qos}); }
  void pump() {
    while (greeted_ && !waiting_.empty() && outgoing_.size() < 10) {
      const auto [number, qos] = waiting_.front();
      waiting_.erase(waiting_.begin());
      std::uint16_t id = 1;
      while (outgoing_.contains(id))
        ++id;
      outgoing_[id] = {number, qos, false, order_++};
      send(id, false);
    }
  }
  std::string take_output() { return std::exchange(output_, {}); }
  bool idle() const { return waiting_.empty() && outgoing_.empty(); }

  std::vector<int> published; ///< by the client, as the broker's subscribers would get them
  std::vector<std::uint16_t> acknowledged_out_of_order;

private:
  struct message {
    int number;
    std::uint8_t qos;
    bool released; ///< PUBREC has come
    std::uint64_t order;
  };

  void send(std::uint16_t id, bool duplicate) {
    const auto& one = outgoing_[id];
    if (one.released) {
      encode(output_, ack_packet{packet_type::pubrel, id, 0}, version_);
      return;
    }
    const std::string text = std::to_string(one.number);
    encode(output_, publish_packet{"t", text, id, 0, one.qos, duplicate, false}, version_);
    sent_.push_back(id);
  }

  void acknowledged(std::uint16_t id) {
    if (sent_.empty() || sent_.front() != id)
      acknowledged_out_of_order.push_back(id);
    std::erase(sent_, id);
  }

  void on_packet(const packet_view& packet) {
    switch (packet.type) {
    case packet_type::connect: return on_connect(packet);
    case packet_type::publish: return on_publish(packet);
    case packet_type::puback:
    case packet_type::pubrec:
    case packet_type::pubrel:
    case packet_type::pubcomp: return on_ack(*decode_ack(packet, version_));
    default: ADD_FAILURE() << "unexpected " << name_of(packet.type);
    }
  }

  void on_connect(const packet_view& packet) {
    ASSERT_TRUE(decode_connect(packet));
    connack_packet answer;
    answer.session_present = std::exchange(known_, true);
    encode(output_, answer, version_);
    greeted_ = true;
    std::vector<std::pair<std::uint64_t, std::uint16_t>> ids;
    for (const auto& [id, one] : outgoing_)
      ids.push_back({one.order, id});
    std::sort(ids.begin(), ids.end());
    for (const auto& [order, id] : ids)
      send(id, true);
  }

  void on_publish(const packet_view& packet) {
    const auto one = *decode_publish(packet, version_);
    const int number = std::stoi(std::string{one.payload});
    if (one.qos == 2) {
      if (incoming_.insert(one.packet_id).second)
        published.push_back(number);
      encode(output_, ack_packet{packet_type::pubrec, one.packet_id, 0}, version_);
    } else {
      published.push_back(number);
      encode(output_, ack_packet{packet_type::puback, one.packet_id, 0}, version_);
    }
  }

  void on_ack(const ack_packet& ack) {
    const std::uint16_t id = ack.packet_id;
    const auto found = outgoing_.find(id);
    switch (ack.type) {
    case packet_type::puback:
      acknowledged(id);
      outgoing_.erase(id);
      break;
    case packet_type::pubrec:
      if (found != outgoing_.end() && !found->second.released) {
        acknowledged(id);
        found->second.released = true;
      }
      encode(output_, ack_packet{packet_type::pubrel, id, 0}, version_);
      break;
    case packet_type::pubcomp: outgoing_.erase(id); break;
    default: incoming_.erase(id); encode(output_, ack_packet{packet_type::pubcomp, id, 0}, version_);
    }
  }

  version version_;
  std::string input_;
  std::string output_;
  bool known_ = false;
  bool greeted_ = false;
  std::uint64_t order_ = 0;
  std::vector<std::pair<int, std::uint8_t>> waiting_;
  std::map<std::uint16_t, message> outgoing_;
  std::vector<std::uint16_t> sent_; ///< on this connection, not acknowledged, in order
  std::set<std::uint16_t> incoming_;
};

struct outcome {
  std::vector<int> committed; ///< by the client: received and released
  std::vector<int> published; ///< at the broker
  std::map<std::uint64_t, std::uint8_t> completions;
  std::size_t connects = 0;
};

class channel {
public:
  channel(version version, unsigned seed, std::uint8_t qos, int messages, bool cuts)
    : broker_(version), client_(options_of(version)), random_(seed), qos_(qos), messages_(messages), cuts_(cuts) {}

  outcome run() {
    for (int number = 0; number < messages_; ++number) {
      broker_.enqueue(number, qos_);
      client_.publish({"out", std::to_string(number), qos_, false, static_cast<std::uint64_t>(number)});
    }
    reconnect();
    for (int step = 0; step < 100'000 && !finished(); ++step) {
      switch (random_() % 8) {
      case 0:
      case 1: move(to_broker_, [this](std::string_view bytes) { broker_.receive(bytes); }); break;
      case 2:
      case 3:
      case 4: move(to_client_, [this](std::string_view bytes) { receive(bytes); }); break;
      case 5: release(); break;
      default: broker_.pump(); collect();
      }
      if (cuts_ && random_() % 97 == 0)
        reconnect();
    }
    EXPECT_TRUE(finished());
    EXPECT_TRUE(broker_.acknowledged_out_of_order.empty());
    result_.published = broker_.published;
    return result_;
  }

private:
  static session_options options_of(version version) {
    session_options out;
    out.client_id = "c";
    out.version = version;
    out.publish_window_max = 5;
    return out;
  }

  bool finished() {
    return broker_.idle() && result_.completions.size() == static_cast<std::size_t>(messages_) &&
           client_.unreleased() == 0;
  }

  /// Everything on the way is lost.
  void reconnect() {
    to_broker_.clear();
    to_client_.clear();
    pending_.clear();
    client_.close();
    broker_.connect();
    client_.open(now_);
    collect();
    ++result_.connects;
  }

  void collect() {
    std::string bytes;
    std::vector<std::uint64_t> tokens;
    client_.take_output(now_, bytes, tokens);
    to_broker_ += bytes;
    to_client_ += broker_.take_output();
    for (const auto& one : client_.take_completions())
      EXPECT_TRUE(result_.completions.emplace(one.token, one.reason).second) << "a token comes back once";
  }

  template <class Receive>
  void move(std::string& way, Receive receive) {
    const std::size_t size = random_() % (way.size() + 1);
    const std::string part = way.substr(0, random_() % 3 == 0 ? std::min<std::size_t>(size, 1) : size);
    way.erase(0, part.size());
    receive(part);
    collect();
  }

  void receive(std::string_view bytes) {
    pending_ += bytes;
    burst out;
    const auto taken = client_.feed(pending_, now_, out);
    ASSERT_TRUE(taken) << taken.error().to_string();
    sequence number = out.first;
    for (const auto& message : out.messages)
      delivered_[number++] = std::stoi(std::string{message.payload});
    pending_.erase(0, *taken);
  }

  /// The database commits what was delivered, up to somewhere.
  void release() {
    if (delivered_.empty())
      return;
    auto last = delivered_.begin();
    std::advance(last, static_cast<std::ptrdiff_t>(random_() % delivered_.size()));
    const sequence upto = last->first;
    for (auto one = delivered_.begin(); one != std::next(last); ++one)
      result_.committed.push_back(one->second);
    delivered_.erase(delivered_.begin(), std::next(last));
    client_.release(upto);
    collect();
  }

  model_broker broker_;
  session client_;
  std::mt19937 random_;
  std::uint8_t qos_;
  int messages_;
  bool cuts_;
  monotonic now_;
  std::string to_broker_;
  std::string to_client_;
  std::string pending_;
  std::map<sequence, int> delivered_;
  outcome result_;
};

std::vector<int> numbers(int count) {
  std::vector<int> out(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i)
    out[static_cast<std::size_t>(i)] = i;
  return out;
}

std::set<int> distinct(const std::vector<int>& all) { return {all.begin(), all.end()}; }

class channel_test : public testing::TestWithParam<std::tuple<version, int>> {};
INSTANTIATE_TEST_SUITE_P(all, channel_test,
                         testing::Combine(testing::Values(version::v3_1_1, version::v5), testing::Values(1, 2)),
                         [](const auto& one) {
                           return std::string{std::get<0>(one.param) == version::v5 ? "v5" : "v3_1_1"} + "_qos_" +
                                  std::to_string(std::get<1>(one.param));
                         });

TEST_P(channel_test, that_only_splits_and_merges_changes_nothing) {
  const auto [version, qos] = GetParam();
  for (unsigned seed = 0; seed < 20; ++seed) {
    const auto got = channel{version, seed, static_cast<std::uint8_t>(qos), 60, false}.run();
    EXPECT_EQ(got.committed, numbers(60)) << "seed " << seed;
    EXPECT_EQ(got.published, numbers(60)) << "seed " << seed;
  }
}

TEST_P(channel_test, that_breaks_anywhere_loses_nothing_and_repeats_no_qos_2_at_the_broker) {
  const auto [version, qos] = GetParam();
  std::size_t connects = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    const auto got = channel{version, seed, static_cast<std::uint8_t>(qos), 60, true}.run();
    EXPECT_EQ(distinct(got.committed), distinct(numbers(60))) << "seed " << seed;
    EXPECT_EQ(distinct(got.published), distinct(numbers(60))) << "seed " << seed;
    for (const auto& [token, reason] : got.completions)
      EXPECT_EQ(reason, 0) << "seed " << seed;
    if (qos == 2) {
      EXPECT_EQ(got.published.size(), 60u) << "seed " << seed;
    }
    connects += got.connects;
  }
  EXPECT_GT(connects, 200u) << "the channel did break";
}

TEST(channel_cut, at_every_byte_of_the_stream_gives_the_same_messages) {
  std::string stream;
  encode(stream, connack_packet{}, version::v5);
  encode(stream, publish_packet{"topic", "one", 1, 0, 1, false, false}, version::v5);
  encode(stream, publish_packet{"topic", std::string(200, '2'), 2, 4, 2, false, false}, version::v5);
  encode_pingresp(stream);
  encode(stream, publish_packet{"", "three", 0, 4, 0, false, true}, version::v5);
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    session_options options;
    options.client_id = "c";
    session one{options};
    one.open({});
    std::vector<std::string> got;
    std::string pending;
    for (const auto& part : {stream.substr(0, cut), stream.substr(cut)}) {
      pending += part;
      burst out;
      const auto taken = one.feed(pending, {}, out);
      ASSERT_TRUE(taken) << "cut at " << cut;
      for (const auto& message : out.messages)
        got.push_back(std::string{message.topic} + ":" + std::string{message.payload.substr(0, 5)});
      pending.erase(0, *taken);
    }
    EXPECT_THAT(got, testing::ElementsAre("topic:one", "topic:22222", "topic:three")) << "cut at " << cut;
    EXPECT_EQ(pending, "");
  }
}

} // namespace
} // namespace penstock::mqtt
