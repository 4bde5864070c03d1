// One connection to a database, behind one interface; what databases do differently is in storage/connection.hpp.
// A store belongs to one thread at a time (a batch-writer's own). Calls block; none waits longer than the time limits
// of its configuration. Errors are values; after connection_lost or database_unavailable throw the store away and open
// another.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"
#include "core/session_record.hpp"
#include "core/types.hpp"
#include "record/frame.hpp"
#include "telemetry/database_board.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace penstock::storage {

/// Where the connections of a database are counted; null: nowhere.
using connection_board = std::shared_ptr<const telemetry::database_board>;

/// The table that a pipeline writes: name, columns, key and indexes of the configuration.
struct table {
  std::string pipeline;
  std::string name; ///< TABLE or SCHEMA.TABLE
  struct column {
    std::string name;
    column_type type = column_type::text;
    bool optional = false;
  };
  std::vector<column> columns;
  std::vector<std::string> key;
  std::vector<std::vector<config::index_column>> indexes;
  config::conflict_rule on_conflict = config::conflict_rule::ignore;
  std::string order = {}; ///< see config::ingest
  std::optional<config::hypertable> hypertable = std::nullopt;
};
table table_of(const config::ingest& pipeline);

/// What became of one frame's messages. stored + duplicate + dead_lettered = rows + letters. A bulk statement counts
/// what it stored over all frames of a call: where some of them were duplicates, which frame they are attributed to is
/// a convention (the last ones); the sum over the frames is exact.
struct frame_outcome {
  std::uint32_t stored = 0;
  std::uint32_t duplicate = 0;
  std::uint32_t dead_lettered = 0;
};

/// A dead letter as it is stored. Unique on pipeline and sha256(topic, 0x00, payload).
struct dead_letter {
  std::string id; ///< the sha256, in hex
  std::string pipeline;
  std::string topic;
  std::string payload; ///< empty where the filter left it out
  std::uint64_t payload_bytes = 0;
  errc code = errc::none;
  std::string reason;
  wall_time first_seen;
  wall_time last_seen;
  std::uint64_t seen = 0;
  std::uint64_t attempts = 0; ///< replays
};

struct dead_letter_filter {
  std::string pipeline;          ///< empty: all
  std::optional<std::string> id; ///< a prefix of the id is enough
  std::size_t limit = 100;       ///< 0: all
  /// In the order of their ids, those behind this one; "" is before the first. Without it: last seen first.
  std::optional<std::string> after = std::nullopt;
  bool payloads = true;
};

/// A dead letter that is tried again.
struct retried_letter {
  std::string id;
  const record::frame_view* message = nullptr; ///< one row or one letter: what its payload, or a repaired one, is now
};

/// "sha256(topic, 0x00, payload)" in hex.
std::string dead_letter_id(std::string_view topic, std::string_view payload);

/// A value of a key column as text: timestamps as microseconds since 1970, integers in decimal, text as it is.
using key_text = std::vector<std::string>;

class store {
public:
  virtual ~store() = default;

  /// Creates the table (primary key = key, with its indexes) and the dead letters where they are missing; checks them
  /// where they are there. schema_mismatch names every difference, and the SQL that removes it. Indexes of the
  /// configuration that are missing are created; on a large table that takes long. Read-only it only checks.
  virtual result<void> prepare(const table& table) = 0;

  /// Writes all rows and letters of `frames` in one transaction and commits. A row whose key is there already is a
  /// duplicate (with on_conflict update: one that is not newer); a row that the database refuses becomes a dead letter
  /// in the same transaction (the batch is bisected). Where that row's frame has no messages, the error is row_refused:
  /// the batch is to be written again with them. On an error nothing of the call is stored (or, where the commit's
  /// outcome is unknown, writing again is safe). After `prepare`, for the table prepared. Outcomes are in the order of
  /// the frames.
  virtual result<std::vector<frame_outcome>> write(std::span<const record::frame_view* const> frames) = 0;

  /// Stores the rows of dead letters and deletes those letters, in one transaction; a row that is there already is as
  /// good as stored. A letter that is still no row stays, with one attempt more and, unless its payload was repaired,
  /// with what is wrong now. Returns why each of them stays, in their order; nothing: it went. On an error nothing of
  /// the call has happened. After `prepare`, for the letters of the pipeline prepared.
  virtual result<std::vector<std::optional<error>>> replay(std::span<const retried_letter> letters) = 0;

  virtual result<std::vector<dead_letter>> dead_letters(const dead_letter_filter& filter) = 0;
  virtual result<std::uint64_t> dead_letter_count(const std::string& pipeline) = 0;

  /// Calls `visit` with the key of every row, in any order, until it returns false.
  virtual result<void> for_each_key(const table& table, const std::function<bool(const key_text&)>& visit) = 0;
  /// True if a row with this key is there and visible to this connection.
  virtual result<bool> contains(const table& table, const key_text& key) = 0;
  virtual result<std::uint64_t> row_count(const table& table) = 0;

  /// The id of this installation, a random UUID: made by the first call on a database (read_write), the same ever
  /// after. Read-only it is an error (schema_mismatch) where none was made yet.
  virtual result<std::string> installation_id() = 0;

  // What is remembered of MQTT sessions. Each call is a transaction.
  /// Somebody is to open the session: the filters that are recorded of it become those and the wanted ones together,
  /// its epoch rises, and it is not settled. Returns the record as it is now.
  virtual result<session_record> enlist(const session_record& wanted) = 0;
  /// The broker has confirmed what the session is subscribed to, which becomes its record; without filters it is ended,
  /// and its record goes. Nothing where it was enlisted again since (another epoch).
  virtual result<void> settle(const session_record& confirmed) = 0;
  /// Of all pipelines, by client id and broker.
  virtual result<std::vector<session_record>> sessions() = 0;

  /// Deletes at most `rows_max` rows that are older than `before` by a timestamp column; returns how many. Of a
  /// hypertable all chunks that are wholly older are dropped, and their number is returned.
  virtual result<std::uint64_t> delete_older(const table& table, const std::string& column, wall_time before,
                                             std::size_t rows_max) = 0;
  /// The same for dead letters that were last seen before.
  virtual result<std::uint64_t> delete_older_letters(const std::string& pipeline, wall_time before,
                                                     std::size_t rows_max) = 0;
  /// Whether the database answers.
  virtual result<void> ping() = 0;
};

enum class access : std::uint8_t { read_write, read_only };

/// Opens a connection; read-only at the replica, where one is configured. Creates a SQLite file where it is missing
/// (read_write). connection_refused, not_authorised, database_damaged and so on say what is wrong; nothing of a
/// password is in the message. `letters` is the pipeline's: where it names a file, dead letters that the database
/// refuses go there, and are listed and replayed from there too. The connection counts on the `board`, where one is
/// given.
result<std::unique_ptr<store>> open(const config::database& database, access access = access::read_write,
                                    const config::dead_letters& letters = {}, const connection_board& board = {});

} // namespace penstock::storage
