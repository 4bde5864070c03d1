// The agent of a node: the one actor that the others' agents know. It keeps a direct link to each of them, tells over
// them which lanes' batch-writers live here, and makes those that it is told of known to the ingestors of this node.
// When this node has released a shard, it has the memberships of the others look at once. Now and then it says all that
// again: CAF can lose a message while a link stands (docs/decisions/0017-links-between-nodes.md).
//
// Of two nodes the one with the smaller name dials; both notice when the link is lost. A link is there once both have
// accepted the other's hello. An address that does not answer delays nobody else: each is probed on a thread of its
// own.
//
// Bounded: one entry a peer and one a lane. What is in flight to a peer is bounded by the demand of its batch-writers.
#pragma once

#include "actors/directory.hpp"
#include "config/config.hpp"
#include "core/backoff.hpp"
#include "messages/messages.hpp"
#include "telemetry/link_board.hpp"

#include <caf/io/middleman_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace penstock::actors {

struct agent_config {
  std::string name = "agent";
  messages::hello me;
  config::address address; ///< it listens there
  caf::io::middleman_actor manager;
  /// Blocks until it is known whether somebody listens at an address, and gives it as a number (actors/links.hpp).
  /// Without it an address is dialled as it is.
  std::function<result<std::string>(const std::string& host, std::uint16_t port)> probe;
  std::shared_ptr<telemetry::link_board> board;
  const actor_directory* directory = nullptr; ///< where it finds who is there already
  std::function<void()> on_wake;              ///< a peer says that it has released a shard; empty: nobody wants to know
  std::chrono::milliseconds timeout{3'000};   ///< for an answer of a peer, or of CAF's connect
  std::chrono::milliseconds retry_min{100};
  std::chrono::milliseconds retry_max{3'000};
  std::chrono::milliseconds renew_every{10'000}; ///< a link, in case that something was lost on it

  /// Empty, or what is wrong.
  std::string validate() const;
};

/// Why no link is made to a node that introduces itself like this; empty: one is.
std::string refusal_of(const messages::hello& me, const messages::hello& peer);

struct agent_state {
  static inline const char* name = "agent";
  using lane_id = std::pair<std::string, std::uint32_t>; ///< pipeline, lane

  messages::agent_actor::stateful_pointer<agent_state> self = nullptr;
  agent_config config;
  std::unique_ptr<backoff> publish_waits;

  struct peer {
    std::optional<messages::neighbours::peer> known; ///< nothing: the state database does not show it (yet)
    messages::agent_actor agent;                     ///< null: no link
    std::string instance;                            ///< of the link
    std::uint16_t version = 0;                       ///< of the link
    std::uint64_t attempt = 0;                       ///< numbers the dials: what an earlier one brings is not heard
    bool dialling = false;                           ///< or waiting to
    std::string told;                                ///< the last reason that was logged
    std::unique_ptr<backoff> waits;
  };
  std::map<std::string, peer> peers;
  std::uint64_t attempts = 0;
  monotonic renewed; ///< the links

  struct remote_writer {
    std::uint64_t epoch = 0; ///< the highest that was seen: an older owner is not heard any more
    std::string peer;
    caf::strong_actor_ptr writer; ///< null: its node is lost
  };
  std::map<lane_id, remote_writer> remote;
  std::map<lane_id, caf::actor_addr> local;
  std::map<lane_id, std::uint64_t> own;                       ///< epochs
  std::map<std::string, std::set<caf::actor_addr>> ingestors; ///< of this node, by pipeline

  void publish();
  void publish_later(const caf::error& reason);
  void on_neighbours(const messages::neighbours& now);
  void dial(const std::string& name);
  void connect(const std::string& name, std::uint64_t attempt, const std::string& host);
  void greet(const std::string& name, std::uint64_t attempt, const caf::strong_actor_ptr& remote);
  void dial_later(const std::string& name, std::uint64_t attempt, const std::string& reason);
  bool is_current(const std::string& name, std::uint64_t attempt) const;
  caf::typed_response_promise<messages::hello> on_hello(const messages::hello& theirs);
  void link_up(const messages::hello& theirs, const messages::agent_actor& agent);
  void link_down(const std::string& name, const std::string& reason);
  void renew_links();
  void on_lane_writer(const messages::lane_writer& told);
  void on_released();
  void look_around();
  void on_started(const std::string& child, const caf::strong_actor_ptr& handle);
  void on_down(const caf::down_msg& down);
  caf::strong_actor_ptr writer_of(const lane_id& lane) const;
  std::uint16_t version_of(const lane_id& lane) const;
  void announce(const lane_id& lane);
  void tell_peers(const lane_id& lane);
  void tell_peer(const messages::agent_actor& agent, const lane_id& lane);
};

messages::agent_actor::behavior_type agent(messages::agent_actor::stateful_pointer<agent_state> self,
                                           agent_config config);

} // namespace penstock::actors
