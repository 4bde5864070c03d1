#include "nodes/visibility_sampler.hpp"

#include <algorithm>
#include <memory>
#include <optional>

namespace penstock::nodes {

namespace {

constexpr std::chrono::microseconds poll_interval{500};
constexpr std::chrono::milliseconds reopen_interval{200};
constexpr std::chrono::milliseconds patience_without_rows{500};
constexpr std::chrono::seconds patience{60}; // a row that does not come frees its place for another

} // namespace

visibility_sampler::visibility_sampler(config::database database, storage::table table)
  : database_(std::move(database)), table_(std::move(table)),
    thread_([this](const std::stop_token& stop) { run(stop); }) {}

visibility_sampler::~visibility_sampler() = default;

void visibility_sampler::sample(std::uint64_t message, storage::key_text key) {
  const std::lock_guard lock{mutex_};
  if (outstanding_ == outstanding_max)
    return;
  ++outstanding_;
  added_.push_back({message, std::move(key), std::chrono::steady_clock::now()});
  changed_.notify_all();
}

std::vector<std::pair<std::uint64_t, wall_time>> visibility_sampler::finish(std::chrono::milliseconds wait) {
  std::unique_lock lock{mutex_};
  const auto none_left = [this] { return outstanding_ == 0; };
  if (seen_.empty()) // perhaps nobody stores anything
    changed_.wait_for(lock, std::min(wait, patience_without_rows), none_left);
  if (!seen_.empty())
    changed_.wait_for(lock, wait, none_left);
  return std::move(seen_);
}

void visibility_sampler::run(const std::stop_token& stop) {
  std::unique_ptr<storage::store> store;
  std::vector<wanted> looking;
  std::unique_lock lock{mutex_};
  while (!stop.stop_requested()) {
    if (looking.empty())
      changed_.wait(lock, stop, [this] { return !added_.empty(); });
    std::move(added_.begin(), added_.end(), std::back_inserter(looking));
    added_.clear();
    lock.unlock();

    bool failed = false;
    if (!store) {
      if (auto opened = storage::open(database_, storage::access::read_only))
        store = *std::move(opened);
      else
        failed = true; // the node has not made the file yet
    }
    const auto now = std::chrono::steady_clock::now();
    std::vector<std::pair<std::uint64_t, wall_time>> found;
    const std::size_t before = looking.size();
    std::erase_if(looking, [&](const wanted& row) {
      const auto there = failed ? result<bool>{false} : store->contains(table_, row.key);
      failed = failed || !there; // the table is not there yet, say
      if (there && *there)
        found.emplace_back(row.message, wall_now());
      return (there && *there) || now - row.since > patience;
    });
    if (failed)
      store.reset();

    lock.lock();
    seen_.insert(seen_.end(), found.begin(), found.end());
    outstanding_ -= before - looking.size();
    if (outstanding_ == 0)
      changed_.notify_all();
    if (!looking.empty())
      changed_.wait_for(lock, stop, failed ? std::chrono::microseconds(reopen_interval) : poll_interval,
                        [] { return false; });
  }
}

} // namespace penstock::nodes
