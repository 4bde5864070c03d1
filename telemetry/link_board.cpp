#include "telemetry/link_board.hpp"

#include <utility>

namespace penstock::telemetry {

void link_board::peer(const std::string& name, const std::string& address) {
  const std::lock_guard lock{mutex_};
  auto& link = links_[name];
  link.peer = name;
  link.address = address;
}

void link_board::up(const std::string& name, std::uint16_t version, wall_time now) {
  const std::lock_guard lock{mutex_};
  auto& link = links_[name];
  link.peer = name;
  link.up = true;
  link.reason.clear();
  link.since = now;
  link.version = version;
}

void link_board::down(const std::string& name, const std::string& reason, wall_time now) {
  const std::lock_guard lock{mutex_};
  const auto found = links_.find(name);
  if (found == links_.end())
    return;
  if (std::exchange(found->second.up, false))
    found->second.since = now;
  found->second.reason = reason;
}

void link_board::forget(const std::string& name) {
  const std::lock_guard lock{mutex_};
  links_.erase(name);
}

void link_board::membership(membership_status now) {
  const std::lock_guard lock{mutex_};
  membership_ = std::move(now);
}

// Whoever should renew the lease may wait for a database that does not answer, and says nothing meanwhile.
std::optional<membership_status> link_board::membership(monotonic now) const {
  const std::lock_guard lock{mutex_};
  auto status = membership_;
  if (status && status->member && now >= status->until) {
    status->member = false;
    if (status->reason.empty())
      status->reason = "its lease is over: the state database does not answer";
  }
  return status;
}

std::vector<link_status> link_board::status() const {
  const std::lock_guard lock{mutex_};
  std::vector<link_status> result;
  result.reserve(links_.size());
  for (const auto& [unused, link] : links_)
    result.push_back(link);
  return result;
}

} // namespace penstock::telemetry
