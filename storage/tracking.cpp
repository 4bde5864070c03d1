#include "storage/tracking.hpp"

#include "core/assert.hpp"
#include "core/partition_hash.hpp"
#include "storage/connection.hpp"
#include "storage/key_text.hpp"
#include "storage/own_tables.hpp"
#include "storage/transaction.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>

namespace penstock::storage {

namespace {

// A statement's conditions nest, and SQLite takes 1,000 levels.
constexpr std::size_t conditions_max = 200;
// Of more, PostgreSQL may think that reading all records of the pipeline is cheaper.
constexpr std::size_t looked_up_at_once = 100;

const char* text_of(record_state state) {
  switch (state) {
  case record_state::claimed: return "claimed";
  case record_state::sent: return "sent";
  case record_state::refused: return "refused";
  case record_state::held: return "held";
  }
  return "";
}

/// As the bulk insert fills it.
table table_of(const config::publish& pipeline) {
  using enum column_type;
  table made;
  made.pipeline = pipeline.name;
  made.name = pipeline.tracking.table;
  made.columns = {{"pipeline", text},       {"source_table", text},
                  {"record_id", text},      {"record_version", text},
                  {"shard", integer},       {"epoch", integer},
                  {"claim_seq", integer},   {"packet_id", integer},
                  {"state", text},          {"topic", text},
                  {"payload", bytes, true}, {"correlation_id", text},
                  {"claimed_at", integer},  {"sent_at", integer, true},
                  {"attempts", integer},    {"reason_code", integer, true},
                  {"reason", text, true}};
  made.key = {"pipeline", "record_id", "record_version"};
  return made;
}

/// Names how rows are dealt to shards: a cursor of a shard holds for the rows that were dealt to it.
std::int64_t dealing_of(const config::publish& pipeline) {
  partition_hash hash;
  hash.add(std::uint64_t{pipeline.shards});
  hash.add(pipeline.shard_by);
  for (const auto& column : pipeline.key)
    hash.add(column);
  for (const auto& range : pipeline.ranges) {
    hash.add(range.min);
    hash.add(range.max);
  }
  return static_cast<std::int64_t>((hash.value() >> 1) | 1); // never 0, which is a shard without a cursor
}

/// Several cursors in the columns of one: their positions, a line each, which no position has in it.
source_cursor joined(std::span<const source_cursor> cursors) {
  source_cursor all;
  for (const auto& each : cursors)
    for (const auto position :
         {&source_cursor::floor, &source_cursor::high, &source_cursor::begin, &source_cursor::sweep})
      all.*position += (&each == cursors.data() ? "" : "\n") + each.*position;
  return all;
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): it is taken apart
std::vector<source_cursor> split(source_cursor all) {
  std::vector<source_cursor> cursors;
  for (bool more = true; more;) {
    auto& each = cursors.emplace_back();
    for (const auto position :
         {&source_cursor::floor, &source_cursor::high, &source_cursor::begin, &source_cursor::sweep}) {
      const auto end = (all.*position).find('\n');
      more = end != std::string::npos;
      each.*position = (all.*position).substr(0, end);
      all.*position = more ? (all.*position).substr(end + 1) : std::string{};
    }
  }
  return cursors;
}

class sql_tracking final : public tracking {
public:
  sql_tracking(std::unique_ptr<connection> database, const config::publish& pipeline)
    : database_(std::move(database)), own_(*database_), table_(table_of(pipeline)), source_table_(pipeline.table),
      name_(quoted_table(words(), table_.name)), archive_name_(archive_table_of(pipeline)),
      archive_(quoted_table(words(), archive_name_)), pipeline_is_("pipeline = " + words().text_literal(pipeline.name)),
      shards_(pipeline.shards), dealing_(dealing_of(pipeline)) {
    for (const auto& column : table_.columns)
      types_.push_back(column.type);
  }

