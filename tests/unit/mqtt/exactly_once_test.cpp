// Messages exactly once from a tracking table to a broker, whatever ends when: the real session, a model of the table
// (what is committed stays, all else ends with the process) and a model of the broker's end of QoS 2 (MQTT 5, 4.3.3).
//
//   claim -> PUBLISH -> PUBREC -> commit of the release -> PUBREL -> PUBCOMP -> commit of sent
#include "mqtt/session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <random>
#include <set>

namespace penstock::mqtt {
namespace {

using testing::IsEmpty;

/// Both are right; mosquitto is of the second kind.
enum class delivery : std::uint8_t { at_publish, at_pubrel };

struct setting {
  mqtt::version version = version::v5;
  delivery when = delivery::at_publish;
  std::uint16_t window = 10;
  std::uint16_t receive_maximum = 10;
  bool repeats_pubrec = false; ///< the broker does, after a CONNACK, without being asked
};

/// The broker. Its session outlives connections. A message is its number as text, its id is "m-NUMBER".
class receiver {
public:
  explicit receiver(const setting& given) : setting_(given), version_(given.version) {}

  void connect() {
    input_.clear();
    output_.clear();
  }
  void lose_session() {
    known_ = false;
    held_.clear();
    held_in_order_.clear();
  }
  void receive(std::string_view bytes) {
    input_ += bytes;
    packet_view packet;
    while (scan(input_, packet) == scan_status::complete) {
      on_packet(packet);
      input_.erase(0, packet.size);
    }
  }
  std::string take_output() { return std::exchange(output_, {}); }

  std::vector<int> delivered;
  std::vector<std::string> faults;

private:
  void on_packet(const packet_view& packet) {
    if (packet.type == packet_type::connect) {
      connack_packet answer;
      answer.session_present = std::exchange(known_, true);
      answer.receive_maximum = setting_.receive_maximum;
      encode(output_, answer, version_);
      if (setting_.repeats_pubrec)
        for (const auto packet_id : held_in_order_)
          encode_success(output_, packet_type::pubrec, packet_id);
    } else if (packet.type == packet_type::publish) {
      on_publish(*decode_publish(packet, version_));
    } else if (packet.type == packet_type::pubrel) {
      on_pubrel(decode_ack(packet, version_)->packet_id);
    } else {
      faults.push_back("unexpected " + std::string{name_of(packet.type)});
    }
  }

  void on_publish(const publish_packet& message) {
    const std::string payload{message.payload};
    if (version_ == version::v5 && message.message_id != "m-" + payload)
      faults.push_back("message " + payload + " has the id " + std::string{message.message_id});
    const auto held = held_.find(message.packet_id);
    if (held == held_.end()) {
      held_[message.packet_id] = payload;
      held_in_order_.push_back(message.packet_id);
      if (setting_.when == delivery::at_publish)
        delivered.push_back(std::stoi(payload));
      if (held_.size() > setting_.receive_maximum)
        faults.push_back("more in flight than Receive Maximum");
    } else if (!message.duplicate || held->second != payload) {
      faults.push_back("packet id " + std::to_string(message.packet_id) + " is in use");
    }
    encode_success(output_, packet_type::pubrec, message.packet_id);
  }

  void on_pubrel(std::uint16_t packet_id) {
    const auto held = held_.find(packet_id);
    const bool found = held != held_.end();
    if (found && setting_.when == delivery::at_pubrel)
      delivered.push_back(std::stoi(held->second));
    if (found)
      held_.erase(held);
    std::erase(held_in_order_, packet_id);
    encode(output_, ack_packet{packet_type::pubcomp, packet_id, found ? std::uint8_t{0} : std::uint8_t{0x92}},
           version_);
  }

  const setting setting_;
  const version version_;
  std::string input_;
  std::string output_;
  bool known_ = false;
  std::map<std::uint16_t, std::string> held_; ///< packet ids whose PUBREL has not come
  std::vector<std::uint16_t> held_in_order_;
};

enum class claim_state : std::uint8_t { claimed, released, sent, unknown };

struct claim {
  int number;
  std::uint16_t packet_id;
  claim_state state = claim_state::claimed;
};

/// The table and the broker, and the process between them. Tokens are positions in the table.
class shard {
public:
  explicit shard(const setting& given) : setting_(given), broker(given) { start_process(); }

