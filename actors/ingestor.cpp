#include "actors/ingestor.hpp"

#include "core/assert.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>

#include <algorithm>

namespace penstock::actors {

using namespace messages;
using namespace std::chrono_literals;

namespace {

constexpr const char* component = "ingestor";
/// A frame is sealed when it is about this large, whatever its number of records.
constexpr std::size_t frame_bytes_max = 4u << 20;

} // namespace

std::string ingestor_config::validate() const {
  if (name.empty() || !open_session || !board || !pipeline_board)
    return "an ingestor needs a name, a session and its boards";
  if (pipeline.batch.records_max == 0)
    return name + ": batch.records_max must be positive";
  return {};
}

void ingestor_state::on_writer(const caf::strong_actor_ptr& announced) {
  if (writer)
    on_writer_down(); // its end was not heard of yet
  writer = caf::actor_cast<batch_writer_actor>(announced);
  self->monitor(writer);
  self->send(writer, attach_atom_v, ingestor_actor{self});
}

void ingestor_state::on_writer_down() {
  writer = nullptr;
  demand.reset();
  for (auto& [chunk, frame] : sent)
    frame.unsent = true;
  show();
  close_when_done();
}

void ingestor_state::on_attached(const attached& message) {
  demand.reset();
  demand.grant(message.records);
  if (!session && !stopping)
    open_session(message.installation);
  send_frames();
}

void ingestor_state::open_session(const std::string& installation) {
  // The session runs on a thread of its own: its handlers only post. They may hold the actor, since the actor's state
  // (and with it the session) goes when the actor ends.
  ingestor_actor me{self};
  session_handlers handlers;
  handlers.on_burst = [me](burst_ptr burst) { caf::anon_send(me, std::move(burst)); };
  handlers.on_state = [me](const mqtt::connection_state& connection) {
    caf::anon_send(me, std::make_shared<const mqtt::connection_state>(connection));
  };
  session = config.open_session(installation, std::move(handlers));
  if (paused)
    session->pause({});
  session->start();
}

void ingestor_state::on_burst(const burst_ptr& burst) {
  if (burst->messages.empty())
    return;
  ledger.receive(burst->first + burst->messages.size() - 1, burst->bytes, burst->arrived);
  config.board->apply(
    {.received = burst->messages.size(), .in_flight = ledger.in_flight(), .incarnation = incarnation});
  waiting.push_back({burst});
  if (!checking) {
    checking = true;
    self->delayed_send(self, 1s, check_atom_v);
  }
  send_frames();
}

/// Decodes from the oldest waiting message on; returns how many messages are in the builder.
std::uint32_t ingestor_state::decode_up_to(std::uint32_t messages_max) {
  std::uint32_t count = 0;
  while (!waiting.empty() && count < messages_max && builder->bytes() < frame_bytes_max) {
    auto& [burst, next] = waiting.front();
    for (; next < burst->messages.size() && count < messages_max && builder->bytes() < frame_bytes_max;
         ++next, ++count) {
      const auto& message = burst->messages[next];
      decoder->decode(message.topic, message.payload, burst->arrived, *builder);
    }
    if (next == burst->messages.size())
      waiting.pop_front();
  }
  return count;
}

void ingestor_state::send_frames() {
  resend_frames();
  while (writer && !waiting.empty() && demand.available() > 0) {
    const auto arrived = waiting.front().burst->arrived;
    const auto count = decode_up_to(
      static_cast<std::uint32_t>(std::min<std::uint64_t>(demand.available(), config.pipeline.batch.records_max)));
    const auto chunk = ledger.open_chunk(ledger.chunked() + count);
    auto frame = builder->seal(config.pipeline.name, config.shard, 0, chunk);
    demand.spend(count);
    sent[chunk] = {frame, count, false, arrived};
    self->send(writer, write_atom_v, std::move(frame), ingestor_actor{self});
  }
  show();
}

void ingestor_state::resend_frames() {
  for (auto& [chunk, frame] : sent) {
    if (!frame.unsent)
      continue;
    if (!writer || demand.available() < frame.messages)
      return;
    demand.spend(frame.messages);
    frame.unsent = false;
    self->send(writer, write_atom_v, frame.frame, ingestor_actor{self});
  }
}

void ingestor_state::on_committed(const committed& message) {
  const auto found = sent.find(message.chunk);
  if (found == sent.end())
    return; // committed twice: sent again to a new batch-writer after the former had committed it
  config.pipeline_board->latency(wall_now() - found->second.arrived, found->second.messages);
  sent.erase(found);
  const auto released = ledger.commit_part(message.chunk);
  if (released && session)
    session->release(*released);
  config.board->apply({.committed = message.stored,
                       .duplicate = message.duplicate,
                       .dead_lettered = message.dead_lettered,
                       .in_flight = ledger.in_flight(),
                       .incarnation = incarnation});
  show();
  close_when_done();
}

void ingestor_state::on_connection(const mqtt::connection_state& connection) {
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

void ingestor_state::on_check() {
  checking = false;
  const auto oldest = ledger.oldest();
  const auto lag = oldest ? wall_now() - *oldest : 0us;
  if (!lagging && lag > config.pipeline.lag_warning) {
    lagging = true;
    log::warning(component, config.name, "lag over {} ms: {} messages wait for their commit",
                 config.pipeline.lag_warning.count(), ledger.in_flight());
  } else if (lagging && lag <= config.pipeline.lag_warning) {
    lagging = false;
    log::info(component, config.name, "caught up: lag is {} ms",
              std::chrono::duration_cast<std::chrono::milliseconds>(lag).count());
  }
  if (oldest) {
    checking = true;
    self->delayed_send(self, 1s, check_atom_v);
  }
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
  if (stopping)
    return;
  stopping = true;
  // A burst may be on its way: only what the session says after the last one can be relied on.
  if (session)
    session->pause([me = ingestor_actor{self}] { caf::anon_send(me, paused_atom_v); });
  else
    quiet = true;
  if (ledger.in_flight() > 0)
    log::info(component, config.name, "stopping: {} messages still to be committed", ledger.in_flight());
  close_when_done();
}

void ingestor_state::close_when_done() {
  // Without a batch-writer nothing can be flushed: the broker delivers it again.
  if (!stopping || !quiet || closing || (writer && ledger.in_flight() > 0))
    return;
  closing = true;
  if (!session) {
    self->quit(caf::exit_reason::user_shutdown);
    return;
  }
  session->stop([me = ingestor_actor{self}] { caf::anon_send(me, closed_atom_v); });
}

void ingestor_state::show() {
  config.board->credit(demand.available());
  config.board->unacknowledged(ledger.bytes(), ledger.oldest());
}

ingestor_actor::behavior_type ingestor(ingestor_actor::stateful_pointer<ingestor_state> self, ingestor_config config) {
  set_quiet_handlers(self);
  const auto wrong = config.validate();
  assert_that(wrong.empty(), wrong.c_str());
  auto& state = self->state;
  state.self = self;
  state.config = std::move(config);
  state.decoder = decode::make_decoder(state.config.pipeline);
  state.builder = std::make_unique<record::frame_builder>(decode::column_types(state.config.pipeline));
  state.incarnation = state.config.board->begin();
  state.paused = state.config.board->paused();
  self->set_down_handler([self](caf::down_msg& down) {
    if (self->state.writer && down.source == self->state.writer.address())
      self->state.on_writer_down();
  });
  self->set_exit_handler([self](caf::exit_msg& exit) {
    if (exit.reason)
      self->state.on_exit();
  });
  return {
    [self](const messages::demand& more) {
      self->state.demand.grant(more.records);
      self->state.send_frames();
    },
    [self](const attached& message) { self->state.on_attached(message); },
    [self](const committed& message) { self->state.on_committed(message); },
    [self](const burst_ptr& burst) { self->state.on_burst(burst); },
    [self](const connection_state_ptr& connection) { self->state.on_connection(*connection); },
    [self](writer_atom, const caf::strong_actor_ptr& writer) { self->state.on_writer(writer); },
    [self](pause_atom) { self->state.on_pause(true); },
    [self](resume_atom) { self->state.on_pause(false); },
    [self](paused_atom) {
      self->state.quiet = true;
      self->state.close_when_done();
    },
    [self](check_atom) { self->state.on_check(); },
    [self](closed_atom) { self->quit(caf::exit_reason::user_shutdown); },
  };
}

} // namespace penstock::actors
