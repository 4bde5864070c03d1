// One connection of `penstock load --table`, which commits what it is given, again where a failure is transient.
// Belongs to one thread.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"
#include "core/types.hpp"
#include "nodes/row_dealer.hpp"
#include "nodes/source_rows.hpp"
#include "storage/connection.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace penstock::nodes {

/// What the writers of one load share.
struct row_writer_surroundings {
  const source_rows& rows;
  std::chrono::milliseconds timeout; ///< an outage that lasts longer ends the load
  const std::atomic<bool>& give_up;  ///< no attempt is made again
  std::mutex* turn;                  ///< held by who writes, where the database takes one at a time; null: none
  /// What went wrong in an attempt that is made again; nothing: it works again.
  std::function<void(const std::optional<error>&)> trouble;
};

class row_writer {
public:
  row_writer(config::database database, row_writer_surroundings surroundings)
    : database_(std::move(database)), surroundings_(std::move(surroundings)) {}

  /// When its commit had returned; nothing: it was rolled back, as it was to be. Where a commit's outcome is unknown
  /// the database is asked, and the time is that of the failure.
  result<std::optional<wall_time>> write(const row_transaction& transaction);

  /// The same in two parts, between which the transaction stays open.
  result<void> begin(const row_transaction& transaction);
  result<std::optional<wall_time>> finish(const row_transaction& transaction, result<void> begun);

private:
  result<void> attempt(const row_transaction& transaction, const result<void>& begun);
  result<bool> is_there(const row_transaction& transaction);
  /// Whether to try again, after a wait.
  bool again(const error& why);
  void drop(const error& why);

  config::database database_;
  row_writer_surroundings surroundings_;
  std::unique_ptr<storage::connection> connection_;
  std::optional<monotonic> down_since_;
  std::optional<wall_time> unsure_since_; ///< the commit's outcome is unknown
};

} // namespace penstock::nodes
