#include "actors/mqtt_session.hpp"

#include <gtest/gtest.h>

namespace penstock::actors {

// Brokers keep sessions under these: another form would leave behind what they hold for the former one.
TEST(client_id, is_made_of_what_stays_the_same_over_restarts_and_nodes) {
  EXPECT_EQ(client_id_of("4f2a", "telemetry", 0), "penstock-4f2a-telemetry-1-0");
  EXPECT_EQ(client_id_of("4f2a", "telemetry", 1), "penstock-4f2a-telemetry-1-1");
}

} // namespace penstock::actors
