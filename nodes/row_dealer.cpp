#include "nodes/row_dealer.hpp"

#include <algorithm>

namespace penstock::nodes {

namespace {

constexpr std::size_t rows_max = 100; // of a transaction
constexpr double pace_seconds = 0.02; // no transaction collects the rows of a longer time
constexpr std::size_t recent_max = 1'000;

} // namespace

row_dealer::row_dealer(dealer_options options, monotonic started)
  : options_(options), started_(started), dice_(options.seed), recent_(options.writers) {}

std::optional<row_dealer::reservation> row_dealer::reserve() {
  const std::lock_guard lock{mutex_};
  if (reserved_ >= options_.count)
    return std::nullopt;
  auto most = rows_max;
  if (options_.rate)
    most = std::clamp<std::size_t>(static_cast<std::size_t>(*options_.rate * pace_seconds), 1, rows_max);
  reservation next{
    .rows = static_cast<std::size_t>(std::min<std::uint64_t>(1 + dice_.below(most), options_.count - reserved_)),
    .due = started_};
  reserved_ += next.rows;
  if (options_.rate)
    next.due += std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(static_cast<double>(reserved_ - 1) / *options_.rate));
  return next;
}

row_transaction row_dealer::deal(std::size_t writer, std::size_t reserved, wall_time now) {
  const std::lock_guard lock{mutex_};
  row_transaction made;
  made.rolled_back = dice_.happens(options_.rollbacks_percent);
  made.updates = dice_.happens(options_.updates_percent) && !recent_[writer].empty();
  made.late = !made.updates && !made.rolled_back && dice_.happens(options_.late_percent);
  if (made.updates)
    update(writer, reserved, made);
  else
    insert(writer, reserved, now, made);
  reserved_ -= made.rolled_back ? reserved : reserved - made.rows.size();
  return made;
}

void row_dealer::insert(std::size_t writer, std::size_t rows, wall_time now, row_transaction& into) {
  const auto monitors = (options_.monitors - writer + options_.writers - 1) / options_.writers;
  for (std::size_t i = 0; i < rows; ++i) {
    last_time_us_ = std::max<std::int64_t>(last_time_us_ + 1, now.time_since_epoch().count());
    into.rows.push_back({.id = ++options_.last_id,
                         .version = ++options_.last_version,
                         .monitor = writer + options_.writers * dice_.below(monitors),
                         .time_us = last_time_us_});
  }
}

void row_dealer::update(std::size_t writer, std::size_t rows, row_transaction& into) {
  const auto& recent = recent_[writer];
  rows = std::min(rows, recent.size());
  const auto first = dice_.below(recent.size() - rows + 1);
  for (std::size_t i = 0; i < rows; ++i) {
    into.rows.push_back(recent[first + i]);
    into.rows.back().version = ++options_.last_version;
  }
}

void row_dealer::committed(std::size_t writer, const row_transaction& transaction) {
  if (options_.updates_percent <= 0 || transaction.updates)
    return;
  const std::lock_guard lock{mutex_};
  auto& recent = recent_[writer];
  recent.insert(recent.end(), transaction.rows.begin(), transaction.rows.end());
  while (recent.size() > recent_max)
    recent.pop_front();
}

} // namespace penstock::nodes
