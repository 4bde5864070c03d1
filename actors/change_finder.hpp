// Finds rows by the changes that logical decoding tells of: net 0, in front of the three of row_finder, which become a
// safety net. Part of the poller, without its actor.
//
// What a change made of a row is sent as it was then, each version once: an insert has the version of a row that a
// query finds, an update the place of its change in the log. Where the pipeline has a column for the version, that is
// it.
//
// The three nets look seldom, and what they find waits until the log is read up to what their query can have seen: what
// the log tells of as well is dropped then. So a query never comes before the log, with a row as it is by now.
//
// The position that the slot keeps advances to the end of a transaction once all its rows are claimed: a crash has the
// rest told again, and the tracking table knows what was claimed of it.
#pragma once

#include "actors/row_finder.hpp"
#include "storage/change_stream.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

namespace penstock::actors {

struct change_finder_config {
  row_finder_config finding; ///< nets 1 to 3: every `poll` or `sweep`, whichever is longer
  config::update_rule on_update = config::update_rule::ignore;
  bool has_version = false; ///< the pipeline has a column for it
  std::function<result<std::unique_ptr<storage::change_stream>>()> open;
  /// Is told once, and then now and again; `made_anew`: by this process, though rows were sent before.
  std::function<void(const storage::slot_state& slot, bool made_anew)> on_slot;
  std::size_t bytes_max = 8u << 20;         ///< of changes, in one look
  std::chrono::seconds slot_every{10};      ///< the slot is looked at
  std::chrono::milliseconds settled{1'000}; ///< after so long what a query saw is on the server's disk
  std::chrono::milliseconds ask_every{20};  ///< how far the server has looked, while rows are held
};

class change_finder final : public row_finder {
public:
  explicit change_finder(change_finder_config config);

  /// Opens the slot before the table is read for the first time, so that nothing falls between.
  result<void> begin(storage::source& source, const std::vector<storage::source_cursor>& from) override;
  result<std::vector<found_row>> look(storage::source& source, storage::tracking& tracking, std::size_t rows_max,
                                      monotonic now) override;
  bool read_was_full() const override { return was_full_; }
  monotonic next_look(monotonic now) const override;
  void claimed(const found_row& row) override;
  void returned(const found_row& row) override;
  result<void> tend(monotonic now) override;

  std::uint64_t found_late() const override { return found_late_; } ///< rows of which the log did not tell
  std::uint64_t repeats_avoided() const override { return repeats_avoided_; }

protected:
  bool may_be_ahead() const override { return true; }

private:
  using changes = std::vector<storage::changed_row>;
  struct transaction {
    storage::log_place before = 0; ///< all up to here was committed before it
    std::size_t pending = 0;       ///< rows that are given out and not claimed
    bool complete = false;
  };
  /// What nets 1 to 3 have found, and up to where the log must be read before it is given out.
  struct held_rows {
    std::vector<found_row> rows;
    storage::log_end seen;
    bool settled = false; ///< `seen.flushed` is of a time when all that the query saw was on the disk
    monotonic since;
  };

  result<void> read_changes(storage::source& source, storage::tracking& tracking, std::size_t rows_max,
                            std::vector<found_row>& found);
  changes take(std::vector<storage::change_stream::event> events, std::vector<std::uint64_t>& transactions);
  result<void> give_changes(const changes& told, const std::vector<std::uint64_t>& transactions,
                            storage::source& source, storage::tracking& tracking, std::vector<found_row>& found);
  result<void> query(storage::source& source, storage::tracking& tracking, std::size_t rows_max, monotonic now);
  result<bool> log_is_read(monotonic now);
  result<void> give_held(storage::tracking& tracking, std::vector<found_row>& found);
  bool is_pending(const storage::source_row& row) const;
  void settle();
  storage::log_place done() const;

  change_finder_config config_;
  std::unique_ptr<storage::change_stream> stream_;
  storage::log_place told_before_ = 0;                ///< what lies before may have been claimed by a former process
  storage::log_place reached_ = 0;                    ///< all that was committed before was told
  std::map<std::uint64_t, transaction> transactions_; ///< that are not done with
  std::uint64_t transactions_count_ = 0;
  bool in_transaction_ = false;
  std::map<std::string, std::vector<std::uint64_t>> pending_; ///< given out: by record and version, the transactions
  std::unordered_set<std::string> claimed_;                   ///< of those: by what is committed with the next look
  std::optional<held_rows> held_;
  bool was_full_ = false;
  monotonic next_query_;
  monotonic next_ask_;
  monotonic next_slot_look_;
  std::uint64_t found_late_ = 0;
  std::uint64_t repeats_avoided_ = 0;
};

} // namespace penstock::actors