  // The steps of a message. Each does what is there to do, for all messages.
  void claim_one(int number, std::uint16_t packet_id) {
    to_publish_.push_back(table.size());
    table.push_back({number, packet_id});
  }
  void publish() {
    for (const auto token : std::exchange(to_publish_, {}))
      client_->publish(message_of(token));
  }
  void write() {
    std::string bytes;
    std::vector<std::uint64_t> none;
    client_->take_output(now_, bytes, none);
    to_broker_ += bytes;
  }
  void broker_reads(std::size_t most = SIZE_MAX) {
    broker.receive(to_broker_.substr(0, most));
    to_broker_.erase(0, most);
    to_client_ += broker.take_output();
  }
  void client_reads(std::size_t most = SIZE_MAX) {
    pending_ += to_client_.substr(0, most);
    to_client_.erase(0, most);
    burst nothing;
    const auto taken = client_->feed(pending_, now_, nothing);
    take_completions();
    if (taken) {
      pending_.erase(0, *taken);
      return;
    }
    // PUBREL in answer to a repeated PUBREC makes a second PUBCOMP, which may meet the next message.
    EXPECT_TRUE(setting_.repeats_pubrec) << taken.error().to_string();
    cut(0);
  }
  /// The broker's answers; what they cause is written at once.
  void hear() {
    broker_reads();
    client_reads();
    write();
  }
  /// In the order of the claims: a broker may deliver in that of PUBREL.
  void commit_releases(std::size_t most = SIZE_MAX) {
    for (std::size_t i = 0; i < table.size() && most > 0; ++i) {
      auto& one = table[i];
      if (one.state != claim_state::claimed)
        continue;
      if (std::erase(received_, i) == 0)
        return;
      one.state = claim_state::released;
      to_release_.push_back(one.packet_id);
      --most;
    }
  }
  /// The bug that the order of the steps is there to prevent.
  void release_without_commit() {
    for (const auto token : received_)
      to_release_.push_back(table[token].packet_id);
    release();
  }
  void release() { client_->release_published(std::exchange(to_release_, {})); }
  void commit_sent(std::size_t most = SIZE_MAX) {
    for (; most > 0 && !done_.empty(); --most) {
      const auto [token, reason] = done_.front();
      done_.erase(done_.begin());
      // What is committed as released has arrived, whatever the session knows of it.
      const bool arrived = reason == 0 || table[token].state == claim_state::released;
      table[token].state = arrived ? claim_state::sent : claim_state::unknown;
    }
  }

  /// `reached`: how much of what was written the broker still gets.
  void cut(std::size_t reached) {
    broker_reads(reached);
    to_broker_.clear();
    to_client_.clear();
    pending_.clear();
    broker.connect();
    client_->close();
    take_completions();
    client_->open(now_);
  }
  void crash(std::size_t reached) {
    cut(reached);
    start_process();
  }
  /// Reads the claims, and goes on with them.
  void adopt() {
    if (std::exchange(adopted_, true))
      return;
    for (std::size_t i = 0; i < table.size(); ++i)
      if (table[i].state == claim_state::claimed || table[i].state == claim_state::released)
        client_->resume(message_of(i),
                        table[i].state == claim_state::released ? resumed_state::released : resumed_state::published);
    take_completions();
  }
  void connect() {
    write();
    broker_reads();
    client_reads();
    if (client_->session_present())
      adopt();
    else
      adopted_ = true;
  }
  void run_to_the_end() {
    for (int round = 0; round < 200 && !settled(); ++round) {
      connect();
      publish();
      commit_releases();
      release();
      commit_sent();
    }
  }

  bool established() const { return client_->established(); }
  bool adopted() const { return adopted_; }
  bool settled() const {
    return std::all_of(table.begin(), table.end(), [](const claim& one) {
      return one.state == claim_state::sent || one.state == claim_state::unknown;
    });
  }
  std::size_t count(claim_state state) const {
    return static_cast<std::size_t>(
      std::count_if(table.begin(), table.end(), [&](const claim& one) { return one.state == state; }));
  }
  std::set<std::uint16_t> ids_in_use() const {
    std::set<std::uint16_t> out;
    for (const auto& one : table)
      if (one.state != claim_state::sent)
        out.insert(one.packet_id);
    return out;
  }

private:
  const setting setting_;

public:
  std::vector<claim> table;
  receiver broker;

private:
  void start_process() {
    session_options options;
    options.client_id = "c";
    options.version = setting_.version;
    options.publish_window_max = setting_.window;
    options.publish_window_max_3_1_1 = setting_.receive_maximum;
    options.release_by_caller = true;
    client_ = std::make_unique<session>(options);
    adopted_ = false;
    to_publish_.clear();
    received_.clear();
    to_release_.clear();
    done_.clear();
    client_->open(now_);
  }
  outbound message_of(std::size_t token) const {
    const auto& one = table[token];
    outbound out{"t", std::to_string(one.number), 2, false, token};
    out.packet_id = one.packet_id;
    out.message_id = "m-" + out.payload;
    return out;
  }
  void take_completions() {
    for (const auto& one : client_->take_completions()) {
      if (one.stage == publish_stage::received) {
        received_.push_back(one.token);
        continue;
      }
      std::erase(received_, one.token); // lost before its release was committed
      done_.emplace_back(one.token, one.reason);
    }
  }

