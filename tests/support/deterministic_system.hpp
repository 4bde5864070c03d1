// The settings of an actor system in which nothing runs by itself: whoever tests says which message is next, and how
// much time passes.
#pragma once

#include "messages/messages.hpp"

#include <caf/actor_system_config.hpp>
#include <caf/io/middleman.hpp>
#include <caf/timespan.hpp>

#include <cstddef>

namespace penstock::testing {

struct deterministic_config : caf::actor_system_config {
  deterministic_config() {
    messages::add_to(*this);
    set("scheduler.policy", caf::atom("testing"));
  }
};

/// With CAF's simulated network.
struct simulated_node_config : deterministic_config {
  simulated_node_config() {
    load<caf::io::middleman>();
    set("middleman.network-backend", caf::atom("testing"));
    set("middleman.manual-multiplexing", true);
    set("middleman.attach-utility-actors", true);
    set("middleman.heartbeat-interval", caf::timespan{0});
    set("middleman.workers", std::size_t{0});
  }
};

} // namespace penstock::testing
