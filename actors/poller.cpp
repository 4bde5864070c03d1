#include "actors/poller.hpp"

#include "actors/change_finder.hpp"
#include "core/assert.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>

#include <algorithm>
#include <numeric>

namespace penstock::actors {

using namespace messages;

namespace {

constexpr const char* component = "poller";
// Who has worked for so long begins anew with short waits when it fails.
constexpr std::chrono::seconds steady_after{1};

} // namespace

std::string poller_config::validate() const {
  if (name.empty() || !open_source || !open_tracking || !board || shards.size() != pipeline.shards || !former_shard)
    return "a poller needs a name, its databases, a board for each shard, and publishers for former ones";
  if (read_max == 0)
    return name + ": read_max must be positive";
  return {};
}

monotonic poller_state::now() const { return self->clock().now(); }

// --- a step
// -----------------------------------------------------------------------------------------------------------

void poller_state::schedule(monotonic when) {
  const auto time = now();
  if (step_at == monotonic{} || (waiting_out && when < step_at))
    return; // it is under way, or is not to come earlier
  if (step_at > time && step_at <= when)
    return; // it is coming anyway
  step_at = when <= time ? monotonic{} : when;
  ++timer;
  // To the end of the mailbox: what is there already is part of the step.
  if (when <= time)
    self->send(self, step_atom_v, timer);
  else
    self->delayed_send(self, when - time, step_atom_v, timer);
}

/// A commit for each answer would be all that the database does: under load it waits until half of what is open has
/// been answered, or for pace_max; otherwise for a few times as long as the last one took. What is alone does not wait.
void poller_state::schedule_commit() {
  constexpr std::size_t many = 100;
  const auto open = open_claims();
  if (2 * gathered >= open)
    return schedule_now();
  const auto longest = monotonic::duration{config.pace_max};
  schedule(last_commit + (open >= many ? longest : std::min(4 * commit_took, longest)));
}

void poller_state::on_step() {
  step_at = monotonic::max();
  waiting_out = false;
  const auto began = now();
  const auto done = step();
  if (!done)
    return failed(done.error());
  if (last_commit >= began)
    commit_took = last_commit - began;
  if (auto watched = watch_lag(); !watched)
    return failed(watched.error());
  if (stopping && drained())
    return self->quit(caf::exit_reason::user_shutdown);
  const auto time = now();
  if (is_idle())
    return;
  if (successor)
    return schedule(time + config.takeover_after);
  const bool leaving = std::any_of(shards.begin(), shards.end(), [](const auto& each) { return each.leaving; });
  if (finishing)
    schedule(time + config.adopt_every);
  else if (stopping || adopting || leaving)
    schedule(time + std::chrono::milliseconds{20});
  if (stopping || adopting)
    return;
  const bool reading = finder && finds_for_all() && !is_paused() && room() > pending_rows();
  if (reading && finder->read_was_full() && room() >= open_claims())
    return schedule_now();
  if (reading && (finder->read_was_full() || woken))
    return schedule_commit();
  const auto check = owns_all_attached() ? std::min(next_renewal, next_pause_check) : time + config.adopt_every;
  schedule(reading ? std::min(next_poll, check) : check);
}

result<void> poller_state::step() {
  if (is_idle()) {
    if (config.holds)
      config.board->running(); // its shards are elsewhere
    return {};
  }
  if (successor)
    return watch_successor();
  if (!tracking || !source)
    if (auto opened = open(); !opened)
      return opened;
  if (auto adopted = adopt_attached(); !adopted)
    return adopted;
  if (!finder && !finishing)
    return {};
  if (auto read = read_pause(); !read)
    return read;
  auto found = finder ? find_rows() : result<void>{};
  if (!found)
    next_renewal = now(); // another process may be why: the commit says whose the shards are
  if (auto done = commit(static_cast<bool>(found)); !done)
    return done;
  let_go();
  return found;
}

/// Before anything is claimed, and then now and then: whoever pauses a pipeline need not know where it runs.
result<void> poller_state::read_pause() {
  if (now() < next_pause_check)
    return {};
  next_pause_check = now() + config.renew_every;
  auto lasting = tracking->paused();
  if (!lasting)
    return lasting.error();
  config.board->paused_lastingly(*lasting);
  if (*lasting == std::exchange(paused_lastingly, *lasting))
    return {};
  woken = true;
  log::info(component, config.name, "{}", paused_lastingly ? "paused" : "goes on");
  return {};
}

result<void> poller_state::open() {
  auto target = config.open_tracking();
  if (!target)
    return target.error();
  auto id = (*target)->prepare();
  if (!id)
    return id.error();
  auto table = config.open_source();
  if (!table)
    return table.error();
  installation = *std::move(id);
  tracking = *std::move(target);
  source = *std::move(table);
  // The watch outlives no actor: its thread ends with the state.
  if (config.watch_source && !watch)
    watch = config.watch_source(wake());
  return {};
}

/// What another thread may call where there may be something new.
std::function<void()> poller_state::wake() {
  return [me = poller_actor{self}, waking = waking] {
    if (!waking->exchange(true))
      caf::anon_send(me, wake_atom_v);
  };
}

std::unique_ptr<row_finder> poller_state::make_finder() {
  const auto& pipeline = config.pipeline;
  row_finder_config finding;
  finding.detect = pipeline.detect;
  finding.start = pipeline.start;
  finding.read_bytes = config.claims_bytes_max;
  finding.clock = [this] { return now(); };
  finding.mine = [this](const storage::source_row& row) { return reads_for(shard_of(row)); };
  if (!config.open_changes)
    return std::make_unique<row_finder>(finding);
  change_finder_config changes;
  changes.finding = finding;
  changes.on_update = pipeline.on_update;
  changes.has_version = !pipeline.version.empty();
  changes.open = [this] { return config.open_changes(installation, wake()); };
  changes.on_slot = [this](const auto& slot, bool made_anew) { note_slot(slot, made_anew); };
  return std::make_unique<change_finder>(std::move(changes));
}

void poller_state::note_slot(const storage::slot_state& slot, bool made_anew) {
  config.board->slot(slot.name, slot.lag_bytes);
  if (made_anew) {
    config.board->slot_lost();
    log::error(component, config.name,
               "replication slot {} was gone or lost, and is made anew: rows inserted meanwhile are found by queries, "
               "updates made meanwhile are not published",
               slot.name);
  }
  const bool at_risk = slot.keeps != "reserved";
  if (at_risk && !slot_warned)
    log::warning(component, config.name,
                 "replication slot {} has the server keep {} MB of its log ({}): they go as soon as rows are published",
                 slot.name, slot.lag_bytes >> 20, slot.keeps);
  else if (!at_risk && slot_warned)
    log::info(component, config.name, "replication slot {} has caught up", slot.name);
  slot_warned = at_risk;
}

void poller_state::works() {
  last_commit = now();
  gathered = 0;
  next_renewal = last_commit + config.renew_every;
  config.board->committed();
  if (working || finishing)
    return;
  working = true;
  working_since = last_commit;
  config.board->running();
  if (std::exchange(failing, false))
    log::info(component, config.name, "the database answers again");
  else
    log::info(component, config.name, "publishes {} over {} shards", config.pipeline.table,
              std::count_if(shards.begin(), shards.end(), [](const auto& each) { return each.adopted; }));
}

std::size_t poller_state::bytes_in_flight() const {
  std::size_t bytes = 0;
  for (const auto& shard : shards) {
    for (const auto& [unused, claim] : shard.claims)
      bytes += claim.bytes;
    for (const auto& row : shard.pending)
      bytes += row.row.payload.size();
  }
  return bytes;
}

std::size_t poller_state::room() const {
  if (bytes_full)
    return 0;
  return std::accumulate(shards.begin(), shards.end(), std::size_t{0},
                         [](std::size_t sum, const shard_state& each) { return sum + each.ledger.room(); });
}

std::size_t poller_state::open_claims() const {
  return std::accumulate(shards.begin(), shards.end(), std::size_t{0},
                         [](std::size_t sum, const shard_state& each) { return sum + each.ledger.open(); });
}

std::size_t poller_state::pending_rows() const {
  return std::accumulate(shards.begin(), shards.end(), std::size_t{0},
                         [](std::size_t sum, const shard_state& each) { return sum + each.pending.size(); });
}

/// A range that the value lies in, or else the hash.
std::uint32_t poller_state::shard_of(const storage::source_row& row) const {
  const auto& ranges = config.pipeline.ranges;
  for (std::uint32_t number = 0; number < ranges.size(); ++number)
    if (ranges[number].min <= row.shard_value && row.shard_value <= ranges[number].max)
      return number;
  return static_cast<std::uint32_t>(row.hash % config.pipeline.shards);
}

/// Whether rows of a shard are read: they are published here.
bool poller_state::reads_for(std::uint32_t number) const { return shards[number].adopted && !shards[number].leaving; }

/// Reads no more than there is room for; what it deals to shards without room is bounded by one read.
result<void> poller_state::find_rows() {
  const auto time = now();
  if (auto tended = finder->tend(time); !tended)
    return tended;
  const auto waiting = pending_rows();
  bytes_full = bytes_in_flight() >= config.in_flight_bytes_max;
  const auto free = room();
  const bool due = woken || finder->read_was_full() || time >= next_poll;
  if (is_paused() || stopping || adopting || !finds_for_all() || !due || free <= waiting || waiting >= config.read_max)
    return {};
  woken = false;
  const auto found_before = finder->found_late();
  const auto avoided_before = finder->repeats_avoided();
  auto rows = finder->look(*source, *tracking, std::min(config.read_max, free - waiting), time);
  if (!rows)
    return rows.error();
  next_poll = finder->next_look(time);
  for (auto& row : *rows)
    shards[shard_of(row.row)].pending.push_back(std::move(row));
  if (const auto& gone = finder->not_there(); !gone.empty())
    log::warning(component, config.name,
                 "{} rows that were to be sent again are not in {} any more, or `where` leaves them out: {}{}",
                 gone.size(), config.pipeline.table, gone.front(), gone.size() > 1 ? ", ..." : "");
  config.board->polled(finder->gaps(), finder->gaps_given_up());
  config.board->found_late(finder->found_late() - found_before);
  config.board->repeats_avoided(finder->repeats_avoided() - avoided_before);
  return {};
}

/// Since when the oldest row waits, once a second. While nothing can be read, for no session has room, it asks the
/// table: nobody would know of what piles up there.
result<void> poller_state::watch_lag() {
  const auto time = now();
  if (time < next_lag_check || !finder)
    return {};
  next_lag_check = time + std::chrono::seconds{1};
  std::optional<wall_time> oldest;
  const auto note = [&oldest](std::optional<wall_time> since) {
    if (since && (!oldest || *since < *oldest))
      oldest = since;
  };
  for (const auto& shard : shards) {
    for (const auto& [unused, claim] : shard.claims)
      note(claim.since);
    for (const auto& row : shard.pending)
      note(row.row.since);
  }
  if (!oldest && !paused && !stopping && room() == 0) {
    auto unread = finder->oldest_unread(*source, *tracking);
    if (!unread)
      return unread.error();
    oldest = *unread;
  }
  config.board->oldest(oldest);
  return {};
}

// --- when it fails
// ----------------------------------------------------------------------------------------------------

void poller_state::failed(const error& reason) {
  if (reason.code == errc::fenced && config.holds) {
    log::warning(component, config.name, "{}; shards are taken again when this node's lease of them is confirmed",
                 reason.message);
    config.board->waiting(reason.message);
    fenced_at = now();
  } else if (reason.code == errc::fenced) {
    log::error(component, config.name, "{}; this one waits until it is silent for {} s", reason.message,
               std::chrono::duration_cast<std::chrono::seconds>(config.takeover_after).count());
    config.board->stopped(reason.message);
    config.board->oldest(std::nullopt); // what waits is the other's
    successor = 0;
  } else {
    const bool fatal = disposition_of(reason.code) == disposition::fatal;
    if (!std::exchange(failing, true))
      log::write(fatal ? log::level::error : log::level::warning, component, config.name,
                 reason.to_string() + (fatal ? "; nothing is published until this is mended" : "; trying again"));
    if (fatal)
      config.board->stopped(reason.to_string());
    else
      config.board->waiting(reason.to_string());
    config.board->failed(reason.to_string(), wall_now());
  }
  // Adopting succeeds each time, whatever it is that fails then.
  if (working && now() - working_since > steady_after)
    waits->reset();
  working = false;
  if (tracking)
    cut_sessions();
  close();
  if (stopping)
    return self->quit(caf::exit_reason::user_shutdown);
  const auto wait = successor ? config.takeover_after : waits->next();
  schedule(now() + wait);
  waiting_out = true;
}

/// The databases are left; the shards are nobody's as far as this process knows.
void poller_state::close() {
  source.reset();
  tracking.reset();
  finder.reset();
  for (auto& shard : shards) {
    if (shard.leaving)
      forget(shard);
    shard.adopted = shard.finishing = false;
  }
}

result<void> poller_state::watch_successor() {
  auto target = config.open_tracking();
  if (!target)
    return target.error();
  auto beat = (*target)->heartbeat();
  if (!beat)
    return beat.error();
  if (*beat != std::exchange(*successor, *beat))
    return {};
  log::warning(component, config.name, "the other process is silent: taking over");
  successor.reset();
  failing = false;
  schedule_now();
  return {};
}

void poller_state::on_exit() {
  if (stopping)
    return;
  stopping = true;
  stopping_since = now();
  waiting_out = false;
  schedule_now();
}

/// Nothing is left of which an answer can be expected.
bool poller_state::drained() const {
  if (now() - stopping_since > config.drain_max)
    return true;
  return std::all_of(shards.begin(), shards.end(), [](const shard_state& each) {
    return !each.online || (each.ledger.open() == 0 && each.failures.empty());
  });
}

poller_actor::behavior_type poller(poller_actor::stateful_pointer<poller_state> self, poller_config config) {
  set_quiet_handlers(self);
  const auto wrong = config.validate();
  assert_that(wrong.empty(), wrong.c_str());
  auto& state = self->state;
  state.self = self;
  state.config = std::move(config);
  state.waits = std::make_unique<backoff>(state.config.retry_min, state.config.retry_max, self->id());
  for (std::uint32_t number = 0; number < state.config.pipeline.shards; ++number) {
    auto& shard = state.shards.emplace_back(state.config.pipeline.in_flight_max);
    shard.account = state.config.shards[number]->begin(); // of what a predecessor had in flight nothing is known yet
  }
  self->set_down_handler([self](const caf::down_msg& down) { self->state.on_publisher_down(down.source); });
  on_exit_message(self, [self](const caf::error&) { self->state.on_exit(); });
  state.paused = state.config.board->paused();
  state.step_at = monotonic::max();
  state.schedule_now();
  return {
    [self](attach_atom, std::uint32_t shard, const publisher_actor& publisher) {
      self->state.on_attach(shard, publisher);
    },
    [self](detach_atom, std::uint32_t shard, const publisher_actor& publisher) {
      self->state.on_detach(shard, publisher);
    },
    [self](dial_atom, const shard_session& from) { self->state.on_dial(from); },
    [self](const connected& message) { self->state.on_connected(message); },
    [self](down_atom, const shard_session& from) { self->state.on_session_down(from); },
    [self](const shard_session& from, const completions_ptr& answers) { self->state.on_answers(from, *answers); },
    [self](wake_atom) {
      self->state.waking->store(false);
      self->state.woken = true;
      self->state.schedule_commit();
    },
    [self](pause_atom) {
      self->state.paused = true;
      self->state.config.board->paused(true);
    },
    [self](resume_atom) {
      self->state.paused = false;
      self->state.config.board->paused(false);
      if (self->state.paused_lastingly)
        log::warning(component, self->state.config.name, "stays paused, by `penstock tables pause`");
      self->state.schedule_now();
    },
    [self](step_atom, std::uint64_t timer) {
      if (timer == self->state.timer)
        self->state.on_step();
    },
  };
}

} // namespace penstock::actors
