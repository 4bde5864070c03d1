#include "tests/sim/world.hpp"

#include "tests/sim/broker.hpp"
#include "tests/sim/databases.hpp"
#include "tests/sim/ingest_flow.hpp"
#include "tests/sim/network.hpp"
#include "tests/sim/process.hpp"

#include <algorithm>
#include <iterator>

namespace penstock::sim {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t depth_max = 6; ///< requests one in the other
constexpr auto settle_max = 120s;    ///< after the last fault
constexpr auto quiet = 3s;           ///< and then nothing more may happen for so long

/// With half of the kinds in a run, and each as seldom or often as it comes: all at once would hide each other.
milliseconds some_time(dice& from) { return from.chance(500) ? milliseconds{0} : from.between(500ms, 20s); }

unsigned some_share(dice& from, std::size_t most) {
  return from.chance(500) ? 0 : static_cast<unsigned>(from.below(most));
}

} // namespace

std::string_view name_of(service which) {
  constexpr std::array<std::string_view, services> names{"state", "tracking", "source", "target", "broker"};
  return names.at(static_cast<std::size_t>(which));
}

scenario::scenario(dice& from, std::optional<direction> only)
  : ingest(from.chance(500) ? only != direction::publish : only == direction::ingest), nodes(2 + from.below(3)),
    shards(1 + static_cast<std::uint32_t>(from.below(4))), qos(from.chance(800) ? 2 : 1),
    silent_take_over(from.chance(300)), window(static_cast<std::uint16_t>(2 + from.below(12))),
    items(20 + from.below(100)), keys(1 + from.below(6)), hold(from.chance(300)), deliver_at_pubrel(from.chance(500)),
    lanes(1 + static_cast<std::uint32_t>(from.below(3))), batch(1 + static_cast<std::uint32_t>(from.below(8))),
    demand(1 + static_cast<std::uint32_t>(from.below(12))), split_roles(from.chance(300)),
    newest_wins(from.chance(500)), lease(from.between(1s, 3s)), chaos(from.between(5s, 30s)),
    busy(some_share(from, 50)), lost(some_share(from, 50)), slow(some_share(from, 200)), crash(some_time(from)),
    stop(some_time(from)), pause(some_time(from)), cut(some_time(from)), disconnect(some_time(from)),
    forget(from.chance(800) ? 0ms : 8s), kill(some_time(from)), unlink(some_time(from)), block(some_time(from)),
    lose(some_time(from)) {}

std::string scenario::to_text() const {
  const auto what =
    ingest ? fmt::format("ingest: {} lanes, batch {}, demand {}{}{}", lanes, batch, demand,
                         split_roles ? ", roles split" : "", newest_wins ? ", newest wins" : "")
           : fmt::format("publish{}{}", hold ? ", hold" : "", deliver_at_pubrel ? ", delivered at PUBREL" : "");
  return fmt::format(
    "{}; {} nodes, {} shards, qos {}, window {}, {} items, {} keys, lease {}{}; chaos {}: busy {}, lost "
    "{}, slow {}, crash {}, stop {}, pause {}, cut {}, disconnect {}, forget {}, kill {}, unlink {}, block {}, lose {}",
    what, nodes, shards, qos, window, items, keys, lease.count(), silent_take_over ? ", silent take-over" : "",
    chaos.count(), busy, lost, slow, crash.count(), stop.count(), pause.count(), cut.count(), disconnect.count(),
    forget.count(), kill.count(), unlink.count(), block.count(), lose.count());
}

world::world(std::uint64_t seed, bool verbose, std::optional<direction> only)
  : dice_(seed), scenario_(dice_, only), verbose_(verbose), broker_(std::make_unique<sim::broker>(*this)),
    databases_(std::make_unique<sim::databases>(*this)), network_(std::make_unique<sim::network>(*this)),
    flow_(scenario_.ingest ? std::make_unique<ingest_flow>(*this) : make_publish_flow(*this)) {}

world::~world() {
  for (auto& each : nodes_)
    if (each.current)
      each.current->crash();
  nodes_.clear();
  graveyard_.clear();
}

ingest_flow& world::ingest() { return dynamic_cast<ingest_flow&>(*flow_); }

process* world::process_of(const std::string& node) {
  for (auto& each : nodes_)
    if (each.name == node && each.current && each.current->alive)
      return each.current.get();
  return nullptr;
}

void world::violate(std::string what) {
  if (!violation_.empty())
    return;
  violation_ = std::move(what);
  note("VIOLATION: " + violation_);
}

void world::note(std::string line) {
  const auto text = fmt::format(
    "{:>10.3f} {:>{}}{}\n", std::chrono::duration<double>(now_.time_since_epoch() - 1h).count(), "", 2 * depth_, line);
  for (const unsigned char each : text)
    digest_ = (digest_ ^ each) * 0x100000001b3u;
  if (verbose_)
    fmt::print("{}", text);
}

