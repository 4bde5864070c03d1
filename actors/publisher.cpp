#include "actors/publisher.hpp"

#include "core/assert.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>

namespace penstock::actors {

using namespace messages;

namespace {

constexpr const char* component = "publisher";

} // namespace

std::string publisher_config::validate() const {
  return name.empty() || !open_session || !board ? "a publisher needs a name, a session and its board" : "";
}

void publisher_state::on_poller(const caf::strong_actor_ptr& announced) {
  if (stopping)
    return;
  session.reset(); // what it has in flight is of an older epoch
  poller = caf::actor_cast<poller_actor>(announced);
  self->monitor(poller);
  self->send(poller, attach_atom_v, config.shard, publisher_actor{self});
}

/// Nobody guards the shard any more: nothing more may be sent.
void publisher_state::on_poller_down() {
  poller = nullptr;
  if (stopping)
    return close_when_done();
  session.reset();
  if (config.is_former)
    return self->quit(caf::exit_reason::user_shutdown);
  config.board->disconnected("the poller is away");
}

void publisher_state::on_adopted(const adopted& message) {
  if (stopping && message.installation.empty()) {
    poller = nullptr;
    return close_when_done();
  }
  session.reset();
  incarnation = message.incarnation;
  if (stopping)
    return;
  if (message.installation.empty())
    return config.board->disconnected("the poller does not own the shard");
  const auto number = incarnation;
  publisher_actor to{self};
  publish_session_handlers handlers;
  handlers.on_dial = [to, number] { caf::anon_send(to, wake_atom_v, number); };
  handlers.on_state = [to, number](const mqtt::connection_state& connection) {
    caf::anon_send(to, number, std::make_shared<const mqtt::connection_state>(connection));
  };
  handlers.on_published = [to, number](std::span<const mqtt::completion> answers) {
    caf::anon_send(to, number, std::make_shared<const std::vector<mqtt::completion>>(answers.begin(), answers.end()));
  };
  session = config.open_session(message.installation, std::move(handlers));
  resumed = false;
  session->start();
}

void publisher_state::on_connection(const mqtt::connection_state& connection) {
  if (!session || !poller)
    return;
  if (connection.connected) {
    config.board->connected(connection.session_present, connection.protocol);
    log::info(component, config.name, "connected with MQTT {}, session {}", connection.protocol == 5 ? "5" : "3.1.1",
              connection.session_present ? "resumed" : "new");
    if (config.id_only_in_properties && connection.protocol < 5)
      log::warning(component, config.name,
                   "this broker takes no MQTT 5, so that messages go without their id, and subscribers cannot tell a "
                   "repeat: add it to the payload (add: {{id: $id}})");
    self->send(poller, connected{me(), connection.session_present, resumed,
                                 static_cast<std::uint32_t>(connection.publish_window)});
    return;
  }
  const auto reason = connection.reason ? connection.reason->to_string() : std::string{"closed"};
  config.board->disconnected(reason);
  if (!closing)
    log::warning(component, config.name, "not connected ({}); trying again", reason);
  self->send(poller, down_atom_v, me());
}

void publisher_state::on_exit() {
  if (stopping)
    return;
  stopping = true;
  if (poller)
    self->send(poller, detach_atom_v, config.shard, publisher_actor{self});
  close_when_done();
}

/// The poller says when what was in flight is confirmed, or ends itself.
void publisher_state::close_when_done() {
  if (!stopping || poller || closing)
    return;
  closing = true;
  if (!session)
    return self->quit(caf::exit_reason::user_shutdown);
  const auto done = [me = publisher_actor{self}] { caf::anon_send(me, closed_atom_v); };
  if (config.is_former)
    session->forget(done);
  else
    session->stop(done);
}

publisher_actor::behavior_type publisher(publisher_actor::stateful_pointer<publisher_state> self,
                                         publisher_config config) {
  set_quiet_handlers(self);
  const auto wrong = config.validate();
  assert_that(wrong.empty(), wrong.c_str());
  self->state.self = self;
  self->state.config = std::move(config);
  self->set_down_handler([self](const caf::down_msg& down) {
    if (self->state.poller && down.source == self->state.poller.address())
      self->state.on_poller_down();
  });
  on_exit_message(self, [self](const caf::error&) { self->state.on_exit(); });
  return {
    [self](poller_atom, const caf::strong_actor_ptr& announced) { self->state.on_poller(announced); },
    [self](const adopted& message) { self->state.on_adopted(message); },
    [self](dial_atom) {
      if (self->state.session)
        self->state.session->dial();
    },
    [self](const resumptions_ptr& handshakes) {
      self->state.resumed = true;
      if (self->state.session)
        self->state.session->proceed(std::move(*handshakes));
    },
    [self](const publications_ptr& claims) {
      if (self->state.session)
        self->state.session->publish(std::move(*claims));
    },
    [self](const packet_ids_ptr& ids) {
      if (self->state.session)
        self->state.session->release_published(*ids);
    },
    [self](wake_atom, std::uint64_t incarnation) {
      if (self->state.poller && incarnation == self->state.incarnation)
        self->send(self->state.poller, dial_atom_v, self->state.me());
    },
    [self](std::uint64_t incarnation, const connection_state_ptr& connection) {
      if (incarnation == self->state.incarnation)
        self->state.on_connection(*connection);
    },
    [self](std::uint64_t incarnation, const completions_ptr& answers) {
      if (self->state.poller && incarnation == self->state.incarnation)
        self->send(self->state.poller, self->state.me(), answers);
    },
    [self](closed_atom) { self->quit(caf::exit_reason::user_shutdown); },
  };
}

} // namespace penstock::actors
