#include "actors/poller.hpp"

#include "actors/change_finder.hpp"
#include "core/assert.hpp"
#include "mqtt/reason.hpp"
#include "storage/own_tables.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>

#include <algorithm>
#include <future>
#include <numeric>

namespace penstock::actors {

using namespace messages;

namespace {

constexpr const char* component = "poller";

// MQTT 5 reason codes
constexpr std::uint8_t packet_id_not_found = 0x92; // here: the outcome is unknown
constexpr std::uint8_t quota_exceeded = 0x97;
constexpr std::uint8_t refused_from = 0x80;

std::string reason_text(std::uint8_t code) {
  if (code == packet_id_not_found)
    return "the broker has lost the session; the outcome is unknown";
  return mqtt::error_of_reason(code, "the broker refused it", {}).message;
}

} // namespace

std::string poller_config::validate() const {
  if (name.empty() || !open_source || !open_tracking || !board || shards.size() != pipeline.shards)
    return "a poller needs a name, its databases, and a board for each shard";
  if (read_max == 0)
    return name + ": read_max must be positive";
  return {};
}

monotonic poller_state::now() const { return self->clock().now(); }

// --- what publishers say
// ----------------------------------------------------------------------------------------------

poller_state::shard_state* poller_state::session_of(const shard_session& from) {
  auto& shard = shards.at(from.shard);
  return shard.incarnation == from.incarnation ? &shard : nullptr;
}

/// There is no session: nothing more is claimed for the shard.
void poller_state::shard_state::go_offline() {
  online = wants_dial = false;
  connected.reset();
  ledger.window(0);
}

/// A session may be made, or anew.
void poller_state::welcome(shard_state& shard) {
  shard.go_offline();
  if (shard.publisher)
    self->send(shard.publisher, adopted{installation, ++shard.incarnation});
}

void poller_state::on_attach(std::uint32_t number, const publisher_actor& publisher) {
  auto& shard = shards.at(number);
  shard.publisher = publisher;
  self->monitor(publisher);
  if (tracking)
    welcome(shard);
}

void poller_state::on_publisher_down(const caf::actor_addr& ended) {
  for (auto& shard : shards)
    if (shard.publisher && shard.publisher.address() == ended) {
      shard.publisher = nullptr;
      ++shard.incarnation;
      shard.go_offline();
    }
}

void poller_state::on_dial(const shard_session& from) {
  if (auto* shard = session_of(from)) {
    shard->wants_dial = true;
    schedule_now();
  }
}

void poller_state::on_connected(const connected& message) {
  if (auto* shard = session_of(message.from)) {
    shard->connected = message;
    schedule_now();
  }
}

void poller_state::on_session_down(const shard_session& from) {
  if (auto* shard = session_of(from))
    shard->go_offline();
}

void poller_state::on_answers(const shard_session& from, const std::vector<mqtt::completion>& answers) {
  auto* shard = session_of(from);
  if (shard == nullptr)
    return;
  std::vector<std::uint16_t> released;
  const auto time = wall_now();
  for (const auto& answer : answers) {
    if (answer.stage == mqtt::publish_stage::received) {
      if (shard->ledger.received(answer.token))
        released.push_back(shard->ledger.packet_id(answer.token));
      continue;
    }
    const auto found = shard->claims.find(answer.token);
    if (found == shard->claims.end())
      continue; // it had its end already
    if (answer.reason >= refused_from) {
      shard->failures.push_back(answer);
      continue;
    }
    if (found->second.since)
      config.shards[from.shard]->lag(time - *found->second.since);
    if (auto& unrecorded = found->second.unrecorded) {
      unrecorded->record.state = storage::record_state::sent;
      shard->ended.push_back(*std::move(unrecorded));
    }
    shard->claims.erase(found);
    shard->ledger.done(answer.token);
    ++shard->sent;
  }
  if (!released.empty())
    self->send(shard->publisher, std::make_shared<const std::vector<std::uint16_t>>(std::move(released)));
  gathered += answers.size();
  schedule_commit();
}

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
  if (successor)
    return schedule(time + config.takeover_after);
  if (stopping)
    return schedule(time + std::chrono::milliseconds{20});
  const bool reading = finder && !is_paused() && room() > pending_rows();
  if (reading && finder->read_was_full() && room() >= open_claims())
    return schedule_now();
  if (reading && (finder->read_was_full() || woken))
    return schedule_commit();
  const auto check = std::min(next_renewal, next_pause_check);
  schedule(reading ? std::min(next_poll, check) : check);
}

