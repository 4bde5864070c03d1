#include "actors/change_finder.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace penstock::actors {

namespace {

using event = storage::change_stream::event;
using known_by = storage::tracking::known_by;

std::string key_of(const storage::source_row& row) { return row.record_id + '\0' + row.version; }

/// The place as text that sorts as the places do.
std::string version_of(storage::log_place place) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text(16, '0');
  for (auto at = text.rbegin(); at != text.rend(); ++at, place >>= 4)
    *at = digits[place & 15];
  return text;
}

std::vector<storage::record_key> keys_of(const std::vector<row_finder::found_row>& rows) {
  std::vector<storage::record_key> keys;
  keys.reserve(rows.size());
  for (const auto& each : rows)
    keys.push_back({each.row.record_id, each.row.version});
  return keys;
}

} // namespace

change_finder::change_finder(change_finder_config config) : row_finder(config.finding), config_(std::move(config)) {}

result<void> change_finder::begin(storage::source& source, const std::vector<storage::source_cursor>& from) {
  auto opened = config_.open();
  if (!opened)
    return opened.error();
  stream_ = *std::move(opened);
  auto end = stream_->end();
  if (!end)
    return end.error();
  told_before_ = end->written;
  auto slot = stream_->slot();
  if (!slot)
    return slot.error();
  config_.on_slot(*slot, stream_->is_new() && !from.empty());
  return row_finder::begin(source, from);
}

// --- what the log tells
// ------------------------------------------------------------------------------------------------

/// The changes that matter, and of which transaction each is.
change_finder::changes change_finder::take(std::vector<event> events, std::vector<std::uint64_t>& transactions) {
  changes told;
  for (auto& one : events) {
    if (one.what == event::kind::reached) {
      if (!in_transaction_)
        reached_ = std::max(reached_, one.place);
      continue;
    }
    if (one.what == event::kind::commit) {
      if (std::exchange(in_transaction_, false))
        transactions_.at(transactions_count_).complete = true;
      reached_ = std::max(reached_, one.place);
      continue;
    }
    if (!std::exchange(in_transaction_, true))
      transactions_[++transactions_count_].before = reached_;
    const bool is_update = one.row.made_by == storage::changed_row::kind::update;
    if (is_update && config_.on_update == config::update_rule::ignore)
      continue;
    if (is_update && !config_.has_version)
      one.row.version = version_of(one.row.at);
    told.push_back(std::move(one.row));
    transactions.push_back(transactions_count_);
  }
  return told;
}

result<void> change_finder::give_changes(const changes& told, const std::vector<std::uint64_t>& transactions,
                                         storage::source& source, storage::tracking& tracking,
                                         std::vector<found_row>& found) {
  auto rows = source.read_changes(told);
  if (!rows)
    return rows.error();
  std::vector<found_row> fresh;
  std::vector<found_row> maybe_known;
  for (std::size_t index = 0; index < rows->size(); ++index) {
    auto& row = (*rows)[index];
    if (!row.wanted)
      continue;
    if (const auto there = pending_.find(key_of(row)); there != pending_.end()) {
      there->second.push_back(transactions[index]);
      ++transactions_.at(transactions[index]).pending;
      continue;
    }
    pending_[key_of(row)] = {transactions[index]};
    ++transactions_.at(transactions[index]).pending;
    auto& to = told[index].at < told_before_ ? maybe_known : fresh;
    to.push_back({std::move(row), 0, transactions[index]});
  }
  auto missing = tracking.untracked(keys_of(maybe_known));
  if (!missing)
    return missing.error();
  repeats_avoided_ += maybe_known.size() - missing->size();
  std::size_t next = 0;
  for (std::size_t index = 0; index < maybe_known.size(); ++index)
    if (next < missing->size() && (*missing)[next] == index) {
      ++next;
      found.push_back(std::move(maybe_known[index]));
    } else {
      claimed_.insert(key_of(maybe_known[index].row));
    }
  std::move(fresh.begin(), fresh.end(), std::back_inserter(found));
  return {};
}

result<void> change_finder::read_changes(storage::source& source, storage::tracking& tracking, std::size_t rows_max,
                                         std::vector<found_row>& found) {
  auto events = stream_->read(rows_max, config_.bytes_max);
  if (!events)
    return events.error();
  const auto count =
    std::count_if(events->begin(), events->end(), [](const event& each) { return each.what == event::kind::change; });
  was_full_ = static_cast<std::size_t>(count) >= rows_max;
  std::vector<std::uint64_t> transactions;
  const auto told = take(*std::move(events), transactions);
  if (auto given = give_changes(told, transactions, source, tracking, found); !given)
    return given;
  settle();
  return {};
}

// --- what is given out, claimed and done with
// ---------------------------------------------------------------------------

