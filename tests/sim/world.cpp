#include "tests/sim/world.hpp"

#include "tests/sim/broker.hpp"
#include "tests/sim/databases.hpp"
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

} // namespace

std::string_view name_of(service which) {
  constexpr std::array<std::string_view, services> names{"state", "tracking", "source", "target", "broker"};
  return names.at(static_cast<std::size_t>(which));
}

scenario::scenario(dice& from)
  : nodes(2 + from.below(3)), shards(1 + static_cast<std::uint32_t>(from.below(4))), qos(from.chance(800) ? 2 : 1),
    hold(from.chance(300)), deliver_at_pubrel(from.chance(500)), window(static_cast<std::uint16_t>(2 + from.below(12))),
    rows(20 + from.below(100)), monitors(1 + from.below(6)), lease(from.between(1s, 3s)), chaos(from.between(5s, 30s)),
    busy(from.chance(500) ? 0 : static_cast<unsigned>(from.below(50))),
    lost(from.chance(500) ? 0 : static_cast<unsigned>(from.below(50))),
    slow(from.chance(300) ? 0 : static_cast<unsigned>(from.below(200))), crash(some_time(from)), stop(some_time(from)),
    pause(some_time(from)), cut(some_time(from)), disconnect(some_time(from)), forget(from.chance(800) ? 0ms : 8s),
    kill(some_time(from)) {}

std::string scenario::to_text() const {
  return fmt::format(
    "{} nodes, {} shards, qos {}{}{}, window {}, {} rows, {} monitors, lease {}; chaos {}: busy {}, lost "
    "{}, slow {}, crash {}, stop {}, pause {}, cut {}, disconnect {}, forget {}, kill {}",
    nodes, shards, qos, hold ? ", hold" : "", deliver_at_pubrel ? ", delivered at PUBREL" : "", window, rows, monitors,
    lease.count(), chaos.count(), busy, lost, slow, crash.count(), stop.count(), pause.count(), cut.count(),
    disconnect.count(), forget.count(), kill.count());
}

world::world(std::uint64_t seed, bool verbose)
  : dice_(seed), scenario_(dice_), verbose_(verbose), broker_(std::make_unique<sim::broker>(*this)),
    databases_(std::make_unique<sim::databases>(*this)) {}

world::~world() {
  for (auto& each : nodes_)
    if (each.current)
      each.current->crash();
  nodes_.clear();
  graveyard_.clear();
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
  std::vector<process*> ready;
  for (auto& each : nodes_)
    if (each.current && !each.current->is_paused() && each.current->has_event())
      ready.push_back(each.current.get());
  const bool broker_ready = broker_->has_event();
  const auto choices = ready.size() + (broker_ready ? 1 : 0);
  if (choices == 0 || dice_.chance(20))
    return pass_time(choices == 0);
  const auto chosen = dice_.below(choices);
  if (chosen < ready.size()) {
    auto& who = *ready[chosen];
    who.act();
    if (who.alive)
      who.check();
  } else {
    broker_->act();
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
  for (auto& each : nodes_) {
    each.cut.clear();
    if (each.current)
      each.current->paused_until = now_;
  }
}

// --- what is to be published

void world::arrange_rows() {
  const auto mean = scenario_.chaos / static_cast<long>(scenario_.rows);
  for (std::size_t row = 0; row < scenario_.rows; ++row)
    after(dice_.chance(300) ? mean * static_cast<long>(dice_.below(scenario_.rows))
                            : 0ms + mean * static_cast<long>(row),
          [this] { add_row(); });
}

/// Some become visible late: a transaction that took an id and was long.
void world::add_row() {
  const auto id = ++last_row_;
  const auto monitor = "m" + std::to_string(dice_.below(scenario_.monitors));
  if (dice_.chance(950))
    return databases_->add_row(id, monitor, false);
  after(dice_.between(1ms, 1s), [this, id, monitor] {
    note(fmt::format("row {} is visible late", id));
    databases_->add_row(id, monitor, true);
  });
}

// --- the run

bool world::settled() const {
  const auto& records = *databases_->records;
  if (databases_->table->rows.size() < scenario_.rows || records.count("claimed") > 0 ||
      records.records.size() < scenario_.rows)
    return false;
  std::set<std::string> living;
  for (const auto& each : nodes_)
    if (each.current)
      living.insert(each.current->name());
  const auto& shards = databases_->state->shards;
  return shards.size() == scenario_.shards && std::all_of(shards.begin(), shards.end(), [&](const auto& each) {
           return living.contains(each.second.instance);
         });
}

void world::check_end() {
  const auto& records = *databases_->records;
  for (const auto& [id, unused] : databases_->table->rows) {
    const auto& record = records.records.at(std::to_string(id) + "/");
    const bool excused = broker_->excused.contains(id);
    if (record.state == "held" ? !excused || !scenario_.hold : record.state != "sent")
      violate(fmt::format("row {} is {} at the end", id, record.state));
    if (broker_->delivered[id] == 0 && !excused)
      violate(fmt::format("row {} was never delivered, and counts as {}", id, record.state));
  }
}

world::outcome world::run() {
  note(scenario_.to_text());
  for (std::size_t index = 0; index < scenario_.nodes; ++index)
    nodes_.push_back({std::string(1, static_cast<char>('a' + index)), nullptr, 0, {}});
  for (auto& each : nodes_)
    after(dice_.between(0ms, 2s), [this, &each] { start(each); });
  arrange_faults();
  arrange_rows();
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
    violate("not everything is published, long after the last fault");
  const auto done = now_;
  while (violation_.empty() && now_ < done + quiet)
    step();
  if (violation_.empty())
    check_end();
  return {violation_, digest_, steps_, now_ - began, counts_};
}

} // namespace penstock::sim
