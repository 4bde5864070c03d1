// What a poller writes, in one transaction for all its shards, and what follows from it.
#include "actors/poller.hpp"
#include "core/assert.hpp"
#include "mqtt/reason.hpp"
#include "storage/own_tables.hpp"
#include "telemetry/log.hpp"
#include "telemetry/visible.hpp"

#include <algorithm>
#include <future>

namespace penstock::actors {

using namespace messages;

namespace {

constexpr const char* component = "poller";

std::string reason_text(std::uint8_t code) {
  if (code == mqtt::reason::packet_id_not_found)
    return "the broker has lost the session; the outcome is unknown";
  return mqtt::error_of_reason(code, "the broker refused it", {}).message;
}

} // namespace

/// What the broker refused, and what it may have lost.
void poller_state::end_failure(std::uint32_t number, const mqtt::completion& failure, round& now) {
  auto& shard = shards[number];
  const auto found = shard.claims.find(failure.token);
  if (found == shard.claims.end())
    return;
  auto claim = std::move(found->second);
  shard.claims.erase(found);
  const bool unknown = failure.reason == mqtt::reason::packet_id_not_found;
  const bool again =
    unknown ? config.pipeline.on_lost_session == config::lost_session_rule::resend
            : failure.reason == mqtt::reason::quota_exceeded && claim.attempts <= config.pipeline.retries_max;
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
  if (stopping || is_paused() || adopting)
    return;
  std::size_t bytes = 0;
  for (std::uint32_t number = 0; number < shards.size(); ++number) {
    auto& shard = shards[number];
    now.first_new[number] = shard.ledger.claimed_seq() + 1;
    if (config.holds && !config.holds(number, {}))
      continue;
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
    if (!shard.adopted)
      continue;
    auto progress = shard.ledger.pending();
    if (progress.empty && !renew && !shard.wants_dial && !shard.connected)
      continue;
    now.changes.shards.push_back({number, shard.epoch, progress.claimed_seq, progress.released_seq,
                                  progress.settled_seq, progress.done_seqs, shard.leaving || shard.finishing});
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

/// A commit was refused for what it writes. Claims that the database cannot hold become refused ones without what they
/// would send. An error: it was not for them.
result<void> poller_state::refuse_unrecordable(round& now, const error& why) {
  if (now.claims.empty() || disposition_of(why.code) != disposition::dead_letter)
    return why;
  auto refused = tracking->refused(now.claims);
  if (!refused)
    return refused.error();
  if (refused->empty())
    return why;
  const auto& first = refused->front();
  log::warning(component, config.name, "refused {} rows that the tracking database does not take; record {}: {}",
               refused->size(), telemetry::visible(now.claims[first.index].record_id), first.why.to_string());
  for (const auto& [index, reason] : *refused) {
    auto& row = now.rows[index].row;
    auto& claim = now.claims[index];
    row.topic.clear();
    row.payload.clear();
    claim.topic.clear(); // QoS 1: it has had its end, and is recorded as far as it can be
    claim.payload.clear();
    if (!records_at_end())
      row.refusal = "the tracking database does not take it: " + reason.to_string();
  }
  if (!records_at_end())
    claim_the_others(now, std::vector<bool>(now.claims.size(), true));
  return {};
}

/// `rows_found`: the finder can say how far it has read.
result<void> poller_state::commit(bool rows_found) {
  auto round = collect();
  for (int attempt = 0;; ++attempt) {
    if (attempt == 0 || !records_at_end())
      for (const auto& row : round.rows)
        finder->claimed(row);
    if (rows_found && finder)
      cursor = finder->cursor();
    round.changes.cursor = cursor;
    const auto retried = finder ? finder->retried() : std::vector<std::string>{};
    round.changes.retried = retried;
    round.changes.claims = round.claims;
    const auto done = write(round, attempt == 0 && records_at_end());
    if (done && *done)
      break;
    if (attempt == 3)
      return done ? error{errc::database_busy, "other rows are tracked each time it is tried"} : done.error();
    if (auto mended = done ? drop_tracked(round) : refuse_unrecordable(round, done.error()); !mended)
      return mended;
  }
  if (round.changes.shards.empty()) {
    show(round);
    return {};
  }
  if (finder)
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

/// Of a shard that is not adopted nothing was written: what was in flight is counted anew by whoever adopts it.
void poller_state::show(round& now) {
  for (std::uint32_t number = 0; number < shards.size(); ++number) {
    if (!shards[number].adopted)
      continue;
    now.deltas[number].in_flight = shards[number].ledger.open();
    now.deltas[number].incarnation = shards[number].account;
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

} // namespace penstock::actors
