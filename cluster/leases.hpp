// What this process may do as the owner of shards, for all who ask: until when its lease lasts, which shards it
// owns, and which others own. Thread-safe, without waiting.
#pragma once

#include "core/types.hpp"
#include "storage/cluster_state.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <set>

namespace penstock::cluster {

class leases {
public:
  /// Shards and their epochs.
  using shards = std::map<storage::shard_id, std::uint64_t>;

  /// From the membership: the state database has confirmed at `confirmed`, or later, that they are ours until `until`.
  void renewed(monotonic confirmed, monotonic until, shards ours) {
    content_ = std::make_shared<const content>(content{confirmed, until, std::move(ours)});
  }
  /// Likewise, within the lease: some were acquired, or are given away.
  void changed(shards ours) {
    const auto before = content_.load();
    renewed(before->confirmed, before->until, std::move(ours));
  }

  /// From the membership, after each renewal: what other living nodes own.
  void seen(std::set<storage::shard_id> others) {
    others_ = std::make_shared<const std::set<storage::shard_id>>(std::move(others));
  }
  bool is_anothers(const storage::shard_id& shard) const { return others_.load()->contains(shard); }

  /// Whether the shard is to run here; also when the lease is over, until the membership says otherwise.
  bool owns(const storage::shard_id& shard) const { return content_.load()->ours.contains(shard); }
  /// It is ours, the lease lasts, and was confirmed since then.
  bool holds(const storage::shard_id& shard, monotonic since, monotonic now) const {
    const auto current = content_.load();
    return now < current->until && current->confirmed >= since && current->ours.contains(shard);
  }
  shards ours() const { return content_.load()->ours; }

private:
  struct content {
    monotonic confirmed;
    monotonic until;
    leases::shards ours;
  };
  std::atomic<std::shared_ptr<const content>> content_ = std::make_shared<const content>();
  std::atomic<std::shared_ptr<const std::set<storage::shard_id>>> others_ =
    std::make_shared<const std::set<storage::shard_id>>();
};

} // namespace penstock::cluster
