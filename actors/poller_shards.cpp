// The shards of a poller: which ones it owns, and their sessions.
#include "actors/poller.hpp"
#include "mqtt/reason.hpp"
#include "telemetry/log.hpp"

#include <algorithm>
#include <utility>

namespace penstock::actors {

using namespace messages;

namespace {

constexpr const char* component = "poller";

} // namespace

/// Null: it is over.
poller_state::shard_state* poller_state::session_of(const shard_session& from) {
  if (from.shard >= shards.size())
    return nullptr;
  auto& shard = shards[from.shard];
  return shard.incarnation == from.incarnation ? &shard : nullptr;
}

/// There is no session: nothing more is claimed for the shard.
void poller_state::shard_state::go_offline() {
  online = wants_dial = false;
  connected.reset();
  ledger.window(0);
}

bool poller_state::shard_state::has_open() const { return ledger.open() > 0 || !failures.empty() || !ended.empty(); }

// --- which shards
// -----------------------------------------------------------------------------------------------------

/// A session may be made, or anew.
void poller_state::welcome(shard_state& shard) {
  shard.go_offline();
  if (shard.publisher)
    self->send(shard.publisher, adopted{installation, ++shard.incarnation});
}

void poller_state::on_attach(std::uint32_t number, const publisher_actor& publisher) {
  if (number >= shards.size())
    return;
  auto& shard = shards[number];
  if (shard.leaving)
    forget(shard);
  shard.publisher = publisher;
  self->monitor(publisher);
  if (shard.adopted)
    return welcome(shard);
  schedule_now();
}

/// Its cursor stays as it is in the tracking table: rows behind it that are not claimed are its next owner's.
void poller_state::on_detach(std::uint32_t number, const publisher_actor& publisher) {
  if (number >= shards.size())
    return self->send(publisher, adopted{});
  auto& shard = shards[number];
  if (shard.publisher != publisher || shard.leaving)
    return;
  if (!shard.adopted)
    return forget(shard);
  shard.leaving = true;
  shard.leaving_since = now();
  shard.ledger.window(0);
  if (!config.open_changes) // else the log must tell of them again
    for (const auto& row : shard.pending)
      finder->claimed(row);
  shard.pending.clear();
  schedule_now();
}

void poller_state::on_publisher_down(const caf::actor_addr& ended) {
  std::erase_if(formers, [&](const auto& each) { return each.second.address() == ended; });
  for (auto& shard : shards)
    if (shard.publisher && shard.publisher.address() == ended) {
      shard.publisher = nullptr;
      ++shard.incarnation;
      shard.go_offline();
      if (shard.leaving || !shard.adopted)
        forget(shard);
    }
}

bool poller_state::is_idle() const {
  return std::none_of(shards.begin(), shards.end(),
                      [](const shard_state& each) { return each.publisher || each.adopted; });
}

bool poller_state::owns_all_attached() const {
  return std::all_of(shards.begin(), shards.end(),
                     [](const shard_state& each) { return !each.publisher || each.adopted; });
}

/// What a replication slot has told is not told again, for whatever shard it was.
bool poller_state::finds_for_all() const {
  return !config.open_changes || std::all_of(shards.begin(), shards.end(),
                                             [](const shard_state& each) { return each.adopted && !each.leaving; });
}

std::vector<std::uint32_t> poller_state::to_be_adopted() const {
  std::vector<std::uint32_t> numbers;
  for (std::uint32_t number = 0; number < shards.size(); ++number) {
    const auto lease = number < config.pipeline.shards ? number : 0;
    if (shards[number].publisher && !shards[number].adopted && (!config.holds || config.holds(lease, fenced_at)))
      numbers.push_back(number);
  }
  return numbers;
}

/// Nobody has the shard any more.
bool poller_state::is_left(std::uint32_t number) const {
  return number >= config.pipeline.shards && !(config.runs_elsewhere && config.runs_elsewhere(number));
}

/// In a cluster: a node whose file is another may leave claims at any time, and other pollers wait for their end.
result<void> poller_state::look_for_former() {
  if (!config.runs_elsewhere || finishing || stopping || now() < next_former_look || !owns_first())
    return {};
  next_former_look = now() + config.renew_every;
  const auto open = tracking->former();
  if (!open)
    return open.error();
  finishing = std::any_of(open->begin(), open->end(), [this](const auto& each) { return is_left(each.shard); });
  return {};
}

result<void> poller_state::adopt_attached() {
  if (auto looked = look_for_former(); !looked)
    return looked;
  auto numbers = to_be_adopted();
  adopting = finishing ||
             (!numbers.empty() && records_at_end() && std::any_of(shards.begin(), shards.end(), [](const auto& each) {
               return each.adopted && each.has_open();
             }));
  if (stopping || (!finishing && (numbers.empty() || adopting)))
    return {};
  const auto done = finish_former();
  if (!done)
    return done.error();
  adopting = finishing = !*done;
  if (finishing)
    return {};
  if (!awaited.empty()) {
    awaited.clear();
    working = false; // what it waited for is over
  }
  end_former(caf::exit_reason::user_shutdown);
  for (auto& shard : shards)
    if (std::exchange(shard.finishing, false))
      shard.adopted = false;
  numbers = to_be_adopted();
  if (config.open_changes && numbers.size() < shards.size())
    return {}; // all or none, see finds_for_all
  return numbers.empty() ? result<void>{} : adopt(numbers);
}

bool poller_state::owns_first() const {
  return shards.front().publisher && !shards.front().leaving && (!config.holds || config.holds(0, fenced_at));
}

/// False: claims are open of when rows were dealt to shards in another way.
result<bool> poller_state::finish_former() {
  const auto open = tracking->former();
  if (!open)
    return open.error();
  const bool first = owns_first();
  if (!first)
    end_former(caf::exit_reason::kill); // whoever has shard 0 now finishes them
  std::vector<std::uint32_t> mine;
  std::string others;
  const auto free = to_be_adopted();
  for (const auto& each : *open) {
    if (first && is_left(each.shard))
      start_former(each.shard);
    const bool is_being_finished = each.shard < shards.size() && shards[each.shard].finishing;
    if (is_being_finished || std::find(free.begin(), free.end(), each.shard) != free.end())
      mine.push_back(each.shard);
    else if (each.first_seq <= awaited.try_emplace(each.shard, each.claimed_seq).first->second)
      others += (others.empty() ? "" : ", ") + std::to_string(each.shard);
  }
  if (!others.empty())
    config.board->waiting("claims of shard " + others + " come to their end first: rows were dealt in another way");
  std::vector<std::uint32_t> numbers;
  std::copy_if(mine.begin(), mine.end(), std::back_inserter(numbers),
               [this](std::uint32_t number) { return !shards[number].adopted; });
  if (!numbers.empty())
    if (auto adopted = adopt_claims(numbers); !adopted)
      return adopted.error();
  return mine.empty() && others.empty();
}

void poller_state::start_former(std::uint32_t number) {
  if (formers.contains(number))
    return;
  log::info(component, config.name,
            "claims of shard {} are open, which the pipeline does not have any more: they are finished first", number);
  while (shards.size() <= number) {
    auto board = std::make_shared<telemetry::publish_shard_board>(static_cast<std::uint32_t>(shards.size()));
    shards.emplace_back(config.pipeline.in_flight_max);
    shards.back().account = board->begin();
    config.shards.push_back(std::move(board)); // nobody looks at it
  }
  auto former = config.former_shard(number);
  former.board = config.shards[number];
  const auto made = self->spawn(publisher, std::move(former));
  formers.emplace(number, made);
  self->monitor(made);
  self->send(made, poller_atom_v, caf::actor_cast<caf::strong_actor_ptr>(self));
}

/// `kill`: their sessions stay as they are.
void poller_state::end_former(caf::exit_reason reason) {
  for (const auto& [unused, publisher] : formers)
    self->send_exit(publisher, reason);
  formers.clear();
  shards.erase(shards.begin() + config.pipeline.shards, shards.end());
  config.shards.resize(config.pipeline.shards);
}

/// How far the source was read for them stays as it is.
result<void> poller_state::adopt_claims(const std::vector<std::uint32_t>& numbers) {
  const auto mine = tracking->adopt(numbers, storage::tracking::adoption::claims);
  if (!mine)
    return mine.error();
  for (const auto& shard : *mine) {
    begin(shard);
    shards[shard.shard].finishing = true;
  }
  next_renewal = now(); // at once: that a connection opens does not show that it can be written
  return {};
}

/// The finder begins anew: rows of the new shards may lie far in front of where it is. What it has given out and nobody
/// has claimed is read again.
result<void> poller_state::adopt(const std::vector<std::uint32_t>& numbers) {
  auto mine = tracking->adopt(numbers);
  if (!mine)
    return mine.error();
  std::vector<storage::source_cursor> from;
  if (finder)
    from.push_back(finder->cursor());
  bool unread = false;
  for (const auto& shard : *mine) {
    from.insert(from.end(), shard.cursors.begin(), shard.cursors.end());
    unread = unread || shard.cursors.empty();
  }
  if (unread && !from.empty() && config.pipeline.start != config::publish_start::now)
    from.emplace_back(); // the beginning
  for (auto& shard : shards)
    shard.pending.clear();
  finder = make_finder();
  cursor.reset();
  if (auto begun = finder->begin(*source, from); !begun)
    return begun;
  for (const auto& shard : *mine)
    begin(shard);
  // At once: that a connection opens does not show that it can be written.
  next_poll = next_renewal = next_pause_check = now();
  woken = true;
  return {};
}

void poller_state::begin(const storage::adopted_shard& adopted) {
  auto& shard = shards.at(adopted.shard);
  shard.ledger = claim_ledger{config.pipeline.in_flight_max};
  shard.ledger.begin(adopted.claimed_seq, adopted.released_seq, adopted.settled_seq);
  shard.settled_seq = adopted.settled_seq;
  shard.epoch = adopted.epoch;
  shard.adopted = true;
  shard.claims.clear();
  shard.failures.clear();
  shard.ended.clear();
  shard.sent = 0;
  config.shards[adopted.shard]->begin(shard.account);
  welcome(shard);
}

/// Shards that are being given away, and have nothing in flight any more; behind a commit.
void poller_state::let_go() {
  bool gone = false;
  for (auto& shard : shards) {
    const bool over = now() - shard.leaving_since > config.drain_max || !shard.online;
    if (!shard.leaving || (shard.has_open() && !over))
      continue;
    forget(shard);
    gone = true;
  }
  if (!gone || !(config.open_changes || is_idle()))
    return;
  cut_sessions();
  close();                            // a replication slot is for whoever gets all of the shards
  config.board->oldest(std::nullopt); // what waits is theirs
}

void poller_state::forget(shard_state& shard) {
  shard.adopted = shard.finishing = shard.leaving = false;
  shard.go_offline();
  shard.ledger = claim_ledger{config.pipeline.in_flight_max};
  shard.pending.clear();
  shard.claims.clear();
  shard.failures.clear();
  shard.ended.clear();
  shard.sent = 0;
  config.shards[static_cast<std::size_t>(&shard - shards.data())]->begin(shard.account);
  if (const auto publisher = std::exchange(shard.publisher, nullptr))
    self->send(publisher, adopted{{}, ++shard.incarnation});
}

// --- their sessions
// ---------------------------------------------------------------------------------------------------

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
    if (answer.reason >= mqtt::reason::refused_from) {
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
  // They are read behind the transaction that has checked the epoch.
  if (!claims->empty() && claims->back().seq > shard.ledger.claimed_seq())
    return error{errc::fenced, "another process has claimed rows of shard " + std::to_string(number) + " meanwhile"};
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
  config.shards[number]->begin(shard.account);
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
      shard.failures.push_back({seq, mqtt::reason::packet_id_not_found});
    }
  }
  delta.in_flight = shard.ledger.open();
  delta.incarnation = shard.account;
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

/// Nobody may send any more until the shards are adopted again.
void poller_state::cut_sessions() {
  for (auto& shard : shards) {
    ++shard.incarnation;
    shard.go_offline();
    if (shard.publisher)
      self->send(shard.publisher, adopted{{}, shard.incarnation});
  }
}

} // namespace penstock::actors