result<void> poller_state::step() {
  if (successor)
    return watch_successor();
  if (!tracking || !source)
    if (auto opened = open(); !opened)
      return opened;
  if (auto read = read_pause(); !read)
    return read;
  auto found = find_rows();
  if (!found)
    next_renewal = now(); // another process may be why: the commit says whose the shards are
  if (auto done = commit(static_cast<bool>(found)); !done)
    return done;
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
  auto mine = (*target)->adopt(config.pipeline.shards);
  if (!mine)
    return mine.error();
  installation = *std::move(id);
  auto finds = make_finder();
  if (auto begun = finds->begin(**table, **target); !begun)
    return begun;
  finder = std::move(finds);
  written_cursor.reset(); // also where the first run began must be known to the next
  tracking = *std::move(target);
  source = *std::move(table);
  for (const auto& shard : *mine) {
    auto& state = shards.at(shard.shard);
    state.ledger = claim_ledger{config.pipeline.in_flight_max};
    state.ledger.begin(shard.claimed_seq, shard.released_seq, shard.settled_seq);
    state.settled_seq = shard.settled_seq;
    state.epoch = shard.epoch;
    state.claims.clear();
    state.failures.clear();
    state.ended.clear();
    state.pending.clear();
    state.sent = 0;
    config.shards[shard.shard]->begin();
    welcome(state);
  }
  // The watch outlives no actor: its thread ends with the state.
  if (config.watch_source && !watch)
    watch = config.watch_source(wake());
  // At once: that a connection opens does not show that it can be written.
  next_poll = next_renewal = next_pause_check = now();
  woken = true;
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
  if (working)
    return;
  working = true;
  waits->reset();
  config.board->running();
  if (std::exchange(failing, false))
    log::info(component, config.name, "the database answers again");
  else
    log::info(component, config.name, "publishes {} over {} shards", config.pipeline.table, shards.size());
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
  return static_cast<std::uint32_t>(row.hash % shards.size());
}

