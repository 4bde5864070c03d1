#include "nodes/agent_child.hpp"

#include "actors/agent.hpp"
#include "actors/links.hpp"

#include <caf/send.hpp>

namespace penstock::nodes {

actors::child_spec agent_child(const config::configuration& configuration, const std::string& instance,
                               telemetry::board& board, const actors::actor_directory& directory) {
  const auto& cluster = *configuration.cluster;
  actors::agent_config config;
  config.me = {cluster.name, configuration.node.name, instance};
  config.address = *configuration.node.address;
  config.probe = [timeout = actors::link_silence_max(cluster)](const std::string& host, std::uint16_t port) {
    return actors::probe(host, port, timeout);
  };
  config.board = board.links();
  config.directory = &directory;
  config.on_wake = [&directory] {
    if (const auto membership = directory.find("membership"))
      caf::anon_send(membership, messages::wake_atom_v);
  };
  config.timeout = actors::link_silence_max(cluster);
  config.retry_max = cluster.lease;
  config.retry_min = std::min(config.retry_min, config.retry_max);
  actors::child_spec spec;
  spec.name = config.name;
  spec.kind = actors::agent_state::name;
  spec.start = [config, tls = !(cluster.tls == config::tls{})](caf::actor_system& system) {
    auto own = config;
    own.manager = actors::link_manager(system, tls);
    return caf::actor_cast<caf::actor>(system.spawn(actors::agent, std::move(own)));
  };
  return spec;
}

} // namespace penstock::nodes
