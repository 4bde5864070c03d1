// A running node: the embedded brokers, the HTTP server and the supervision tree of one configuration.
#pragma once

#include "config/config.hpp"
#include "config/load.hpp"
#include "core/result.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace penstock::nodes {

class node {
public:
  explicit node(config::configuration configuration);
  ~node(); ///< stops, hard where `stop` was not called

  /// Starts everything, in order; what fails is named, and what was started is ended by the destructor. `on_end` runs
  /// once, on another thread, when the tree has ended: with nothing when it was stopped, else with the reason.
  result<void> start(std::function<void(std::optional<std::string>)> on_end);

  /// Takes a configuration that was read again, or says in the log what is wrong with it and goes on as before. Stops
  /// and starts the pipelines that have changed, touches no others, and returns when that is done. One call at a time,
  /// after `start`, on a thread of its own: `stop` may be called meanwhile.
  void reload(const config::load_result& read, const std::vector<config::problem>& warnings);

  /// Asks the tree to stop: read no more, commit, acknowledge, disconnect. `on_end` tells when it has.
  void stop();

  /// "received 100 = committed 99 + ..." for each pipeline, one line each.
  std::string account_text() const;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace penstock::nodes
