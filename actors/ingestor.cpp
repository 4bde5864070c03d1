#include "actors/ingestor.hpp"

#include "actors/handles.hpp"
#include "actors/layout.hpp"
#include "core/assert.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace penstock::actors {

using namespace messages;

namespace {

/// The first link version whose batch-writers take frames without messages.
constexpr std::uint16_t without_messages_version = 4;
/// A frame is sealed when it is about this large, whatever its number of records.
constexpr std::size_t frame_bytes_max = 4u << 20;

std::vector<std::size_t> key_columns(const config::ingest& pipeline) {
  std::vector<std::size_t> key;
  for (std::size_t index = 0; index < pipeline.columns.size(); ++index)
    if (std::find(pipeline.key.begin(), pipeline.key.end(), pipeline.columns[index].name) != pipeline.key.end())
      key.push_back(index);
  return key;
}

} // namespace

std::string ingestor_config::validate() const {
  if (name.empty() || !open_session || !board || !pipeline_board)
    return "an ingestor needs a name, a session and its boards";
  if (retirement && (!retirement->fate || !retirement->board))
    return name + ": who retires sessions needs to know which, and a board";
  if (pipeline.batch.records_max == 0 || pipeline.writers == 0)
    return name + ": batch.records_max and writers must be positive";
  return {};
}

void ingestor_state::on_writer(std::uint32_t index, const caf::strong_actor_ptr& announced, std::uint16_t version) {
  if (index >= lanes.size())
    return; // of a node whose configuration gives the pipeline more lanes
  auto& lane = lanes[index];
  // One that is announced twice is the same object. One that a lost node had, and has again, is another: what was sent
  // to it may be lost.
  if (lane.writer && caf::actor_cast<caf::strong_actor_ptr>(lane.writer).get() == announced.get())
    return;
  if (lane.writer)
    on_down(lane.writer.address()); // its end was not heard of yet
  // One that is to end, and has detached, may never commit what it still has: that goes before what follows.
  for (auto& [where, frame] : sent)
    if (where.lane == index && frame.to != caf::actor_cast<caf::actor_addr>(announced))
      frame.unsent = true;
  lane.writer = caf::actor_cast<batch_writer_actor>(announced);
  lane.version = version;
  self->monitor(lane.writer);
  asking = asking || index == 0;
  attach(index);
}

void ingestor_state::attach(std::uint32_t index) {
  auto& lane = lanes[index];
  ++lane.attach;
  lane.spent = lane.frames = 0;
  const auto layout = layout_of(storage::table_of(config.pipeline));
  if (lane.version >= held_version)
    self->send(lane.writer, attach_atom_v, ingestor_actor{self}, layout, link_version, lane.attach);
  else
    self->send(lane.writer, attach_atom_v, ingestor_actor{self}, layout);
}

/// CAF can lose a message between nodes without a word, while the link stands (docs/decisions/0017): a frame, a demand,
/// or an answer. Whoever is attached to again says what is there.
void ingestor_state::on_check() {
  for (std::uint32_t index = 0; index < lanes.size(); ++index) {
    auto& lane = lanes[index];
    if (!std::exchange(lane.heard, false) && lane.writer && lane.version >= held_version)
      attach(index);
  }
  self->delayed_send(self, config.silence_max, check_atom_v);
}

/// The batch-writer answers for what it has, and takes nothing more. At our own end it has to stay: it waits for that.
void ingestor_state::on_detach(std::uint32_t index) {
  if (stopping)
    return;
  if (comes_from_writer_of(index)) {
    lanes[index].writer = nullptr;
    lanes[index].demand.reset();
    show();
  }
  const auto writer = caf::actor_cast<batch_writer_actor>(self->current_sender());
  self->send(writer, detach_atom_v, ingestor_actor{self});
}

/// Asked for only until it is committed.
void ingestor_state::on_whole(std::uint32_t index, std::uint64_t chunk) {
  if (const auto found = sent.find({chunk, index}); found != sent.end())
    self->send(caf::actor_cast<batch_writer_actor>(self->current_sender()), write_atom_v,
               whole(found->first, found->second), ingestor_actor{self});
}

