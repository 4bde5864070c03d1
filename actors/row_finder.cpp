#include "actors/row_finder.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace penstock::actors {

using path = storage::source::path;

namespace {

constexpr int sweep_steps = 4;         // each `detect.sweep`
constexpr int sweep_rests = 50;        // times as long as a step of it took: where databases are busy it gives way
constexpr std::size_t first_rows = 20; // in the first read: nobody knows yet how large a row is

std::string key_of(const storage::source_row& row) { return row.record_id + '\0' + row.version; }

/// The id in a position of the path `id`.
std::int64_t id_of(const std::string& position) {
  std::int64_t id = 0;
  const auto digits = position.find_first_of("-0123456789");
  if (digits != std::string::npos)
    std::from_chars(position.data() + digits, position.data() + position.size(), id);
  return id;
}

std::string without_zone(const std::string& time) {
  return time.ends_with('Z') ? time.substr(0, time.size() - 1) : time;
}

bool is_number(const std::string& text, double& value) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size();
}

/// By `order`: as numbers where both are, else as text, which times are written to be sorted by.
bool is_newer(const std::string& left, const std::string& right) {
  double a = 0;
  double b = 0;
  if (is_number(left, a) && is_number(right, b))
    return a > b;
  return without_zone(left) > without_zone(right);
}

/// Where the path `order` has it, by its first column.
const std::string& place_of(const storage::source_row& row) { return row.version.empty() ? row.order : row.version; }

/// By `order`, then the id.
bool is_older(const row_finder::found_row& left, const row_finder::found_row& right) {
  if (is_newer(right.row.order, left.row.order))
    return true;
  return !is_newer(left.row.order, right.row.order) && left.row.id < right.row.id;
}

} // namespace

row_finder::row_finder(const row_finder_config& config)
  : config_(config), frontier_(config_.detect.late_for, config_.gaps_max),
    bytes_a_row_(config_.read_bytes / first_rows) {}

/// Few rows are read at once where they are large.
std::size_t row_finder::rows_at_once(std::size_t rows_max) const {
  return std::clamp<std::size_t>(config_.read_bytes / bytes_a_row_, 1, rows_max);
}

void row_finder::measure(const rows& read) {
  std::size_t bytes = 0;
  for (const auto& row : read)
    bytes += row.topic.size() + row.payload.size();
  if (!read.empty())
    bytes_a_row_ = std::max<std::size_t>(1, bytes / read.size());
}

/// The cursor that holds for all: it begins with the earliest floor, and may meet claims up to the latest high.
result<void> row_finder::begin_at(storage::source& source, const std::vector<storage::source_cursor>& from) {
  auto all = from.front();
  for (const auto& each : from) {
    const auto is_before = [&](const std::string& left, const std::string& right) -> result<bool> {
      return left == right ? result<bool>{false} : source.is_before(left, right);
    };
    const auto floor = is_before(each.floor, all.floor);
    const auto begin = is_before(each.begin, all.begin);
    const auto high = is_before(all.high, each.high);
    for (const auto* compared : {&floor, &begin, &high})
      if (!*compared)
        return compared->error();
    if (*floor)
      all.floor = each.floor;
    if (*begin)
      all.begin = each.begin;
    if (*high)
      all.high = each.high;
  }
  read_to_ = std::move(all.floor);
  begin_ = std::move(all.begin);
  whole_walk_.position = std::move(all.sweep);
  known_high_ = std::move(all.high);
  return {};
}

result<void> row_finder::begin(storage::source& source, const std::vector<storage::source_cursor>& from) {
  newest_ = source.newest();
  if (!from.empty()) {
    if (auto begun = begin_at(source, from); !begun)
      return begun;
  } else if (config_.start == config::publish_start::now) {
    auto end = source.end(newest_);
    if (!end)
      return end.error();
    begin_ = read_to_ = *end;
  }
  source.begin_behind(begin_);
  if (by_id() && !read_to_.empty())
    frontier_.begin(id_of(read_to_));
  if (!by_id())
    late_walks_ = {{std::min(config_.recent, config_.detect.late_for)}, {config_.detect.late_for}};
  // What is new goes first: a shard that has moved does not stand still for a sweep.
  next_whole_walk_ = config_.clock() + config_.detect.sweep / sweep_steps;
  return {};
}

bool row_finder::is_wanted(const storage::source_row& row) const {
  return row.wanted && (!config_.mine || config_.mine(row));
}

/// Not to be given out: nobody wants it, another node does, or it was given out.
bool row_finder::skips(const storage::source_row& row) const {
  return !is_wanted(row) || pending_keys_.contains(key_of(row));
}

void row_finder::give(found_row row, std::vector<found_row>& found) {
  pending_keys_.insert(key_of(row.row));
  if (row.read != 0)
    ++reads_.at(row.read).pending;
  else if (is_late(row))
    late_ids_.insert(row.row.id);
  found.push_back(std::move(row));
}

