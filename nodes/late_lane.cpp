#include "nodes/late_lane.hpp"

#include <algorithm>

namespace penstock::nodes {

namespace {

using std::chrono::steady_clock;

/// A server ends a transaction that does nothing for long.
config::database patient(config::database database, std::chrono::milliseconds late_for) {
  database.transaction_idle_max += late_for;
  return database;
}

} // namespace

late_lane::late_lane(options how, row_writer_surroundings surroundings, settled done)
  : options_(std::move(how)), surroundings_(std::move(surroundings)), done_(std::move(done)), dice_(options_.seed) {
  options_.database = patient(std::move(options_.database), options_.late_for);
  thread_ = std::jthread{[this] { run(); }};
}

late_lane::~late_lane() = default;

bool late_lane::offer(const row_transaction& transaction) {
  const std::lock_guard lock{mutex_};
  if (open_ == open_max)
    return false;
  ++open_;
  // Never less than a tenth: late is late.
  const auto share = 0.1 + 0.9 * dice_.chance();
  offered_.push_back({transaction,
                      nullptr,
                      {},
                      steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(
                                              std::chrono::duration<double>(options_.late_for) * share)});
  changed_.notify_one();
  return true;
}

void late_lane::close() {
  const std::lock_guard lock{mutex_};
  closed_ = true;
  changed_.notify_one();
}

void late_lane::hurry() {
  const std::lock_guard lock{mutex_};
  hurry_ = true;
  changed_.notify_one();
}

bool late_lane::idle() {
  const std::lock_guard lock{mutex_};
  return open_ == 0;
}

void late_lane::begin(open_transaction& one) {
  if (options_.held_back)
    return;
  if (free_.empty())
    free_.push_back(std::make_unique<row_writer>(options_.database, surroundings_));
  one.writer = std::move(free_.back());
  free_.pop_back();
  one.begun = one.writer->begin(one.transaction);
}

void late_lane::settle(open_transaction& one) {
  if (options_.held_back) {
    row_writer writer{options_.database, surroundings_};
    done_(one.transaction, writer.write(one.transaction));
    return;
  }
  done_(one.transaction, one.writer->finish(one.transaction, std::move(one.begun)));
  free_.push_back(std::move(one.writer));
}

void late_lane::run() {
  std::vector<open_transaction> open;
  const auto next_due = [&] {
    const auto first = std::min_element(open.begin(), open.end(),
                                        [](const auto& left, const auto& right) { return left.due < right.due; });
    return first == open.end() ? steady_clock::now() + std::chrono::hours{1} : first->due;
  };
  std::unique_lock lock{mutex_};
  while (!closed_ || open_ > 0) {
    changed_.wait_until(lock, next_due(), [&] { return !offered_.empty() || hurry_ || (closed_ && open.empty()); });
    std::vector<open_transaction> begun;
    begun.swap(offered_);
    const bool hurry = hurry_;
    lock.unlock();
    for (auto& one : begun) {
      begin(one);
      open.push_back(std::move(one));
    }
    const auto now = steady_clock::now();
    const auto settled =
      std::partition(open.begin(), open.end(), [&](const auto& one) { return !hurry && one.due > now; });
    std::for_each(settled, open.end(), [&](auto& one) { settle(one); });
    const auto count = static_cast<std::size_t>(open.end() - settled);
    open.erase(settled, open.end());
    lock.lock();
    open_ -= count;
    if (hurry_ && open_ == 0 && !closed_)
      changed_.wait(lock, [&] { return closed_ || !offered_.empty(); });
  }
}

} // namespace penstock::nodes
