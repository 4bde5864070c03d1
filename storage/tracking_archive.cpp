#include "storage/tracking_archive.hpp"

#include "core/id_ranges.hpp"
#include "storage/connection.hpp"
#include "storage/key_text.hpp"
#include "storage/tracking.hpp"
#include "storage/transaction.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace penstock::storage {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

// What a statement's conditions may nest; SQLite takes 1,000 levels.
constexpr std::size_t conditions_max = 200;

std::string joined(const std::vector<std::uint64_t>& numbers) {
  std::string all;
  for (const auto number : numbers)
    all += (all.empty() ? "" : ", ") + std::to_string(number);
  return all;
}

struct archived_record {
  std::string record_id;
  std::string version;
  std::string archived_at;
};

class sql_tracking_archive final : public tracking_archive {
public:
  sql_tracking_archive(std::unique_ptr<connection> database, const config::publish& pipeline)
    : database_(std::move(database)), records_(quoted_table(words(), pipeline.tracking.table)),
      archive_(quoted_table(words(), archive_table_of(pipeline))), pipeline_(words().text_literal(pipeline.name)),
      pipeline_is_("pipeline = " + pipeline_) {}

  result<std::uint64_t> count() override;
  result<retention_task::step_done> move_older(wall_time before, std::size_t rows_max) override;
  result<retention_task::step_done> delete_older(wall_time before, source& rows, std::size_t rows_max) override;

private:
  const sql_words& words() const { return database_->words(); }
  std::string literal(const std::string& text) const { return words().text_literal(text); }
  result<std::vector<std::uint32_t>> shards();
  struct sent_claims {
    std::vector<std::uint64_t> seqs;
    bool more = false; ///< behind what was looked at
  };
  result<void> delete_ranges(std::span<const id_range> ranges);
  result<sent_claims> sent_before(std::uint32_t shard, wall_time before, std::size_t rows_max);
  result<void> move(std::uint32_t shard, const std::vector<std::uint64_t>& seqs);
  result<std::vector<archived_record>> archived_before(wall_time before, std::size_t rows_max);
  result<std::vector<archived_record>> without_row(std::vector<archived_record> records, source& rows);
  result<void> keep_as_ranges(const std::vector<archived_record>& records);
  result<void> forget(const std::vector<archived_record>& records);

  std::unique_ptr<connection> database_;
  std::string records_;
  std::string archive_;
  std::string pipeline_;
  std::string pipeline_is_;
  std::map<std::uint32_t, std::uint64_t> moved_to_; ///< by shard: nothing at or below this claim_seq is to be moved
  std::optional<archived_record> looked_to_;        ///< where the walk over records whose rows are there stands
};

result<std::uint64_t> sql_tracking_archive::count() {
  std::uint64_t count = 0;
  auto read = database_->read("SELECT count(*) FROM " + records_ + " WHERE " + pipeline_is_,
                              [&](auto row) { count = number_of<std::uint64_t>(row[0].text); });
  if (!read)
    return read.error();
  return count;
}

result<std::vector<std::uint32_t>> sql_tracking_archive::shards() {
  std::vector<std::uint32_t> shards;
  auto read = database_->read("SELECT shard FROM penstock_fence WHERE " + pipeline_is_ + " ORDER BY shard",
                              [&](auto row) { shards.push_back(number_of<std::uint32_t>(row[0].text)); });
  if (!read)
    return read.error();
  return shards;
}

/// In the order of claims, which is about that of sending: up to the first that was sent later, or is claimed yet.
result<sql_tracking_archive::sent_claims> sql_tracking_archive::sent_before(std::uint32_t shard, wall_time before,
                                                                            std::size_t rows_max) {
  sent_claims found;
  auto& position = moved_to_[shard];
  std::size_t looked_at = 0;
  bool at_end = false;
  const auto visit = [&](auto row) {
    const bool sent = row[1].text == "sent";
    at_end = at_end || row[1].text == "claimed" ||
             (sent && number_of<std::int64_t>(row[2].text) >= before.time_since_epoch().count());
    if (at_end)
      return;
    ++looked_at;
    position = number_of<std::uint64_t>(row[0].text);
    if (sent)
      found.seqs.push_back(position);
  };
  auto read = database_->read("SELECT claim_seq, state, sent_at FROM " + records_ + " WHERE " + pipeline_is_ +
                                " AND shard = " + std::to_string(shard) + " AND claim_seq > " +
                                std::to_string(position) + " ORDER BY claim_seq LIMIT " + std::to_string(rows_max),
                              visit);
  if (!read)
    return read.error();
  found.more = looked_at == rows_max;
  return found;
}

