#include "core/partition_hash.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace penstock {

namespace {

std::uint64_t hash_of(std::string_view text) {
  partition_hash hash;
  hash.add(text);
  return hash.value();
}

} // namespace

TEST(partition_hash, is_the_same_for_ever) {
  // A node of another version must deal the same key to the same lane: these values never change.
  EXPECT_EQ(hash_of(""), 8922497616986557598ULL);
  EXPECT_EQ(hash_of("device-1"), 15911109623434345043ULL);
  partition_hash number;
  number.add(std::uint64_t{42});
  EXPECT_EQ(number.value(), 11971793068411553624ULL);
}

TEST(partition_hash, tells_where_one_value_ends) {
  partition_hash left;
  left.add("a");
  left.add("bc");
  partition_hash right;
  right.add("ab");
  right.add("c");
  EXPECT_NE(left.value(), right.value());
}

TEST(partition_hash, deals_similar_keys_evenly) {
  for (const std::uint32_t parts : {2u, 3u, 8u}) {
    std::array<int, 8> counts{};
    for (int device = 0; device < 8'000; ++device) {
      partition_hash hash;
      hash.add("device-" + std::to_string(device));
      ++counts.at(hash.value() % parts);
    }
    for (std::uint32_t part = 0; part < parts; ++part)
      EXPECT_NEAR(counts.at(part), 8'000.0 / parts, 8'000.0 / parts * 0.1) << part << " of " << parts;
  }
}

} // namespace penstock
