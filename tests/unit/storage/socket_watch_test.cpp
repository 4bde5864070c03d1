#include "storage/socket_watch.hpp"

#include <gtest/gtest.h>

#include <array>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace penstock::storage::test {
namespace {

using namespace std::chrono_literals;

/// Both ends of a connection.
class socket_pair {
public:
  socket_pair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends_.data()), 0); }
  ~socket_pair() {
    close_near();
    ::close(ends_[1]);
  }
  socket_pair(const socket_pair&) = delete;
  socket_pair& operator=(const socket_pair&) = delete;

  int near() const { return ends_[0]; }
  void close_near() {
    if (ends_[0] >= 0)
      ::close(std::exchange(ends_[0], -1));
  }
  /// Waits for a byte, as a driver does; the number of bytes that came.
  ssize_t wait() const {
    char byte = 0;
    return ::read(ends_[0], &byte, 1);
  }
  void answer() const { EXPECT_EQ(::write(ends_[1], "x", 1), 1); }

private:
  std::array<int, 2> ends_{};
};

TEST(socket_watch_test, cuts_a_call_that_outlives_its_limit) {
  const socket_pair connection;
  socket_watch watch{connection.near()};
  const auto before = socket_watch::clock::now();
  {
    const call_limit limit{watch, 50ms};
    EXPECT_EQ(connection.wait(), 0);
  }
  EXPECT_GE(socket_watch::clock::now() - before, 50ms);
  EXPECT_TRUE(watch.cut());
}

TEST(socket_watch_test, leaves_a_call_that_is_answered_and_a_connection_that_waits_for_none) {
  const socket_pair connection;
  socket_watch watch{connection.near()};
  for (int call = 0; call < 3; ++call) {
    const call_limit limit{watch, 10s};
    connection.answer();
    EXPECT_EQ(connection.wait(), 1);
  }
  { const call_limit limit{watch, 20ms}; }
  std::this_thread::sleep_for(60ms);
  EXPECT_FALSE(watch.cut());
  connection.answer();
  EXPECT_EQ(connection.wait(), 1);
}

TEST(socket_watch_test, after_a_call_inside_another_the_other_is_still_limited) {
  const socket_pair connection;
  socket_watch watch{connection.near()};
  const call_limit outer{watch, 60ms};
  {
    const call_limit inner{watch, 10s};
    std::this_thread::sleep_for(100ms); // within the inner limit, which counts alone
  }
  EXPECT_FALSE(watch.cut());
  EXPECT_EQ(connection.wait(), 0);
  EXPECT_TRUE(watch.cut());
}

TEST(socket_watch_test, a_sooner_limit_is_kept_while_the_thread_sleeps_for_a_later_one) {
  const socket_pair slow, quick;
  socket_watch slow_watch{slow.near()}, quick_watch{quick.near()};
  const call_limit later{slow_watch, 30s};
  std::this_thread::sleep_for(20ms);
  const call_limit sooner{quick_watch, 30ms};
  EXPECT_EQ(quick.wait(), 0);
  EXPECT_TRUE(quick_watch.cut());
  EXPECT_FALSE(slow_watch.cut());
}

TEST(socket_watch_test, a_number_that_was_given_to_another_connection_is_never_cut) {
  socket_pair connection;
  socket_watch watch{connection.near()};
  const auto number = connection.near();
  const call_limit limit{watch, 50ms};
  connection.close_near(); // as a driver does when it finds the connection broken
  const socket_pair other;
  ASSERT_EQ(other.near(), number);
  std::this_thread::sleep_for(120ms);
  EXPECT_TRUE(watch.cut());
  other.answer();
  EXPECT_EQ(other.wait(), 1);
}

TEST(socket_watch_test, many_threads_use_it_at_once) {
  std::vector<std::thread> threads;
  for (int index = 0; index < 8; ++index)
    threads.emplace_back([index] {
      for (int times = 0; times < 50; ++times) {
        const socket_pair connection;
        socket_watch watch{connection.near()};
        const call_limit limit{watch, index % 2 == 0 ? 1ms : 10s};
        if (index % 2 == 1)
          connection.answer();
        EXPECT_EQ(connection.wait(), index % 2);
      }
    });
  for (auto& thread : threads)
    thread.join();
}

} // namespace
} // namespace penstock::storage::test