result<void> sql_tracking_archive::move(std::uint32_t shard, const std::vector<std::uint64_t>& seqs) {
  const std::string columns = "pipeline, source_table, record_id, record_version, shard, topic, correlation_id,"
                              " claimed_at, sent_at, attempts";
  const auto which = " FROM " + records_ + " WHERE " + pipeline_is_ + " AND shard = " + std::to_string(shard) +
                     " AND state = 'sent' AND claim_seq IN (" + joined(seqs) + ")";
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  const auto copied = database_->change("INSERT INTO " + archive_ + " (" + columns + ", archived_at) SELECT " +
                                        columns + ", " + microseconds_text(wall_now()) + which);
  if (!copied)
    return copied.error();
  const auto removed = database_->change("DELETE" + which);
  if (!removed)
    return removed.error();
  if (*copied != *removed)
    return error{errc::database_busy, "another process moves the same records"};
  return changes->commit();
}

result<retention_task::step_done> sql_tracking_archive::move_older(wall_time before, std::size_t rows_max) {
  const auto all = shards();
  if (!all)
    return all.error();
  retention_task::step_done done;
  for (const auto shard : *all) {
    const auto old = sent_before(shard, before, rows_max);
    if (!old)
      return old.error();
    if (old->more)
      done.more = true;
    if (old->seqs.empty())
      continue;
    if (auto moved = move(shard, old->seqs); !moved)
      return moved.error();
    done.rows += old->seqs.size();
  }
  return done;
}

/// Behind those that were looked at already and stayed; at the end of the archive it begins anew.
result<std::vector<archived_record>> sql_tracking_archive::archived_before(wall_time before, std::size_t rows_max) {
  std::string behind;
  if (looked_to_)
    behind = " AND archived_at >= " + looked_to_->archived_at + " AND (archived_at > " + looked_to_->archived_at +
             " OR record_id > " + literal(looked_to_->record_id) +
             " OR (record_id = " + literal(looked_to_->record_id) + " AND record_version > " +
             literal(looked_to_->version) + "))";
  std::vector<archived_record> records;
  auto read =
    database_->read("SELECT record_id, record_version, archived_at FROM " + archive_ + " WHERE " + pipeline_is_ +
                      " AND archived_at < " + microseconds_text(before) + behind +
                      " ORDER BY archived_at, record_id, record_version LIMIT " + std::to_string(rows_max),
                    [&](auto row) {
                      records.push_back({std::string{row[0].text}, std::string{row[1].text}, std::string{row[2].text}});
                    });
  if (!read)
    return read.error();
  return records;
}

/// Those of which the table has no row with their key and version.
result<std::vector<archived_record>> sql_tracking_archive::without_row(std::vector<archived_record> records,
                                                                       source& rows) {
  std::vector<std::string> ids;
  ids.reserve(records.size());
  for (const auto& record : records)
    ids.push_back(record.record_id);
  const auto found = rows.read_records(ids);
  if (!found)
    return found.error();
  std::set<std::pair<std::string, std::string>> there;
  for (const auto& row : *found)
    there.emplace(row.record_id, row.version);
  std::erase_if(records, [&](const auto& record) {
    return is_digest(record.record_id) || there.contains({record.record_id, record.version});
  });
  return records;
}

/// As they were read. The shard may have moved while this process was paused, and its new owner may have made one of
/// them longer.
result<void> sql_tracking_archive::delete_ranges(std::span<const id_range> ranges) {
  for (std::size_t first = 0; first < ranges.size(); first += conditions_max) {
    const auto some = ranges.subspan(first, std::min(conditions_max, ranges.size() - first));
    std::string which;
    for (const auto& range : some)
      which += (which.empty() ? "(" : " OR (") + pipeline_is_ + " AND first_id = " + std::to_string(range.first) +
               " AND last_id = " + std::to_string(range.last) + ")";
    const auto gone = database_->change("DELETE FROM penstock_sent_ranges WHERE " + which);
    if (!gone)
      return gone.error();
    if (*gone != some.size())
      return error{errc::database_busy, "another process archives for the pipeline, too"};
  }
  return {};
}

/// Whatever their version: an id of which any version was sent is no new row.
result<void> sql_tracking_archive::keep_as_ranges(const std::vector<archived_record>& records) {
  std::set<std::int64_t> ids;
  for (const auto& record : records)
    ids.insert(*integer_of(record.record_id));
  constexpr auto lowest = std::numeric_limits<std::int64_t>::min();
  constexpr auto highest = std::numeric_limits<std::int64_t>::max();
  const auto before = *ids.begin() == lowest ? lowest : *ids.begin() - 1;
  const auto behind = *ids.rbegin() == highest ? highest : *ids.rbegin() + 1;
  std::vector<id_range> neighbours;
  const auto visit = [&](auto row) {
    const id_range range{number_of<std::int64_t>(row[0].text), number_of<std::int64_t>(row[1].text)};
    ids.erase(ids.lower_bound(range.first), ids.upper_bound(range.last)); // another version of it has gone before
    if ((range.first != lowest && ids.contains(range.first - 1)) ||
        (range.last != highest && ids.contains(range.last + 1)))
      neighbours.push_back(range);
  };
  auto read =
    database_->read("SELECT first_id, last_id FROM penstock_sent_ranges WHERE " + pipeline_is_ +
                      " AND first_id <= " + std::to_string(behind) + " AND last_id >= " + std::to_string(before),
                    visit);
  if (!read || ids.empty())
    return read;
  if (auto gone = delete_ranges(neighbours); !gone)
    return gone;
  std::string values;
  for (const auto& range : with_ids(neighbours, std::vector(ids.begin(), ids.end())))
    values += (values.empty() ? "(" : ", (") + pipeline_ + ", " + std::to_string(range.first) + ", " +
              std::to_string(range.last) + ")";
  const auto made =
    database_->change("INSERT INTO penstock_sent_ranges (pipeline, first_id, last_id) VALUES " + values);
  return made ? result<void>{} : result<void>{made.error()};
}

