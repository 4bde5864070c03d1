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

} // namespace

// Brokers keep sessions under these: another form would leave behind what they hold for the former one.
TEST(mqtt_session, has_an_id_of_what_stays_the_same_over_restarts_and_nodes) {
  EXPECT_EQ(client_id_of("4f2a", "telemetry", 0), "penstock-4f2a-telemetry-1-0");
  EXPECT_EQ(client_options_of("4f2a", {}, telemetry(2), 1).client_id, "penstock-4f2a-telemetry-1-1");
}

TEST(mqtt_session, stays_at_the_broker_and_holds_no_more_than_the_pipeline_allows) {
  const auto options = client_options_of("4f2a", {}, telemetry(1), 0);
  EXPECT_FALSE(options.clean_start);
  EXPECT_EQ(options.in_flight_messages_max, 300u);
  EXPECT_EQ(options.in_flight_bytes_max, 4'000u);
}

TEST(mqtt_session, shares_its_subscription_where_there_are_several) {
  EXPECT_THAT(client_options_of("4f2a", {}, telemetry(1), 0).subscriptions, ElementsAre("users/+/telemetry"));
  EXPECT_THAT(client_options_of("4f2a", {}, telemetry(2), 0).subscriptions,
              ElementsAre("$share/penstock-4f2a-telemetry/users/+/telemetry"));
}

} // namespace penstock::actors
