// The record of what a publish pipeline has sent, and the claims of what it is about to send: the tracking table, the
// epochs that fence off a former owner, and how far the source was read. All of it in one database, each change in one
// transaction. docs/delivery.md has the states.
//
//   mqtt_sent_records          one row a record and version: claimed, sent, refused or held
//   mqtt_sent_records_archive  those that were sent long ago (tracking_archive.hpp)
//   penstock_sent_ranges       the ids of those that have gone from the archive
//   penstock_retries           records that a person wants to be sent again
//   penstock_fence             one row a shard: the epoch of its owner, watermarks over claim_seq, and how far the
//                              source was read for it
//   penstock_pauses            one row for each pipeline that is paused
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"
#include "core/types.hpp"
#include "storage/store.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace penstock::storage {

enum class record_state : std::uint8_t { claimed, sent, refused, held };

/// A record as it is sent: once it is claimed never made anew from its source row, which may have changed.
struct claimed_record {
  std::string record_id;
  std::string version;
  std::uint32_t shard = 0;
  std::uint64_t seq = 0;
  std::uint16_t packet_id = 0;
  std::string topic;
  std::string payload;
  std::string correlation;
  std::uint32_t attempts = 0; ///< claims of it before this one
  record_state state = record_state::claimed;
  std::uint8_t reason_code = 0; ///< refused, held: of MQTT 5; 0: the row cannot be published
  std::string reason;
};

/// How far the source was read for a shard. Positions are those of storage/source.hpp.
struct source_cursor {
  std::string floor; ///< all before it is done with
  std::string high;  ///< no row behind it was ever claimed, for whatever shard
  std::string begin; ///< where `start: now` began; what is before it is never sent
  std::string sweep; ///< of the sweep over everything
  friend bool operator==(const source_cursor&, const source_cursor&) = default;
};

/// A shard as its new owner finds it.
struct adopted_shard {
  std::uint32_t shard = 0;
  std::uint64_t epoch = 0;
  std::uint64_t claimed_seq = 0;
  std::uint64_t released_seq = 0;
  std::uint64_t settled_seq = 0; ///< all claims up to here are at their end
  /// Its own; or, where rows were dealt to shards in another way before, those of all shards then. Nothing: nobody has
  /// read for it yet.
  std::vector<source_cursor> cursors = {};
};

/// Claims that are not at their end, of a shard that the pipeline does not have, or of rows that were dealt to shards
/// in another way than now.
struct former_claims {
  std::uint32_t shard = 0;
  std::uint64_t first_seq = 0;   ///< the first of them
  std::uint64_t claimed_seq = 0; ///< the last claim of the shard
};

struct shard_progress {
  std::uint32_t shard = 0;
  std::uint64_t epoch = 0;
  std::uint64_t claimed_seq = 0;
  std::uint64_t released_seq = 0;
  std::uint64_t settled_seq = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> sent; ///< ranges of claim_seq, both ends included
  bool keeps_cursor = false; ///< nothing is read for it any more: the changes' cursor does not hold for it
};

/// The end of a claim that is not `sent`.
struct claim_end {
  enum class kind : std::uint8_t {
    refused,
    held,   ///< its outcome is unknown, and the policy says hold
    reclaim ///< it is sent again under another claim_seq and packet id
  };
  claim_end::kind outcome = kind::refused;
  std::uint32_t shard = 0;
  std::uint64_t seq = 0;
  std::uint8_t reason_code = 0; ///< of MQTT 5
  std::string reason;
  std::uint64_t new_seq = 0; ///< reclaim
  std::uint16_t new_packet_id = 0;
};

/// One transaction.
struct tracking_changes {
  std::vector<shard_progress> shards; ///< all that anything is written of
  std::vector<claim_end> ends;
  std::span<const claimed_record> claims; ///< of records that are not tracked yet, in whatever state
  std::span<const std::string> retried;   ///< ids of retries() that are claimed now, or cannot be
  std::optional<source_cursor> cursor;    ///< of `shards`
};

/// A claim that the database cannot hold.
struct refused_claim {
  std::size_t index = 0; ///< rising
  error why;
};

struct record_key {
  std::string_view record_id;
  std::string_view version;
};

class tracking {
public:
  virtual ~tracking() = default;

  /// Creates the tables where they are missing. The id of the installation, as storage::store has it.
  virtual result<std::string> prepare() = 0;
  /// By shard.
  virtual result<std::vector<former_claims>> former() = 0;
  enum class adoption : std::uint8_t {
    whole,  ///< rows are read and claimed for them, dealt as the pipeline says now
    claims, ///< what is claimed comes to its end, and that is all
  };
  /// Becomes the owner of shards: raises their epochs. Before anything else is done with them.
  virtual result<std::vector<adopted_shard>> adopt(std::span<const std::uint32_t> shards,
                                                   adoption what = adoption::whole) = 0;
  /// The claims of a shard behind a seq that are not at their end, by seq. After the CONNACK of the new owner.
  virtual result<std::vector<claimed_record>> open_claims(std::uint32_t shard, std::uint64_t behind_seq) = 0;
  /// Rises whenever an owner of any of the pipeline's shards does something.
  virtual result<std::uint64_t> heartbeat() = 0;
  /// `fenced` where a shard has another owner now.
  virtual result<void> check(std::span<const shard_progress> shards) = 0;
  /// All or nothing. False: nothing was written, for some of the claims' records are tracked already. `fenced` where
  /// one of the shards has another owner now: nothing may be sent any more.
  virtual result<bool> commit(const tracking_changes& changes) = 0;
  /// Where commit was refused for what it writes: which of the claims the database does not take, each on its own, and
  /// why. Writes nothing.
  virtual result<std::vector<refused_claim>> refused(std::span<const claimed_record> claims) = 0;
  /// A person has paused the pipeline, for whatever process publishes it.
  virtual result<bool> paused() = 0;
  virtual result<void> pause(bool paused) = 0;
  enum class known_by : std::uint8_t {
    version, ///< record and version
    record,  ///< the record alone: any version of it
  };
  /// Which of the records are in neither the table, the archive nor the ranges: by index, rising.
  virtual result<std::vector<std::size_t>> untracked(std::span<const record_key> records,
                                                     known_by which = known_by::version) = 0;
  /// Ids of records that a person wants to be sent again: they were refused or held, and are not tracked any more.
  virtual result<std::vector<std::string>> retries(std::size_t records_max) = 0;
};

/// The table that old records move to.
std::string archive_table_of(const config::publish& pipeline);

/// Opens a connection; it counts on the `board`, where one is given.
result<std::unique_ptr<tracking>> open_tracking(const config::database& database, const config::publish& pipeline,
                                                const connection_board& board = {});

} // namespace penstock::storage