// --- requests

bool world::is_cut(const process& from, service to) const {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [&](const node& each) { return each.current.get() == &from && each.cut.contains(to); });
}

std::optional<error> world::on_the_way(process& from, service to, bool& broken) {
  from.flush_network();
  const error lost{errc::connection_lost, "the connection is lost"};
  if (broken || !from.alive)
    return lost;
  if (is_cut(from, to)) {
    broken = true;
    if (dice_.chance(500))
      return error{errc::database_unavailable, "no route"};
    others(dice_.between(100ms, 4s), SIZE_MAX, from);
    return error{errc::timed_out, "no answer"};
  }
  if (chaos_ && dice_.chance(scenario_.busy)) {
    count("busy");
    return error{errc::database_busy, "locked"};
  }
  if (chaos_ && dice_.chance(scenario_.slow))
    others(dice_.between(1ms, 300ms), SIZE_MAX, from);
  else if (dice_.chance(200))
    others(20ms, 1 + dice_.below(20), from);
  if (!from.alive || (chaos_ && dice_.chance(scenario_.lost))) {
    count("requests lost");
    broken = true;
    return lost;
  }
  return std::nullopt;
}

std::optional<error> world::on_the_way_back(process& from, service to, bool& broken) {
  if (chaos_ && dice_.chance(scenario_.slow))
    others(dice_.between(1ms, 300ms), SIZE_MAX, from);
  else if (dice_.chance(100))
    others(20ms, 1 + dice_.below(20), from);
  if (from.alive && !is_cut(from, to) && !(chaos_ && dice_.chance(scenario_.lost)))
    return std::nullopt;
  count("answers lost");
  broken = true;
  return error{errc::connection_lost, "the connection is lost"};
}

/// The world goes on while a request of `until` is under way; also while its process is paused.
void world::others(milliseconds duration, std::size_t steps, const process& until) {
  if (depth_ >= depth_max)
    return;
  ++depth_;
  const auto end = now_ + duration;
  while (violation_.empty() && until.alive && ((now_ < end && steps-- > 0) || until.is_paused()))
    step();
  --depth_;
}

// --- steps

void world::step() {
  ++steps_;
  network_->tidy_up();
  std::vector<process*> ready;
  for (auto& each : nodes_)
    if (each.current && !each.current->is_paused() && each.current->has_event())
      ready.push_back(each.current.get());
  const bool broker_ready = broker_->has_event();
  const bool network_ready = network_->has_event();
  const auto choices = ready.size() + (broker_ready ? 1 : 0) + (network_ready ? 1 : 0);
  if (choices == 0 || dice_.chance(20))
    return pass_time(choices == 0);
  const auto chosen = dice_.below(choices);
  if (chosen < ready.size()) {
    auto& who = *ready[chosen];
    who.act();
    if (who.alive)
      who.check();
  } else if (chosen == ready.size() && broker_ready) {
    broker_->act();
  } else {
    network_->act();
  }
  if (depth_ == 0)
    bury();
}

void world::pass_time(bool idle) {
  monotonic::duration most = idle ? 50ms : 2ms;
  if (idle) {
    for (auto& each : nodes_)
      if (each.current)
        most = std::min(most, each.current->until_next_timer());
    if (!agenda_.empty())
      most = std::min(most, agenda_.begin()->first - now_);
  }
  const auto time = std::max<monotonic::duration>(most, 100us);
  now_ += time;
  for (auto& each : nodes_)
    if (each.current)
      each.current->pass(time);
  fall_due();
}

void world::fall_due() {
  while (!agenda_.empty() && agenda_.begin()->first <= now_ && violation_.empty()) {
    const auto what = std::move(agenda_.begin()->second);
    agenda_.erase(agenda_.begin());
    what();
  }
}

void world::spread(std::size_t times, const std::function<void()>& what) {
  const auto mean = scenario_.chaos / static_cast<long>(times);
  for (std::size_t time = 0; time < times; ++time)
    after(mean * static_cast<long>(dice_.chance(300) ? dice_.below(times) : time), what);
}

void world::after(milliseconds wait, std::function<void()> what) { agenda_.emplace(now_ + wait, std::move(what)); }

/// Again and again, for as long as there is chaos.
void world::every(milliseconds mean, std::function<void()> what) {
  if (mean.count() == 0)
    return;
  after(dice_.between(1ms, 2 * mean), [this, mean, what = std::move(what)] {
    if (!chaos_)
      return;
    what();
    every(mean, what);
  });
}

// --- faults

world::node& world::any_node() { return nodes_[dice_.below(nodes_.size())]; }