  // the process
  std::unique_ptr<session> client_;
  bool adopted_ = false;
  std::vector<std::size_t> to_publish_;                    ///< tokens
  std::vector<std::size_t> received_;                      ///< tokens, not committed
  std::vector<std::uint16_t> to_release_;                  ///< packet ids, committed
  std::vector<std::pair<std::size_t, std::uint8_t>> done_; ///< token, reason; not committed
  // the connection
  monotonic now_;
  std::string to_broker_;
  std::string to_client_;
  std::string pending_;
};

std::vector<int> numbers(int count) {
  std::vector<int> out(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i)
    out[static_cast<std::size_t>(i)] = i;
  return out;
}

/// What was done last.
enum class point : std::uint8_t {
  claimed,
  published,
  publish_written,
  pubrec_received,
  release_committed,
  released,
  pubrel_written,
  pubcomp_received,
  sent_committed
};
constexpr std::array point_names{"claimed",         "published",         "publish_written",
                                 "pubrec_received", "release_committed", "released",
                                 "pubrel_written",  "pubcomp_received",  "sent_committed"};

const std::vector<point> all_points = [] {
  std::vector<point> out;
  for (std::size_t i = 0; i < point_names.size(); ++i)
    out.push_back(static_cast<point>(i));
  return out;
}();

/// Three messages up to `last`.
void run_up_to(shard& one, point last) {
  for (int number = 0; number < 3; ++number)
    one.claim_one(number, static_cast<std::uint16_t>(60'000 - 7 * number));
  const std::vector<std::function<void()>> steps{
    [&] { one.publish(); }, [&] { one.write(); }, [&] { one.hear(); }, [&] { one.commit_releases(); },
    [&] { one.release(); }, [&] { one.write(); }, [&] { one.hear(); }, [&] { one.commit_sent(); },
  };
  for (std::size_t i = 0; i < static_cast<std::size_t>(last); ++i)
    steps[i]();
}

using point_setting = std::tuple<point, bool, delivery, version>;

/// At each point, with and without the broker getting what was written, and both kinds of broker.
class exactly_once : public testing::TestWithParam<point_setting> {
protected:
  setting of_test() const {
    setting out;
    out.when = std::get<2>(GetParam());
    out.version = std::get<3>(GetParam());
    return out;
  }
  point last() const { return std::get<0>(GetParam()); }
  std::size_t reached() const { return std::get<1>(GetParam()) ? SIZE_MAX : 0; }

  shard one{of_test()};
};

std::string name_of_test(const testing::TestParamInfo<point_setting>& test) {
  const auto& [last, reached, when, version] = test.param;
  return std::string{point_names.at(static_cast<std::size_t>(last))} + (reached ? "_reached" : "_lost") +
         (when == delivery::at_publish ? "_at_publish" : "_at_pubrel") +
         (version == mqtt::version::v5 ? "_v5" : "_v3_1_1");
}

INSTANTIATE_TEST_SUITE_P(at, exactly_once,
                         testing::Combine(testing::ValuesIn(all_points), testing::Bool(),
                                          testing::Values(delivery::at_publish, delivery::at_pubrel),
                                          testing::Values(version::v3_1_1, version::v5)),
                         name_of_test);

TEST_P(exactly_once, though_the_process_ends) {
  one.connect();
  run_up_to(one, last());
  one.crash(reached());
  one.run_to_the_end();
  EXPECT_EQ(one.broker.delivered, numbers(3));
  EXPECT_EQ(one.count(claim_state::sent), 3u);
  EXPECT_THAT(one.broker.faults, IsEmpty());
}

TEST_P(exactly_once, though_the_next_process_ends_right_after_adopting) {
  one.connect();
  run_up_to(one, last());
  one.crash(reached());
  one.connect();
  one.write();
  one.crash(reached());
  one.run_to_the_end();
  EXPECT_EQ(one.broker.delivered, numbers(3));
  EXPECT_EQ(one.count(claim_state::sent), 3u);
  EXPECT_THAT(one.broker.faults, IsEmpty());
}

TEST_P(exactly_once, though_the_connection_is_cut) {
  one.connect();
  run_up_to(one, last());
  one.cut(reached());
  one.run_to_the_end();
  EXPECT_EQ(one.broker.delivered, numbers(3));
  EXPECT_EQ(one.count(claim_state::sent), 3u);
  EXPECT_THAT(one.broker.faults, IsEmpty());
}

/// Whatever is not committed as released is unknown then, and nothing is sent again by itself.
TEST_P(exactly_once, or_known_as_unknown_when_the_broker_loses_the_session) {
  one.connect();
  run_up_to(one, last());
  const bool never_sent = last() < point::published;
  one.cut(reached());
  one.broker.lose_session();
  one.run_to_the_end();
  const bool arrived = never_sent || last() >= point::release_committed;
  EXPECT_EQ(one.count(claim_state::sent), arrived ? 3u : 0u);
  EXPECT_EQ(one.count(claim_state::unknown), arrived ? 0u : 3u);
  EXPECT_LE(one.broker.delivered.size(), 3u) << "nothing twice";
  EXPECT_THAT(one.broker.faults, IsEmpty());
  if (arrived)
    return;
  // on_lost_session: hold leaves it at that; resend is a new claim of the same message, which keeps its id.
  for (int number = 0; number < 3; ++number)
    one.claim_one(number, static_cast<std::uint16_t>(number + 1));
  one.run_to_the_end();
  EXPECT_EQ(std::set<int>(one.broker.delivered.begin(), one.broker.delivered.end()).size(), 3u);
  EXPECT_EQ(one.count(claim_state::sent), 3u);
}

TEST(exactly_once_model, sees_a_message_twice_that_is_released_before_its_release_is_committed) {
  for (const auto when : {delivery::at_publish, delivery::at_pubrel}) {
    setting given;
    given.when = when;
    shard one{given};
    one.connect();
    run_up_to(one, point::pubrec_received);
    one.release_without_commit();
    one.write();
    one.crash(SIZE_MAX);
    one.run_to_the_end();
    EXPECT_EQ(one.broker.delivered.size(), 6u);
  }
}

/// Random steps; the process and the connection end at random ones.
class random_schedule {
public:
  random_schedule(unsigned seed, version version)
    : random_(seed),
      shard_({version, below(2) == 0 ? delivery::at_publish : delivery::at_pubrel,
              static_cast<std::uint16_t>(1 + below(6)), static_cast<std::uint16_t>(1 + below(6)), below(3) == 0}) {}

  void run(int messages) {
    int next = 0;
    for (int step = 0; step < 100'000 && (next < messages || !shard_.settled()); ++step) {
      take_step(next, messages);
      if (below(61) == 0) {
        shard_.cut(below(200));
        ++cuts;
      }
      if (below(83) == 0) {
        shard_.crash(below(200));
        seen_connected_ = false;
        ++crashes;
      }
    }
    EXPECT_EQ(shard_.broker.delivered, numbers(messages));
    EXPECT_EQ(shard_.count(claim_state::sent), static_cast<std::size_t>(messages));
    EXPECT_THAT(shard_.broker.faults, IsEmpty());
  }

  int cuts = 0;
  int crashes = 0;

private:
  std::size_t below(std::size_t limit) { return random_() % limit; }
  std::size_t some() { return below(3) == 0 ? SIZE_MAX : below(60); }

  void take_step(int& next, int messages) {
    seen_connected_ = seen_connected_ || shard_.established();
    switch (below(9)) {
    case 0:
      if (shard_.adopted() && next < messages)
        claim_next(next);
      break;
    case 1: shard_.publish(); break;
    case 2: shard_.write(); break;
    case 3: shard_.broker_reads(some()); break;
    case 4: shard_.client_reads(some()); break;
    case 5: shard_.commit_releases(below(4)); break;
    case 6: shard_.release(); break;
    case 7: shard_.commit_sent(below(4)); break;
    default:
      // It may come late: the connection, on which the claims were read, may be gone by now.
      if (seen_connected_)
        shard_.adopt();
    }
  }
  void claim_next(int& next) {
    const auto in_use = shard_.ids_in_use();
    if (in_use.size() == 8)
      return;
    std::uint16_t id = 0;
    do
      id = static_cast<std::uint16_t>(1 + below(12));
    while (in_use.contains(id));
    shard_.claim_one(next++, id);
  }

  std::mt19937 random_;
  shard shard_;
  bool seen_connected_ = false;
};

TEST(exactly_once_random, schedules_of_steps_cuts_and_ends_keep_every_message_once_and_in_order) {
  int cuts = 0;
  int crashes = 0;
  for (unsigned seed = 0; seed < 400; ++seed)
    for (const auto version : {version::v3_1_1, version::v5}) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      random_schedule one{seed, version};
      one.run(25);
      cuts += one.cuts;
      crashes += one.crashes;
      if (testing::Test::HasFailure())
        return;
    }
  EXPECT_GT(cuts, 2'000);
  EXPECT_GT(crashes, 1'000);
}

} // namespace
} // namespace penstock::mqtt
