// A source table and a tracking database in memory: all that storage/source.hpp and storage/tracking.hpp promise, but
// for what only a server does. They outlive their connections.
#pragma once

#include "storage/source.hpp"
#include "storage/tracking.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace penstock::testing {

/// A table with an integer key; `rows` are what is visible.
struct memory_table {
  std::map<std::int64_t, std::string> rows; ///< the monitor by id
  storage::source::path newest = storage::source::path::id;
  std::size_t padding = 0;        ///< bytes in each payload
  std::optional<wall_time> since; ///< when all of them were made; nothing: `order` is no time
  std::uint64_t reads = 0;
  std::function<void()> behind_a_read; ///< what others commit before the next one
  std::optional<error> failure;
};

class memory_source final : public storage::source {
public:
  explicit memory_source(std::shared_ptr<memory_table> table) : table_(std::move(table)) {}
  path newest() const override { return table_->newest; }
  void begin_behind(const std::string& position) override { begin_ = id_of(position); }
  result<std::vector<storage::source_row>> read(path, const std::string& behind, std::size_t rows_max) override {
    ++table_->reads;
    if (table_->failure)
      return *table_->failure;
    std::vector<storage::source_row> rows;
    for (auto next = table_->rows.upper_bound(id_of(behind)); next != table_->rows.end() && rows.size() < rows_max;
         ++next)
      rows.push_back(row_of(*next));
    if (table_->behind_a_read)
      table_->behind_a_read();
    return rows;
  }
  result<std::vector<storage::source_row>> read_ids(std::span<const id_range> ranges, std::size_t rows_max) override {
    std::vector<storage::source_row> rows;
    for (const auto& each : table_->rows)
      for (const auto& range : ranges)
        if (range.first <= each.first && each.first <= range.last && rows.size() < rows_max)
          rows.push_back(row_of(each));
    if (table_->behind_a_read)
      table_->behind_a_read();
    return rows;
  }
  result<std::vector<storage::source_row>> read_records(std::span<const std::string> ids) override {
    std::vector<storage::source_row> rows;
    for (const auto& id : ids)
      if (const auto found = table_->rows.find(std::stoll(id)); found != table_->rows.end())
        rows.push_back(row_of(*found));
    return rows;
  }
  /// `values` is the monitor.
  result<std::vector<storage::source_row>> read_changes(std::span<const storage::changed_row> changes) override {
    std::vector<storage::source_row> rows;
    for (const auto& change : changes) {
      rows.push_back(row_of({std::stoll(change.key[0]), change.values}));
      rows.back().version = change.version;
    }
    return rows;
  }
  result<std::string> end(path) override {
    return table_->rows.empty() ? std::string{} : storage::position_of(table_->rows.rbegin()->first);
  }
  result<bool> is_before(const std::string& left, const std::string& right) override {
    const auto between = table_->rows.upper_bound(id_of(left));
    return between != table_->rows.end() && !right.empty() && between->first <= id_of(right);
  }
  std::string earlier(const std::string&, std::chrono::milliseconds) override { return {}; }

private:
  static std::int64_t id_of(const std::string& position) {
    return position.empty() ? std::numeric_limits<std::int64_t>::min() : std::stoll(position.substr(3));
  }
  storage::source_row row_of(const std::pair<const std::int64_t, std::string>& row) const {
    storage::source_row made;
    made.id = row.first;
    made.record_id = std::to_string(row.first);
    made.order = made.record_id;
    made.since = table_->since;
    made.topic = "t/" + row.second;
    made.payload = "payload " + made.record_id + std::string(table_->padding, '.');
    made.hash = row.second.empty() ? 0u : static_cast<unsigned char>(row.second.back());
    made.position = storage::position_of(row.first);
    made.wanted = row.first > begin_;
    made.refusal = row.second == "bad" ? "no topic fits" : "";
    return made;
  }
  std::shared_ptr<memory_table> table_;
  std::int64_t begin_ = std::numeric_limits<std::int64_t>::min();
};

