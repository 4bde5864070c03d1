// When rows become visible in the database: a thread that polls for some of the rows that must appear.
#pragma once

#include "config/config.hpp"
#include "core/types.hpp"
#include "storage/store.hpp"

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace penstock::nodes {

/// Looks for every sampled key with a read-only connection of its own about every half millisecond, so a time is late
/// by that much at most while few are being looked for.
class visibility_sampler {
public:
  static constexpr std::size_t outstanding_max = 32;

  visibility_sampler(config::database database, storage::table table);
  ~visibility_sampler(); ///< stops at once

  /// Looks for this row from now on. Does nothing while `outstanding_max` are looked for.
  void sample(std::uint64_t message, storage::key_text key);

  /// Waits up to `wait` for the rows that are still looked for (not as long where none was seen so far); then what was
  /// seen so far: message and time.
  std::vector<std::pair<std::uint64_t, wall_time>> finish(std::chrono::milliseconds wait);

private:
  struct wanted {
    std::uint64_t message;
    storage::key_text key;
    monotonic since;
  };
  void run(const std::stop_token& stop);

  config::database database_;
  storage::table table_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<wanted> added_;
  std::size_t outstanding_ = 0;
  std::vector<std::pair<std::uint64_t, wall_time>> seen_;
  std::jthread thread_; // last: it uses the others
};

} // namespace penstock::nodes