/// The frame with the messages of its rows. They are rarely asked for: they are decoded once more then.
const record::frame& ingestor_state::whole(const part& where, sent_frame& frame) {
  if (!frame.without)
    return frame.frame;
  const auto types = decode::column_types(config.pipeline);
  std::vector<std::unique_ptr<record::frame_builder>> builders;
  for (std::size_t index = 0; index <= lanes.size(); ++index)
    builders.push_back(std::make_unique<record::frame_builder>(types));
  auto& all = *builders.back();
  for (const auto& [burst, begin, end] : frame.without->parts)
    for (auto index = begin; index < end; ++index)
      decode(*burst, index, all);
  if (lanes.size() > 1)
    all.deal(key, std::span{builders}.first(lanes.size()));
  auto& own = lanes.size() > 1 ? *builders[where.lane] : all;
  frame.frame = own.seal(config.pipeline.name, config.shard, 0, where.chunk);
  frame.without.reset();
  return frame.frame;
}

void ingestor_state::on_down(const caf::actor_addr& writer) {
  for (auto& lane : lanes)
    if (is_of(writer, lane.writer)) {
      lane.writer = nullptr;
      lane.demand.reset();
    }
  for (auto& [unused, frame] : sent)
    if (frame.to.get() == writer.get())
      frame.unsent = true;
  send_frames();
  close_when_done();
}

/// Demand of a former batch-writer may still be on its way.
bool ingestor_state::comes_from_writer_of(std::uint32_t index) const {
  return index < lanes.size() && lanes[index].writer &&
         lanes[index].writer.address() == caf::actor_cast<caf::actor_addr>(self->current_sender());
}

/// What was sent since the attach, its batch-writer did not know of yet when it answered.
void ingestor_state::on_attached(const attached& message) {
  if (!comes_from_writer_of(message.lane))
    return;
  auto& lane = lanes[message.lane];
  lane.heard = true;
  lane.demand.reset();
  lane.demand.grant(message.records - std::min<std::uint64_t>(message.records, lane.spent));
  installation = message.installation;
  if (message.lane == 0 && !stopping && asking)
    want_session();
  send_frames();
}

/// All answers of before the attach have come, or will not: what is not there is sent again.
void ingestor_state::on_held(const held& message) {
  const auto index = message.answer.lane;
  if (!comes_from_writer_of(index) || message.attach != lanes[index].attach)
    return;
  const std::set<std::uint64_t> there{message.chunks.begin(), message.chunks.end()};
  for (auto& [where, frame] : sent)
    if (where.lane == index && frame.attach < message.attach) {
      frame.unsent = !there.contains(where.chunk);
      frame.to = caf::actor_cast<caf::actor_addr>(self->current_sender());
    }
  on_attached(message.answer);
}

void ingestor_state::on_demand(const messages::demand& more) {
  if (!comes_from_writer_of(more.lane))
    return;
  auto& lane = lanes[more.lane];
  lane.heard = true;
  lane.demand.grant(more.records);
  send_frames();
}

/// What is sent waits for its turn behind what is in the mailbox: under load several bursts make one chunk. Each frame
/// costs the links and CAF the same, however many rows it has.
void ingestor_state::on_burst(const burst_ptr& burst) {
  if (burst->messages.empty())
    return;
  ledger.receive(before + burst->first + burst->messages.size() - 1, burst->bytes, burst->arrived);
  config.board->apply(
    {.received = burst->messages.size(), .in_flight = ledger.in_flight(), .incarnation = incarnation});
  waiting.push_back({burst});
  fulfilled = false; // it was not drained after all
  if (!std::exchange(gathering, true))
    self->send(self, send_atom_v);
}

void ingestor_state::on_gathered() {
  gathering = false;
  send_frames();
}