/// What a tracking database holds, over all its connections.
struct memory_records {
  struct record {
    storage::claimed_record claim;
    std::string state;
    std::uint64_t epoch = 0;
  };
  std::map<std::string, record> records; ///< by record id and version
  std::map<std::uint32_t, storage::adopted_shard> shards;
  std::map<std::uint32_t, std::uint32_t> dealings; ///< by shard: among how many rows were dealt when it was read for
  std::set<std::string> retries;
  std::uint64_t beats = 0;
  std::uint64_t commits = 0;
  std::uint64_t opened = 0;
  std::optional<error> open_failure;
  std::optional<error> commit_failure;
  std::optional<error> claims_failure; ///< of a commit with claims
  /// Empty: it takes every record.
  std::function<bool(const storage::claimed_record&)> takes;
  bool paused = false;

  std::size_t count(const std::string& state) const {
    return static_cast<std::size_t>(
      std::count_if(records.begin(), records.end(), [&](const auto& each) { return each.second.state == state; }));
  }
};

class memory_tracking final : public storage::tracking {
public:
  explicit memory_tracking(std::shared_ptr<memory_records> database, std::uint32_t shards = 1)
    : database_(std::move(database)), shards_(shards) {}
  result<std::string> prepare() override { return std::string{"installation"}; }
  result<std::vector<storage::former_claims>> former() override {
    std::vector<storage::former_claims> open;
    for (const auto& [shard, dealt] : database_->dealings)
      if (const auto claims = open_claims(shard, 0); (shard >= shards_ || dealt != shards_) && !claims->empty())
        open.push_back({shard, claims->front().seq, database_->shards[shard].claimed_seq});
    return open;
  }
  result<std::vector<storage::adopted_shard>> adopt(std::span<const std::uint32_t> shards, adoption what) override {
    if (what == adoption::whole)
      deal_anew();
    std::vector<storage::adopted_shard> mine;
    for (const auto shard : shards) {
      auto& one = database_->shards[shard];
      one.shard = shard;
      ++one.epoch;
      mine.push_back(one);
    }
    return mine;
  }
  result<std::vector<storage::claimed_record>> open_claims(std::uint32_t shard, std::uint64_t behind) override {
    std::vector<storage::claimed_record> claims;
    for (const auto& [unused, each] : database_->records)
      if (each.state == "claimed" && each.claim.shard == shard && each.claim.seq > behind)
        claims.push_back(each.claim);
    std::sort(claims.begin(), claims.end(), [](const auto& a, const auto& b) { return a.seq < b.seq; });
    return claims;
  }
  result<std::uint64_t> heartbeat() override { return database_->beats; }
  result<void> check(std::span<const storage::shard_progress> shards) override { return fence(shards); }
  result<bool> commit(const storage::tracking_changes& changes) override {
    if (database_->commit_failure)
      return *database_->commit_failure;
    if (database_->claims_failure && !changes.claims.empty())
      return *database_->claims_failure;
    if (auto owned = fence(changes.shards); !owned)
      return owned.error();
    for (const auto& claim : changes.claims)
      if (auto why = refusal_of(claim))
        return *std::move(why);
    for (const auto& claim : changes.claims)
      if (database_->records.contains(key(claim.record_id, claim.version)))
        return false;
    ++database_->commits;
    for (const auto& end : changes.ends)
      write(end);
    for (const auto& shard : changes.shards)
      write(shard);
    for (const auto& claim : changes.claims)
      database_->records[key(claim.record_id, claim.version)] = {claim, name_of(claim.state),
                                                                 database_->shards[claim.shard].epoch};
    for (const auto& id : changes.retried)
      database_->retries.erase(id);
    if (changes.cursor)
      for (const auto& shard : changes.shards)
        if (!shard.keeps_cursor) {
          database_->shards[shard.shard].cursors = {*changes.cursor};
          database_->dealings[shard.shard] = shards_;
        }
    return true;
  }
  result<std::vector<storage::refused_claim>> refused(std::span<const storage::claimed_record> claims) override {
    std::vector<storage::refused_claim> refused;
    for (std::size_t index = 0; index < claims.size(); ++index)
      if (auto why = refusal_of(claims[index]))
        refused.push_back({index, *std::move(why)});
    return refused;
  }
  result<bool> paused() override { return database_->paused; }
  result<void> pause(bool paused) override {
    database_->paused = paused;
    return {};
  }
  result<std::vector<std::size_t>> untracked(std::span<const storage::record_key> records, known_by which) override {
    std::vector<std::size_t> missing;
    for (std::size_t index = 0; index < records.size(); ++index) {
      const std::string id{records[index].record_id};
      const auto has = [&](const auto& each) { return each.second.claim.record_id == id; };
      const bool tracked = which == known_by::version
                             ? database_->records.contains(key(id, std::string{records[index].version}))
                             : std::any_of(database_->records.begin(), database_->records.end(), has);
      if (!tracked)
        missing.push_back(index);
    }
    return missing;
  }
  result<std::vector<std::string>> retries(std::size_t) override {
    return std::vector<std::string>{database_->retries.begin(), database_->retries.end()};
  }

private:
  /// Any row may be any shard's now: each begins with the cursors of all.
  void deal_anew() {
    std::vector<storage::source_cursor> former;
    for (const auto& [shard, dealt] : database_->dealings)
      if (const auto& cursors = database_->shards[shard].cursors; dealt != shards_)
        former.insert(former.end(), cursors.begin(), cursors.end());
    for (std::uint32_t shard = 0; shard < shards_ && !former.empty(); ++shard)
      if (auto& dealt = database_->dealings[shard]; dealt != shards_) {
        database_->shards[shard].cursors = former;
        dealt = shards_;
      }
    for (auto& [shard, dealt] : database_->dealings)
      dealt = former.empty() ? dealt : shards_;
  }
  std::optional<error> refusal_of(const storage::claimed_record& claim) const {
    if (!database_->takes || database_->takes(claim))
      return std::nullopt;
    return error{errc::payload_too_large, "a payload of " + std::to_string(claim.payload.size()) + " bytes"};
  }
  static std::string name_of(storage::record_state state) {
    constexpr std::array names{"claimed", "sent", "refused", "held"};
    return names.at(static_cast<std::size_t>(state));
  }
  static std::string key(const std::string& id, const std::string& version) { return id + "/" + version; }
  result<void> fence(std::span<const storage::shard_progress> shards) {
    for (const auto& shard : shards)
      if (database_->shards[shard.shard].epoch != shard.epoch)
        return error{errc::fenced, "another process publishes now"};
    ++database_->beats;
    return {};
  }
  void write(const storage::claim_end& end) {
    for (auto& [unused, each] : database_->records) {
      if (each.claim.shard != end.shard || each.claim.seq != end.seq || each.state != "claimed")
        continue;
      if (end.outcome == storage::claim_end::kind::reclaim) {
        each.claim.seq = end.new_seq;
        each.claim.packet_id = end.new_packet_id;
        ++each.claim.attempts;
      } else {
        each.state = end.outcome == storage::claim_end::kind::held ? "held" : "refused";
      }
      return;
    }
  }
  void write(const storage::shard_progress& shard) {
    auto& owner = database_->shards[shard.shard];
    owner.claimed_seq = shard.claimed_seq;
    owner.released_seq = shard.released_seq;
    owner.settled_seq = shard.settled_seq;
    for (auto& [unused, each] : database_->records)
      for (const auto& [first, last] : shard.sent)
        if (each.state == "claimed" && each.claim.shard == shard.shard && first <= each.claim.seq &&
            each.claim.seq <= last)
          each.state = "sent";
  }
  std::shared_ptr<memory_records> database_;
  std::uint32_t shards_;
};

} // namespace penstock::testing
