#include "core/id_ranges.hpp"

#include <gmock/gmock.h>

#include <limits>

namespace penstock {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

namespace {

using ids = std::vector<std::int64_t>;
using ranges = std::vector<id_range>;

} // namespace

TEST(id_ranges, ids_that_follow_each_other_are_one_range) {
  EXPECT_THAT(with_ids({}, ids{1, 2, 3, 7, 9, 10}), ElementsAre(id_range{1, 3}, id_range{7, 7}, id_range{9, 10}));
  EXPECT_THAT(with_ids({}, {}), IsEmpty());
}

TEST(id_ranges, neighbours_grow_and_grow_together) {
  EXPECT_THAT(with_ids(ranges{{8, 20}, {1, 4}}, ids{5, 6, 7}), ElementsAre(id_range{1, 20}));
  EXPECT_THAT(with_ids(ranges{{1, 4}}, ids{5, 9}), ElementsAre(id_range{1, 5}, id_range{9, 9}));
}

TEST(id_ranges, reach_to_both_ends_of_the_numbers) {
  constexpr auto lowest = std::numeric_limits<std::int64_t>::min();
  constexpr auto highest = std::numeric_limits<std::int64_t>::max();
  EXPECT_THAT(with_ids(ranges{{highest - 5, highest - 1}}, ids{lowest, highest}),
              ElementsAre(id_range{lowest, lowest}, id_range{highest - 5, highest}));
}

} // namespace penstock
