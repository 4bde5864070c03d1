// A bound on what waits in a mailbox that others fill from threads of their own. Overflow policy: what comes while the
// mailbox is full is dropped and counted.
#pragma once

#include <atomic>
#include <cstdint>

namespace penstock {

/// Thread-safe.
class mailbox_limit {
public:
  explicit mailbox_limit(std::uint32_t waiting_max) : waiting_max_(waiting_max) {}

  /// From whoever would post: false where the mailbox is full, so that the message must be dropped.
  bool enter() {
    auto waiting = waiting_.load();
    while (waiting < waiting_max_)
      if (waiting_.compare_exchange_weak(waiting, waiting + 1))
        return true;
    ++dropped_;
    return false;
  }

  /// From the owner, for each message that it takes: how many were dropped since it took the one before.
  std::uint64_t leave() {
    --waiting_;
    return dropped_.exchange(0);
  }

private:
  const std::uint32_t waiting_max_;
  std::atomic<std::uint32_t> waiting_{0};
  std::atomic<std::uint64_t> dropped_{0};
};

} // namespace penstock
