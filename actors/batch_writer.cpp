#include "actors/batch_writer.hpp"

#include "actors/handles.hpp"
#include "actors/layout.hpp"
#include "core/assert.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>

#include <algorithm>
#include <set>
#include <utility>

namespace penstock::actors {

using namespace messages;
using question = batch_writer_state::question;

namespace {

constexpr const char* component = "batch-writer";

/// After these the connection is of no use any more.
bool ends_connection(errc code) {
  return code == errc::connection_lost || code == errc::connection_refused || code == errc::database_unavailable ||
         code == errc::timed_out || disposition_of(code) == disposition::fatal;
}

} // namespace

std::string batch_writer_config::validate() const {
  if (name.empty() || !open || !board)
    return "a batch-writer needs a name, a database and a board";
  if (records_max == 0 || demand_max == 0)
    return name + ": records_max and demand_max must be positive";
  if (retry_min.count() <= 0 || retry_max < retry_min)
    return name + ": 0 < retry_min <= retry_max";
  return {};
}

/// Opens the database and prepares the table; then those that wait are welcomed.
void batch_writer_state::open() {
  auto opened = config.open();
  if (!opened)
    return retry_later(opened.error());
  // Kept only once it is prepared: a retry that found it would take it for one that is.
  if (auto prepared = (*opened)->prepare(config.table); !prepared)
    return retry_later(prepared.error());
  auto id = (*opened)->installation_id();
  if (!id)
    return retry_later(id.error());
  store = std::move(*opened);
  const bool first = installation.empty();
  installation = std::move(*id);
  // After a failed write only a write that succeeds shows that all is well: open() may succeed where write() does not.
  if (queue.empty() || failures == 0) {
    recovered();
    log::info(component, config.name, "table {} is open{}", config.table.name, first ? "" : " again");
  }
  for (const auto& each : ingestors)
    if (first)
      welcome(each);
  answer_questions();
  schedule_commit();
}

/// What is still here of an ingestor is not demanded a second time.
void batch_writer_state::welcome(const attached_ingestor& ingestor) {
  std::uint32_t queued = 0;
  std::vector<std::uint64_t> chunks;
  for (const auto& each : queue)
    if (each.from == ingestor.handle) {
      queued += each.messages;
      chunks.push_back(each.frame->chunk());
    }
  attached answer{config.lane, installation, config.demand_max - std::min(queued, config.demand_max)};
  if (ingestor.attach > 0)
    send_urgent(self, ingestor.handle, held{std::move(answer), ingestor.attach, std::move(chunks)});
  else
    send_urgent(self, ingestor.handle, std::move(answer));
}

void batch_writer_state::on_attach(const attached_ingestor& ingestor, std::uint64_t frames) {
  if (frames != layout) {
    if (!std::exchange(refused, true))
      log::error(component, config.name,
                 "an ingestor of another node has other columns: nothing is taken from it until both nodes have the "
                 "same configuration");
    return;
  }
  forget(ingestor.handle.address());
  self->monitor(ingestor.handle);
  ingestors.push_back(ingestor);
  // A handle of before its link was lost leads nowhere any more, nor does what was asked over it.
  for (auto& each : queue)
    if (each.from == ingestor.handle) {
      each.from = ingestor.handle;
      if (each.asked)
        ask(each);
    }
  if (!installation.empty())
    welcome(ingestor);
  if (stopping)
    self->send(ingestor.handle, detach_atom_v, config.lane);
}

/// Null: it cannot be read.
std::unique_ptr<record::frame_view> batch_writer_state::open_frame(const record::frame& frame,
                                                                   const ingestor_actor& from) {
  auto view = record::frame_view::open(frame, types);
  assert_that(view || from.node() != self->node(), "an ingestor of the same pipeline sends frames of its columns");
  if (view)
    return *std::move(view);
  log::error(component, config.name, "a frame of another node cannot be read: {}", view.error().to_string());
  return nullptr;
}

void batch_writer_state::on_write(const record::frame& frame, const ingestor_actor& from) {
  auto view = open_frame(frame, from);
  if (!view)
    return;
  const auto asked = std::find_if(queue.begin(), queue.end(), [&](const queued_frame& each) {
    return each.asked && each.from == from && each.frame->chunk() == view->chunk();
  });
  if (asked != queue.end()) {
    asked->frame = std::move(view);
    asked->asked = false;
    return schedule_commit();
  }
  if (const auto* const attached = find(from.address()); attached && attached->attach > 0)
    return; // the second answer to what was asked twice
  enqueue(std::move(view), from);
}

/// What is not taken here, its ingestor sends again once it has attached again: it hears nothing of it.
void batch_writer_state::on_numbered_write(const record::frame& frame, const ingestor_actor& from, std::uint64_t attach,
                                           std::uint64_t number) {
  auto* const attached = find(from.address());
  if (!attached || attached->attach != attach || attached->frames != number)
    return;
  if (auto view = open_frame(frame, from)) {
    ++attached->frames;
    attached->checks = 0;
    enqueue(std::move(view), from);
  }
}

void batch_writer_state::enqueue(std::unique_ptr<record::frame_view> frame, const ingestor_actor& from) {
  const auto messages = static_cast<std::uint32_t>(frame->rows() + frame->letters());
  queued_messages += messages;
  queue.push_back({std::move(frame), from, messages});
  schedule_commit();
}

void batch_writer_state::ask(queued_frame& queued) {
  queued.asked = true;
  queued.checks = 0;
  if (!find(queued.from.address())) // else it is watched already, and CAF would watch it twice
    self->monitor(queued.from);
  send_urgent(self, queued.from, whole_atom_v, config.lane, queued.frame->chunk());
}

/// The frames at the front of the queue hold a row that the database refuses.
void batch_writer_state::ask_for_messages(std::size_t frames) {
  bool any = false;
  for (std::size_t index = 0; index < frames; ++index) {
    auto& each = queue[index];
    if (each.frame->has_messages())
      continue;
    any = true;
    ask(each);
  }
  assert_that(any, "a store that has a row's message makes a dead letter of it");
}

/// Of a lost ingestor nothing can be asked: its messages come again, from the broker or to whoever has the lane then.
/// What it sent later goes with them, or it would overtake them.
void batch_writer_state::on_down(const caf::actor_addr& ingestor) {
  if (std::any_of(ingestors.begin(), ingestors.end(), [&](const auto& each) { return is_of(ingestor, each.handle); }))
    forget(ingestor);
  bool lost = false;
  std::erase_if(queue, [&](const queued_frame& each) {
    const bool is_its = is_of(ingestor, each.from);
    lost = lost || (is_its && each.asked);
    queued_messages -= lost && is_its ? each.messages : 0;
    return lost && is_its;
  });
  schedule_commit();
  quit_when_done();
}

void batch_writer_state::on_question(question asked) {
  std::erase_if(questions, [&](const question& before) {
    return before.what == asked.what && before.session.client_id == asked.session.client_id &&
           before.session.broker == asked.session.broker && before.from == asked.from;
  });
  questions.push_back(std::move(asked));
  answer_questions();
}

/// False: the database does not answer.
bool batch_writer_state::answer_questions() {
  while (!questions.empty() && store && !retrying) {
    if (auto answered = answer(questions.front()); !answered) {
      retry_later(answered.error());
      return false;
    }
    questions.pop_front();
  }
  return true;
}

result<void> batch_writer_state::answer(const question& asked) {
  switch (asked.what) {
  case question::kind::enlist: {
    auto enlisted = store->enlist(asked.session);
    if (!enlisted)
      return enlisted.error();
    self->send(asked.from, *std::move(enlisted));
    return {};
  }
  case question::kind::settle: return store->settle(asked.session);
  case question::kind::list: {
    auto all = store->sessions();
    if (!all)
      return all.error();
    self->send(asked.from, session_list{*std::move(all)});
    return {};
  }
  }
  return {};
}

/// The commit message goes to the end of the mailbox: when its turn comes, every frame that was there before is in the
/// queue.
void batch_writer_state::schedule_commit() {
  if (committing || retrying || queue.empty() || queue.front().asked || !store)
    return;
  committing = true;
  self->send(self, commit_atom_v);
}

void batch_writer_state::on_commit() {
  committing = false;
  if (retrying || queue.empty() || queue.front().asked || !store)
    return;
  std::vector<const record::frame_view*> batch;
  std::uint64_t messages = 0;
  for (const auto& queued : queue) {
    if (queued.asked || (!batch.empty() && messages + queued.messages > config.records_max))
      break;
    batch.push_back(queued.frame.get());
    messages += queued.messages;
  }
  config.board->queue(queue.size(), queued_messages);
  auto outcomes = store->write(batch);
  if (!outcomes && outcomes.error().code == errc::row_refused)
    return ask_for_messages(batch.size());
  if (!outcomes)
    return retry_later(outcomes.error());
  written = true;
  if (failures > 0) {
    log::info(component, config.name, "the database takes records again");
    recovered();
  }
  config.board->commit(messages);
  reply(*outcomes);
  config.board->queue(queue.size(), queued_messages);
  schedule_commit();
  quit_when_done();
}

/// Answers for the frames at the front of the queue, and demands as many records again: one message to each ingestor,
/// since a message over a link costs the same, whatever it says.
void batch_writer_state::reply(const std::vector<storage::frame_outcome>& outcomes) {
  assert_that(outcomes.size() <= queue.size(), "an outcome a frame");
  std::vector<std::pair<ingestor_actor, batch_committed>> answers;
  for (const auto& outcome : outcomes) {
    const auto done = std::move(queue.front());
    queue.pop_front();
    queued_messages -= done.messages;
    auto to = std::find_if(answers.begin(), answers.end(), [&](const auto& each) { return each.first == done.from; });
    if (to == answers.end())
      to = answers.insert(to, {done.from, {{}, {config.lane, 0}}});
    to->second.frames.push_back(
      {config.lane, done.frame->chunk(), outcome.stored, outcome.duplicate, outcome.dead_lettered});
    to->second.more.records += done.messages;
  }
  for (auto& [ingestor, batch] : answers)
    tell(ingestor, std::move(batch));
}

/// One that has detached is asked for nothing more.
void batch_writer_state::tell(const ingestor_actor& ingestor, batch_committed batch) {
  const auto* const attached = find(ingestor.address());
  if (attached && attached->version >= batches_version)
    return send_urgent(self, ingestor, std::move(batch));
  for (const auto& frame : batch.frames)
    send_urgent(self, ingestor, frame);
  if (attached)
    send_urgent(self, ingestor, batch.more);
}

void batch_writer_state::recovered() {
  failures = 0;
  alarmed = false;
  waits->reset();
  config.board->running();
  if (!checking) {
    checking = true;
    self->delayed_send(self, config.check_every, check_atom_v);
  }
}

/// A database that went away while there was nothing to write is noticed here.
void batch_writer_state::on_check() {
  checking = false;
  miss_silent();
  if (stopping)
    ask_to_detach();
  if (retrying || !store)
    return; // it is noticed already; recovered() begins to check again
  if (!std::exchange(written, false) && queue.empty())
    return probe();
  checking = true;
  self->delayed_send(self, config.check_every, check_atom_v);
}

/// CAF tells nothing of the end of an actor at another node where a new link was there before the old one was missed.
void batch_writer_state::miss_silent() {
  std::set<caf::actor_addr> missed;
  for (auto& each : ingestors)
    if (each.version >= held_version && ++each.checks > config.silent_checks_max)
      missed.insert(each.handle.address());
  for (auto& each : queue)
    if (each.asked && ++each.checks > config.silent_checks_max)
      missed.insert(each.from.address());
  for (const auto& each : missed) {
    log::warning(component, config.name, "an ingestor is silent: if it lives, it sends again what is not committed");
    on_down(each);
  }
}

void batch_writer_state::probe() {
  if (auto answered = store->ping(); !answered)
    return retry_later(answered.error());
  recovered();
}

void batch_writer_state::retry_later(const error& reason) {
  const bool fatal = disposition_of(reason.code) == disposition::fatal;
  const auto now = self->clock().now();
  if (ends_connection(reason.code))
    store.reset();
  if (failures == 0)
    failing_since = now;
  if (failures++ == 0)
    log::write(fatal ? log::level::error : log::level::warning, component, config.name,
               reason.to_string() + (fatal ? "; nothing is written until this is mended" : "; trying again"));
  if (fatal)
    config.board->stopped(reason.to_string());
  else
    config.board->waiting(reason.to_string());
  config.board->failed(reason.to_string(), wall_now());
  if (!alarmed && now - failing_since >= config.alarm_after) {
    alarmed = true;
    config.board->alarm();
    log::error(component, config.name, "ALARM: nothing could be written for {} s: {}",
               std::chrono::duration_cast<std::chrono::seconds>(now - failing_since).count(), reason.to_string());
  }
  retrying = true;
  self->delayed_send(self, fatal ? config.retry_max : waits->next(), retry_atom_v);
}

void batch_writer_state::on_retry() {
  retrying = false;
  if (!store)
    open();
  else if (!answer_questions())
    return;
  else if (!queue.empty())
    on_commit();
  else
    probe();
}

/// nullptr: it is not attached.
auto batch_writer_state::find(const caf::actor_addr& ingestor) -> attached_ingestor* {
  const auto found = std::find_if(ingestors.begin(), ingestors.end(),
                                  [&](const auto& each) { return each.handle.address() == ingestor; });
  return found == ingestors.end() ? nullptr : &*found;
}

/// It sends nothing more: it has said so, has ended, or its node is lost.
void batch_writer_state::forget(const caf::actor_addr& ingestor) {
  if (!find(ingestor))
    return;
  const auto is_asked = [&](const queued_frame& each) { return each.asked && each.from.address() == ingestor; };
  if (std::none_of(queue.begin(), queue.end(), is_asked))
    self->demonitor(ingestor);
  std::erase_if(ingestors, [&](const auto& each) { return each.handle.address() == ingestor; });
}

void batch_writer_state::on_exit() {
  if (!std::exchange(stopping, true))
    ask_to_detach();
  quit_when_done();
}

void batch_writer_state::ask_to_detach() {
  for (const auto& each : ingestors)
    self->send(each.handle, detach_atom_v, config.lane);
}

/// Asked to stop, it stays until everything of its ingestors is committed and they have detached. Those that stop
/// themselves do so at their end, once all that they have is committed.
void batch_writer_state::quit_when_done() {
  if (stopping && ingestors.empty() && queue.empty())
    self->quit(caf::exit_reason::user_shutdown);
}

batch_writer_actor::behavior_type batch_writer(batch_writer_actor::stateful_pointer<batch_writer_state> self,
                                               batch_writer_config config) {
  set_quiet_handlers(self);
  const auto wrong = config.validate();
  assert_that(wrong.empty(), wrong.c_str());
  auto& state = self->state;
  state.self = self;
  state.config = std::move(config);
  state.waits = std::make_unique<backoff>(state.config.retry_min, state.config.retry_max, self->id());
  for (const auto& column : state.config.table.columns)
    state.types.push_back(column.type);
  state.layout = layout_of(state.config.table);
  self->set_down_handler([self](caf::down_msg& down) { self->state.on_down(down.source); });
  on_exit_message(self, [self](const caf::error&) { self->state.on_exit(); });
  state.retrying = true;
  self->send(self, retry_atom_v);
  return {
    [self](attach_atom, const ingestor_actor& ingestor, std::uint64_t frames) {
      self->state.on_attach({ingestor, link_version_oldest, 0}, frames);
    },
    [self](attach_atom, const ingestor_actor& ingestor, std::uint64_t frames, std::uint16_t version) {
      self->state.on_attach({ingestor, version, 0}, frames);
    },
    [self](attach_atom, const ingestor_actor& ingestor, std::uint64_t frames, std::uint16_t version,
           std::uint64_t attach) {
      self->state.on_attach({ingestor, version, attach}, frames);
    },
    [self](detach_atom, const ingestor_actor& ingestor) {
      self->state.forget(ingestor.address());
      self->state.quit_when_done();
    },
    [self](write_atom, const record::frame& frame, const ingestor_actor& from, std::uint64_t attach,
           std::uint64_t number) { self->state.on_numbered_write(frame, from, attach, number); },
    [self](write_atom, const record::frame& frame, const ingestor_actor& from) { self->state.on_write(frame, from); },
    [self](enlist_atom, const session_record& session, const ingestor_actor& from) {
      self->state.on_question({question::kind::enlist, session, from});
    },
    [self](settle_atom, const session_record& session) {
      self->state.on_question({question::kind::settle, session, {}});
    },
    [self](sessions_atom, const ingestor_actor& from) {
      self->state.on_question({question::kind::list, {}, from});
    },
    [self](commit_atom) { self->state.on_commit(); },
    [self](retry_atom) { self->state.on_retry(); },
    [self](check_atom) { self->state.on_check(); },
  };
}

} // namespace penstock::actors
