#include "cluster/shards.hpp"

#include <gmock/gmock.h>

namespace penstock::cluster {
namespace {

TEST(shards, of_a_configuration_are_those_of_its_pipelines_and_the_lanes_of_their_writers) {
  config::configuration c;
  c.ingest["telemetry"].shards = 2;
  c.ingest["telemetry"].writers = 2;
  c.publish["TableA"].shards = 1;
  std::vector<std::string> all;
  for (const auto& shard : shards_of(c))
    all.push_back(to_text(shard.id) + " " + shard.role);
  EXPECT_THAT(all, ::testing::ElementsAre("TableA/0 publish", "telemetry/0 ingest", "telemetry/1 ingest",
                                          "telemetry/batch-writer/0 write", "telemetry/batch-writer/1 write"));
}

TEST(shards, have_a_text_that_is_read_again) {
  for (const auto& id : {storage::shard_id{"telemetry", 0}, {"telemetry/batch-writer", 17}})
    EXPECT_EQ(parse_shard(to_text(id)), id);
  for (const char* text : {"", "telemetry", "/", "/1", "telemetry/", "telemetry/x", "telemetry/1x", "telemetry/-1",
                           "telemetry/99999999999"})
    EXPECT_EQ(parse_shard(text), std::nullopt) << text;
}

TEST(shards, of_others_are_those_that_living_processes_own) {
  using namespace std::chrono_literals;
  storage::cluster_snapshot seen;
  for (const auto& [name, left] : {std::pair{"me", 1s}, {"alive", 1s}, {"dead", -1s}})
    seen.nodes.push_back({name, std::string{name} + "-instance", "", "", {}, "", false, left});
  std::uint32_t shard = 0;
  for (const char* owner : {"me-instance", "alive-instance", "dead-instance", ""})
    seen.shards.push_back({{"telemetry", shard++}, "", owner, 1, ""});
  EXPECT_THAT(shards_of_others(seen, "me-instance"), ::testing::ElementsAre(storage::shard_id{"telemetry", 1}));
}

} // namespace
} // namespace penstock::cluster
