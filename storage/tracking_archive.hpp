// What becomes of tracking records that are old: they move to the archive table, and go from there when their rows can
// never be met again, or when their ids are kept as ranges. Tracking table, archive and ranges are one set: a record in
// any of them is never sent again. docs/delivery.md, "Archive".
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"
#include "storage/retention.hpp"
#include "storage/source.hpp"

#include <cstdint>
#include <functional>
#include <memory>

namespace penstock::storage {

/// On tables that the pipeline's poller has made.
class tracking_archive {
public:
  virtual ~tracking_archive() = default;

  /// Records in the tracking table, whatever their state. Reads an index of all of it.
  virtual result<std::uint64_t> count() = 0;
  /// Moves records that were sent before a time, of each shard at most `rows_max` in one transaction. Those that are
  /// refused or held stay.
  virtual result<retention_task::step_done> move_older(wall_time before, std::size_t rows_max) = 0;
  /// Deletes records that were archived before a time, of `rows_max` that it looks at: where the key is an integer
  /// their ids become ranges; otherwise those go whose row is gone, or has another version. One transaction.
  virtual result<retention_task::step_done> delete_older(wall_time before, source& rows, std::size_t rows_max) = 0;
};

/// Opens a connection; it counts on the `board`, where one is given.
result<std::unique_ptr<tracking_archive>> open_tracking_archive(const config::database& database,
                                                                const config::publish& pipeline,
                                                                const connection_board& board = {});

/// The work of a publish pipeline's archiver: `archive.after`, `archive.keep`, and the count.
struct record_retention {
  std::chrono::milliseconds after{0};                           ///< 0: nothing moves
  std::chrono::milliseconds keep{0};                            ///< 0: nothing goes from the archive
  std::function<result<std::unique_ptr<source>>()> open_source; ///< only for `keep`
  std::function<void(std::uint64_t records)> on_count;
  std::size_t rows_max = 1'000; ///< in one transaction
};
std::unique_ptr<retention_task> make_record_retention(std::unique_ptr<tracking_archive> archive, record_retention kept);

} // namespace penstock::storage
