// A CAF system on the deterministic scheduler: nothing runs but when the test says so, and time stands still.
#pragma once

#include "actors/directory.hpp"
#include "messages/messages.hpp"
#include "telemetry/board.hpp"
#include "tests/support/deterministic_system.hpp"

#include <caf/scheduler/test_coordinator.hpp>
#include <caf/scoped_actor.hpp>
#include <gtest/gtest.h>

#include <chrono>

namespace penstock::testing {

class actor_fixture : public ::testing::Test {
public:
  /// Runs until nobody has a message left. Timers do not fire.
  void settle() {
    while (scheduler().try_run_once()) {
    }
  }
  /// Lets time pass, in steps fine enough that a timer armed on the way fires on the way.
  void pass(std::chrono::milliseconds duration) {
    for (const auto step = std::chrono::milliseconds{10}; duration.count() > 0; duration -= step) {
      scheduler().advance_time(step);
      settle();
    }
  }

protected:
  ~actor_fixture() override { settle(); }

  caf::scheduler::test_coordinator& scheduler() {
    return dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  }

  deterministic_config system_configuration;
  caf::actor_system system{system_configuration};
  telemetry::board board;
  actors::actor_directory directory{board};
};

/// Ends an actor with the end of a scope.
class ended_at_scope_exit {
public:
  ended_at_scope_exit(caf::actor handle) : handle_(std::move(handle)) {}
  ended_at_scope_exit(const ended_at_scope_exit&) = delete;
  ended_at_scope_exit& operator=(const ended_at_scope_exit&) = delete;
  ~ended_at_scope_exit() { caf::anon_send_exit(handle_, caf::exit_reason::kill); }

private:
  caf::actor handle_;
};

} // namespace penstock::testing
