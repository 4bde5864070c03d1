// A node of a simulation from its start to its end: the real actors under the real supervisors, on an actor system of
// its own with a clock of its own. It runs when the world lets it.
#pragma once

#include "actors/directory.hpp"
#include "actors/publisher.hpp"
#include "actors/supervisor.hpp"
#include "cluster/leases.hpp"
#include "cluster/membership.hpp"
#include "config/config.hpp"
#include "messages/messages.hpp"
#include "telemetry/board.hpp"
#include "tests/sim/client.hpp"
#include "tests/sim/world.hpp"
#include "tests/support/deterministic_system.hpp"

#include <caf/io/network/test_multiplexer.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <memory>
#include <string>
#include <vector>

namespace penstock::sim {

class process {
public:
  process(world& given, std::string node, std::string instance);
  ~process();
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  const std::string& name() const { return instance_; } ///< with the number of the start
  const std::string& node() const { return node_; }
  monotonic clock() const;
  caf::actor_system& system() { return system_; }
  caf::io::network::test_multiplexer& multiplexer();
  /// What its actors have sent to other nodes is on its way.
  void flush_network();

  /// Ends at once; nothing that its actors still do has an effect.
  void crash();
  /// Ends as SIGTERM ends it.
  void stop();
  bool has_ended() const { return ended_; }
  bool is_paused() const { return world_.now() < paused_until; }

  bool has_event() const;
  /// The next message of one of its actors, or an event of one of its clients.
  void act();
  void pass(monotonic::duration time);
  monotonic::duration until_next_timer() const;

  /// Kills one of its actors, as a bug would.
  void kill_an_actor();
  void check() const;   ///< what is to hold after every step
  bool is_idle() const; ///< nothing is in flight in the shards that it owns
  /// Whether its lease allows that something new is claimed for a shard.
  bool may_claim(std::uint32_t shard) const { return leases_->holds({"p", shard}, {}, clock()); }
  std::string to_text() const; ///< what it is about, for whoever looks into a failing seed

  bool alive = true;
  monotonic paused_until;
  std::vector<client*> clients;

private:
  caf::scheduler::test_coordinator& scheduler() const;
  bool runs(const storage::shard_id& shard) const { return leases_->owns(shard); }
  template <class State, class Behaviour, class Config>
  actors::child_spec child_of(Behaviour behaviour, Config config);
  actors::child_spec pipeline_child();
  actors::child_spec poller_child();
  actors::child_spec publisher_child(std::uint32_t shard);
  actors::publisher_config publisher_of(std::uint32_t shard);
  actors::child_spec writer_child(std::uint32_t lane);
  actors::child_spec ingestor_child(std::uint32_t shard);
  actors::child_spec agent_child();
  actors::child_spec membership_child();
  cluster::membership_config membership_configuration();
  void check_ingest() const;
  void check_ingestor(std::uint32_t shard) const;
  void check_writer(std::uint32_t lane) const;
  std::vector<actors::child_spec> children_of(const storage::shard_id& shard);
  void start_shard(const storage::shard_id& shard);
  void stop_shard(const storage::shard_id& shard, std::function<void()> on_done);

  world& world_;
  const std::string node_;
  const std::string instance_;
  std::shared_ptr<cluster::leases> leases_ = std::make_shared<cluster::leases>();
  config::configuration configuration_; ///< one pipeline, "p", in one direction or the other
  config::publish* publish_ = nullptr;
  config::ingest* ingest_ = nullptr;
  telemetry::board board_;
  actors::actor_directory directory_{board_};
  std::vector<std::shared_ptr<telemetry::publish_shard_board>> publish_boards_;
  std::vector<std::shared_ptr<telemetry::shard_board>> ingest_boards_;
  testing::simulated_node_config system_configuration_;
  mutable caf::actor_system system_{system_configuration_};
  caf::io::middleman_actor network_;
  caf::actor root_;
  bool ended_ = false;
};

} // namespace penstock::sim
