// The actors of the node by name: what the kill switch and the tests reach them by. Supervisors keep it.
#pragma once

#include "messages/caf_compat.hpp"
#include "telemetry/board.hpp"

#include <caf/actor_control_block.hpp>

#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace penstock::actors {

/// Thread-safe. Holds weak handles only: an actor that ended is not kept alive.
class actor_directory {
public:
  explicit actor_directory(telemetry::board& board) : board_(board) {}

  /// From a supervisor: the actor was started, or ended.
  void up(const std::string& name, const std::string& kind, const caf::actor& handle);
  /// `failure` is empty where the end was asked for.
  void down(const std::string& name, const std::string& failure);
  /// It ended and does not come back, with all whose names begin with its own and a slash.
  void forget(const std::string& name);

  /// Null where no actor of this name lives.
  caf::actor find(const std::string& name) const;
  /// Ends the actor as a crash would. False: there is none of this name.
  bool kill(const std::string& name) const;
  std::vector<std::string> names() const;

private:
  telemetry::board& board_;
  mutable std::mutex mutex_;
  std::map<std::string, caf::weak_actor_ptr> actors_;
};

} // namespace penstock::actors