void change_finder::claimed(const found_row& row) {
  claimed_.insert(key_of(row.row));
  if (row.transaction == 0)
    row_finder::claimed(row);
}

void change_finder::returned(const found_row& row) {
  claimed_.erase(key_of(row.row));
  if (row.transaction == 0)
    row_finder::returned(row);
}

/// What was claimed is committed: nobody can return it any more.
void change_finder::settle() {
  for (const auto& key : std::exchange(claimed_, {})) {
    const auto found = pending_.find(key);
    if (found == pending_.end())
      continue;
    for (const auto number : found->second)
      --transactions_.at(number).pending;
    pending_.erase(found);
  }
  std::erase_if(transactions_, [](const auto& each) { return each.second.complete && each.second.pending == 0; });
}

storage::log_place change_finder::done() const {
  return transactions_.empty() ? reached_ : transactions_.begin()->second.before;
}

result<void> change_finder::tend(monotonic now) {
  settle();
  if (auto confirmed = stream_->confirm(done()); !confirmed)
    return confirmed;
  if (now < next_slot_look_)
    return {};
  next_slot_look_ = now + config_.slot_every;
  auto slot = stream_->slot();
  if (!slot)
    return slot.error();
  config_.on_slot(*slot, false);
  return {};
}

// --- the nets behind
// ---------------------------------------------------------------------------------------------------

bool change_finder::is_pending(const storage::source_row& row) const {
  if (config_.has_version)
    return pending_.contains(key_of(row));
  const auto first = pending_.lower_bound(row.record_id + '\0');
  return first != pending_.end() && first->first.starts_with(row.record_id + '\0');
}

result<void> change_finder::query(storage::source& source, storage::tracking& tracking, std::size_t rows_max,
                                  monotonic now) {
  auto rows = row_finder::look(source, tracking, rows_max, now);
  if (!rows)
    return rows.error();
  const auto pace = std::max(config_.finding.detect.poll, config_.finding.detect.sweep);
  next_query_ = row_finder::read_was_full() ? now : now + pace;
  if (rows->empty())
    return {};
  auto seen = stream_->end();
  if (!seen)
    return seen.error();
  held_ = held_rows{*std::move(rows), *seen, false, now};
  next_ask_ = now + config_.ask_every;
  return stream_->ask();
}

/// A query may see what is not yet on the server's disk, and only what is there is told. It comes there soon after a
/// commit; what no commit follows (the server's own notes in its log) may take long, and is not waited for.
result<bool> change_finder::log_is_read(monotonic now) {
  if (in_transaction_)
    return false;
  if (reached_ >= held_->seen.written || (held_->settled && reached_ >= held_->seen.flushed))
    return true;
  if (!held_->settled && now - held_->since >= config_.settled) {
    auto end = stream_->end();
    if (!end)
      return end.error();
    held_->seen.flushed = end->flushed;
    held_->settled = true;
    if (reached_ >= end->flushed)
      return true;
  }
  if (now < next_ask_)
    return false;
  next_ask_ = now + config_.ask_every;
  if (auto asked = stream_->ask(); !asked)
    return asked.error();
  return false;
}

result<void> change_finder::give_held(storage::tracking& tracking, std::vector<found_row>& found) {
  auto rows = std::move(held_->rows);
  held_.reset();
  auto missing = tracking.untracked(keys_of(rows), config_.has_version ? known_by::version : known_by::record);
  if (!missing)
    return missing.error();
  std::size_t next = 0;
  for (std::size_t index = 0; index < rows.size(); ++index) {
    const bool is_missing = next < missing->size() && (*missing)[next] == index;
    next += is_missing ? 1 : 0;
    if (!is_missing || is_pending(rows[index].row)) {
      row_finder::claimed(rows[index]);
      continue;
    }
    pending_[key_of(rows[index].row)];
    ++found_late_;
    found.push_back(std::move(rows[index]));
  }
  return {};
}

monotonic change_finder::next_look(monotonic now) const {
  return held_ ? next_ask_ : std::max(next_query_, now + config_.ask_every);
}

result<std::vector<row_finder::found_row>> change_finder::look(storage::source& source, storage::tracking& tracking,
                                                               std::size_t rows_max, monotonic now) {
  std::vector<found_row> found;
  if (auto read = read_changes(source, tracking, rows_max, found); !read)
    return read.error();
  if (held_) {
    auto read = log_is_read(now);
    if (!read)
      return read.error();
    if (*read)
      if (auto given = give_held(tracking, found); !given)
        return given.error();
  }
  if (!held_ && !was_full_ && now >= next_query_)
    if (auto asked = query(source, tracking, rows_max, now); !asked)
      return asked.error();
  return found;
}

} // namespace penstock::actors