/// Decodes from the oldest waiting message on, into the builder.
ingestor_state::source ingestor_state::take(std::uint32_t messages_max) {
  source taken;
  while (!waiting.empty() && taken.messages < messages_max && builder->bytes() < frame_bytes_max) {
    auto& [burst, next] = waiting.front();
    const auto begin = next;
    for (; next < burst->messages.size() && taken.messages < messages_max && builder->bytes() < frame_bytes_max;
         ++next, ++taken.messages)
      decode(*burst, next, *builder);
    taken.parts.push_back({burst, begin, next});
    if (next == burst->messages.size())
      waiting.pop_front();
  }
  return taken;
}

void ingestor_state::decode(const mqtt::burst& burst, std::size_t index, record::frame_builder& into) {
  const auto& message = burst.messages[index];
  decoder->decode(message.topic, message.payload, burst.arrived, into);
}

/// What every lane is ready to take.
std::uint64_t ingestor_state::credit() const {
  auto least = lanes.front().demand.available();
  for (const auto& lane : lanes)
    least = std::min(least, lane.demand.available());
  return least;
}

bool ingestor_state::has_all_writers() const {
  return std::all_of(lanes.begin(), lanes.end(), [](const lane& each) { return static_cast<bool>(each.writer); });
}

void ingestor_state::send_frames() {
  // What is to be sent again goes first: it would wait for ever for demand that newer frames spend.
  const bool resent = resend_frames();
  while (resent && has_all_writers() && !waiting.empty() && credit() > 0) {
    const auto most = std::min<std::uint64_t>(credit(), config.pipeline.batch.records_max);
    send_chunk(static_cast<std::uint32_t>(most));
  }
  show();
}

/// A frame for each lane that has a part of it.
void ingestor_state::send_chunk(std::uint32_t messages_max) {
  bool any_whole = false;
  for (std::uint32_t lane = 0; lane < lanes.size(); ++lane) {
    const bool is_whole = !takes_without_messages(lane);
    any_whole = any_whole || is_whole;
    if (lanes.size() > 1)
      lane_builders[lane]->keep_messages(is_whole);
  }
  builder->keep_messages(any_whole);
  const auto from = std::make_shared<const source>(take(messages_max));
  std::vector<std::pair<std::uint32_t, record::frame_builder*>> parts;
  if (lanes.size() == 1) {
    parts.emplace_back(0, builder.get());
  } else {
    builder->deal(key, lane_builders);
    for (std::uint32_t lane = 0; lane < lanes.size(); ++lane)
      if (lane_builders[lane]->messages() > 0)
        parts.emplace_back(lane, lane_builders[lane].get());
  }
  const auto chunk = ledger.open_chunk(ledger.chunked() + from->messages, static_cast<std::uint32_t>(parts.size()));
  for (const auto& [lane, content] : parts) {
    const part where{chunk, lane};
    sent_frame frame;
    frame.messages = static_cast<std::uint32_t>(content->messages());
    frame.frame = content->seal(config.pipeline.name, config.shard, 0, chunk);
    frame.without = takes_without_messages(lane) ? from : nullptr;
    frame.arrived = from->parts.front().burst->arrived;
    send(where, sent[where] = std::move(frame));
  }
}

/// A link carries less than half as much then; rows that the database refuses are rare, and asked for.
bool ingestor_state::takes_without_messages(std::uint32_t lane) const {
  const auto& to = lanes[lane];
  return to.writer.node() != self->node() && to.version >= without_messages_version;
}

void ingestor_state::send(const part& where, sent_frame& frame) {
  auto& lane = lanes[where.lane];
  lane.demand.spend(frame.messages);
  lane.spent += frame.messages;
  frame.attach = lane.attach;
  frame.unsent = false;
  frame.to = lane.writer.address();
  const auto& content = takes_without_messages(where.lane) ? frame.frame : whole(where, frame);
  if (lane.version >= held_version)
    self->send(lane.writer, write_atom_v, content, ingestor_actor{self}, lane.attach, lane.frames++);
  else
    self->send(lane.writer, write_atom_v, content, ingestor_actor{self});
}

