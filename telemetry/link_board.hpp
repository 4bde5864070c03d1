// What a node of a cluster knows of its place there: whether it is a member, and its links to the others.
#pragma once

#include "core/types.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace penstock::telemetry {

struct link_status {
  std::string peer;    ///< the other node's name
  std::string address; ///< host:port; empty: not known yet
  bool up = false;
  std::string reason = "not connected yet"; ///< why it is not up; empty while it is
  std::optional<wall_time> since;           ///< when it came up, or went down; nothing: it was never up
  std::uint16_t version = 0;                ///< the peer's link version (messages.hpp); 0: never connected
  friend bool operator==(const link_status&, const link_status&) = default;
};

struct membership_status {
  bool member = false;                       ///< its lease lasts, as far as it knows
  std::string reason = "has not joined yet"; ///< what it lacks; empty: nothing
  monotonic until = monotonic::max();        ///< it is no member any more then, unless it says so again
  friend bool operator==(const membership_status&, const membership_status&) = default;
};

/// Written by the agent and the membership. Thread-safe.
class link_board {
public:
  /// This node takes links at that port.
  void listens(std::uint16_t port) { port_ = port; }
  std::uint16_t port() const { return port_; } ///< 0: not yet
  /// There is such a peer.
  void peer(const std::string& name, const std::string& address);
  void up(const std::string& name, std::uint16_t version, wall_time now = wall_now());
  void down(const std::string& name, const std::string& reason, wall_time now = wall_now());
  /// It is no peer any more.
  void forget(const std::string& name);

  std::vector<link_status> status() const; ///< by name

  void membership(membership_status now);
  std::optional<membership_status> membership(monotonic now) const; ///< nothing: there is no cluster

private:
  std::atomic<std::uint16_t> port_ = 0;
  mutable std::mutex mutex_;
  std::map<std::string, link_status> links_;
  std::optional<membership_status> membership_;
};

} // namespace penstock::telemetry
