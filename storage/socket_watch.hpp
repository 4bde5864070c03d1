// Database drivers wait for an answer without a limit. A watch cuts the connection when a call outlives its own: the
// socket is shut down under the driver, which then returns with a lost connection. One thread watches all connections
// of the process; it starts with the first call and sleeps while nothing is due.
#pragma once

#include <atomic>
#include <chrono>

namespace penstock::storage {

/// Of one connection, and used by its thread alone.
class socket_watch {
public:
  using clock = std::chrono::steady_clock;

  /// `socket` is duplicated: however the driver closes its own, a number that was given to another is never cut. A
  /// negative one is never cut either.
  explicit socket_watch(int socket);
  ~socket_watch();
  socket_watch(const socket_watch&) = delete;
  socket_watch& operator=(const socket_watch&) = delete;

  /// Cuts the connection at `limit` from now; 0: not. Replaces what was set before, which is returned.
  std::chrono::milliseconds set(std::chrono::milliseconds limit);
  /// Whether the connection was cut.
  bool cut() const { return cut_; }

private:
  friend class watching_thread;
  int socket_;
  std::chrono::milliseconds limit_{0};
  clock::time_point due_ = clock::time_point::max(); // guarded by the watching thread's mutex
  std::atomic<bool> cut_{false};
};

/// Limits one call. Inside another, the other's limit begins anew afterwards.
class call_limit {
public:
  call_limit(socket_watch& watch, std::chrono::milliseconds limit) : watch_(watch), outer_(watch.set(limit)) {}
  ~call_limit() { watch_.set(outer_); }
  call_limit(const call_limit&) = delete;
  call_limit& operator=(const call_limit&) = delete;

private:
  socket_watch& watch_;
  std::chrono::milliseconds outer_;
};

} // namespace penstock::storage