void row_finder::claimed(const found_row& row) {
  pending_keys_.erase(key_of(row.row));
  if (row.read != 0)
    --reads_.at(row.read).pending;
  else if (is_late(row))
    late_ids_.erase(row.row.id);
  else if (row.retried)
    retried_.insert(row.row.record_id);
}

void row_finder::returned(const found_row& row) {
  pending_keys_.insert(key_of(row.row));
  if (row.read != 0)
    ++reads_.at(row.read).pending;
  else if (is_late(row))
    late_ids_.insert(row.row.id);
  else if (row.retried)
    retried_.erase(row.row.record_id);
}

const std::string* row_finder::first_pending() const {
  const auto first =
    std::find_if(reads_.begin(), reads_.end(), [](const auto& each) { return each.second.pending > 0; });
  return first == reads_.end() ? nullptr : &first->second.before;
}

result<row_finder::rows> row_finder::drop_tracked(storage::tracking& tracking, rows candidates) {
  std::vector<storage::record_key> keys;
  keys.reserve(candidates.size());
  for (const auto& row : candidates)
    keys.push_back({row.record_id, row.version});
  auto missing = tracking.untracked(keys);
  if (!missing)
    return missing.error();
  rows left;
  for (const auto index : *missing)
    left.push_back(std::move(candidates[index]));
  repeats_avoided_ += candidates.size() - left.size();
  return left;
}

/// Whether all that a former process may have claimed is in front of a position of net 1. Positions along `order` are
/// not compared, only met.
bool row_finder::is_behind(const std::string& position, const std::string& high) const {
  if (high.empty() || position == high)
    return true;
  return by_id() && !position.empty() && id_of(position) >= id_of(high);
}

/// The gaps are read behind what is new: a row that became visible before one of the new ones is found with it, so that
/// rows of one monitor keep their order. Where more lies in them than is read at once, what is new waits.
result<void> row_finder::read_new(storage::source& source, storage::tracking& tracking, std::size_t rows_max,
                                  monotonic now, std::vector<found_row>& found) {
  rows_max = rows_at_once(rows_max);
  auto read = source.read(newest_, read_to_, rows_max);
  if (!read)
    return read.error();
  was_full_ = read->size() >= rows_max;
  if (by_id()) {
    const auto all = read_gaps(source, now, found);
    if (!all)
      return all.error();
    if (!*all) {
      was_full_ = true;
      return {};
    }
  }
  measure(*read);
  if (read->empty())
    return {};
  if (by_id()) {
    std::vector<std::int64_t> ids;
    for (const auto& row : *read)
      ids.push_back(row.id);
    frontier_.read(ids, now);
  }
  const auto number = ++reads_count_;
  reads_[number].before = read_to_;
  read_to_ = read->back().position;
  read_to_order_ = place_of(read->back());
  std::erase_if(*read, [&](const auto& row) { return skips(row); });
  if (known_high_ && !is_behind(reads_[number].before, *known_high_)) {
    auto left = drop_tracked(tracking, *std::move(read));
    if (!left)
      return left.error();
    read = std::move(left);
  }
  if (known_high_ && is_behind(read_to_, *known_high_))
    known_high_.reset();
  for (auto& row : *read)
    give({std::move(row), number}, found);
  return {};
}

/// Whether that was all that is in them.
result<bool> row_finder::read_gaps(storage::source& source, monotonic now, std::vector<found_row>& found) {
  const auto ranges = frontier_.ask(config_.gaps_asked, now);
  if (ranges.empty())
    return true;
  const auto rows_max = rows_at_once(config_.late_rows);
  auto read = source.read_ids(ranges, rows_max);
  if (!read)
    return read.error();
  for (auto& row : *read) {
    frontier_.filled(row.id);
    if (skips(row))
      continue;
    ++found_late_;
    give({std::move(row)}, found);
  }
  return read->size() < rows_max;
}

/// What is asked for and is no row any more, or was claimed meanwhile, is done with.
result<void> row_finder::read_retries(storage::source& source, storage::tracking& tracking,
                                      std::vector<found_row>& found) {
  const auto ids = tracking.retries(config_.retried);
  if (!ids)
    return ids.error();
  if (ids->empty())
    return {};
  auto read = source.read_records(*ids);
  if (!read)
    return read.error();
  retried_.insert(ids->begin(), ids->end());
  std::set<std::string_view> there;
  for (const auto& row : *read)
    if (row.wanted)
      there.insert(row.record_id);
  std::copy_if(ids->begin(), ids->end(), std::back_inserter(not_there_),
               [&](const auto& id) { return !there.contains(id); });
  for (const auto& row : *read)
    if (row.wanted && skips(row))
      retried_.erase(row.record_id);
  std::erase_if(*read, [&](const auto& row) { return skips(row); });
  auto left = drop_tracked(tracking, *std::move(read));
  if (!left)
    return left.error();
  for (auto& row : *left) {
    retried_.erase(row.record_id);
    give({.row = std::move(row), .retried = true}, found);
  }
  return {};
}

