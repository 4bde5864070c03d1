#include "core/time_text.hpp"
#include "fixture.hpp"

#include <nlohmann/json.hpp>

#include <set>

namespace penstock::nodes::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class payload_generator_test : public nodes_test {
protected:
  result<payload_generator> for_pipeline(const config::ingest& pipeline, generator_options options = {}) {
    options.started = at_second(0);
    return payload_generator::make(pipeline, options);
  }
};

TEST_F(payload_generator_test, the_same_seed_makes_the_same_messages) {
  auto one = generator({.devices = 7, .malformed_percent = 20, .seed = 5});
  auto two = generator({.devices = 7, .malformed_percent = 20, .seed = 5});
  auto other = generator({.devices = 7, .malformed_percent = 20, .seed = 6});
  std::size_t differences = 0;
  for (int i = 0; i < 200; ++i) {
    const auto a = one.next(at_second(i));
    const auto b = two.next(at_second(i));
    EXPECT_EQ(a.topic, b.topic);
    EXPECT_EQ(a.payload, b.payload);
    EXPECT_EQ(a.key, b.key);
    differences += other.next(at_second(i)).payload != a.payload ? 1 : 0;
  }
  EXPECT_GT(differences, 100u);
}

TEST_F(payload_generator_test, the_key_is_what_the_decoder_makes_of_the_message) {
  auto made = generator({.devices = 25});
  single_decoder decoder{pipeline()};
  for (int i = 0; i < 300; ++i) {
    const auto message = made.next(at_second(i / 100)); // many at the same instant
    EXPECT_EQ(decoder.key(message.topic, message.payload, at_second(0)), message.key) << message.payload;
  }
}

TEST_F(payload_generator_test, no_two_keys_are_the_same) {
  auto made = generator({.devices = 3});
  std::set<storage::key_text> keys;
  for (int i = 0; i < 1'000; ++i)
    keys.insert(made.next(at_second(0)).key);
  EXPECT_EQ(keys.size(), 1'000u);
}

TEST_F(payload_generator_test, devices_are_spread_over_users_and_count_for_themselves) {
  auto made = generator({.devices = 12});
  std::vector<generated_message> messages;
  for (int i = 0; i < 24; ++i)
    messages.push_back(made.next(at_second(0)));
  EXPECT_EQ(messages[0].topic, "users/user_0/devices/device_001/telemetry");
  EXPECT_EQ(messages[11].topic, "users/user_1/devices/device_002/telemetry");
  EXPECT_EQ(messages[0].key[3], "0");
  EXPECT_EQ(messages[12].topic, messages[0].topic);
  EXPECT_EQ(messages[12].key[3], "1");
}

TEST_F(payload_generator_test, values_are_plausible_and_something_is_left_for_the_rest) {
  auto made = generator({.devices = 5});
  for (int i = 0; i < 200; ++i) {
    const auto payload = nlohmann::json::parse(made.next(at_second(i)).payload);
    EXPECT_TRUE(parse_rfc3339(payload.at("time").get<std::string>()));
    if (!payload.at("temperature").is_null()) {
      EXPECT_GE(payload["temperature"], 20.0);
      EXPECT_LE(payload["temperature"], 45.0);
    }
    if (!payload.at("battery").is_null()) {
      EXPECT_GE(payload["battery"], 10);
      EXPECT_LE(payload["battery"], 99);
    }
    EXPECT_TRUE(payload.contains("firmware"));
  }
}

TEST_F(payload_generator_test, every_malformed_message_is_one_for_the_decoder_and_about_as_many_as_asked_for) {
  auto made = generator({.malformed_percent = 10, .seed = 3});
  single_decoder decoder{pipeline()};
  std::size_t malformed = 0;
  for (int i = 0; i < 3'000; ++i) {
    const auto message = made.next(at_second(i));
    EXPECT_EQ(decoder.key(message.topic, message.payload, at_second(0)).has_value(), !message.malformed)
      << message.payload;
    malformed += message.malformed ? 1 : 0;
  }
  EXPECT_GT(malformed, 240u);
  EXPECT_LT(malformed, 360u);
}

TEST_F(payload_generator_test, nested_members_and_elements_are_built) {
  config::ingest nested = pipeline();
  nested.topics = {"meters/{meter_id}"};
  nested.key = {"id", "at"};
  using step = config::source::step;
  const auto path = [](std::vector<step> steps) {
    config::source source;
    source.path = std::move(steps);
    return source;
  };
  nested.columns = {{"id", path({{"head"}, {"id"}}), column_type::text, false},
                    {"at", path({{"head"}, {"at"}}), column_type::timestamp, false},
                    {"second", path({{"values"}, {"", 1}, {"v"}}), column_type::real, false}};
  auto made = for_pipeline(nested, {.devices = 4});
  ASSERT_TRUE(made);
  single_decoder decoder{nested};
  const auto message = made->next(at_second(9));
  EXPECT_EQ(message.topic, "meters/meter_001");
  EXPECT_EQ(decoder.key(message.topic, message.payload, at_second(0)), message.key) << message.payload;
  EXPECT_TRUE(nlohmann::json::parse(message.payload).at("values").at(0).is_null());
}

TEST_F(payload_generator_test, without_a_time_in_the_key_two_runs_have_different_keys) {
  config::ingest untimed = pipeline();
  untimed.key = {"user_id", "device_id", "sequence_id"};
  const auto first_key = [&](wall_time started) {
    return payload_generator::make(untimed, {.devices = 1, .started = started})->next(started).key;
  };
  EXPECT_NE(first_key(at_second(0)), first_key(at_second(1)));
}

TEST_F(payload_generator_test, a_key_that_cannot_be_foretold_is_refused) {
  config::ingest late = pipeline();
  late.columns.front().source.from = config::source::kind::received;
  const auto made = for_pipeline(late);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::configuration);
  EXPECT_THAT(made.error().message, HasSubstr("key column time"));
}

TEST_F(payload_generator_test, a_topic_alone_stands_for_the_telemetry_shape) {
  const auto made = telemetry_configuration("mqtt://127.0.0.1:1999", "plant/{line_id}/telemetry");
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->brokers.at("main").port, 1999);
  EXPECT_THAT(made->ingest.at("telemetry").key, ElementsAre("time", "line_id", "sequence_id"));
  auto messages = for_pipeline(made->ingest.at("telemetry"));
  ASSERT_TRUE(messages);
  EXPECT_EQ(messages->next(at_second(0)).topic, "plant/line_001/telemetry");
  EXPECT_FALSE(telemetry_configuration("mqtt://127.0.0.1:1999", "bad/#/x"));
  EXPECT_FALSE(telemetry_configuration("nonsense", "a/{b}"));
}

} // namespace
} // namespace penstock::nodes::test
