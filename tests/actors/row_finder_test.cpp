#include "actors/row_finder.hpp"
#include "tests/support/memory_publish.hpp"

#include <gtest/gtest.h>

#include <optional>

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
  config.detect.sweep = 4s;                     // four steps
  config.clock = [&] { return time += takes; }; // asked before and after a step
  row_finder finder{config};
  ASSERT_TRUE(finder.begin(source, {}));
  const auto sweeps = [&] {
    const auto before = table->reads;
    EXPECT_TRUE(finder.look(source, tracking, 100, time));
    return table->reads - before == 2; // the new rows are read anyway
  };
  EXPECT_FALSE(sweeps()); // a shard that has moved does not stand still for it
  time += 1s;
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

/// Looks, and what they found; none of it is claimed.
struct looking {
  std::shared_ptr<testing::memory_table> table = std::make_shared<testing::memory_table>();
  testing::memory_source source{table};
  testing::memory_tracking tracking{std::make_shared<testing::memory_records>()};
  row_finder_config config;
  std::optional<row_finder> finder;
  monotonic time{1h};
  std::vector<std::int64_t> ids;

  void look(std::size_t rows_max = 100) {
    if (!finder) {
      config.clock = [this] { return time; };
      finder.emplace(config);
      ASSERT_TRUE(finder->begin(source, {}));
    }
    time += 1s;
    const auto found = finder->look(source, tracking, rows_max, time);
    ASSERT_TRUE(found);
    for (const auto& each : *found)
      ids.push_back(each.row.id);
  }
};

TEST(row_finder, without_ids_walks_give_nothing_out_that_net_1_is_still_to_read) {
  looking it;
  it.table->newest = storage::source::path::order;
  for (std::int64_t id = 1; id <= 7; ++id)
    it.table->rows[id] = "m";
  for (int looks = 0; looks < 5; ++looks)
    it.look(2);
  EXPECT_EQ(it.ids, (std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(it.finder->found_late(), 0u);
  it.table->rows[0] = "m";
  it.look(2);
  EXPECT_EQ(it.ids.back(), 0);
  EXPECT_EQ(it.finder->found_late(), 1u);
}

TEST(row_finder, a_row_in_a_gap_goes_before_what_became_visible_behind_it) {
  for (const std::uint64_t statement : {1, 2}) { // of the look, behind which both are committed
    looking it;
    it.table->rows = {{1, "m"}, {3, "m"}};
    it.look();
    std::uint64_t statements = 0;
    it.table->behind_a_read = [&] {
      if (++statements == statement)
        it.table->rows.insert({{2, "m"}, {4, "m"}});
    };
    it.look();
    it.look();
    EXPECT_EQ(it.ids, (std::vector<std::int64_t>{1, 3, 2, 4}));
  }
}

TEST(row_finder, what_is_new_waits_while_gaps_hold_more_than_is_read_at_once) {
  looking it;
  it.config.late_rows = 3;
  it.table->rows = {{1, "m"}, {10, "m"}};
  it.look();
  for (std::int64_t id = 2; id <= 11; ++id)
    it.table->rows[id] = "m";
  for (int looks = 0; looks < 4; ++looks)
    it.look();
  EXPECT_EQ(it.ids, (std::vector<std::int64_t>{1, 10, 2, 3, 4, 5, 6, 7, 8, 9, 11}));
}

} // namespace
} // namespace penstock::actors