void world::arrange_faults() {
  every(scenario_.crash, [this] { crash(any_node()); });
  every(scenario_.stop, [this] { stop(any_node()); });
  every(scenario_.pause, [this] { pause(any_node()); });
  every(scenario_.cut, [this] { cut(any_node()); });
  every(scenario_.kill, [this] { kill_an_actor(any_node()); });
  every(scenario_.unlink, [this] {
    count("links broken");
    network_->cut_one();
  });
  every(scenario_.block, [this] { block(); });
  every(scenario_.lose, [this] {
    count("messages lost on links");
    network_->lose_next();
  });
  every(scenario_.disconnect, [this] {
    count("disconnects");
    broker_->cut_one();
  });
  every(scenario_.forget, [this] {
    count("sessions forgotten");
    broker_->forget_one();
  });
}

void world::start(node& which) {
  const auto instance = which.name + std::to_string(++which.starts);
  note(instance + " starts");
  which.cut.clear();
  which.current = std::make_unique<process>(*this, which.name, instance);
}

void world::crash(node& which) {
  if (!which.current)
    return;
  count("crashes");
  note(which.current->name() + " crashes");
  which.current->crash();
  graveyard_.push_back(std::move(which.current));
  after(dice_.between(10ms, 8s), [this, &which] {
    if (!which.current)
      start(which);
  });
}

void world::stop(node& which) {
  if (!which.current)
    return;
  count("stops");
  note(which.current->name() + " is asked to stop");
  which.current->stop();
}

void world::pause(node& which) {
  if (!which.current)
    return;
  count("pauses");
  const auto duration = dice_.between(10ms, 4 * scenario_.lease);
  note(fmt::format("{} is paused for {} ms", which.current->name(), duration.count()));
  which.current->paused_until = now_ + duration;
  after(network::silence_max, [this, paused = which.current->name()] {
    for (const auto& each : nodes_)
      if (each.current && each.current->name() == paused && each.current->is_paused())
        network_->give_up(*each.current);
  });
}

void world::block() {
  const auto& from = any_node();
  const auto& to = any_node();
  const auto duration = dice_.between(10ms, 2 * network::silence_max);
  count("directions blocked");
  note(fmt::format("{} does not hear {} for {} ms", to.name, from.name, duration.count()));
  network_->block(from.name, to.name, duration);
}

void world::cut(node& which) {
  count("cuts");
  const auto from = static_cast<service>(dice_.below(services));
  note(fmt::format("{} is cut off from {}", which.name, name_of(from)));
  which.cut.insert(from);
  after(dice_.between(10ms, 4 * scenario_.lease), [&which, from] { which.cut.erase(from); });
}

void world::kill_an_actor(node& which) {
  if (!which.current)
    return;
  count("actors killed");
  which.current->kill_an_actor();
}

/// Processes whose end has come; when nobody waits for an answer in them.
void world::bury() {
  graveyard_.clear();
  for (auto& each : nodes_)
    if (each.current && each.current->has_ended()) {
      note(each.current->name() + " has ended");
      each.current->crash();
      each.current.reset();
      after(dice_.between(10ms, 4s), [this, &each] {
        if (!each.current)
          start(each);
      });
    }
}

/// No more faults; whoever is away comes back, but perhaps one.
void world::make_peace() {
  note("peace");
  chaos_ = false;
  network_->heal();
  for (auto& each : nodes_) {
    each.cut.clear();
    if (each.current)
      each.current->paused_until = now_;
  }
}

// --- the run

/// All is moved, and every shard has an owner that lives.
bool world::settled() const {
  if (!flow_->is_done())
    return false;
  std::set<std::string> living;
  for (const auto& each : nodes_)
    if (each.current) {
      if (!each.current->is_idle())
        return false;
      living.insert(each.current->name());
    }
  const auto& shards = databases_->state->shards;
  return shards.size() == scenario_.shards + (scenario_.ingest ? scenario_.lanes : 0) &&
         std::all_of(shards.begin(), shards.end(),
                     [&](const auto& each) { return living.contains(each.second.instance); });
}

world::outcome world::run() {
  note(scenario_.to_text());
  for (std::size_t index = 0; index < scenario_.nodes; ++index)
    nodes_.push_back({std::string(1, static_cast<char>('a' + index)), nullptr, 0, {}});
  for (auto& each : nodes_)
    after(dice_.between(0ms, 2s), [this, &each] { start(each); });
  arrange_faults();
  flow_->arrange();
  const auto began = now_;
  while (violation_.empty() && now_ < began + scenario_.chaos)
    step();
  make_peace();
  const auto peace = now_;
  while (violation_.empty() && !settled() && now_ < peace + settle_max)
    step();
  for (const auto& each : nodes_)
    note(each.current ? each.current->to_text() : each.name + " is away");
  if (violation_.empty() && !settled())
    violate("not everything has arrived, long after the last fault");
  const auto done = now_;
  while (violation_.empty() && now_ < done + quiet)
    step();
  if (violation_.empty())
    flow_->check_end();
  return {violation_, digest_, steps_, now_ - began, counts_};
}

} // namespace penstock::sim
