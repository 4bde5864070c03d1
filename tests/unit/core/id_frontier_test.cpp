#include "core/id_frontier.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using testing::SizeIs;
using testing::UnorderedElementsAre;

const monotonic start = monotonic{} + 1h;

void read(id_frontier& frontier, std::vector<std::int64_t> ids, monotonic now = start) { frontier.read(ids, now); }

TEST(id_frontier, what_is_before_the_first_row_is_no_gap) {
  id_frontier frontier{10min, 100};
  EXPECT_FALSE(frontier.high());
  EXPECT_FALSE(frontier.floor());
  read(frontier, {1'000, 1'001});
  EXPECT_THAT(frontier.high(), Optional(1'001));
  EXPECT_THAT(frontier.floor(), Optional(1'001));
  EXPECT_THAT(frontier.ask(10, start), IsEmpty());
}

TEST(id_frontier, asks_for_gaps_until_they_are_filled) {
  id_frontier frontier{10min, 100};
  frontier.begin(0);
  read(frontier, {1, 5, 9});
  EXPECT_THAT(frontier.ask(10, start), ElementsAre(id_range{2, 4}, id_range{6, 8}));
  EXPECT_THAT(frontier.floor(), Optional(1));
  frontier.filled(3);
  EXPECT_THAT(frontier.ask(10, start), UnorderedElementsAre(id_range{2, 2}, id_range{4, 4}, id_range{6, 8}));
  for (const std::int64_t id : {2, 4, 6, 8})
    frontier.filled(id);
  EXPECT_THAT(frontier.ask(10, start), ElementsAre(id_range{7, 7}));
  EXPECT_THAT(frontier.floor(), Optional(6));
  frontier.filled(7);
  EXPECT_THAT(frontier.floor(), Optional(9));
}

TEST(id_frontier, gives_a_gap_up_when_late_for_is_over) {
  id_frontier frontier{10min, 100};
  frontier.begin(0);
  read(frontier, {2});
  read(frontier, {4}, start + 5min);
  EXPECT_THAT(frontier.ask(10, start + 10min), ElementsAre(id_range{1, 1}, id_range{3, 3}));
  EXPECT_THAT(frontier.ask(10, start + 11min), ElementsAre(id_range{3, 3}));
  EXPECT_EQ(frontier.gaps_given_up(), 1u);
  EXPECT_THAT(frontier.floor(), Optional(2));
}

TEST(id_frontier, asks_for_the_newest_and_another_part_of_the_others_each_time) {
  id_frontier frontier{10min, 100};
  frontier.begin(0);
  read(frontier, {2, 4, 6, 8, 10});
  EXPECT_THAT(frontier.ask(4, start), ElementsAre(id_range{1, 1}, id_range{3, 3}, id_range{7, 7}, id_range{9, 9}));
  EXPECT_THAT(frontier.ask(4, start), ElementsAre(id_range{5, 5}, id_range{1, 1}, id_range{7, 7}, id_range{9, 9}));
  EXPECT_THAT(frontier.ask(1, start), ElementsAre(id_range{3, 3}));
  EXPECT_THAT(frontier.ask(5, start), SizeIs(5));
}

TEST(id_frontier, remembers_a_bounded_number_of_gaps) {
  id_frontier frontier{10min, 2};
  frontier.begin(0);
  read(frontier, {2, 4, 6});
  EXPECT_THAT(frontier.ask(10, start), ElementsAre(id_range{3, 3}, id_range{5, 5}));
  EXPECT_EQ(frontier.gaps_given_up(), 1u);
}

TEST(id_frontier, a_huge_gap_is_one_range) {
  id_frontier frontier{10min, 100};
  read(frontier, {1, 1'000'000'000'000});
  EXPECT_THAT(frontier.ask(10, start), ElementsAre(id_range{2, 999'999'999'999}));
  frontier.filled(500);
  EXPECT_EQ(frontier.gaps(), 2u);
}

TEST(id_frontier, a_row_that_is_in_no_gap_changes_nothing) {
  id_frontier frontier{10min, 100};
  read(frontier, {5, 7});
  frontier.filled(3);
  frontier.filled(7);
  frontier.filled(9);
  EXPECT_THAT(frontier.ask(10, start), ElementsAre(id_range{6, 6}));
}

} // namespace
} // namespace penstock
