// A whole cluster in one thread, under a seed: nodes with the real actors, a broker, databases, the network between
// them, and time. Nothing happens but by `step`, which the seed's dice choose: the next actor of some node, a packet,
// or that time goes by. Whoever asks a database is blocked for as long as the answer takes; the world goes on meanwhile
// (`request`), so that everything can happen between a statement and its answer.
//
//   world                the dice, time, faults, and what is checked
//   ├── process          a node from its start to its end: an actor system, its clients (process.hpp)
//   ├── network          the links between the nodes (network.hpp)
//   ├── broker           with its sessions, and the connections to it (broker.hpp)
//   ├── databases        in memory (databases.hpp)
//   └── flow             what is moved, and what is to come of it (flow.hpp)
#pragma once

#include "core/error.hpp"
#include "core/result.hpp"
#include "core/types.hpp"
#include "tests/sim/dice.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace penstock::sim {

using std::chrono::milliseconds;

class process;
class network;
class broker;
class databases;
class flow;
class ingest_flow;

enum class direction : std::uint8_t { ingest, publish };

/// What a node may be cut off from.
enum class service : std::uint8_t { state, tracking, source, target, broker };
inline constexpr std::size_t services = 5;
std::string_view name_of(service which);

/// What a run is like; all of it is drawn from the seed.
struct scenario {
  /// `only`: in place of what the dice say.
  scenario(dice& from, std::optional<direction> only);

  bool ingest; ///< otherwise publish
  std::size_t nodes;
  std::uint32_t shards;
  std::uint8_t qos;
  bool silent_take_over; ///< the broker does not say why it closes a connection
  std::uint16_t window;  ///< Receive Maximum of the broker; of ingest, what a shard may hold
  std::size_t items;     ///< rows to be published, or messages to be stored
  std::size_t keys;      ///< their shard_by values, or devices

  // Of publish.
  bool hold;              ///< on_lost_session
  bool deliver_at_pubrel; ///< when the broker does: both are right

  // Of ingest.
  std::uint32_t lanes;
  std::uint32_t batch;  ///< records in a transaction
  std::uint32_t demand; ///< of a batch-writer from one ingestor
  bool split_roles;     ///< ingestors and batch-writers are at different nodes
  bool newest_wins;     ///< on_conflict: update, with an ordering column

  milliseconds lease;
  milliseconds chaos; ///< for so long faults are made

  // Of a thousand requests.
  unsigned busy;
  unsigned lost;
  unsigned slow;
  // The time between two faults of a kind, on average; 0: none.
  milliseconds crash;
  milliseconds stop;
  milliseconds pause;
  milliseconds cut;
  milliseconds disconnect; ///< a connection to the broker ends
  milliseconds forget;     ///< the broker forgets a session
  milliseconds kill;       ///< an actor fails
  milliseconds unlink;     ///< a link between two nodes breaks
  milliseconds block;      ///< one node does not hear another
  milliseconds lose;       ///< what is on its way over a link is lost, and the link stands

  std::string to_text() const;
};

class world {
public:
  world(std::uint64_t seed, bool verbose, std::optional<direction> only = std::nullopt);
  ~world();
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  struct outcome {
    std::string violation; ///< empty: all is well
    std::uint64_t digest = 0;
    std::uint64_t steps = 0;
    monotonic::duration simulated{0};
    std::map<std::string, std::uint64_t> counts; ///< of what has happened
  };
  outcome run();

  // --- for those who live in it

  dice& chance() { return dice_; }
  const scenario& given() const { return scenario_; }
  monotonic now() const { return now_; }
  std::uint64_t steps() const { return steps_; } ///< so far
  sim::broker& the_broker() { return *broker_; }
  sim::databases& the_databases() { return *databases_; }
  sim::network& the_network() { return *network_; }
  /// What is moved, where that is ingest.
  sim::ingest_flow& ingest();
  /// The one that runs as this node; nullptr: none does.
  process* process_of(const std::string& node);

  void after(milliseconds wait, std::function<void()> what);
  /// So often while there is chaos: one after the other, or some at once.
  void spread(std::size_t times, const std::function<void()>& what);

  /// What was promised is broken. The first one counts, and ends the run.
  void violate(std::string what);
  template <class... Args>
  void trace(fmt::format_string<Args...> pattern, Args&&... args) {
    note(fmt::format(pattern, std::forward<Args>(args)...));
  }
  void count(const std::string& what) { ++counts_[what]; }

  bool is_cut(const process& from, service to) const;
  /// Runs `effect` at some moment of a request of `from`, unless the request is lost before; its result, unless the
  /// answer is lost. `broken`: the connection, of no use once something was lost.
  template <class Effect>
  auto request(process& from, service to, bool& broken, Effect effect) -> decltype(effect()) {
    if (std::this_thread::get_id() != thread_)
      return effect(); // a second thread of the actor, which waits for it: nobody else moves
    if (auto failure = on_the_way(from, to, broken))
      return *std::move(failure);
    auto done = effect();
    if (auto failure = on_the_way_back(from, to, broken))
      return *std::move(failure);
    return done;
  }

private:
  struct node {
    std::string name;
    std::unique_ptr<process> current; ///< null: it is not running
    std::uint64_t starts = 0;
    std::set<service> cut;
  };

  void note(std::string line);
  std::optional<error> on_the_way(process& from, service to, bool& broken);
  std::optional<error> on_the_way_back(process& from, service to, bool& broken);
  void others(milliseconds duration, std::size_t steps, const process& until);
  void step();
  void pass_time(bool idle);
  void fall_due();
  void every(milliseconds mean, std::function<void()> what);
  void arrange_faults();

  node& any_node();
  void start(node& which);
  void crash(node& which);
  void stop(node& which);
  void pause(node& which);
  void cut(node& which);
  void kill_an_actor(node& which);
  void block();
  void make_peace();
  bool settled() const;
  void bury();

  dice dice_;
  scenario scenario_;
  const bool verbose_;
  const std::thread::id thread_ = std::this_thread::get_id();
  monotonic now_{std::chrono::hours{1}};
  std::multimap<monotonic, std::function<void()>> agenda_;
  std::deque<node> nodes_;
  std::vector<std::unique_ptr<process>> graveyard_; ///< until nobody waits for an answer in them
  std::unique_ptr<sim::broker> broker_;
  std::unique_ptr<sim::databases> databases_;
  std::unique_ptr<sim::network> network_;
  std::unique_ptr<sim::flow> flow_;
  std::string violation_;
  std::uint64_t digest_ = 0xcbf29ce484222325u;
  std::uint64_t steps_ = 0;
  std::map<std::string, std::uint64_t> counts_;
  std::size_t depth_ = 0; ///< requests that are under way
  bool chaos_ = true;
};

} // namespace penstock::sim
