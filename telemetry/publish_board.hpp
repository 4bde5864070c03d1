// What a node knows of its publish pipelines, for people; see telemetry/board.hpp. Thread-safe.
#pragma once

#include "core/histogram.hpp"
#include "core/rate_meter.hpp"
#include "core/types.hpp"
#include "telemetry/component_status.hpp"

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::telemetry {

/// claimed = sent + refused + held + in_flight, if all is well. A claim that is made again counts once.
struct publish_account {
  std::uint64_t claimed = 0; ///< with those that were open when the process started
  std::uint64_t sent = 0;
  std::uint64_t refused = 0;
  std::uint64_t held = 0;
  std::uint64_t in_flight = 0; ///< measured

  bool balanced() const { return claimed == sent + refused + held + in_flight; }
  publish_account& operator+=(const publish_account& other);
  friend bool operator==(const publish_account&, const publish_account&) = default;
};

/// Changes to a shard's account, made as one.
struct publish_delta {
  std::uint64_t claimed = 0;
  std::uint64_t sent = 0;
  std::uint64_t refused = 0;
  std::uint64_t held = 0;
  std::uint64_t reclaimed = 0;   ///< sent again under a new packet id
  std::uint64_t in_flight = 0;   ///< not a delta
  std::uint64_t incarnation = 0; ///< of `begin`; a former one is not heard any more. 0: whichever it is
};

struct publish_shard_status {
  std::uint32_t shard = 0;
  publish_account account;
  std::uint64_t reclaimed = 0;
  connection_status connection;
  std::uint32_t window = 0;
  std::uint64_t backlog = 0; ///< rows that are read and not yet claimed
  double sent_rate = 0;      ///< a second, over the last ten
  histogram lag; ///< from the row's `order`, where it is a time, to the broker's acknowledgement, in microseconds
};

struct publish_status : worker_status {
  std::string name;
  publish_account account; ///< the sum over the shards
  std::uint64_t reclaimed = 0;
  std::uint64_t backlog = 0;
  std::uint64_t repeats_avoided = 0; ///< rows that were read again and are tracked already
  std::uint64_t found_late = 0;      ///< rows that became visible after rows behind them
  std::uint64_t gaps = 0;            ///< ids that are waited for, as ranges
  std::uint64_t gaps_given_up = 0;
  std::uint64_t polls = 0;
  std::uint64_t commits = 0;
  std::string slot;                 ///< of logical decoding; empty: queries find the rows
  std::uint64_t slot_lag_bytes = 0; ///< of the source's log, that its server keeps for it
  std::uint64_t slots_lost = 0;     ///< it had to be made anew, though rows had been sent
  bool paused = false;              ///< in memory or lastingly
  double sent_rate = 0;
  std::chrono::milliseconds oldest{0}; ///< age, by its `order`, of the oldest row that is not acknowledged
  histogram lag;                       ///< of all shards
  std::uint64_t tracking_rows = 0;     ///< in the tracking table, when it was last counted
  std::vector<publish_shard_status> shards;
};

/// Written by the poller; the connection by the publisher.
class publish_shard_board {
public:
  explicit publish_shard_board(std::uint32_t shard);
  /// What is in flight is counted anew, by what the tracking table says. A poller that starts has no number yet, and
  /// gets one; of a former poller, which may still wait for a database, nothing is heard any more.
  std::uint64_t begin(std::uint64_t incarnation = 0);
  void apply(const publish_delta& delta, monotonic now = std::chrono::steady_clock::now());
  void backlog(std::uint64_t rows);
  void lag(std::chrono::microseconds row_to_acknowledgement);
  void window(std::uint32_t messages);
  void connected(bool session_present, std::uint8_t protocol);
  void session_lost();
  void disconnected(std::string_view reason);
  publish_shard_status status(monotonic now) const;

private:
  mutable std::mutex mutex_;
  publish_shard_status status_;
  std::uint64_t incarnation_ = 0;
  rate_meter sent_;
};

class publish_board : public worker_board<publish_status> {
public:
  void polled(std::uint64_t gaps, std::uint64_t gaps_given_up);
  void committed();
  void repeats_avoided(std::uint64_t rows);
  void found_late(std::uint64_t rows);
  void slot(std::string_view name, std::uint64_t lag_bytes);
  void slot_lost();
  void paused(bool paused);
  bool paused() const;                ///< what was asked for last: a poller that starts again goes by it
  void paused_lastingly(bool paused); ///< as the tracking database says
  /// The `order` of the oldest row that waits, where it is a time; nothing: none does.
  void oldest(std::optional<wall_time> since);
  void tracking_rows(std::uint64_t count);
  publish_status status(wall_time now) const; ///< but for name, shards, and what is their sum

private:
  std::optional<wall_time> oldest_;
  bool paused_ = false;
  bool paused_lastingly_ = false;
};

} // namespace penstock::telemetry
