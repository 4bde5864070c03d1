// Reads a table that is not Penstock's own, and makes messages of its rows. The connection only reads; the table is
// never locked, altered or written.
//
// Rows are read along a path: columns by which they are ordered. Along the key everything is found that is there;
// along the id (a single integer key) what is new costs only what is new; along `order` and key likewise, where the
// key is no number.
#pragma once

#include "config/config.hpp"
#include "core/id_frontier.hpp"
#include "core/result.hpp"
#include "core/types.hpp"
#include "storage/changed_row.hpp"
#include "storage/connection.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace penstock::storage {

/// A row, as it is published.
struct source_row {
  std::string record_id; ///< the key's canonical text; see record_id_of
  std::string version;   ///< of `version`, or of a change; empty: the only one, or the first
  std::int64_t id = 0;   ///< where the key is one integer
  std::string topic;
  std::string payload;
  std::uint64_t hash = 0;         ///< of shard_by, or of the key
  std::string shard_value;        ///< its text, for ranges
  std::string order;              ///< as printed
  std::optional<wall_time> since; ///< of `order`, where it is a time
  bool wanted = true;             ///< `where` and `start` let it through
  std::string refusal;            ///< why it can never be published; empty: nothing is wrong
  std::string position;           ///< along the path it was read by; see source::read
};

/// Of one column its value's text; of several a JSON array of texts. Longer than a tracking table takes: a digest.
std::string record_id_of(std::span<const std::string> key);
/// Such a digest: the row cannot be read by it.
bool is_digest(std::string_view record_id);

/// The id by which subscribers can tell a repeat: "PIPELINE/RECORD" or "PIPELINE/RECORD/VERSION".
std::string message_id_of(const std::string& pipeline, const std::string& record_id, const std::string& version);

class source {
public:
  virtual ~source() = default;

  enum class path : std::uint8_t {
    id,    ///< the key, one integer column
    order, ///< `order` (or `version`), then the key
    key,
  };
  /// Which path finds what is new.
  virtual path newest() const = 0;

  /// Rows up to this position of the path newest() are not wanted.
  virtual void begin_behind(const std::string& position) = 0;

  /// At most `rows_max` rows behind a position (empty: from the beginning), in the order of the path.
  virtual result<std::vector<source_row>> read(path along, const std::string& behind, std::size_t rows_max) = 0;
  /// Rows whose id is in one of the ranges, rising; at most `rows_max`.
  virtual result<std::vector<source_row>> read_ids(std::span<const id_range> ranges, std::size_t rows_max) = 0;
  /// The rows with these keys; digests have none.
  virtual result<std::vector<source_row>> read_records(std::span<const std::string> record_ids) = 0;
  /// What changes made of rows: a row in place of each change, with the change's version where the pipeline has no
  /// column for it. Of PostgreSQL.
  virtual result<std::vector<source_row>> read_changes(std::span<const changed_row> changes) = 0;
  /// The position behind the last row of a path; empty where the table is.
  virtual result<std::string> end(path along) = 0;
  /// Whether rows lie behind `left`, and not behind `right`, along newest(): then it is the earlier one.
  virtual result<bool> is_before(const std::string& left, const std::string& right) = 0;
  /// The position on the path `order` of what lies `before` the given position; where `order` is no time: the
  /// beginning.
  virtual std::string earlier(const std::string& position, std::chrono::milliseconds before) = 0;
};

/// Opens a connection and looks at the table: `schema_mismatch` names every column that is missing or does not fit.
result<std::unique_ptr<source>> open_source(const config::database& database, const config::publish& pipeline,
                                            const connection_board& board = {});

/// The position of an id on the path `id`.
std::string position_of(std::int64_t id);

} // namespace penstock::storage
