#include "nodes/section_digests.hpp"
#include "plant.hpp"

#include <gmock/gmock.h>

namespace penstock::nodes::test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::Key;
using ::testing::MatchesRegex;

TEST(section_digests, are_of_what_all_nodes_must_have_alike) {
  const auto digests = section_digests(plant());
  EXPECT_THAT(digests, ElementsAre(Key("cluster"), Key("ingest.telemetry"), Key("publish.T")));
  EXPECT_THAT(digests.at("publish.T"), MatchesRegex("[0-9a-f]{16}"));
  EXPECT_THAT(section_digests({}), ElementsAre());
}

TEST(section_digests, change_with_any_setting_of_the_section_alone) {
  const auto before = section_digests(plant());
  auto changed = plant();
  changed.ingest["telemetry"].shards = 3;
  auto after = section_digests(changed);
  EXPECT_NE(after.at("ingest.telemetry"), before.at("ingest.telemetry"));
  EXPECT_EQ(after.at("publish.T"), before.at("publish.T"));
  EXPECT_EQ(after.at("cluster"), before.at("cluster"));
  changed = plant();
  changed.cluster->lease = 4s;
  EXPECT_NE(section_digests(changed).at("cluster"), before.at("cluster"));
}

TEST(section_digests, leave_out_what_is_the_nodes_own) {
  auto a = plant();
  auto b = plant();
  a.node.name = "a";
  b.data = "/elsewhere";
  b.cluster->tls.ca = "/etc/b.pem";
  a.ingest["telemetry"].dead_letters.file = "/data/nodes/a/letters.jsonl";
  b.ingest["telemetry"].dead_letters.file = "/data/nodes/b/letters.jsonl";
  a.publish["T"].in_flight_max = 1'000; // a share of before another pipeline was added
  b.publish["T"].in_flight_max = 500;
  EXPECT_EQ(section_digests(a), section_digests(b));
  a.publish["T"].in_flight_given = b.publish["T"].in_flight_given = true;
  EXPECT_NE(section_digests(a).at("publish.T"), section_digests(b).at("publish.T"));
}

} // namespace
} // namespace penstock::nodes::test
