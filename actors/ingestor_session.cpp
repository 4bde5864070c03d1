// The session of an ingestor: what is recorded of it, its connection, and its end; and which session comes next for one
// that retires them.
#include "actors/ingestor.hpp"
#include "actors/mqtt_session.hpp"
#include "config/findings.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>

#include <algorithm>

namespace penstock::actors {

using namespace messages;

namespace {

constexpr const char* component = "ingestor";
/// The first link version whose batch-writers keep a record of sessions.
constexpr std::uint16_t sessions_version = 3;
constexpr std::uint8_t mqtt_5 = 5;

} // namespace

/// Asks the batch-writer of lane 0, and again where a former one may not have answered.
void ingestor_state::want_session() {
  const auto& keeper = lanes.front();
  if (!keeper.writer)
    return;
  if (!session && !retiring)
    wanted = session_record_of(installation, config.pipeline, config.shard);
  const bool known = session && wanted.epoch > 0;
  asking = keeper.version >= sessions_version && !known;
  if (keeper.version < sessions_version) {
    if (!session && !retiring)
      open_session({});
  } else if (known) {
    if (settled)
      tell_settled(wanted);
  } else if (wanted.client_id.empty()) {
    self->send(keeper.writer, sessions_atom_v, ingestor_actor{self});
  } else {
    self->send(keeper.writer, enlist_atom_v, wanted, ingestor_actor{self});
  }
}

void ingestor_state::on_list(const session_list& list) {
  if (!retiring || !wanted.client_id.empty() || stopping || !comes_from_writer_of(0))
    return;
  asking = false;
  auto [next, wait] = retiring->look(list.sessions, session_record_of(installation, config.pipeline, 0));
  if (!next)
    return step_after(wait);
  wanted = *std::move(next);
  wanted.filters.clear();
  want_session();
}

void ingestor_state::on_enlisted(const session_record& record) {
  if (stopping || record.client_id != wanted.client_id || record.broker != wanted.broker || !comes_from_writer_of(0))
    return;
  asking = false;
  std::vector<std::string> stale;
  std::copy_if(record.filters.begin(), record.filters.end(), std::back_inserter(stale), [&](const auto& filter) {
    return std::find(wanted.filters.begin(), wanted.filters.end(), filter) == wanted.filters.end();
  });
  if (session && wanted.epoch == 0 && !stale.empty())
    return; // opened while nobody kept a record: its next incarnation is unsubscribed
  wanted.epoch = record.epoch;
  wanted.settled = record.settled;
  if (session) {
    if (settled)
      tell_settled(wanted);
    return;
  }
  purpose = retiring ? session_request::purpose::drain : session_request::purpose::receive;
  if (retiring)
    log::info(component, config.name, "retires session {} at broker {}: no shard has it any more", wanted.client_id,
              wanted.broker);
  else if (!stale.empty())
    log::info(component, config.name, "its session is to be unsubscribed from {}", config::list_of(stale));
  open_session(std::move(stale));
}

void ingestor_state::open_session(std::vector<std::string> stale) {
  // The session runs on a thread of its own: its handlers only post. They may hold the actor, since the actor's state
  // (and with it the session) goes when the actor ends.
  ingestor_actor me{self};
  session_handlers handlers;
  handlers.on_burst = [me](burst_ptr burst) { caf::anon_send(me, std::move(burst)); };
  handlers.on_state = [me](const mqtt::connection_state& connection) {
    caf::anon_send(me, std::make_shared<const mqtt::connection_state>(connection));
  };
  handlers.on_settled = [me](const std::string& refused) { caf::anon_send(me, settled_atom_v, refused); };
  handlers.on_drained = [me] { caf::anon_send(me, drained_atom_v); };
  before = ledger.received();
  config.board->disconnected("connecting");
  session = config.open_session({wanted, std::move(stale), purpose}, std::move(handlers));
  if (paused)
    session->pause({});
  session->start();
  if (retiring)
    step_after(retiring->config().patience);
}

void ingestor_state::on_settled(const std::string& refused) {
  if (!refused.empty())
    log::warning(component, config.name, "the broker keeps session {} subscribed, against its will, to {}",
                 wanted.client_id, refused);
  if (retiring && !refused.empty())
    return give_up();
  if (retiring || settled || !refused.empty())
    return;
  settled = true;
  tell_settled(wanted);
}

void ingestor_state::tell_settled(const session_record& confirmed) {
  if (const auto& keeper = lanes.front(); keeper.writer && keeper.version >= sessions_version)
    self->send(keeper.writer, settle_atom_v, confirmed);
}

void ingestor_state::on_drained() {
  log::info(component, config.name, "session {} is drained: {} messages came", wanted.client_id,
            ledger.received() - before);
  fulfilled = true;
  end_session();
}

/// Of one that retires: its session is not connected for long, or it is time to look again.
void ingestor_state::on_step() {
  if (session)
    give_up();
  else
    want_session();
}

void ingestor_state::give_up() {
  retiring->give_up(wanted);
  end_session();
}

void ingestor_state::step_after(std::chrono::milliseconds wait) {
  self->delayed_send(self, wait, step_atom_v, ++timer);
}

/// The session of one that retires is closed. A broker that speaks MQTT 5 has ended it; another ends it when a new one
/// begins.
void ingestor_state::retire_next() {
  const bool done = std::exchange(fulfilled, false);
  if (done && purpose == session_request::purpose::drain && protocol != mqtt_5) {
    purpose = session_request::purpose::forget;
    return open_session({});
  }
  if (done) {
    log::info(component, config.name, "session {} at broker {} is ended", wanted.client_id, wanted.broker);
    tell_settled(wanted);
  }
  wanted = {};
  want_session();
}

void ingestor_state::on_connection(const mqtt::connection_state& connection) {
  if (retiring)
    on_retiring_connection(connection);
  if (connection.connected) {
    config.board->connected(connection.session_present, connection.session_lost, connection.protocol);
    log::info(component, config.name, "connected with MQTT {}, session {}", connection.protocol == 5 ? "5" : "3.1.1",
              connection.session_present ? "resumed" : "new");
    if (connection.session_lost)
      log::warning(
        component, config.name,
        "the broker has forgotten this shard's session: messages that it held for it may be lost at the broker");
  } else {
    const auto reason = connection.reason ? connection.reason->to_string() : std::string{"closed"};
    config.board->disconnected(reason);
    if (!closing)
      log::warning(component, config.name, "not connected ({}); trying again", reason);
  }
}

void ingestor_state::on_retiring_connection(const mqtt::connection_state& connection) {
  if (!connection.connected) {
    fulfilled = fulfilled && purpose == session_request::purpose::forget; // the broker may not have heard of the end
    return step_after(retiring->config().patience);
  }
  ++timer;
  protocol = connection.protocol;
  if (purpose != session_request::purpose::forget)
    return;
  fulfilled = true;
  end_session();
}

void ingestor_state::on_pause(bool pause) {
  paused = pause;
  config.board->paused(pause);
  if (!session || stopping)
    return;
  if (pause)
    session->pause({});
  else
    session->resume();
}

void ingestor_state::on_exit() {
  if (std::exchange(stopping, true))
    return;
  if (ledger.unreleased() > 0)
    log::info(component, config.name, "stopping: {} messages still to be committed", ledger.in_flight());
  end_session();
}

void ingestor_state::end_session() {
  if (std::exchange(ending, true))
    return;
  // A burst may be on its way: only what the session says after the last one can be relied on.
  if (session)
    session->pause([me = ingestor_actor{self}] { caf::anon_send(me, paused_atom_v); });
  else
    quiet = true;
  close_when_done();
}

void ingestor_state::close_when_done() {
  // Without a batch-writer nothing can be flushed: the broker delivers it again.
  if (!ending || !quiet || closing || (has_all_writers() && ledger.unreleased() > 0))
    return;
  closing = true;
  if (!session)
    return end();
  auto done = [me = ingestor_actor{self}] { caf::anon_send(me, closed_atom_v); };
  if (fulfilled && purpose == session_request::purpose::drain)
    session->forget(std::move(done));
  else
    session->stop(std::move(done));
}

/// What is not committed stays with the broker.
void ingestor_state::end() {
  config.board->end();
  self->quit(caf::exit_reason::user_shutdown);
}

void ingestor_state::on_closed() {
  if (!retiring)
    return end();
  session.reset();
  ending = quiet = closing = false;
  if (stopping)
    return end_session();
  retire_next();
}

} // namespace penstock::actors