/// Reads no more than there is room for; what it deals to shards without room is bounded by one read.
result<void> poller_state::find_rows() {
  const auto time = now();
  if (auto tended = finder->tend(time); !tended)
    return tended;
  const auto waiting = pending_rows();
  bytes_full = bytes_in_flight() >= config.in_flight_bytes_max;
  const auto free = room();
  const bool due = woken || finder->read_was_full() || time >= next_poll;
  if (is_paused() || stopping || !due || free <= waiting || waiting >= config.read_max)
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

/// What the broker refused, and what it may have lost.
void poller_state::end_failure(std::uint32_t number, const mqtt::completion& failure, round& now) {
  auto& shard = shards[number];
  const auto found = shard.claims.find(failure.token);
  if (found == shard.claims.end())
    return;
  auto claim = std::move(found->second);
  shard.claims.erase(found);
  const bool unknown = failure.reason == packet_id_not_found;
  const bool again = unknown ? config.pipeline.on_lost_session == config::lost_session_rule::resend
                             : failure.reason == quota_exceeded && claim.attempts <= config.pipeline.retries_max;
  storage::claim_end end;
  end.outcome = again     ? storage::claim_end::kind::reclaim
                : unknown ? storage::claim_end::kind::held
                          : storage::claim_end::kind::refused;
  end.shard = number;
  end.seq = failure.token;
  end.reason_code = failure.reason;
  end.reason = reason_text(failure.reason);
  if (again)
    claim_again(number, std::move(claim), end, now);
  else
    end_claim(number, std::move(claim), std::move(end), now);
}

void poller_state::claim_again(std::uint32_t number, open_claim claim, const storage::claim_end& end, round& now) {
  auto& shard = shards[number];
  const auto made = shard.ledger.reclaim(end.seq);
  ++claim.attempts;
  ++now.deltas[number].reclaimed;
  if (claim.unrecorded) {
    auto& record = claim.unrecorded->record;
    ++record.attempts;
    record.seq = made.seq;
    record.packet_id = made.packet_id;
    now.unrecorded.push_back(record);
  } else {
    now.reclaimed.emplace_back(number, made.seq);
    now.changes.ends.push_back(end);
    now.changes.ends.back().new_seq = made.seq;
    now.changes.ends.back().new_packet_id = made.packet_id;
  }
  shard.claims.emplace(made.seq, std::move(claim));
}

void poller_state::end_claim(std::uint32_t number, open_claim claim, storage::claim_end end, round& now) {
  const bool held = end.outcome == storage::claim_end::kind::held;
  shards[number].ledger.done(end.seq);
  ++(held ? now.deltas[number].held : now.deltas[number].refused);
  if (!claim.unrecorded) {
    now.changes.ends.push_back(std::move(end));
    return;
  }
  auto& record = claim.unrecorded->record;
  record.state = held ? storage::record_state::held : storage::record_state::refused;
  record.reason_code = end.reason_code;
  record.reason = std::move(end.reason);
  shards[number].ended.push_back(*std::move(claim.unrecorded));
}

void poller_state::end_failures(std::uint32_t number, round& now) {
  auto& failures = shards[number].failures;
  if (failures.empty())
    return;
  for (const auto& failure : failures)
    end_failure(number, failure, now);
  log::warning(component, config.name,
               "shard {}: {} messages were not taken by the broker ({}): {} are sent again,"
               " {} refused, {} held",
               number, failures.size(), reason_text(failures.front().reason), now.deltas[number].reclaimed,
               now.deltas[number].refused, now.deltas[number].held);
  failures.clear();
}

void poller_state::make_claims(round& now) {
  if (stopping || is_paused())
    return;
  std::size_t bytes = 0;
  for (std::uint32_t number = 0; number < shards.size(); ++number) {
    auto& shard = shards[number];
    now.first_new[number] = shard.ledger.claimed_seq() + 1;
    while (!shard.pending.empty() && shard.ledger.room() > 0 && bytes < config.claims_bytes_max) {
      auto found = std::move(shard.pending.front());
      shard.pending.pop_front();
      bytes += found.row.payload.size();
      make_claim(number, std::move(found), now);
    }
  }
}

void poller_state::make_claim(std::uint32_t number, row_finder::found_row found, round& now) {
  auto& shard = shards[number];
  auto& row = found.row;
  const auto claim = shard.ledger.next();
  storage::claimed_record record;
  record.record_id = row.record_id;
  record.version = row.version;
  record.shard = number;
  record.seq = claim.seq;
  record.packet_id = claim.packet_id;
  record.correlation = storage::make_uuid();
  ++now.deltas[number].claimed;
  if (records_at_end() && row.refusal.empty()) {
    record.topic = std::move(row.topic);
    record.payload = std::move(row.payload);
    now.unrecorded.push_back(record);
    shard.claims.emplace(claim.seq, open_claim{row.since, 1, record.payload.size(),
                                               unrecorded_claim{std::move(record), std::move(found)}});
    return;
  }
  record.topic = row.topic;
  record.payload = row.payload;
  if (row.refusal.empty()) {
    shard.claims.emplace(claim.seq, open_claim{row.since, 1, record.payload.size(), std::nullopt});
  } else {
    record.state = storage::record_state::refused;
    record.packet_id = 0;
    record.reason = row.refusal;
    shard.ledger.done(claim.seq);
    ++now.deltas[number].refused;
    if (records_at_end()) {
      shard.ended.push_back({std::move(record), std::move(found)});
      return;
    }
  }
  now.claims.push_back(std::move(record));
  now.rows.push_back(std::move(found));
}

/// QoS 1: rows that have had their end.
void poller_state::take_ended(std::uint32_t number, round& now) {
  for (auto& each : shards[number].ended) {
    now.claims.push_back(std::move(each.record));
    now.rows.push_back(std::move(each.row));
  }
  shards[number].ended.clear();
}

void poller_state::add_progress(round& now) {
  const bool renew = this->now() >= next_renewal;
  now.changes.shards.clear();
  now.progress.clear();
  for (std::uint32_t number = 0; number < shards.size(); ++number) {
    const auto& shard = shards[number];
    auto progress = shard.ledger.pending();
    if (progress.empty && !renew && !shard.wants_dial && !shard.connected)
      continue;
    now.changes.shards.push_back(
      {number, shard.epoch, progress.claimed_seq, progress.released_seq, progress.settled_seq, progress.done_seqs});
    now.progress.push_back(std::move(progress));
  }
}

poller_state::round poller_state::collect() {
  round now;
  now.deltas.resize(shards.size());
  now.first_new.resize(shards.size());
  for (std::uint32_t number = 0; number < shards.size(); ++number) {
    now.deltas[number].sent = shards[number].sent;
    end_failures(number, now);
    take_ended(number, now);
  }
  if (!records_at_end())
    make_claims(now);
  add_progress(now);
  return now;
}

/// Some of the claims' records are tracked already: the finder could not know. They are dropped, the others claimed.
result<void> poller_state::drop_tracked(round& now) {
  std::vector<storage::record_key> keys;
  keys.reserve(now.claims.size());
  for (const auto& claim : now.claims)
    keys.push_back({claim.record_id, claim.version});
  auto missing = tracking->untracked(keys);
  if (!missing)
    return missing.error();
  config.board->repeats_avoided(now.claims.size() - missing->size());
  std::vector<bool> again(now.claims.size(), false);
  for (const auto index : *missing)
    again[index] = true;
  if (records_at_end()) { // they are published; somebody else has recorded them
    std::size_t kept = 0;
    for (std::size_t index = 0; index < now.claims.size(); ++index)
      if (again[index] && kept++ != index) {
        now.claims[kept - 1] = std::move(now.claims[index]);
        now.rows[kept - 1] = std::move(now.rows[index]);
      }
    now.claims.resize(kept);
    now.rows.resize(kept);
    return {};
  }
  claim_the_others(now, again);
  return {};
}

/// New claims for those rows that are not tracked.
void poller_state::claim_the_others(round& now, const std::vector<bool>& again) {
  for (std::size_t index = now.claims.size(); index-- > 0;) {
    const auto& claim = now.claims[index];
    auto& shard = shards[claim.shard];
    auto& delta = now.deltas[claim.shard];
    shard.claims.erase(claim.seq);
    --delta.claimed;
    delta.refused -= claim.state == storage::record_state::refused ? 1 : 0;
    if (!again[index])
      continue;
    finder->returned(now.rows[index]);
    shard.pending.push_front(std::move(now.rows[index]));
  }
  for (std::uint32_t number = 0; number < shards.size(); ++number)
    shards[number].ledger.forget_from(now.first_new[number]);
  now.claims.clear();
  now.rows.clear();
  make_claims(now);
  add_progress(now);
}

/// `rows_found`: the finder can say how far it has read.
result<void> poller_state::commit(bool rows_found) {
  auto round = collect();
  for (int attempt = 0;; ++attempt) {
    if (attempt == 0 || !records_at_end())
      for (const auto& row : round.rows)
        finder->claimed(row);
    const auto cursor = finder->cursor();
    if (rows_found && cursor != written_cursor && !round.changes.shards.empty())
      round.changes.cursor = cursor;
    const auto retried = finder->retried();
    round.changes.retried = retried;
    round.changes.claims = round.claims;
    auto done = write(round, attempt == 0 && records_at_end());
    if (!done)
      return done.error();
    if (*done)
      break;
    if (attempt == 3)
      return error{errc::database_busy, "other rows are tracked each time it is tried"};
    if (auto dropped = drop_tracked(round); !dropped)
      return dropped;
  }
  if (round.changes.shards.empty()) {
    show(round);
    return {};
  }
  if (round.changes.cursor)
    written_cursor = round.changes.cursor;
  finder->retried_written();
  works();
  return settle(std::move(round));
}

/// With QoS 1 the next rows are published meanwhile: nothing is committed before a message that may come twice.
result<bool> poller_state::write(round& now, bool publish_meanwhile) {
  std::future<result<bool>> written;
  if (!now.changes.shards.empty())
    written = std::async(publish_meanwhile ? std::launch::async : std::launch::deferred,
                         [this, &now] { return tracking->commit(now.changes); });
  if (publish_meanwhile) {
    make_claims(now);
    publish(std::move(now.unrecorded));
  }
  return written.valid() ? written.get() : true;
}

void poller_state::show(round& now) {
  for (std::uint32_t number = 0; number < shards.size(); ++number) {
    now.deltas[number].in_flight = shards[number].ledger.open();
    config.shards[number]->apply(now.deltas[number]);
    config.shards[number]->backlog(shards[number].pending.size());
  }
}

/// What was committed may be sent.
result<void> poller_state::settle(round now) {
  for (std::size_t index = 0; index < now.progress.size(); ++index) {
    auto& shard = shards[now.changes.shards[index].shard];
    auto released = shard.ledger.committed(now.progress[index]);
    shard.sent = 0;
    if (!released.empty() && shard.publisher && config.pipeline.qos == 2)
      self->send(shard.publisher, std::make_shared<const std::vector<std::uint16_t>>(std::move(released)));
  }
  if (!records_at_end())
    publish(std::move(now.claims));
  if (auto again = publish_again(now); !again)
    return again;
  show(now);
  for (const auto& written : now.changes.shards)
    if (auto answered = answer(written.shard); !answered)
      return answered;
  return {};
}

mqtt::outbound poller_state::outbound_of(storage::claimed_record claim) const {
  mqtt::outbound message;
  message.message_id = storage::message_id_of(config.pipeline.name, claim.record_id, claim.version);
  message.topic = std::move(claim.topic);
  message.payload = std::move(claim.payload);
  message.correlation = std::move(claim.correlation);
  message.qos = config.pipeline.qos;
  message.retain = config.pipeline.retain;
  message.token = claim.seq;
  message.packet_id = claim.packet_id;
  return message;
}

/// Claims of a shard lie together, but where some were made again.
void poller_state::publish(std::vector<storage::claimed_record> claims) {
  std::size_t next = 0;
  while (next < claims.size()) {
    const auto number = claims[next].shard;
    auto messages = std::make_shared<std::vector<mqtt::outbound>>();
    for (; next < claims.size() && claims[next].shard == number; ++next)
      if (claims[next].state == storage::record_state::claimed)
        messages->push_back(outbound_of(std::move(claims[next])));
    if (!messages->empty() && shards[number].publisher)
      self->send(shards[number].publisher, publications_ptr{std::move(messages)});
  }
}

/// Claims that were made again are read from the tracking table: what is sent is what was claimed at first.
result<void> poller_state::publish_again(const round& now) {
  for (std::size_t index = 0; index < now.reclaimed.size();) {
    const auto [number, first] = now.reclaimed[index];
    while (index < now.reclaimed.size() && now.reclaimed[index].first == number)
      ++index;
    auto claims = tracking->open_claims(number, first - 1);
    if (!claims)
      return claims.error();
    auto messages = std::make_shared<std::vector<mqtt::outbound>>();
    for (auto& claim : *claims)
      if (std::find(now.reclaimed.begin(), now.reclaimed.end(), std::pair{number, claim.seq}) != now.reclaimed.end())
        messages->push_back(outbound_of(std::move(claim)));
    if (shards[number].publisher)
      self->send(shards[number].publisher, publications_ptr{std::move(messages)});
  }
  return {};
}

/// The shard is ours: its epoch was checked by the transaction that was just committed.
result<void> poller_state::answer(std::uint32_t number) {
  auto& shard = shards[number];
  if (std::exchange(shard.wants_dial, false) && shard.publisher)
    self->send(shard.publisher, dial_atom_v);
  const auto session = std::exchange(shard.connected, std::nullopt);
  if (!session || !shard.publisher)
    return {};
  if (!session->resumed) {
    if (auto resumed = resume(number, *session); !resumed)
      return resumed;
  } else {
    if (!session->session_present) {
      config.shards[number]->session_lost();
      log::warning(component, config.name, "shard {}: the broker has forgotten the session", number);
    }
    self->send(shard.publisher, std::make_shared<std::vector<mqtt::resumption>>());
  }
  shard.online = true;
  shard.ledger.window(session->window);
  config.shards[number]->window(session->window);
  woken = true;
  schedule_now();
  return {};
}

/// By seq. With QoS 1 those of a former session are here; what is in the tracking table was claimed with QoS 2.
result<std::vector<storage::claimed_record>> poller_state::claims_to_resume(std::uint32_t number) {
  auto& shard = shards[number];
  auto claims = tracking->open_claims(number, shard.settled_seq);
  if (!claims)
    return claims;
  for (const auto& [unused, claim] : shard.claims)
    if (claim.unrecorded)
      claims->push_back(claim.unrecorded->record);
  std::sort(claims->begin(), claims->end(), [](const auto& left, const auto& right) { return left.seq < right.seq; });
  return claims;
}

/// A new session takes over what a former one has left open.
result<void> poller_state::resume(std::uint32_t number, const connected& session) {
  auto& shard = shards[number];
  auto claims = claims_to_resume(number);
  if (!claims)
    return claims.error();
  const auto claimed = shard.ledger.claimed_seq();
  const auto released = shard.ledger.released_seq();
  shard.ledger = claim_ledger{config.pipeline.in_flight_max};
  shard.ledger.begin(claimed, released, shard.settled_seq);
  std::vector<claim_ledger::claim> open;
  open.reserve(claims->size());
  for (const auto& claim : *claims)
    open.push_back({claim.seq, claim.packet_id});
  shard.ledger.resume_from(open);
  auto former = std::move(shard.claims);
  shard.claims.clear();
  config.shards[number]->begin();
  auto handshakes = std::make_shared<std::vector<mqtt::resumption>>();
  telemetry::publish_delta delta;
  std::size_t counted_sent = 0;
  for (auto& claim : *claims) {
    const auto seq = claim.seq;
    const bool is_released = seq <= released && config.pipeline.qos == 2;
    if (const auto known = former.find(seq); known != former.end() && known->second.unrecorded)
      shard.claims.emplace(seq, std::move(known->second));
    else
      shard.claims.emplace(seq, open_claim{std::nullopt, claim.attempts, claim.payload.size(), std::nullopt});
    ++delta.claimed;
    if (session.session_present) {
      handshakes->push_back(
        {outbound_of(std::move(claim)), is_released ? mqtt::resumed_state::released : mqtt::resumed_state::published});
    } else if (is_released) {
      shard.claims.erase(seq);
      shard.ledger.done(seq);
      ++shard.sent;
      ++counted_sent;
    } else {
      shard.failures.push_back({seq, packet_id_not_found});
    }
  }
  delta.in_flight = shard.ledger.open();
  config.shards[number]->apply(delta);
  if (!claims->empty() && session.session_present)
    log::info(component, config.name, "shard {}: {} handshakes go on", number, claims->size());
  if (!claims->empty() && !session.session_present) {
    config.shards[number]->session_lost();
    log::warning(
      component, config.name,
      "shard {}: the broker has forgotten the session: {} messages count as sent, of {} the outcome is unknown", number,
      counted_sent, shard.failures.size());
  }
  self->send(shard.publisher, resumptions_ptr{std::move(handshakes)});
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

/// Nobody may send any more until the shards are adopted again.
void poller_state::cut_sessions() {
  for (auto& shard : shards) {
    ++shard.incarnation;
    shard.go_offline();
    if (shard.publisher)
      self->send(shard.publisher, adopted{{}, shard.incarnation});
  }
}

void poller_state::failed(const error& reason) {
  if (reason.code == errc::fenced) {
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
  working = false;
  if (tracking)
    cut_sessions();
  source.reset();
  tracking.reset();
  finder.reset();
  if (stopping)
    return self->quit(caf::exit_reason::user_shutdown);
  const auto wait = successor ? config.takeover_after : waits->next();
  schedule(now() + wait);
  waiting_out = true;
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
  return open();
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
  for (std::uint32_t number = 0; number < state.config.pipeline.shards; ++number)
    state.shards.emplace_back(state.config.pipeline.in_flight_max);
  self->set_down_handler([self](const caf::down_msg& down) { self->state.on_publisher_down(down.source); });
  self->set_exit_handler([self](const caf::exit_msg& exit) {
    if (exit.reason)
      self->state.on_exit();
  });
  state.paused = state.config.board->paused();
  state.step_at = monotonic::max();
  state.schedule_now();
  return {
    [self](attach_atom, std::uint32_t shard, const publisher_actor& publisher) {
      self->state.on_attach(shard, publisher);
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
