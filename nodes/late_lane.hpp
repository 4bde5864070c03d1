// Transactions of `penstock load --table` that stay open for long: a thread, and a connection each.
#pragma once

#include "nodes/pace.hpp"
#include "nodes/row_writer.hpp"

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace penstock::nodes {

class late_lane {
public:
  static constexpr std::size_t open_max = 16;

  struct options {
    config::database database;
    std::chrono::milliseconds late_for{0};
    std::uint64_t seed = 1;
    bool held_back = false; ///< begun late, in place of committed late
  };
  /// What became of one.
  using settled = std::function<void(const row_transaction&, const result<std::optional<wall_time>>&)>;

  late_lane(options how, row_writer_surroundings surroundings, settled done);
  ~late_lane(); ///< joins; call close() before

  /// False: there are `open_max` already.
  bool offer(const row_transaction& transaction);
  /// None will be offered any more. The lane is idle once those that are open are settled.
  void close();
  /// Settles at once what is open, and whatever is offered from now on.
  void hurry();
  bool idle();

private:
  struct open_transaction {
    row_transaction transaction;
    std::unique_ptr<row_writer> writer;
    result<void> begun;
    monotonic due;
  };
  void run();
  void begin(open_transaction& one);
  void settle(open_transaction& one);

  options options_;
  row_writer_surroundings surroundings_;
  settled done_;
  dice dice_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<open_transaction> offered_;
  std::size_t open_ = 0; ///< those offered included
  bool closed_ = false;
  bool hurry_ = false;
  std::vector<std::unique_ptr<row_writer>> free_; ///< of the thread
  std::jthread thread_;                           // last: it uses the others
};

} // namespace penstock::nodes