/// In the order of arrival of each lane. True: nothing is left to be sent again.
bool ingestor_state::resend_frames() {
  std::vector<bool> full(lanes.size(), false);
  for (auto& [where, frame] : sent) {
    const auto& lane = lanes[where.lane];
    if (!frame.unsent || full[where.lane])
      continue;
    if (lane.writer && lane.demand.available() >= frame.messages)
      send(where, frame);
    else
      full[where.lane] = true;
  }
  return std::find(full.begin(), full.end(), true) == full.end();
}

void ingestor_state::on_committed(std::span<const committed> frames) {
  telemetry::account_delta delta{.incarnation = incarnation};
  std::optional<sequence> released;
  const auto now = wall_now();
  for (const auto& frame : frames) {
    const auto found = sent.find({frame.chunk, frame.lane});
    if (found == sent.end())
      continue; // committed twice: sent again to a new batch-writer after the former had committed it
    const auto messages = found->second.messages;
    config.pipeline_board->latency(now - found->second.arrived, messages);
    sent.erase(found);
    if (const auto upto = ledger.commit_part(frame.chunk, messages))
      released = upto;
    delta.committed += frame.stored;
    delta.duplicate += frame.duplicate;
    delta.dead_lettered += frame.dead_lettered;
  }
  if (released && session && *released > before)
    session->release(*released - before);
  delta.in_flight = ledger.in_flight();
  config.board->apply(delta);
  show();
  close_when_done();
}

void ingestor_state::on_batch_committed(const batch_committed& batch) {
  on_committed(batch.frames);
  on_demand(batch.more);
}

void ingestor_state::show() {
  config.board->credit(credit());
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
  const auto types = decode::column_types(state.config.pipeline);
  state.builder = std::make_unique<record::frame_builder>(types);
  state.key = key_columns(state.config.pipeline);
  state.lanes.resize(state.config.pipeline.writers);
  for (std::size_t lane = 0; lane < state.lanes.size() && state.lanes.size() > 1; ++lane)
    state.lane_builders.push_back(std::make_unique<record::frame_builder>(types));
  if (state.config.retirement)
    state.retiring = std::make_unique<retirement>(*state.config.retirement, state.config.pipeline.name);
  state.incarnation = state.config.board->begin();
  state.paused = state.config.board->paused();
  self->set_down_handler([self](caf::down_msg& down) { self->state.on_down(down.source); });
  on_exit_message(self, [self](const caf::error&) { self->state.on_exit(); });
  self->delayed_send(self, state.config.silence_max, check_atom_v);
  return {
    [self](const messages::demand& more) { self->state.on_demand(more); },
    [self](const attached& message) { self->state.on_attached(message); },
    [self](const held& message) { self->state.on_held(message); },
    [self](const committed& message) {
      self->state.on_committed({&message, 1});
    },
    [self](const batch_committed& batch) { self->state.on_batch_committed(batch); },
    [self](const burst_ptr& burst) { self->state.on_burst(burst); },
    [self](send_atom) { self->state.on_gathered(); },
    [self](const connection_state_ptr& connection) { self->state.on_connection(*connection); },
    [self](writer_atom, std::uint32_t lane, const caf::strong_actor_ptr& writer, std::uint16_t version) {
      self->state.on_writer(lane, writer, version);
    },
    [self](const session_record& record) { self->state.on_enlisted(record); },
    [self](const session_list& list) { self->state.on_list(list); },
    [self](settled_atom, const std::string& refused) { self->state.on_settled(refused); },
    [self](drained_atom) { self->state.on_drained(); },
    [self](detach_atom, std::uint32_t lane) { self->state.on_detach(lane); },
    [self](whole_atom, std::uint32_t lane, std::uint64_t chunk) { self->state.on_whole(lane, chunk); },
    [self](pause_atom) { self->state.on_pause(true); },
    [self](resume_atom) { self->state.on_pause(false); },
    [self](paused_atom) {
      self->state.quiet = true;
      self->state.close_when_done();
    },
    [self](closed_atom) { self->state.on_closed(); },
    [self](step_atom, std::uint64_t timer) {
      if (timer == self->state.timer)
        self->state.on_step();
    },
    [self](check_atom) { self->state.on_check(); },
  };
}

} // namespace penstock::actors
