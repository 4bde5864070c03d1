// CAF's network as a node of a cluster uses it: direct links between known nodes, heartbeats, mutual TLS. Nothing here
// runs where the configuration has no `cluster`.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/io/middleman_actor.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace penstock::actors {

/// A peer that is silent for so long is lost, and a dial that takes longer has failed: the lease, but not less than 5
/// s. Nothing that is promised waits for it: when a hung node's lease is over, others own its lanes and say so.
std::chrono::milliseconds link_silence_max(const config::cluster& cluster);

/// Before the actor system is made. With `cluster.tls` it reads the files first, since CAF waits for ever where it
/// cannot: `configuration`, naming the file.
result<void> configure_links(caf::actor_system_config& system, const config::cluster& cluster);

/// Whether links can be taken there: `address_in_use`, or `configuration` where it is no address of this machine.
result<void> try_listen(const config::address& address);

/// Who publishes and connects; it takes one connect after the other, so it is asked only for addresses that answer.
caf::io::middleman_actor link_manager(caf::actor_system& system, bool tls);

/// Whether somebody takes connections there: the address as a number, for connecting to it. Blocks for `timeout` at
/// most, but for the time that the resolver takes. `connection_refused` or `timed_out`.
result<std::string> probe(const std::string& host, std::uint16_t port, std::chrono::milliseconds timeout);

} // namespace penstock::actors
