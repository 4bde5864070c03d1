#include "actors/row_finder.hpp"
#include "tests/support/memory_publish.hpp"

#include <gtest/gtest.h>

namespace penstock::actors {
namespace {

using namespace std::chrono_literals;

TEST(row_finder, a_sweep_whose_steps_take_long_comes_less_often) {
  const auto table = std::make_shared<testing::memory_table>();
  table->rows = {{1, "a"}, {2, "b"}};
  testing::memory_source source{table};
  testing::memory_tracking tracking{std::make_shared<testing::memory_records>()};
  monotonic time{1h};
  auto takes = 0ms;
  row_finder_config config;
  config.detect.sweep = 1s;
  config.clock = [&] { return time += takes; }; // asked before and after a step
  row_finder finder{config};
  ASSERT_TRUE(finder.begin(source, {}));
  const auto sweeps = [&] {
    const auto before = table->reads;
    EXPECT_TRUE(finder.look(source, tracking, 100, time));
    return table->reads - before == 2; // the new rows are read anyway
  };
  EXPECT_TRUE(sweeps());
  time += 900ms;
  EXPECT_FALSE(sweeps());
  time += 200ms;
  takes = 100ms;
  EXPECT_TRUE(sweeps());
  time += 4s;
  EXPECT_FALSE(sweeps());
  time += 1s;
  EXPECT_TRUE(sweeps());
}

TEST(row_finder, without_ids_walks_give_nothing_out_that_net_1_is_still_to_read) {
  const auto table = std::make_shared<testing::memory_table>();
  table->newest = storage::source::path::order;
  for (std::int64_t id = 1; id <= 7; ++id)
    table->rows[id] = "m";
  testing::memory_source source{table};
  testing::memory_tracking tracking{std::make_shared<testing::memory_records>()};
  monotonic time{1h};
  row_finder finder{{}};
  ASSERT_TRUE(finder.begin(source, {}));
  std::vector<std::int64_t> ids;
  const auto look = [&] {
    time += 1s;
    const auto found = finder.look(source, tracking, 2, time);
    ASSERT_TRUE(found);
    for (const auto& each : *found)
      ids.push_back(each.row.id);
  };
  for (int looks = 0; looks < 5; ++looks)
    look();
  EXPECT_EQ(ids, (std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(finder.found_late(), 0u);
  table->rows[0] = "m";
  look();
  EXPECT_EQ(ids.back(), 0);
  EXPECT_EQ(finder.found_late(), 1u);
}

} // namespace
} // namespace penstock::actors
