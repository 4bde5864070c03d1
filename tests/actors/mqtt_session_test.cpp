#include "actors/mqtt_session.hpp"

#include <gmock/gmock.h>

namespace penstock::actors {

using ::testing::ElementsAre;

namespace {

config::ingest telemetry(std::uint32_t shards) {
  config::ingest pipeline;
  pipeline.name = "telemetry";
  pipeline.topics = {"users/{user}/telemetry"};
  pipeline.shards = shards;
  pipeline.in_flight = {300, 4'000};
  return pipeline;
}

session_request request(std::uint32_t shards, std::uint32_t shard = 0) {
  return {session_record_of("4f2a", telemetry(shards), shard), {}, session_request::purpose::receive};
}

mqtt::client_options options_of(const session_request& request) { return client_options_of(request, {}, telemetry(1)); }

} // namespace

// Brokers keep sessions under these: another form would leave behind what they hold for the former one.
TEST(mqtt_session, has_an_id_of_what_stays_the_same_over_restarts_and_nodes) {
  EXPECT_EQ(client_id_of("4f2a", "telemetry", 0), "penstock-4f2a-telemetry-1-0");
  EXPECT_EQ(options_of(request(2, 1)).client_id, "penstock-4f2a-telemetry-1-1");
}

TEST(mqtt_session, stays_at_the_broker_and_holds_no_more_than_the_pipeline_allows) {
  const auto options = options_of(request(1));
  EXPECT_FALSE(options.clean_start);
  EXPECT_EQ(options.in_flight_messages_max, 300u);
  EXPECT_EQ(options.in_flight_bytes_max, 4'000u);
}

TEST(mqtt_session, shares_its_subscription_where_there_are_several) {
  EXPECT_THAT(options_of(request(1)).subscriptions, ElementsAre("users/+/telemetry"));
  EXPECT_THAT(options_of(request(2)).subscriptions, ElementsAre("$share/penstock-4f2a-telemetry/users/+/telemetry"));
}

TEST(mqtt_session, is_unsubscribed_from_what_is_stale_and_drained_only_where_it_is_retired) {
  auto wanted = request(1);
  wanted.stale = {"old/#"};
  EXPECT_THAT(options_of(wanted).unsubscriptions, ElementsAre("old/#"));
  EXPECT_EQ(options_of(wanted).drained_after.count(), 0);
  wanted.what = session_request::purpose::drain;
  EXPECT_GT(options_of(wanted).drained_after.count(), 0);
  EXPECT_FALSE(options_of(wanted).clean_start);
  wanted.what = session_request::purpose::forget;
  EXPECT_TRUE(options_of(wanted).clean_start);
}

} // namespace penstock::actors
