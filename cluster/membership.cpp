#include "cluster/membership.hpp"

#include "cluster/shards.hpp"
#include "core/assert.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>

#include <algorithm>

namespace penstock::cluster {

using namespace messages;

namespace {

constexpr const char* component = "cluster";
/// Renewals within a lease: one may be lost.
constexpr int renewals = 3;
/// After one that failed: a tenth of the lease, within these. A database that was restarted is back in a moment.
constexpr std::chrono::milliseconds retry_min{100};
constexpr std::chrono::milliseconds retry_max{1'000};

/// Until the first of the others' leases ends, should it not be renewed.
std::chrono::milliseconds first_end(const storage::cluster_snapshot& seen, const std::string& instance) {
  auto first = std::chrono::milliseconds::max();
  for (const auto& node : seen.nodes)
    if (node.instance != instance && node.is_alive())
      first = std::min(first, node.lease_left);
  return first;
}

} // namespace

std::string membership_config::validate() const {
  if (me.name.empty() || me.instance.empty() || !open || !wanted || !held || !start || !stop)
    return "a membership needs a node, its state database, and who starts and stops shards";
  return lease.count() <= 0 ? "a lease must be positive" : "";
}

leases::shards membership_state::ours() const {
  leases::shards all;
  for (const auto& [id, shard] : shards)
    if (!shard.stopping)
      all.emplace(id, shard.owner.epoch);
  return all;
}

void membership_state::on_check() {
  next_look = config.lease / renewals;
  if (auto done = round(); !done) {
    failed(done.error());
    if (done.error().code != errc::fenced)
      next_look = std::clamp(config.lease / 10, retry_min, retry_max);
  }
  if (leaving && (shards.empty() || !state)) {
    if (state)
      if (auto left = state->leave(config.me); !left)
        log::warning(component, config.me.name, "{}; its lease runs out", left.error().to_string());
    return self->quit(caf::exit_reason::user_shutdown);
  }
  schedule(next_look);
}

result<void> membership_state::round() {
  if (!state) {
    auto opened = config.open();
    if (!opened)
      return opened.error();
    if (auto prepared = (*opened)->prepare(); !prepared)
      return prepared;
    state = *std::move(opened);
  }
  if (auto released = release_stopped(); !released)
    return released;
  // As of before the request: the database counts from later.
  const auto began = self->clock().now();
  auto me = config.me;
  if (config.refresh)
    config.refresh(me);
  if (leaving)
    me.roles.clear(); // others may take what is released
  auto seen = state->renew(me, config.lease);
  if (!seen)
    return seen.error();
  // What was read is rounded down: a millisecond later it is over.
  if (const auto end = first_end(*seen, config.me.instance); end < next_look)
    next_look = end + std::chrono::milliseconds{1};
  // Where the state database was away, the others' leases are over too, and they are about to renew them.
  if (joined && began - (lease_until - config.lease) > config.lease * 2 / renewals)
    spares_dead_until = began + config.lease;
  tell_of_others(*seen);
  drop_lost(*seen);
  start_missing();
  auto followed = follow(*seen);
  lease_until = began + config.lease;
  config.held->renewed(began, lease_until, ours());
  if (std::exchange(failing, false) || !std::exchange(joined, true))
    log::info(component, config.me.name, "a member of the cluster, with a lease of {} ms", config.lease.count());
  if (config.on_state)
    config.on_state(lease_until, {});
  if (!followed)
    return followed;
  if (config.on_seen)
    config.on_seen(*seen);
  return {};
}

/// In the log: why shards move.
void membership_state::tell_of_others(const storage::cluster_snapshot& seen) {
  std::map<std::string, std::string> now;
  for (const auto& node : seen.nodes)
    if (node.name != config.me.name)
      now[node.name] = !node.is_alive()     ? "dead: its lease is over"
                       : node.roles.empty() ? "leaving"
                       : node.draining      ? "draining"
                                            : "a member";
  for (const auto& [node, unused] : others)
    if (!now.contains(node))
      log::info(component, config.me.name, "node {} has left", node);
  for (const auto& [node, how] : now)
    if (const auto before = others.find(node); before == others.end() || before->second != how)
      log::info(component, config.me.name, "node {} is {}", node, how);
  others = std::move(now);
}

/// The lease was over, and others have taken them.
void membership_state::drop_lost(const storage::cluster_snapshot& seen) {
  for (auto& [id, shard] : shards) {
    const auto now = std::find_if(seen.shards.begin(), seen.shards.end(),
                                  [wanted = &id](const auto& each) { return each.id == *wanted; });
    if (shard.lost || (now != seen.shards.end() && now->instance == config.me.instance))
      continue;
    log::warning(component, config.me.name, "{} was taken by {}: this node's lease was over", to_text(id),
                 now == seen.shards.end() || now->node.empty() ? "nobody" : now->node);
    shard.lost = true;
    stop(shard);
  }
}

result<void> membership_state::follow(const storage::cluster_snapshot& seen) {
  const auto plan = plan_of(seen, config.me.instance, config.wanted());
  // A membership that was restarted finds what its predecessor had.
  const auto running = config.held->ours();
  for (const auto& owner : plan.keep)
    if (!shards.contains(owner.id) && !leaving)
      take(owner, running.contains(owner.id));
  for (const auto& owner : plan.give) {
    auto& shard = shards.try_emplace(owner.id, owned_shard{owner, {}}).first->second;
    if (!shard.stopping)
      log::info(component, config.me.name, "gives {} away", to_text(owner.id));
    stop(shard);
  }
  const auto began = self->clock().now();
  for (auto owner : plan.acquire) {
    if (leaving || shards.contains(owner.id) || self->clock().now() - began > config.lease / renewals)
      continue; // what takes too long goes on after the next renewal
    if (!owner.instance.empty() && began < spares_dead_until)
      continue;
    auto epoch = state->acquire(owner, config.me);
    if (!epoch)
      return epoch.error();
    if (!*epoch)
      continue; // somebody else was first
    owner.node = config.me.name;
    owner.instance = config.me.instance;
    owner.epoch = **epoch;
    log::info(component, config.me.name, "owns {} with epoch {}", to_text(owner.id), owner.epoch);
    take(std::move(owner), false);
  }
  return {};
}

void membership_state::take(storage::shard_owner owner, bool runs) {
  const auto id = owner.id;
  shards[id] = owned_shard{std::move(owner), {}};
  config.held->changed(ours());
  shards[id].started = runs || config.start(id);
}

void membership_state::start_missing() {
  for (auto& [id, shard] : shards)
    if (!shard.started && !shard.stopping)
      shard.started = config.start(id);
}

void membership_state::stop(owned_shard& shard) {
  if (std::exchange(shard.stopping, true))
    return;
  shard.stopping_since = self->clock().now();
  config.held->changed(ours());
  config.stop(shard.owner.id, [me = membership_actor{self}, id = shard.owner.id] {
    caf::anon_send(me, detach_atom_v, id.pipeline, id.shard);
  });
}

void membership_state::on_stopped(const storage::shard_id& id) {
  const auto found = shards.find(id);
  if (found == shards.end() || !found->second.stopping)
    return;
  found->second.stopped = true;
  if (!state)
    return;
  if (auto released = release_stopped(); !released)
    failed(released.error());
  if (leaving && shards.empty())
    schedule(std::chrono::milliseconds{0});
}

result<void> membership_state::release_stopped() {
  bool released = false;
  const auto now = self->clock().now();
  for (auto next = shards.begin(); next != shards.end();) {
    const auto& [id, shard] = *next;
    const bool late = shard.stopping && now - shard.stopping_since > config.stop_max;
    if (late && !shard.stopped)
      log::error(component, config.me.name, "{} has not stopped in time: its next owner will fence it off",
                 to_text(id));
    if (!shard.stopped && !late) {
      ++next;
      continue;
    }
    if (!shard.lost) {
      auto done = state->release(shard.owner);
      if (!done)
        return done.error();
      released = true;
    }
    next = shards.erase(next);
  }
  if (released && config.on_released)
    config.on_released();
  return {};
}

void membership_state::failed(const error& reason) {
  state.reset();
  if (config.on_state)
    config.on_state(lease_until, reason.to_string());
  if (reason.code == errc::fenced) // another process is this node now, and others own its shards
    for (auto& [unused, shard] : shards) {
      shard.lost = true;
      stop(shard);
    }
  if (std::exchange(failing, true))
    return;
  if (reason.code == errc::fenced)
    log::warning(component, config.me.name, "{}; nothing is taken while that is so", reason.message);
  else
    log::warning(component, config.me.name,
                 "{}; what runs goes on, nothing moves, and once the lease is over nothing "
                 "new is claimed",
                 reason.to_string());
}

void membership_state::on_exit() {
  if (std::exchange(leaving, true))
    return;
  for (auto& [unused, shard] : shards)
    stop(shard);
  schedule(std::chrono::milliseconds{0});
}

void membership_state::schedule(std::chrono::milliseconds wait) {
  ++timer;
  if (wait.count() == 0)
    self->send(self, check_atom_v, timer);
  else
    self->delayed_send(self, wait, check_atom_v, timer);
}

membership_actor::behavior_type membership(membership_actor::stateful_pointer<membership_state> self,
                                           membership_config config) {
  set_quiet_handlers(self);
  const auto wrong = config.validate();
  assert_that(wrong.empty(), wrong.c_str());
  auto& state = self->state;
  state.self = self;
  state.config = std::move(config);
  on_exit_message(self, [self](const caf::error&) { self->state.on_exit(); });
  state.schedule(std::chrono::milliseconds{0});
  return {
    [self](check_atom, std::uint64_t timer) {
      if (timer == self->state.timer)
        self->state.on_check();
    },
    [self](wake_atom) { self->state.schedule(std::chrono::milliseconds{0}); },
    [self](detach_atom, const std::string& pipeline, std::uint32_t shard) {
      self->state.on_stopped({pipeline, shard});
    },
  };
}

} // namespace penstock::cluster
