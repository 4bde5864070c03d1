// Finds the rows of a source table that are not yet claimed, at a cost that depends on what is new. Part of the poller,
// without its actor: a caller gives the connections and the time.
//
// Three nets, one behind the other:
//   1. what is behind the newest row seen: along the id, or along `order` and key
//   2. what became visible late, within `late_for`: the gaps between ids are asked for again; without ids, a walk over
//      that time and a quicker one over the last seconds
//   3. a slow walk over the whole table, for what came later still
// and what a person wants to be sent again. Rows of nets 2 and 3 are looked up in the tracking table where they may be
// there; so are those that a former process may have claimed.
#pragma once

#include "config/config.hpp"
#include "core/id_frontier.hpp"
#include "core/result.hpp"
#include "storage/source.hpp"
#include "storage/tracking.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

namespace penstock::actors {

struct row_finder_config {
  config::detection detect;
  config::publish_start start = config::publish_start::all;
  std::size_t gaps_max = 10'000;            ///< that are remembered
  std::size_t gaps_asked = 500;             ///< in one look
  std::size_t late_rows = 2'000;            ///< in one look for what came late
  std::size_t sweep_rows = 500;             ///< in one step of the sweep; nothing is published meanwhile
  std::size_t read_bytes = 8u << 20;        ///< topics and payloads in one read, about: by the size of those before
  std::chrono::milliseconds recent{10'000}; ///< of the quicker walk
  std::size_t retried = 500;                ///< rows in one look for what is to be sent again
  std::chrono::milliseconds retries_every{1'000};
  /// Whether a row is dealt to one of the shards that are published here; empty: all are.
  std::function<bool(const storage::source_row&)> mine;
  /// That of the times that callers give.
  std::function<monotonic()> clock = [] { return monotonic::clock::now(); };
};

class row_finder {
public:
  /// A row that is to be claimed.
  struct found_row {
    storage::source_row row;
    std::uint64_t read = 0;        ///< which read of net 1; 0: another net
    std::uint64_t transaction = 0; ///< of change_finder; 0: a query found it
    bool retried = false;          ///< a person wants it to be sent again
  };

  explicit row_finder(const row_finder_config& config);
  virtual ~row_finder() = default;

  /// From where the shards were read to, as their cursors say; without any it is the first run. Writes nothing.
  virtual result<void> begin(storage::source& source, const std::vector<storage::source_cursor>& from);

  /// Rows to be claimed, oldest first; about `rows_max` of them. What is given out counts as pending until `claimed`.
  virtual result<std::vector<found_row>> look(storage::source& source, storage::tracking& tracking,
                                              std::size_t rows_max, monotonic now);
  /// The `order`, where it is a time, of the oldest of the next rows that net 1 would read; nothing: none waits. Gives
  /// nothing out.
  result<std::optional<wall_time>> oldest_unread(storage::source& source, storage::tracking& tracking);
  /// There may be more new rows at once.
  virtual bool read_was_full() const { return was_full_; }
  /// When to look again, unless it was full or somebody says that there is more.
  virtual monotonic next_look(monotonic now) const { return now + config_.detect.poll; }
  virtual void claimed(const found_row& row);
  /// It was not, after all. Before the next look.
  virtual void returned(const found_row& row);
  /// Between two looks, however long: nothing that was claimed before is undone any more.
  virtual result<void> tend(monotonic) { return {}; }

  /// What a successor begins with, as of now.
  storage::source_cursor cursor() const;
  /// Ids of rows to be sent again that are claimed, or cannot be; to be written with the next commit.
  std::vector<std::string> retried() const { return {retried_.begin(), retried_.end()}; }
  void retried_written() { retried_.clear(); }
  /// Of those to be sent again that were asked for in the last look: ids without a row that is wanted.
  const std::vector<std::string>& not_there() const { return not_there_; }

  virtual std::uint64_t found_late() const { return found_late_; }           ///< rows of nets 2 and 3
  virtual std::uint64_t repeats_avoided() const { return repeats_avoided_; } ///< rows that were tracked already
  std::size_t gaps() const { return frontier_.gaps(); }
  std::uint64_t gaps_given_up() const { return frontier_.gaps_given_up(); }

protected:
  /// Whether somebody may have claimed rows that net 1 has not met yet.
  virtual bool may_be_ahead() const { return known_high_ && !is_behind(read_to_, *known_high_); }

private:
  struct walk {
    std::chrono::milliseconds span{0}; ///< before the newest row; 0: everything
    std::string position = {};
  };
  using rows = std::vector<storage::source_row>;

  result<void> begin_at(storage::source& source, const std::vector<storage::source_cursor>& from);
  bool is_wanted(const storage::source_row& row) const;
  bool skips(const storage::source_row& row) const;
  bool by_id() const { return newest_ == storage::source::path::id; }
  result<void> read_new(storage::source& source, storage::tracking& tracking, std::size_t rows_max, monotonic now,
                        std::vector<found_row>& found);
  result<bool> read_gaps(storage::source& source, monotonic now, std::vector<found_row>& found);
  result<void> step(walk& along, storage::source& source, storage::tracking& tracking, std::vector<found_row>& found);
  result<void> read_retries(storage::source& source, storage::tracking& tracking, std::vector<found_row>& found);
  bool is_behind(const std::string& position, const std::string& high) const;
  result<rows> drop_tracked(storage::tracking& tracking, rows candidates);
  void give(found_row row, std::vector<found_row>& found);
  bool is_late(const found_row& row) const { return by_id() && row.read == 0 && !row.retried; }
  std::optional<std::int64_t> floor_id() const;
  std::size_t rows_at_once(std::size_t rows_max) const;
  void measure(const rows& read);
  /// The position before the first read of which rows are pending; nullptr: none is.
  const std::string* first_pending() const;

  row_finder_config config_;
  storage::source::path newest_ = storage::source::path::id;
  id_frontier frontier_;
  std::string read_to_;                   ///< along the path of net 1
  std::string read_to_order_;             ///< where the last row that net 1 has read is, without ids
  std::string begin_;                     ///< of `start: now`
  std::optional<std::string> known_high_; ///< up to there a former process may have claimed
  bool was_full_ = false;
  std::size_t bytes_a_row_; ///< of the last read that met rows

  struct read_state {
    std::string before; ///< the position before its first row
    std::size_t pending = 0;
  };
  std::map<std::uint64_t, read_state> reads_; ///< since the first one with rows pending
  std::uint64_t reads_count_ = 0;
  std::set<std::int64_t> late_ids_;              ///< pending, of nets 2 and 3
  std::unordered_set<std::string> pending_keys_; ///< of rows that are pending
  std::set<std::string> retried_;
  std::vector<std::string> not_there_;

  std::vector<walk> late_walks_; ///< net 2, without ids
  walk whole_walk_;              ///< net 3
  monotonic next_late_walk_;
  monotonic next_whole_walk_;
  monotonic next_retries_;
  std::uint64_t found_late_ = 0;
  std::uint64_t repeats_avoided_ = 0;
};

} // namespace penstock::actors
