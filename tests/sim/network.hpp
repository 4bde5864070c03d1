// The network between the nodes of a simulation: CAF's own connections, over its simulated sockets. What a node sends
// is on its way until the other one reads it, which is an event like others. A connection that breaks loses what is on
// its way, and each end notices when it does: by what TCP says, or by the heartbeats that do not come.
#pragma once

#include "core/types.hpp"
#include "tests/sim/world.hpp"

#include <caf/io/connection_handle.hpp>
#include <caf/io/middleman_actor.hpp>
#include <caf/io/network/test_multiplexer.hpp>

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

namespace penstock::sim {

class network {
public:
  static constexpr std::uint16_t port = 7000; ///< of each node
  /// For so long an end may be silent (actors::link_silence_max).
  static constexpr std::chrono::milliseconds silence_max{5000};

  explicit network(world& given) : world_(given) {}

  /// What a process listens and dials with.
  static caf::io::middleman_actor make_manager(world& given, process& owner);
  /// From a process that dials the node of that name: the next connection of its multiplexer gets through. False:
  /// nobody listens there, or nothing gets through.
  bool dial(process& from, const std::string& node);

  /// Something has come to a living process, or it may notice that a connection has broken.
  bool has_event() const;
  void act();
  /// Once a step.
  void tidy_up();

  /// Nothing gets from one node to the other for so long; the other way it may.
  void block(const std::string& from, const std::string& to, std::chrono::milliseconds duration);
  /// Breaks one connection.
  void cut_one();
  /// What comes next over a connection is lost, and it stands: CAF 0.17 can do that
  /// (docs/decisions/0017-links-between-nodes.md).
  void lose_next() { losing_ = true; }
  /// A process has crashed or ended: whoever is connected to it notices sooner or later.
  void leave(const process& who);
  /// A process was silent for silence_max.
  void give_up(const process& who);
  void heal() {
    blocked_.clear();
    losing_ = false;
  }

private:
  struct end {
    process* owner; ///< null: it is gone
    caf::io::connection_handle handle;
    bool accepted;         ///< false: a connection that the listener has not taken yet
    bool attached = false; ///< CAF has seen it
    bool open = true;
  };
  struct link {
    end client;
    end server;
    monotonic made;
    bool broken = false;
    monotonic notices; ///< where it is broken: both ends
  };

  bool is_blocked(const process& from, const process& to) const;
  void break_now(link& which, std::chrono::milliseconds notices_max);
  bool can_read(const end& which, const end& other) const;
  bool has_event(const link& of, const end& which) const;
  end& accepted_next(caf::io::network::test_multiplexer& sockets);
  void act(link& of, end& which);
  static void close(end& which);
  static void fail(end& which);
  bool loses(const end& which);

  world& world_;
  std::int64_t last_handle_ = 0;
  std::deque<link> links_;
  bool losing_ = false;
  std::map<std::pair<std::string, std::string>, monotonic> blocked_; ///< until when, from node to node
};

} // namespace penstock::sim