result<void> sql_tracking_archive::forget(const std::vector<archived_record>& records) {
  for (std::size_t first = 0; first < records.size(); first += conditions_max) {
    std::string which;
    for (std::size_t index = first; index < std::min(records.size(), first + conditions_max); ++index)
      which += (which.empty() ? "(" : " OR (") + pipeline_is_ +
               " AND record_id = " + literal(records[index].record_id) +
               " AND record_version = " + literal(records[index].version) + ")";
    if (auto gone = database_->change("DELETE FROM " + archive_ + " WHERE " + which); !gone)
      return gone.error();
  }
  return {};
}

result<retention_task::step_done> sql_tracking_archive::delete_older(wall_time before, source& rows,
                                                                     std::size_t rows_max) {
  auto records = archived_before(before, rows_max);
  if (!records)
    return records.error();
  if (records->size() < rows_max)
    looked_to_.reset();
  else
    looked_to_ = records->back();
  if (records->empty())
    return retention_task::step_done{};
  const bool by_id = rows.newest() == source::path::id;
  if (by_id) {
    std::erase_if(*records, [](const auto& record) { return !integer_of(record.record_id); });
  } else {
    records = without_row(*std::move(records), rows);
    if (!records)
      return records.error();
  }
  if (records->empty())
    return retention_task::step_done{};
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  if (by_id)
    if (auto kept = keep_as_ranges(*records); !kept)
      return kept.error();
  if (auto gone = forget(*records); !gone)
    return gone.error();
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  // Where most of them stay, the walk over the archive has time.
  return retention_task::step_done{records->size(), 2 * records->size() >= rows_max};
}

class record_task final : public retention_task {
public:
  record_task(std::unique_ptr<tracking_archive> archive, record_retention kept)
    : archive_(std::move(archive)), kept_(std::move(kept)) {}

  result<step_done> step() override {
    if (auto counted = count(); !counted)
      return counted.error();
    step_done done;
    if (kept_.after.count() > 0) {
      auto moved = archive_->move_older(wall_now() - kept_.after, kept_.rows_max);
      if (!moved)
        return moved;
      done = *moved;
    }
    if (kept_.after.count() > 0 && kept_.keep.count() > 0) {
      if (!source_) {
        auto opened = kept_.open_source();
        if (!opened)
          return opened.error();
        source_ = *std::move(opened);
      }
      auto gone = archive_->delete_older(wall_now() - kept_.keep, *source_, kept_.rows_max);
      if (!gone)
        return gone;
      done.rows += gone->rows;
      done.more = done.more || gone->more;
    }
    return done;
  }
  milliseconds round_every() const override { return 10s; }

private:
  /// Once a minute, and less often where the table is so large that this would be more than a hundredth of the time.
  result<void> count() {
    const auto began = std::chrono::steady_clock::now();
    if (began < next_count_)
      return {};
    const auto counted = archive_->count();
    if (!counted)
      return counted.error();
    kept_.on_count(*counted);
    const auto ended = std::chrono::steady_clock::now();
    next_count_ = ended + std::max<monotonic::duration>(1min, 100 * (ended - began));
    return {};
  }

  std::unique_ptr<tracking_archive> archive_;
  record_retention kept_;
  std::unique_ptr<source> source_;
  monotonic next_count_;
};

} // namespace

result<std::unique_ptr<tracking_archive>> open_tracking_archive(const config::database& database,
                                                                const config::publish& pipeline,
                                                                const connection_board& board) {
  auto opened = open_connection(database, access::read_write, board);
  if (!opened)
    return opened.error();
  return std::unique_ptr<tracking_archive>{std::make_unique<sql_tracking_archive>(*std::move(opened), pipeline)};
}

std::unique_ptr<retention_task> make_record_retention(std::unique_ptr<tracking_archive> archive,
                                                      record_retention kept) {
  return std::make_unique<record_task>(std::move(archive), std::move(kept));
}

} // namespace penstock::storage
