// What a person asks of the tracking table, beside the poller that works on it: how many records are in which state,
// which ones were not sent and why, and to try those again.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"
#include "core/types.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace penstock::storage {

class connection;

/// A record that is refused or held.
struct unsent_record {
  std::string record_id;
  std::string version;
  std::string state;
  std::string topic;
  std::string reason;
  wall_time claimed_at;
};

class tracking_view {
public:
  /// schema_mismatch where no poller has worked with this database yet.
  static result<tracking_view> open(const config::database& database, const config::publish& pipeline);
  ~tracking_view();
  tracking_view(tracking_view&&) noexcept;
  tracking_view& operator=(tracking_view&&) = delete;

  /// Records by state; `archived` and, of those whose ids are kept as ranges, `deleted`.
  result<std::map<std::string, std::uint64_t>> counts();
  /// By `penstock tables pause`.
  result<bool> paused();
  /// Newest first.
  result<std::vector<unsent_record>> unsent(std::size_t limit);
  /// Forgets that they were refused or held, and asks the poller to claim their rows anew, as they are then (those with
  /// a digest for an id are left to its sweep). One record, or all where `record_id` is empty; how many.
  result<std::uint64_t> retry(const std::string& record_id);

private:
  tracking_view(std::unique_ptr<connection> database, const config::publish& pipeline);
  std::unique_ptr<connection> database_;
  std::string table_;   ///< quoted
  std::string archive_; ///< quoted
  std::string pipeline_is_;
};

} // namespace penstock::storage
