#include "nodes/received_rows.hpp"

#include "core/time_text.hpp"

#include <algorithm>
#include <limits>

namespace penstock::nodes {

namespace {

constexpr auto nothing_yet = std::numeric_limits<std::int64_t>::min();
constexpr std::size_t date_size = 10; // "2026-11-25"

/// A time as microseconds since 1970, other text as it is. PostgreSQL's times without a zone are UTC here.
std::string canonical(std::string value) {
  if (value.size() <= date_size || value[4] != '-' || value[7] != '-')
    return value;
  const auto time = parse_rfc3339(value);
  const auto utc = time ? time : parse_rfc3339(value + "Z");
  return utc ? std::to_string(utc->time_since_epoch().count()) : value;
}

} // namespace

fingerprint row_fingerprint(std::vector<std::string> key, std::int64_t version) {
  for (std::string& value : key)
    value = canonical(std::move(value));
  if (version != 0)
    key.push_back(std::to_string(version));
  return fingerprint_of(key);
}

void received_rows::add(const fingerprint& row, std::int64_t received_us, bool again) {
  arrivals_.push_back({row, static_cast<std::uint64_t>(received_us), again});
  if (sealed_)
    hold(arrivals_.back());
}

void received_rows::begin() {
  expected_.clear();
  versions_.clear();
  monitors_.clear();
  newest_.assign(1, nothing_yet); // of no monitor
  histories_.clear();
  sealed_ = false;
  lasts_ = lasts_received_ = 0;
  counts_ = {};
  offenders_.clear();
  lags_ = {};
}

void received_rows::expect(std::size_t number, const row_line& line) {
  expected row{.row = row_fingerprint(line.key, line.version),
               .committed_us = line.committed_us,
               .order = line.order,
               .version = line.version,
               .line = static_cast<std::uint32_t>(number),
               .monitor = 0,
               .history = 0,
               .updated = line.updated,
               .late = line.late,
               .last = 1,
               .received = 0};
  if (!line.monitor.empty()) {
    const auto [found, added] = monitors_.try_emplace(line.monitor, static_cast<std::uint32_t>(newest_.size()));
    row.monitor = found->second;
    if (added)
      newest_.push_back(nothing_yet);
  }
  if (line.version != 0)
    versions_.push_back({row_fingerprint(line.key, 0), line.version, static_cast<std::uint32_t>(expected_.size())});
  expected_.push_back(row);
}

void received_rows::find_histories() {
  std::sort(versions_.begin(), versions_.end(), [](const versioned& left, const versioned& right) {
    return left.key != right.key ? left.key < right.key : left.version < right.version;
  });
  for (std::size_t i = 0; i < versions_.size(); ++i) {
    if (i == 0 || versions_[i].key != versions_[i - 1].key)
      histories_.push_back(nothing_yet);
    auto& row = expected_[versions_[i].index];
    row.history = static_cast<std::uint32_t>(histories_.size() - 1);
    row.last = i + 1 == versions_.size() || versions_[i].key != versions_[i + 1].key;
  }
  versions_ = {};
}

void received_rows::seal() {
  find_histories();
  monitors_ = {};
  lasts_ = static_cast<std::uint64_t>(
    std::count_if(expected_.begin(), expected_.end(), [](const expected& row) { return row.last; }));
  std::sort(expected_.begin(), expected_.end(),
            [](const expected& left, const expected& right) { return left.row < right.row; });
  sealed_ = true;
  for (const arrival& message : arrivals_)
    hold(message);
}

void received_rows::hold(const arrival& message) {
  const auto found = std::lower_bound(expected_.begin(), expected_.end(), message.row,
                                      [](const expected& row, const fingerprint& wanted) { return row.row < wanted; });
  if (found == expected_.end() || found->row != message.row) {
    ++counts_.foreign;
    return;
  }
  expected& row = *found;
  if (row.received) {
    if (message.again)
      ++counts_.redelivered;
    else
      offend("repeated", ++counts_.repeated, row);
    return;
  }
  row.received = 1;
  ++counts_.received;
  lasts_received_ += row.last;
  lags_.record(static_cast<std::uint64_t>(
    std::max<std::int64_t>(static_cast<std::int64_t>(message.received_us) - row.committed_us, 0)));
  if (!out_of_order(row))
    return;
  if (row.late)
    ++counts_.late;
  else
    offend("reordered", ++counts_.reordered, row);
}

bool received_rows::out_of_order(expected& row) {
  bool behind = false;
  if (row.version != 0) {
    auto& highest = histories_[row.history];
    behind = row.version < highest;
    highest = std::max(highest, row.version);
  }
  // An updated row keeps its place in the order, and comes when it is updated.
  if (row.monitor != 0 && !row.updated) {
    auto& newest = newest_[row.monitor];
    behind = behind || row.order < newest;
    newest = std::max(newest, row.order);
  }
  return behind;
}

void received_rows::offend(const char* what, std::uint64_t count, const expected& row) {
  if (count <= offenders_max)
    offenders_.push_back({what, row.line, {}});
}

row_counts received_rows::counts() const {
  row_counts counts = counts_;
  counts.rows = expected_.size();
  counts.messages = arrivals_.size() + unreadable_;
  counts.unreadable = unreadable_;
  counts.missing = lasts_ - lasts_received_;
  counts.superseded = counts.rows - counts.received - counts.missing;
  return counts;
}

std::vector<offender> received_rows::offenders() const {
  auto offenders = offenders_;
  std::vector<std::size_t> lines;
  for (const expected& row : expected_)
    if (row.last && !row.received)
      lines.push_back(row.line);
  const auto end = lines.begin() + static_cast<std::ptrdiff_t>(std::min(lines.size(), offenders_max));
  std::partial_sort(lines.begin(), end, lines.end());
  for (auto line = lines.begin(); line != end; ++line)
    offenders.push_back({"missing", *line, {}});
  return offenders;
}

} // namespace penstock::nodes
