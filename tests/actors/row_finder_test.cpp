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

} // namespace
} // namespace penstock::actors
