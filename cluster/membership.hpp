// The membership of this process in the cluster: renews its lease in the state database, and from what it reads there
// works out which shards it is to own. It acquires those that nobody owns, has them started; has those that are
// another's by right stopped, and releases them when that is done. Spawned detached, since the database blocks.
//
// While the state database is away everything goes on as it is, but nothing moves, and once the lease is over nothing
// new is claimed (leases::holds). At its end it gives everything back, and leaves.
#pragma once

#include "cluster/leases.hpp"
#include "cluster/plan.hpp"
#include "core/result.hpp"
#include "messages/messages.hpp"
#include "storage/cluster_state.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace penstock::cluster {

struct membership_config {
  std::string name = "membership";
  storage::cluster_node me;
  /// Before each renewal: what is known only while it runs, as its ports; empty: all is known.
  std::function<void(storage::cluster_node& me)> refresh;
  std::chrono::milliseconds lease{3'000};
  std::function<result<std::unique_ptr<storage::cluster_state>>()> open;
  std::function<std::vector<wanted_shard>()> wanted; ///< of the configuration in force
  std::shared_ptr<leases> held;
  /// False: it cannot yet, and is called again.
  std::function<bool(const storage::shard_id&)> start;
  /// Calls back, on any thread, when nothing of the shard runs here any more.
  std::function<void(const storage::shard_id&, std::function<void()> on_done)> stop;
  /// After each renewal; empty: nobody wants to know.
  std::function<void(const storage::cluster_snapshot&)> on_seen;
  /// After each attempt to renew: until when the node is a member, and what it lacks; empty: nothing.
  std::function<void(monotonic lease_until, const std::string& lacks)> on_state;
  /// A shard was released: its next owner need not wait for his next renewal; empty: he does.
  std::function<void()> on_released;
  std::chrono::milliseconds stop_max{30'000}; ///< a shard that has not stopped by then is released: others fence it off

  /// Empty, or what is wrong.
  std::string validate() const;
};

struct membership_state {
  static inline const char* name = "membership";

  messages::membership_actor::stateful_pointer<membership_state> self = nullptr;
  membership_config config;
  std::unique_ptr<storage::cluster_state> state; ///< null: not open

  struct owned_shard {
    storage::shard_owner owner;
    monotonic stopping_since;
    bool started = false;
    bool stopping = false;
    bool stopped = false;
    bool lost = false; ///< another owns it: there is nothing to release
  };
  std::map<storage::shard_id, owned_shard> shards;

  /// Till the next renewal: a third of the lease, or less where the lease of a node that is silent ends before.
  std::chrono::milliseconds next_look{0};
  std::uint64_t timer = 0; ///< a check message with another number is not heard
  monotonic lease_until;
  monotonic spares_dead_until;               ///< till then nothing is taken from nodes that seem dead
  std::map<std::string, std::string> others; ///< how the other nodes were when they were last seen
  bool failing = false;
  bool joined = false;
  bool leaving = false;

  void on_check();
  void on_stopped(const storage::shard_id& shard);
  void on_exit();
  result<void> round();
  result<void> follow(const storage::cluster_snapshot& seen);
  void tell_of_others(const storage::cluster_snapshot& seen);
  void drop_lost(const storage::cluster_snapshot& seen);
  void take(storage::shard_owner owner, bool runs);
  void start_missing();
  void stop(owned_shard& shard);
  result<void> release_stopped();
  leases::shards ours() const;
  void failed(const error& reason);
  void schedule(std::chrono::milliseconds wait);
};

messages::membership_actor::behavior_type
membership(messages::membership_actor::stateful_pointer<membership_state> self, membership_config config);

} // namespace penstock::cluster
