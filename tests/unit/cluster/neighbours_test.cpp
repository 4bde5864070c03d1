#include "cluster/neighbours.hpp"

#include <gmock/gmock.h>

namespace penstock::cluster {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

TEST(neighbours, are_the_other_living_nodes_that_take_links_and_the_lanes_that_are_ours) {
  storage::cluster_snapshot seen;
  seen.nodes = {{"a", "1", "a:7000", {}, {}, {}, false, 1s},  // ourselves
                {"b", "2", "b:7001", {}, {}, {}, true, 1ms},  // draining, and alive
                {"c", "3", "c:7002", {}, {}, {}, false, 0ms}, // dead
                {"d", "4", "", {}, {}, {}, false, 1s}};       // takes no links
  const auto known = neighbours_of(seen, "1", {{{"p", 0}, 3}, {{"p/batch-writer", 1}, 5}});
  EXPECT_THAT(known->peers, ElementsAre(messages::neighbours::peer{"b", "2", "b", 7001}));
  EXPECT_THAT(known->own, ElementsAre(std::pair{std::pair{std::string{"p"}, 1u}, 5u}));
}

} // namespace penstock::cluster
