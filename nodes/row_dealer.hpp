// What the writers of `penstock load --table` do next: how many rows, when, with which ids. Thread-safe.
#pragma once

#include "core/types.hpp"
#include "nodes/pace.hpp"
#include "nodes/source_rows.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

namespace penstock::nodes {

struct row_transaction {
  bool updates = false; ///< of rows that are there
  bool late = false;    ///< stays open for long
  bool rolled_back = false;
  std::vector<source_row> rows;
};

struct dealer_options {
  std::uint64_t count = 0;
  std::optional<double> rate; ///< rows a second; without it as fast as possible
  std::uint64_t monitors = 1;
  std::size_t writers = 1;
  double late_percent = 0;
  double updates_percent = 0;
  double rollbacks_percent = 0;
  std::uint64_t seed = 1;
  std::int64_t last_id = 0; ///< the highest that are there
  std::int64_t last_version = 0;
};

class row_dealer {
public:
  row_dealer(dealer_options options, monotonic started);

  struct reservation {
    std::size_t rows = 0;
    monotonic due;
  };
  /// What the next transaction is to have at most, and not before when; nothing: the count is reached.
  std::optional<reservation> reserve();

  /// The transaction. Ids and times rise from call to call, so within a writer's monitors, which no other writer has,
  /// they rise with the commits; those of late transactions and of ones that are rolled back leave gaps. Rows that are
  /// rolled back do not count.
  row_transaction deal(std::size_t writer, std::size_t reserved, wall_time now);

  /// The rows are there, and the writer may update them.
  void committed(std::size_t writer, const row_transaction& transaction);

private:
  void insert(std::size_t writer, std::size_t rows, wall_time now, row_transaction& into);
  void update(std::size_t writer, std::size_t rows, row_transaction& into);

  dealer_options options_;
  monotonic started_;
  std::mutex mutex_;
  dice dice_;
  std::uint64_t reserved_ = 0;
  std::int64_t last_time_us_ = 0;
  std::vector<std::deque<source_row>> recent_; ///< by writer
};

} // namespace penstock::nodes