  result<std::string> prepare() override;
  result<std::vector<former_claims>> former() override;
  result<std::vector<adopted_shard>> adopt(std::span<const std::uint32_t> shards, adoption what) override;
  result<std::vector<claimed_record>> open_claims(std::uint32_t shard, std::uint64_t behind_seq) override;
  result<std::uint64_t> heartbeat() override;
  result<void> check(std::span<const shard_progress> shards) override;
  result<bool> commit(const tracking_changes& changes) override;
  result<std::vector<refused_claim>> refused(std::span<const claimed_record> claims) override;
  result<bool> paused() override;
  result<void> pause(bool paused) override;
  result<std::vector<std::size_t>> untracked(std::span<const record_key> records, known_by which) override;
  result<std::vector<std::string>> retries(std::size_t records_max) override;

private:
  const sql_words& words() const { return database_->words(); }
  std::string literal(std::string_view text) const { return words().text_literal(text); }
  result<void> add_if_new(std::span<const std::uint32_t> shards);
  result<void> deal_anew();
  struct made_table {
    std::string name;
    std::string columns;
    std::string end;
  };
  std::vector<made_table> made_tables() const;
  result<bool> is_there(const made_table& one);
  result<std::string> prepared_before();
  result<std::string> make_tables();
  result<void> fence(std::span<const shard_progress> shards, const std::optional<source_cursor>& cursor);
  std::string cursor_sql(std::span<const shard_progress> shards, const source_cursor& cursor) const;
  result<void> end(const claim_end& one, std::uint64_t epoch);
  result<void> note_sent(std::span<const shard_progress> shards);
  template <class EpochOf>
  std::unique_ptr<record::frame_view> frame_of(std::span<const claimed_record> claims, const EpochOf& epoch_of) const;
  result<std::uint64_t> insert(const tracking_changes& changes);
  result<void> end_retries(std::span<const std::string> record_ids);
  result<std::vector<std::size_t>> not_in_ranges(std::span<const record_key> records,
                                                 const std::vector<std::size_t>& some, known_by which);

