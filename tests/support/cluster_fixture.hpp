// Nodes of a cluster in one thread: an actor system each on the deterministic scheduler, and CAF's simulated network
// between them. Nothing runs, no byte moves and no time passes but when the test says so.
//
//   simulated_network network;
//   simulated_node a{network, "a"}, b{network, "b"};
//   network.connect(a, b);     // the next dial of a to b gets through
//   network.settle();          // until nobody has a message or a byte left
//   network.cut(a, b);         // both ends see the connection close; what was on its way is lost
//   network.lose(a, b);        // what is on its way is lost, and nobody sees it
#pragma once

#include "actors/agent.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/deterministic_system.hpp"

#include <caf/io/middleman.hpp>
#include <caf/io/network/test_multiplexer.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace penstock::testing {

class simulated_node;

class simulated_network {
public:
  void settle();
  void pass(std::chrono::milliseconds duration);
  /// Prepares one connection from `client` to `server`: without it a dial is refused.
  void connect(simulated_node& client, simulated_node& server);
  /// Ends the last one; both ends see it.
  void cut(simulated_node& client, simulated_node& server);
  /// The messages between the two that nobody has read yet are gone; the connection stands.
  void lose(simulated_node& client, simulated_node& server);

private:
  friend class simulated_node;
  std::int64_t next_ = 0;
  std::vector<simulated_node*> nodes_;
  std::map<std::pair<simulated_node*, simulated_node*>, std::pair<std::int64_t, std::int64_t>> connections_;
};

class simulated_node {
public:
  static constexpr std::uint16_t port = 7000;

  simulated_node(simulated_network& network, std::string name) : network_(network), name_(std::move(name)) {
    acceptor_ = caf::io::accept_handle::from_int(++network_.next_);
    multiplexer().provide_acceptor(port, acceptor_);
    network_.nodes_.push_back(this);
    network_.settle();
  }
  simulated_node(const simulated_node&) = delete;
  simulated_node& operator=(const simulated_node&) = delete;
  /// Ends its agent. End its other actors before.
  ~simulated_node() {
    stop_agent();
    network_.settle();
    std::erase(network_.nodes_, this);
  }

  messages::agent_actor start_agent(const std::string& cluster = "plant-7",
                                    std::uint16_t version = messages::link_version) {
    actors::agent_config config;
    config.me = {cluster, name_, name_ + "-instance", version, std::min(version, messages::link_version_oldest)};
    config.address = {name_, port};
    config.manager = system.middleman().actor_handle();
    config.board = links;
    config.directory = &directory;
    config.on_wake = [this] { ++wakes; };
    agent = system.spawn(actors::agent, config);
    return agent;
  }
  void stop_agent() {
    if (agent)
      caf::anon_send_exit(agent, caf::exit_reason::kill);
    agent = nullptr;
  }

  /// What the membership tells the agent.
  void tell(const std::vector<simulated_node*>& peers,
            std::map<std::pair<std::string, std::uint32_t>, std::uint64_t> own = {}) {
    auto now = std::make_shared<messages::neighbours>();
    for (const auto* each : peers)
      now->peers.push_back({each->name_, each->name_ + "-instance", each->name_, port});
    now->own = std::move(own);
    caf::anon_send(agent, messages::neighbours_ptr{std::move(now)});
  }

  telemetry::link_status link_to(const std::string& peer) const {
    for (const auto& each : links->status())
      if (each.peer == peer)
        return each;
    return {};
  }

  /// Runs only this node, once. False: it has nothing to do.
  bool step_alone() { return scheduler().try_run_once() || multiplexer().try_exec_runnable(); }

  /// Time passes at this node only, and it hears of nobody.
  void pass_alone(std::chrono::milliseconds duration) {
    scheduler().advance_time(duration);
    while (step_alone()) {
    }
  }

private:
  friend class simulated_network;

  caf::io::network::test_multiplexer& multiplexer() {
    return dynamic_cast<caf::io::network::test_multiplexer&>(system.middleman().backend());
  }
  caf::scheduler::test_coordinator& scheduler() {
    return dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  }
  bool step() { return step_alone() || multiplexer().read_data() || multiplexer().try_accept_connection(); }

  simulated_network& network_;
  std::string name_;
  caf::io::accept_handle acceptor_;
  simulated_node_config system_configuration_;

public:
  caf::actor_system system{system_configuration_};
  telemetry::board board;
  actors::actor_directory directory{board};
  std::shared_ptr<telemetry::link_board> links = std::make_shared<telemetry::link_board>();
  messages::agent_actor agent;
  std::uint64_t wakes = 0; ///< of its membership, had it one
};

inline void simulated_network::settle() {
  while (std::any_of(nodes_.begin(), nodes_.end(), [](simulated_node* each) { return each->step(); })) {
  }
}

inline void simulated_network::pass(std::chrono::milliseconds duration) {
  for (const auto step = std::chrono::milliseconds{10}; duration.count() > 0; duration -= step) {
    for (auto* each : nodes_)
      each->scheduler().advance_time(step);
    settle();
  }
}

inline void simulated_network::connect(simulated_node& client, simulated_node& server) {
  const auto at_server = ++next_;
  const auto at_client = ++next_;
  server.multiplexer().prepare_connection(server.acceptor_, caf::io::connection_handle::from_int(at_server),
                                          client.multiplexer(), server.name_, simulated_node::port,
                                          caf::io::connection_handle::from_int(at_client));
  connections_[{&client, &server}] = {at_client, at_server};
}

inline void simulated_network::cut(simulated_node& client, simulated_node& server) {
  const auto [at_client, at_server] = connections_.at({&client, &server});
  const auto close = [](simulated_node& node, std::int64_t id) {
    const auto handle = caf::io::connection_handle::from_int(id);
    auto& multiplexer = node.multiplexer();
    multiplexer.virtual_network_buffer(handle).clear();
    if (auto scribe = multiplexer.impl_ptr(handle))
      scribe->io_failure(&multiplexer, caf::io::network::operation::read);
  };
  close(client, at_client);
  close(server, at_server);
}

inline void simulated_network::lose(simulated_node& client, simulated_node& server) {
  const auto [at_client, at_server] = connections_.at({&client, &server});
  client.multiplexer().virtual_network_buffer(caf::io::connection_handle::from_int(at_client)).clear();
  server.multiplexer().virtual_network_buffer(caf::io::connection_handle::from_int(at_server)).clear();
}

} // namespace penstock::testing
