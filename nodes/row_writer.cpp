#include "nodes/row_writer.hpp"

#include <thread>

namespace penstock::nodes {

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto pause_between_attempts = 100ms;

} // namespace

result<std::optional<wall_time>> row_writer::write(const row_transaction& transaction) {
  std::unique_lock<std::mutex> turn;
  if (surroundings_.turn != nullptr)
    turn = std::unique_lock{*surroundings_.turn};
  return finish(transaction, begin(transaction));
}

result<void> row_writer::begin(const row_transaction& transaction) {
  if (!connection_) {
    auto opened = storage::open_connection(database_, storage::access::read_write);
    if (!opened)
      return opened.error();
    connection_ = *std::move(opened);
  }
  if (auto begun = connection_->begin(); !begun)
    return begun;
  if (!transaction.updates) {
    const auto inserted = connection_->change(surroundings_.rows.insert_sql(transaction.rows));
    return inserted ? result<void>{} : result<void>{inserted.error()};
  }
  for (const source_row& row : transaction.rows)
    if (const auto changed = connection_->change(surroundings_.rows.update_sql(row)); !changed)
      return changed.error();
  return {};
}

result<std::optional<wall_time>> row_writer::finish(const row_transaction& transaction, result<void> begun) {
  unsure_since_.reset();
  while (true) {
    const auto done = attempt(transaction, begun);
    if (done) {
      if (down_since_)
        surroundings_.trouble(std::nullopt);
      down_since_.reset();
      return transaction.rolled_back ? std::optional<wall_time>{} : std::optional{unsure_since_.value_or(wall_now())};
    }
    if (!again(done.error()))
      return done.error();
    begun = begin(transaction);
  }
}

/// Ends what was begun. A success may also be an earlier attempt's, whose outcome was unknown.
result<void> row_writer::attempt(const row_transaction& transaction, const result<void>& begun) {
  if (begun && transaction.rolled_back) {
    connection_->roll_back();
    return {};
  }
  auto done = begun ? connection_->commit() : begun;
  if (done) {
    unsure_since_.reset();
    return {};
  }
  drop(done.error());
  if (begun && disposition_of(done.error().code) == disposition::retry)
    unsure_since_ = unsure_since_.value_or(wall_now());
  // What was refused may be refused because it is there.
  if (unsure_since_)
    if (const auto there = is_there(transaction); there && *there)
      return {};
  return done;
}

result<bool> row_writer::is_there(const row_transaction& transaction) {
  auto opened = storage::open_connection(database_, storage::access::read_write);
  if (!opened)
    return opened.error();
  bool found = false;
  const auto asked = (*opened)->read(surroundings_.rows.count_sql(transaction.rows.front(), transaction.updates),
                                     [&](std::span<const storage::cell> row) { found = row.front().text != "0"; });
  if (!asked)
    return asked.error();
  return found;
}

void row_writer::drop(const error& why) {
  if (connection_ && why.code == errc::database_busy)
    connection_->roll_back();
  else
    connection_.reset();
}

bool row_writer::again(const error& why) {
  if (disposition_of(why.code) != disposition::retry)
    return false;
  const auto now = steady_clock::now();
  down_since_ = down_since_.value_or(now);
  if (surroundings_.give_up || now - *down_since_ > surroundings_.timeout)
    return false;
  surroundings_.trouble(why);
  std::this_thread::sleep_for(pause_between_attempts);
  return true;
}

} // namespace penstock::nodes