  std::unique_ptr<connection> database_;
  own_tables own_;
  table table_;
  std::vector<column_type> types_;
  std::string source_table_;
  std::string name_; ///< quoted
  std::string archive_name_;
  std::string archive_; ///< quoted
  std::string pipeline_is_;
  std::uint32_t shards_;
  std::int64_t dealing_;
};

result<bool> sql_tracking::is_there(const made_table& one) {
  const auto there = database_->read_table(one.name);
  return there ? result<bool>{!there->kind.empty()} : result<bool>{there.error()};
}

std::vector<sql_tracking::made_table> sql_tracking::made_tables() const {
  const auto key = words().key_type + " NOT NULL";
  const auto text = words().text_type;
  std::string positions;
  for (const auto* position : {"read_floor", "read_high", "read_begin", "sweep_at"})
    positions += std::string{", "} + position + " " + text;
  const std::string record = "pipeline " + key + ", source_table " + text + " NOT NULL, record_id " + key +
                             ", record_version " + key + ", shard BIGINT NOT NULL, topic " + text +
                             " NOT NULL, correlation_id " + text + ", claimed_at BIGINT NOT NULL, sent_at BIGINT," +
                             " attempts BIGINT NOT NULL";
  const auto& own_end = words().own_table_end;
  return {
    made_table{table_.name,
               record + ", epoch BIGINT NOT NULL, claim_seq BIGINT NOT NULL, packet_id BIGINT NOT NULL, state " + key +
                 ", payload " + words().bytes_type + ", reason_code BIGINT, reason " + text +
                 ", PRIMARY KEY (pipeline, shard, claim_seq), UNIQUE (pipeline, record_id, record_version)",
               words().updated_table_end},
    made_table{archive_name_,
               record + ", archived_at BIGINT NOT NULL, PRIMARY KEY (pipeline, archived_at, record_id, record_version),"
                        " UNIQUE (pipeline, record_id, record_version)",
               own_end},
    made_table{"penstock_sent_ranges",
               "pipeline " + key +
                 ", first_id BIGINT NOT NULL, last_id BIGINT NOT NULL,"
                 " PRIMARY KEY (pipeline, first_id), UNIQUE (pipeline, last_id)",
               own_end},
    made_table{"penstock_retries", "pipeline " + key + ", record_id " + key + ", PRIMARY KEY (pipeline, record_id)",
               own_end},
    made_table{"penstock_pauses", "pipeline " + key + " PRIMARY KEY, paused_at BIGINT NOT NULL", own_end},
    made_table{"penstock_fence",
               "pipeline " + key +
                 ", shard BIGINT NOT NULL, epoch BIGINT NOT NULL, claimed_seq BIGINT NOT NULL,"
                 " released_seq BIGINT NOT NULL, settled_seq BIGINT NOT NULL, writes BIGINT NOT NULL, dealing BIGINT"
                 " NOT NULL" +
                 positions + ", PRIMARY KEY (pipeline, shard)",
               own_end},
  };
}

/// Empty: not all of the tables are there.
result<std::string> sql_tracking::prepared_before() {
  auto complete = own_.complete();
  for (const auto& each : made_tables())
    if (complete && *complete)
      complete = is_there(each);
  if (!complete)
    return complete.error();
  return *complete ? own_.meta("installation_id") : result<std::string>{std::string{}};
}

result<std::string> sql_tracking::make_tables() {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  if (auto locked = database_->lock_schema(); !locked)
    return locked.error();
  if (auto created = own_.create(); !created)
    return created.error();
  for (const auto& each : made_tables()) {
    const auto there = is_there(each);
    if (!there)
      return there.error();
    if (*there)
      continue;
    const auto sql = "CREATE TABLE " + quoted_table(words(), each.name) + " (" + each.columns + ")" + each.end;
    if (auto made = own_.change_schema(sql); !made)
      return made.error();
  }
  auto id = own_.installation_id();
  if (!id)
    return id;
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return id;
}

result<std::string> sql_tracking::prepare() {
  auto id = prepared_before();
  if (id && id->empty())
    id = make_tables();
  if (!id)
    return id;
  if (auto opened = database_->open_rows(table_); !opened)
    return opened.error();
  return id;
}

/// The watermark may lag behind what is at its end.
result<std::vector<former_claims>> sql_tracking::former() {
  std::vector<former_claims> unsettled;
  auto read = database_->read("SELECT shard, settled_seq, claimed_seq FROM penstock_fence WHERE " + pipeline_is_ +
                                " AND (shard >= " + std::to_string(shards_) + " OR dealing NOT IN (0, " +
                                std::to_string(dealing_) + ")) AND settled_seq < claimed_seq ORDER BY shard",
                              [&](auto row) {
                                unsettled.push_back({number_of<std::uint32_t>(row[0].text),
                                                     number_of<std::uint64_t>(row[1].text) + 1,
                                                     number_of<std::uint64_t>(row[2].text)});
                              });
  std::vector<former_claims> open;
  for (auto& each : unsettled)
    if (read)
      read = database_->read(
        "SELECT claim_seq FROM " + name_ + " WHERE " + pipeline_is_ + " AND shard = " + std::to_string(each.shard) +
          " AND claim_seq >= " + std::to_string(each.first_seq) + " AND state = 'claimed' ORDER BY claim_seq LIMIT 1",
        [&](auto row) {
          each.first_seq = number_of<std::uint64_t>(row[0].text);
          open.push_back(each);
        });
  if (!read)
    return read.error();
  return open;
}

result<void> sql_tracking::add_if_new(std::span<const std::uint32_t> shards) {
  std::set<std::uint32_t> known;
  auto read = database_->read("SELECT shard FROM penstock_fence WHERE " + pipeline_is_,
                              [&](auto row) { known.insert(number_of<std::uint32_t>(row[0].text)); });
  for (const auto shard : shards) {
    if (!read || known.contains(shard))
      continue;
    auto made = database_->change("INSERT INTO penstock_fence (pipeline, shard, epoch, claimed_seq, released_seq,"
                                  " settled_seq, writes, dealing) VALUES (" +
                                  literal(table_.pipeline) + ", " + std::to_string(shard) + ", 0, 0, 0, 0, 0, 0)" +
                                  words().if_new("epoch"));
    if (!made)
      return made.error();
  }
  return read;
}

/// Where rows were dealt to shards in another way before, any of them may be any shard's now: each begins with the
/// cursors of all.
result<void> sql_tracking::deal_anew() {
  std::vector<source_cursor> former;
  auto read =
    database_->read("SELECT read_floor, read_high, read_begin, sweep_at FROM penstock_fence WHERE " + pipeline_is_ +
                      " AND dealing <> 0 AND dealing <> " + std::to_string(dealing_) + " ORDER BY shard",
                    [&](auto row) {
                      for (auto& each : split({std::string{row[0].text}, std::string{row[1].text},
                                               std::string{row[2].text}, std::string{row[3].text}}))
                        if (std::find(former.begin(), former.end(), each) == former.end())
                          former.push_back(std::move(each));
                    });
  if (!read || former.empty())
    return read;
  std::vector<std::uint32_t> all(shards_);
  std::iota(all.begin(), all.end(), 0u);
  if (auto added = add_if_new(all); !added)
    return added;
  auto dealt = database_->change("UPDATE penstock_fence SET writes = writes + 1" + cursor_sql({}, joined(former)) +
                                 " WHERE " + pipeline_is_ + " AND dealing <> " + std::to_string(dealing_));
  return dealt ? result<void>{} : result<void>{dealt.error()};
}

result<std::vector<adopted_shard>> sql_tracking::adopt(std::span<const std::uint32_t> shards, adoption what) {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  if (auto added = add_if_new(shards); !added)
    return added.error();
  if (what == adoption::whole)
    if (auto dealt = deal_anew(); !dealt)
      return dealt.error();
  std::string numbers;
  for (const auto shard : shards)
    numbers += (numbers.empty() ? "" : ", ") + std::to_string(shard);
  const auto which = " WHERE " + pipeline_is_ + " AND shard IN (" + numbers + ")";
  auto raised = database_->change("UPDATE penstock_fence SET epoch = epoch + 1" + which);
  if (!raised)
    return raised.error();
  std::vector<adopted_shard> mine;
  auto read = database_->read(
    "SELECT shard, epoch, claimed_seq, released_seq, settled_seq, dealing, read_floor, read_high, read_begin, sweep_at"
    " FROM penstock_fence" +
      which + " ORDER BY shard",
    [&](auto row) {
      mine.push_back({number_of<std::uint32_t>(row[0].text),
                      number_of<std::uint64_t>(row[1].text),
                      number_of<std::uint64_t>(row[2].text),
                      number_of<std::uint64_t>(row[3].text),
                      number_of<std::uint64_t>(row[4].text),
                      {}});
      if (row[5].text != "0")
        mine.back().cursors = split(
          {std::string{row[6].text}, std::string{row[7].text}, std::string{row[8].text}, std::string{row[9].text}});
    });
  if (!read)
    return read.error();
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return mine;
}

result<std::vector<claimed_record>> sql_tracking::open_claims(std::uint32_t shard, std::uint64_t behind_seq) {
  std::vector<claimed_record> claims;
  auto read = database_->read(
    "SELECT record_id, record_version, claim_seq, packet_id, topic, payload, correlation_id, attempts FROM " + name_ +
      " WHERE " + pipeline_is_ + " AND shard = " + std::to_string(shard) + " AND claim_seq > " +
      std::to_string(behind_seq) + " AND state = 'claimed' ORDER BY claim_seq",
    [&](auto row) {
      claimed_record claim;
      claim.record_id = row[0].text;
      claim.version = row[1].text;
      claim.shard = shard;
      claim.seq = number_of<std::uint64_t>(row[2].text);
      claim.packet_id = number_of<std::uint16_t>(row[3].text);
      claim.topic = row[4].text;
      claim.payload = row[5].text;
      claim.correlation = row[6].text;
      claim.attempts = number_of<std::uint32_t>(row[7].text);
      claims.push_back(std::move(claim));
    });
  if (!read)
    return read.error();
  return claims;
}

result<std::uint64_t> sql_tracking::heartbeat() {
  std::uint64_t sum = 0;
  auto read = database_->read("SELECT writes, epoch FROM penstock_fence WHERE " + pipeline_is_, [&](auto row) {
    sum += number_of<std::uint64_t>(row[0].text) + number_of<std::uint64_t>(row[1].text);
  });
  if (!read)
    return read.error();
  return sum;
}

/// ", read_floor = ..."
std::string sql_tracking::cursor_sql(std::span<const shard_progress> shards, const source_cursor& cursor) const {
  std::string kept;
  for (const auto& shard : shards)
    if (shard.keeps_cursor)
      kept += (kept.empty() ? "" : ", ") + std::to_string(shard.shard);
  std::string sql;
  const auto set = [&](const std::string& column, const std::string& value) {
    sql += ", " + column + " = " +
           (kept.empty() ? value : "CASE WHEN shard IN (" + kept + ") THEN " + column + " ELSE " + value + " END");
  };
  set("dealing", std::to_string(dealing_));
  set("read_floor", literal(cursor.floor));
  set("read_high", literal(cursor.high));
  set("read_begin", literal(cursor.begin));
  set("sweep_at", literal(cursor.sweep));
  return sql;
}

/// Checks the epochs, and locks them up to the end of the transaction.
result<void> sql_tracking::fence(std::span<const shard_progress> shards, const std::optional<source_cursor>& cursor) {
  for (std::size_t first = 0; first < shards.size(); first += conditions_max) {
    const auto some = shards.subspan(first, std::min(conditions_max, shards.size() - first));
    std::array<std::string, 3> values;
    std::string owned;
    for (const auto& shard : some) {
      const auto number = std::to_string(shard.shard);
      const std::array numbers{shard.claimed_seq, shard.released_seq, shard.settled_seq};
      for (std::size_t index = 0; index < values.size(); ++index)
        values[index] += " WHEN " + number + " THEN " + std::to_string(numbers[index]);
      owned +=
        (owned.empty() ? "" : " OR ") + ("(shard = " + number) + " AND epoch = " + std::to_string(shard.epoch) + ")";
    }
    auto met = database_->change("UPDATE penstock_fence SET writes = writes + 1, claimed_seq = CASE shard" + values[0] +
                                 " END, released_seq = CASE shard" + values[1] + " END, settled_seq = CASE shard" +
                                 values[2] + " END" + (cursor ? cursor_sql(some, *cursor) : "") + " WHERE " +
                                 pipeline_is_ + " AND (" + owned + ")");
    if (!met)
      return met.error();
    if (*met != some.size())
      return error{errc::fenced, "another process publishes for '" + table_.pipeline + "' now"};
  }
  return {};
}

result<void> sql_tracking::check(std::span<const shard_progress> shards) {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  if (auto owned = fence(shards, {}); !owned)
    return owned;
  return changes->commit();
}

result<void> sql_tracking::end(const claim_end& one, std::uint64_t epoch) {
  std::string set;
  switch (one.outcome) {
  case claim_end::kind::refused:
  case claim_end::kind::held:
    set = std::string{"state = '"} +
          text_of(one.outcome == claim_end::kind::held ? record_state::held : record_state::refused) + "'" +
          ", reason_code = " + std::to_string(one.reason_code) + ", reason = " + literal(one.reason);
    break;
  case claim_end::kind::reclaim:
    set = "claim_seq = " + std::to_string(one.new_seq) + ", packet_id = " + std::to_string(one.new_packet_id) +
          ", attempts = attempts + 1, epoch = " + std::to_string(epoch) +
          ", claimed_at = " + microseconds_text(wall_now());
    break;
  }
  auto met = database_->change("UPDATE " + name_ + " SET " + set + " WHERE " + pipeline_is_ + " AND shard = " +
                               std::to_string(one.shard) + " AND claim_seq = " + std::to_string(one.seq));
  return met ? result<void>{} : result<void>{met.error()};
}

result<void> sql_tracking::note_sent(std::span<const shard_progress> shards) {
  std::string which;
  std::size_t conditions = 0;
  const auto flush = [&]() -> result<void> {
    if (conditions == 0)
      return {};
    auto met = database_->change("UPDATE " + name_ + " SET state = 'sent', payload = NULL, sent_at = " +
                                 microseconds_text(wall_now()) + " WHERE state = 'claimed' AND (" + which + ")");
    which.clear();
    conditions = 0;
    return met ? result<void>{} : result<void>{met.error()};
  };
  for (const auto& shard : shards)
    for (const auto& [first, last] : shard.sent) {
      // The pipeline stands in each: in front of three ranges or more SQLite would search all of its records.
      which += (which.empty() ? "(" : " OR (") + pipeline_is_ + " AND shard = " + std::to_string(shard.shard) +
               " AND claim_seq BETWEEN " + std::to_string(first) + " AND " + std::to_string(last) + ")";
      if (++conditions == conditions_max)
        if (auto done = flush(); !done)
          return done;
    }
  return flush();
}

/// The rows of claims. `epoch_of(shard)`: of its owner.
template <class EpochOf>
std::unique_ptr<record::frame_view> sql_tracking::frame_of(std::span<const claimed_record> claims,
                                                           const EpochOf& epoch_of) const {
  record::frame_builder builder{types_};
  const auto now = wall_now();
  std::vector<std::pair<std::uint32_t, std::uint64_t>> epochs; // claims of a shard lie together
  for (const auto& claim : claims) {
    if (epochs.empty() || epochs.back().first != claim.shard)
      epochs.emplace_back(claim.shard, epoch_of(claim.shard));
    std::size_t column = 0;
    const auto text = [&](std::string_view value) { builder.set_string(column++, value); };
    const auto number = [&](std::uint64_t value) { builder.set_integer(column++, static_cast<std::int64_t>(value)); };
    const auto time = [&] { builder.set_integer(column++, now.time_since_epoch().count()); };
    const auto or_null = [&](bool given, const auto& set) {
      if (given)
        set();
      else
        builder.set_null(column++);
    };
    const bool sent = claim.state == record_state::sent;
    const bool failed = claim.state == record_state::refused || claim.state == record_state::held;
    text(table_.pipeline);
    text(source_table_);
    text(claim.record_id);
    text(claim.version);
    number(claim.shard);
    number(epochs.back().second);
    number(claim.seq);
    number(claim.packet_id);
    text(text_of(claim.state));
    text(claim.topic);
    or_null(!sent, [&] { text(claim.payload); });
    text(claim.correlation);
    time();
    or_null(sent, time);
    number(claim.attempts + 1);
    or_null(failed, [&] { number(claim.reason_code); });
    or_null(failed, [&] { text(claim.reason); });
    builder.commit_row({}, {}, now);
  }
  auto view = record::frame_view::open(builder.seal(table_.pipeline, 0, 0, 0), types_);
  assert_that(static_cast<bool>(view), "a frame that was just sealed opens");
  return *std::move(view);
}

result<std::uint64_t> sql_tracking::insert(const tracking_changes& changes) {
  const auto frame = frame_of(changes.claims, [&](std::uint32_t shard) {
    const auto found =
      std::find_if(changes.shards.begin(), changes.shards.end(), [&](const auto& each) { return each.shard == shard; });
    assert_that(found != changes.shards.end(), "a claim's shard is among those written of");
    return found->epoch;
  });
  const record::frame_view* const frames[] = {frame.get()};
  const batch_view batch{frames};
  std::uint64_t stored = 0;
  const auto rows_max = std::min(database_->limits().rows, batch.rows());
  for (std::size_t first = 0; first < batch.rows(); first += rows_max) {
    const auto done = database_->insert(batch, first, std::min(batch.rows(), first + rows_max));
    if (done.refused)
      return done.refused->why;
    stored += done.stored;
  }
  return stored;
}

result<std::vector<refused_claim>> sql_tracking::refused(std::span<const claimed_record> claims) {
  const auto tried = transaction::begin(*database_); // and never committed
  if (!tried)
    return tried.error();
  const auto frame = frame_of(claims, [](std::uint32_t) { return std::uint64_t{0}; });
  const record::frame_view* const frames[] = {frame.get()};
  const batch_view batch{frames};
  std::vector<refused_claim> refused;
  const auto rows_max = std::max<std::size_t>(1, std::min(database_->limits().rows, batch.rows()));
  for (std::size_t first = 0; first < batch.rows(); first += rows_max) {
    auto inserted = insert_around_bad_rows(
      first, std::min(batch.rows(), first + rows_max),
      [&](std::size_t from, std::size_t to) { return database_->insert(batch, from, to); },
      [&](std::size_t row, const error& why) {
        refused.push_back({row, why});
        return result<void>{};
      });
    if (!inserted)
      return inserted.error();
  }
  return refused;
}

result<bool> sql_tracking::commit(const tracking_changes& changes) {
  auto all = transaction::begin(*database_);
  if (!all)
    return all.error();
  if (auto owned = fence(changes.shards, changes.cursor); !owned)
    return owned.error();
  for (const auto& one : changes.ends) {
    const auto shard = std::find_if(changes.shards.begin(), changes.shards.end(),
                                    [&](const auto& each) { return each.shard == one.shard; });
    assert_that(shard != changes.shards.end(), "a claim's shard is among those written of");
    if (auto ended = end(one, shard->epoch); !ended)
      return ended.error();
  }
  if (auto noted = note_sent(changes.shards); !noted)
    return noted.error();
  if (!changes.claims.empty()) {
    auto stored = insert(changes);
    if (!stored)
      return stored.error();
    if (*stored != changes.claims.size())
      return false;
  }
  if (!changes.retried.empty())
    if (auto ended = end_retries(changes.retried); !ended)
      return ended.error();
  if (auto committed = all->commit(); !committed)
    return committed.error();
  return true;
}

result<void> sql_tracking::end_retries(std::span<const std::string> record_ids) {
  std::string ids;
  for (const auto& id : record_ids)
    ids += (ids.empty() ? "" : ", ") + literal(id);
  auto met =
    database_->change("DELETE FROM penstock_retries WHERE " + pipeline_is_ + " AND record_id IN (" + ids + ")");
  return met ? result<void>{} : result<void>{met.error()};
}

result<std::vector<std::string>> sql_tracking::retries(std::size_t records_max) {
  std::vector<std::string> ids;
  auto read = database_->read("SELECT record_id FROM penstock_retries WHERE " + pipeline_is_ +
                                " ORDER BY record_id LIMIT " + std::to_string(records_max),
                              [&](auto row) { ids.emplace_back(row[0].text); });
  if (!read)
    return read.error();
  return ids;
}

/// Of records that are in neither table: those whose id is in no range. `some` are their indexes.
result<std::vector<std::size_t>> sql_tracking::not_in_ranges(std::span<const record_key> records,
                                                             const std::vector<std::size_t>& some, known_by which) {
  std::multimap<std::int64_t, std::size_t> by_id;
  std::vector<std::size_t> missing;
  for (const auto index : some) {
    const auto id = integer_of(records[index].record_id);
    if (id && (which == known_by::record || records[index].version.empty()))
      by_id.emplace(*id, index);
    else
      missing.push_back(index);
  }
  if (by_id.empty())
    return missing;
  auto read = database_->read("SELECT first_id, last_id FROM penstock_sent_ranges WHERE " + pipeline_is_ +
                                " AND first_id <= " + std::to_string(by_id.rbegin()->first) +
                                " AND last_id >= " + std::to_string(by_id.begin()->first),
                              [&](auto row) {
                                by_id.erase(by_id.lower_bound(number_of<std::int64_t>(row[0].text)),
                                            by_id.upper_bound(number_of<std::int64_t>(row[1].text)));
                              });
  if (!read)
    return read.error();
  for (const auto& [unused, index] : by_id)
    missing.push_back(index);
  std::sort(missing.begin(), missing.end());
  return missing;
}

result<bool> sql_tracking::paused() {
  bool found = false;
  auto read =
    database_->read("SELECT paused_at FROM penstock_pauses WHERE " + pipeline_is_, [&](auto) { found = true; });
  if (!read)
    return read.error();
  return found;
}

result<void> sql_tracking::pause(bool paused) {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  if (auto changed = database_->change("DELETE FROM penstock_pauses WHERE " + pipeline_is_); !changed)
    return changed.error();
  if (paused)
    if (auto changed = database_->change("INSERT INTO penstock_pauses (pipeline, paused_at) VALUES (" +
                                         literal(table_.pipeline) + ", " + microseconds_text(wall_now()) + ")");
        !changed)
      return changed.error();
  return changes->commit();
}

result<std::vector<std::size_t>> sql_tracking::untracked(std::span<const record_key> records, known_by which) {
  const auto key_of = [&](std::string_view record_id, std::string_view version) {
    return std::string{record_id} + '\0' + std::string{which == known_by::version ? version : std::string_view{}};
  };
  std::vector<std::size_t> missing;
  for (std::size_t first = 0; first < records.size(); first += looked_up_at_once) {
    const auto some = records.subspan(first, std::min(looked_up_at_once, records.size() - first));
    std::string ids;
    for (const auto& record : some)
      ids += (ids.empty() ? "" : ", ") + literal(record.record_id);
    const auto select = [&](const std::string& table) {
      return "SELECT record_id, record_version FROM " + table + " WHERE " + pipeline_is_ + " AND record_id IN (" + ids +
             ")";
    };
    std::unordered_set<std::string> tracked;
    auto read = database_->read(select(name_) + " UNION ALL " + select(archive_),
                                [&](auto row) { tracked.insert(key_of(row[0].text, row[1].text)); });
    if (!read)
      return read.error();
    for (std::size_t index = 0; index < some.size(); ++index)
      if (!tracked.contains(key_of(some[index].record_id, some[index].version)))
        missing.push_back(first + index);
  }
  return missing.empty() ? missing : not_in_ranges(records, missing, which);
}

} // namespace

std::string archive_table_of(const config::publish& pipeline) { return pipeline.tracking.table + "_archive"; }

result<std::unique_ptr<tracking>> open_tracking(const config::database& database, const config::publish& pipeline,
                                                const connection_board& board) {
  auto opened = open_connection(database, access::read_write, board);
  if (!opened)
    return opened.error();
  return std::unique_ptr<tracking>{std::make_unique<sql_tracking>(*std::move(opened), pipeline)};
}

} // namespace penstock::storage
