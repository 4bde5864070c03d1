#include "core/mailbox_limit.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace penstock {
namespace {

TEST(mailbox_limit, drops_and_counts_what_comes_while_it_is_full) {
  mailbox_limit limit{2};
  EXPECT_TRUE(limit.enter());
  EXPECT_TRUE(limit.enter());
  EXPECT_FALSE(limit.enter());
  EXPECT_FALSE(limit.enter());
  EXPECT_EQ(limit.leave(), 2u);
  EXPECT_TRUE(limit.enter());
  EXPECT_EQ(limit.leave(), 0u) << "each is told once";
}

TEST(mailbox_limit, holds_over_threads) {
  constexpr std::uint32_t waiting_max = 100;
  mailbox_limit limit{waiting_max};
  std::atomic<std::uint32_t> entered{0};
  std::vector<std::thread> posters;
  for (int i = 0; i < 4; ++i)
    posters.emplace_back([&] {
      for (int n = 0; n < 1'000; ++n)
        entered += limit.enter() ? 1 : 0;
    });
  for (auto& poster : posters)
    poster.join();
  EXPECT_EQ(entered, waiting_max);
  EXPECT_EQ(limit.leave(), 4'000u - waiting_max);
}

} // namespace
} // namespace penstock
