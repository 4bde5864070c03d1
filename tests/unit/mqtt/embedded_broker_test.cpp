#include "mqtt/embedded_broker.hpp"
#include "tests/unit/mqtt/client_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

namespace penstock::mqtt {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

embedded_broker_options in(const temporary_directory& directory, std::uint16_t port = 0) {
  return {directory.path(), port, 10s, {}};
}

bool runs(pid_t pid) {
  std::ifstream status{"/proc/" + std::to_string(pid) + "/status"};
  const std::string text{std::istreambuf_iterator<char>{status}, {}};
  return !text.empty() && text.find("State:\tZ") == std::string::npos;
}

/// The orphans here are children of the test, and must be reaped by it.
void reap(pid_t pid) { waitpid(pid, nullptr, 0); }

TEST(embedded_broker, starts_on_a_free_port_and_stops) {
  temporary_directory directory;
  embedded_broker broker{in(directory)};
  EXPECT_FALSE(broker.alive());
  const auto port = broker.start();
  ASSERT_TRUE(port) << port.error().to_string();
  EXPECT_NE(*port, 0);
  EXPECT_EQ(broker.port(), *port);
  EXPECT_TRUE(broker.alive());
  const pid_t pid = broker.pid();
  broker.stop();
  EXPECT_FALSE(broker.alive());
  EXPECT_EQ(broker.pid(), 0);
  EXPECT_FALSE(runs(pid));
}

TEST(embedded_broker, notices_that_it_died_and_starts_again_on_its_port) {
  temporary_directory directory;
  embedded_broker broker{in(directory)};
  const auto port = broker.start();
  ASSERT_TRUE(port);
  const pid_t first = broker.pid();
  kill(first, SIGKILL);
  while (broker.alive()) {
  }
  const auto again = broker.start();
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(*again, *port);
  EXPECT_NE(broker.pid(), first);
}

TEST(embedded_broker, adopts_the_orphan_of_its_directory) {
  temporary_directory directory;
  pid_t orphan = 0;
  std::uint16_t port = 0;
  {
    embedded_broker former{in(directory)};
    ASSERT_TRUE(former.start());
    orphan = former.pid();
    port = former.port();
    former.leave();
  }
  EXPECT_TRUE(runs(orphan));
  embedded_broker broker{in(directory)};
  const auto adopted = broker.start();
  ASSERT_TRUE(adopted);
  EXPECT_EQ(*adopted, port);
  EXPECT_EQ(broker.pid(), orphan);
  EXPECT_TRUE(broker.alive());
  broker.stop();
  EXPECT_FALSE(runs(orphan));
  reap(orphan);
}

TEST(embedded_broker, replaces_an_orphan_on_another_port) {
  temporary_directory directory;
  pid_t orphan = 0;
  {
    embedded_broker former{in(directory)};
    ASSERT_TRUE(former.start());
    orphan = former.pid();
    former.leave();
  }
  const std::uint16_t port = free_port();
  embedded_broker broker{in(directory, port)};
  const auto started = broker.start();
  ASSERT_TRUE(started) << started.error().to_string();
  EXPECT_EQ(*started, port);
  EXPECT_NE(broker.pid(), orphan);
  EXPECT_FALSE(runs(orphan));
  reap(orphan);
}

TEST(embedded_broker, inherits_none_of_our_files) {
  temporary_directory directory;
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  embedded_broker broker{in(directory)};
  ASSERT_TRUE(broker.start());
  close(ends[1]);
  // The end of the file shows that nobody else holds the other end.
  pollfd wait{ends[0], POLLIN, 0};
  EXPECT_EQ(poll(&wait, 1, 0), 1);
  close(ends[0]);
}

TEST(embedded_broker, leaves_a_process_alone_that_is_not_its_mosquitto) {
  temporary_directory directory;
  std::ofstream{directory.path() / "mosquitto.pid"} << getpid();
  embedded_broker broker{in(directory)};
  ASSERT_TRUE(broker.start());
  EXPECT_NE(broker.pid(), getpid());
}

TEST(embedded_broker, repeats_what_mosquitto_said_when_it_does_not_start) {
  temporary_directory directory;
  auto options = in(directory);
  options.settings = {"no_such_setting 1"};
  embedded_broker broker{options};
  const auto started = broker.start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("no_such_setting"));
  EXPECT_FALSE(broker.alive());
}

TEST(embedded_broker, fails_when_its_port_is_taken) {
  temporary_directory one;
  temporary_directory two;
  embedded_broker holder{in(one)};
  ASSERT_TRUE(holder.start());
  embedded_broker late{in(two, holder.port())};
  const auto started = late.start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("Address already in use"));
}

} // namespace
} // namespace penstock::mqtt