std::optional<std::int64_t> row_finder::floor_id() const {
  auto floor = frontier_.floor();
  if (const auto* before = first_pending(); floor && before != nullptr)
    floor = std::min(*floor, before->empty() ? std::numeric_limits<std::int64_t>::min() : id_of(*before));
  if (floor && !late_ids_.empty())
    floor = std::min(*floor, *late_ids_.begin() - 1);
  return floor;
}

/// One step of a walk: what it meets and nobody has claimed is found.
result<void> row_finder::step(walk& along, storage::source& source, storage::tracking& tracking,
                              std::vector<found_row>& found) {
  const auto way = along.span.count() > 0 ? path::order : by_id() ? path::id : path::key;
  auto from = along.position;
  if (from.empty())
    from = along.span.count() > 0 ? source.earlier(read_to_, along.span) : by_id() ? begin_ : std::string{};
  const auto rows_max = rows_at_once(along.span.count() > 0 ? config_.late_rows : config_.sweep_rows);
  auto read = source.read(way, from, rows_max);
  if (!read)
    return read.error();
  measure(*read);
  const auto floor = floor_id();
  const bool at_end = read->size() < rows_max || (by_id() && floor && read->back().id >= *floor) ||
                      (!by_id() && way == path::order && std::any_of(read->begin(), read->end(), [&](const auto& row) {
                        return row.position == read_to_;
                      }));
  along.position = at_end ? std::string{} : read->back().position;
  // While net 1 has not caught up, what is in front of it is its own: it would go before older rows. What is taken for
  // newer and is not (its order may be that of a collation) is found once net 1 has caught up.
  if (!by_id() && was_full_)
    std::erase_if(*read, [&](const auto& row) { return is_newer(place_of(row), read_to_order_); });
  // Above the floor the other nets are at work.
  std::erase_if(*read, [&](const auto& row) { return skips(row) || (by_id() && (!floor || row.id > *floor)); });
  auto left = drop_tracked(tracking, *std::move(read));
  if (!left)
    return left.error();
  found_late_ += left->size();
  for (auto& row : *left)
    give({std::move(row)}, found);
  return {};
}

result<std::vector<row_finder::found_row>> row_finder::look(storage::source& source, storage::tracking& tracking,
                                                            std::size_t rows_max, monotonic now) {
  std::vector<found_row> found;
  not_there_.clear();
  while (!reads_.empty() && reads_.begin()->second.pending == 0)
    reads_.erase(reads_.begin());
  if (auto read = read_new(source, tracking, rows_max, now, found); !read)
    return read.error();
  if (now >= next_retries_) {
    next_retries_ = now + config_.retries_every;
    if (auto read = read_retries(source, tracking, found); !read)
      return read.error();
  }
  if (!read_to_.empty() && now >= next_late_walk_) {
    next_late_walk_ = now + config_.detect.poll;
    for (auto& walk : late_walks_)
      if (auto done = step(walk, source, tracking, found); !done)
        return done.error();
  }
  if (!read_to_.empty() && config_.detect.sweep.count() > 0 && now >= next_whole_walk_) {
    const auto began = config_.clock();
    const auto before = repeats_avoided_; // that most of it is tracked is what a sweep expects
    if (auto done = step(whole_walk_, source, tracking, found); !done)
      return done.error();
    repeats_avoided_ = before;
    const auto ended = config_.clock();
    next_whole_walk_ = std::max(now + config_.detect.sweep / sweep_steps, ended + sweep_rests * (ended - began));
  }
  if (!std::is_sorted(found.begin(), found.end(), is_older)) // rows are large, and mostly found in this order
    std::stable_sort(found.begin(), found.end(), is_older);
  return found;
}

result<std::optional<wall_time>> row_finder::oldest_unread(storage::source& source, storage::tracking& tracking) {
  auto read = source.read(newest_, read_to_, rows_at_once(config_.late_rows));
  if (!read)
    return read.error();
  std::erase_if(*read, [&](const auto& row) { return !is_wanted(row) || !row.since; });
  if (may_be_ahead()) {
    const auto avoided = repeats_avoided_; // it is only looked at
    read = drop_tracked(tracking, *std::move(read));
    repeats_avoided_ = avoided;
    if (!read)
      return read.error();
  }
  std::optional<wall_time> oldest;
  for (const auto& row : *read)
    oldest = std::min(oldest.value_or(*row.since), *row.since);
  return oldest;
}

storage::source_cursor row_finder::cursor() const {
  storage::source_cursor now;
  now.begin = begin_;
  now.high = known_high_.value_or(read_to_);
  now.sweep = whole_walk_.position;
  if (by_id()) {
    const auto floor = floor_id();
    now.floor =
      !floor || *floor == std::numeric_limits<std::int64_t>::min() ? std::string{} : storage::position_of(*floor);
  } else {
    const auto* before = first_pending();
    now.floor = before == nullptr ? read_to_ : *before;
  }
  return now;
}

} // namespace penstock::actors
