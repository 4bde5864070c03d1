// What the client's tests share: a real mosquitto in a directory of its own, and handlers that write down what they
// get.
#pragma once

#include "mqtt/client.hpp"
#include "mqtt/embedded_broker.hpp"
#include "mqtt/loopback_socket.hpp"
#include "tests/support/temporary_directory.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace penstock::mqtt {

constexpr std::chrono::seconds patience{20};

/// A port on loopback that is free now.
inline std::uint16_t free_port() {
  const auto port = loopback_socket{}.free_port();
  EXPECT_NE(port, 0);
  return port;
}

/// Whether somebody listens at a port of loopback, or begins to in this time.
inline bool accepts_within(std::uint16_t port, std::chrono::milliseconds time) {
  for (const auto began = std::chrono::steady_clock::now(); std::chrono::steady_clock::now() - began < time;) {
    if (loopback_socket{}.connect_to(port))
      return true;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  return false;
}

/// A mosquitto on a free port, ended with the test.
class test_broker {
public:
  explicit test_broker(std::vector<std::string> settings = {}, bool anonymous = true)
    : broker_({directory_.path(), 0, std::chrono::seconds{10}, std::move(settings), anonymous}) {
    auto started = broker_.start();
    EXPECT_TRUE(started) << (started ? "" : started.error().to_string());
  }
  embedded_broker& process() { return broker_; }
  const std::filesystem::path& directory() const { return directory_.path(); }

  client_options options(const std::string& id, std::vector<std::string> filters = {}) const {
    client_options out;
    out.broker.host = "127.0.0.1";
    out.broker.port = broker_.port();
    out.broker.reconnect_min = std::chrono::milliseconds{10};
    out.broker.reconnect_max = std::chrono::milliseconds{100};
    out.client_id = id;
    out.subscriptions = std::move(filters);
    out.subscription_qos = 2;
    return out;
  }

private:
  temporary_directory directory_;
  embedded_broker broker_;
};

/// Fields are read inside `await`'s condition, or after the client is gone.
struct recorder {
  struct message {
    sequence number;
    std::string topic;
    std::string payload;
    std::uint8_t qos;
    bool duplicate;
    std::string correlation;
    std::string message_id;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<message> received;
  connection_state state;
  std::vector<connection_state> states;
  std::map<std::uint64_t, std::uint8_t> published;   ///< done
  std::map<std::uint64_t, std::uint8_t> past_pubrec; ///< with release_by_caller
  std::size_t publish_reports = 0;
  std::size_t dials_wanted = 0;     ///< with on_request
  std::vector<std::string> settled; ///< what was refused, for each connection
  bool drained = false;
  bool stopped = false;

  client_handlers handlers() {
    return {[this](std::shared_ptr<const burst> arrived) { add(*arrived); },
            [this](const connection_state& now) {
              const std::lock_guard lock{mutex};
              state = now;
              states.push_back(now);
              changed.notify_all();
            },
            [this](std::span<const completion> completions) {
              const std::lock_guard lock{mutex};
              ++publish_reports;
              for (const auto& one : completions)
                (one.stage == publish_stage::done ? published : past_pubrec)[one.token] = one.reason;
              changed.notify_all();
            },
            [this] {
              const std::lock_guard lock{mutex};
              ++dials_wanted;
              changed.notify_all();
            },
            [this](const std::string& refused) {
              const std::lock_guard lock{mutex};
              settled.push_back(refused);
              changed.notify_all();
            },
            [this] {
              const std::lock_guard lock{mutex};
              drained = true;
              changed.notify_all();
            }};
  }
  std::function<void()> on_stopped() {
    return [this] {
      const std::lock_guard lock{mutex};
      stopped = true;
      changed.notify_all();
    };
  }

  template <class Condition>
  bool await(Condition condition) {
    std::unique_lock lock{mutex};
    return changed.wait_for(lock, patience, condition);
  }
  template <class Condition>
  bool await_for(std::chrono::milliseconds time, Condition condition) {
    std::unique_lock lock{mutex};
    return changed.wait_for(lock, time, condition);
  }
  connection_state now() {
    const std::lock_guard lock{mutex};
    return state;
  }
  std::string reason() {
    const std::lock_guard lock{mutex};
    return state.reason ? state.reason->to_string() : "";
  }
  std::size_t count() {
    const std::lock_guard lock{mutex};
    return received.size();
  }
  std::vector<std::string> payloads() {
    const std::lock_guard lock{mutex};
    std::vector<std::string> out;
    for (const auto& one : received)
      out.push_back(one.payload);
    return out;
  }

private:
  void add(const burst& arrived) {
    const std::lock_guard lock{mutex};
    sequence number = arrived.first;
    for (const auto& one : arrived.messages)
      received.push_back({number++, std::string{one.topic}, std::string{one.payload}, one.qos, one.duplicate,
                          std::string{one.correlation}, std::string{one.message_id}});
    changed.notify_all();
  }
};

} // namespace penstock::mqtt
