#include "actors/supervisor.hpp"

#include "core/assert.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>

#include <algorithm>
#include <utility>

namespace penstock::actors {

using namespace messages;

namespace {
constexpr const char* component = "supervisor";

bool ended_normally(const caf::error& reason) {
  return !reason || reason == caf::exit_reason::normal || reason == caf::exit_reason::user_shutdown;
}
} // namespace

std::string supervisor_config::validate() const {
  if (name.empty())
    return "a supervisor needs a name";
  if (window.count() <= 0 || backoff_min.count() <= 0 || backoff_max < backoff_min)
    return name + ": window and backoff must be positive, and backoff_max at least backoff_min";
  return {};
}

supervisor_state::~supervisor_state() {
  for (auto& each : children)
    if (each.handle)
      caf::anon_send_exit(each.handle, caf::exit_reason::kill);
}

void supervisor_state::start(child& which) {
  which.stopping = false;
  which.handle = which.spec.start(self->system());
  // Of an actor that has already ended too, the down message comes. Who monitors first hears last: when the tree has
  // ended, the broker of CAF's network has heard of every actor. What reaches that broker after its thread has ended is
  // kept for ever, the sender with it, and CAF 0.17 waits for the thread of a detached sender.
  self->monitor(which.handle);
  directory->up(which.spec.name, which.spec.kind, which.handle);
  if (config.on_start)
    config.on_start(which.spec.name, [this](const std::string& wanted) -> caf::actor {
      for (const auto& each : children)
        if (each.spec.name == wanted && !each.stopping)
          return each.handle;
      return {};
    });
}

void supervisor_state::stop(child& which) {
  if (!which.handle || which.stopping)
    return;
  which.stopping = true;
  self->send_exit(which.handle, caf::exit_reason::user_shutdown);
  // Timers of CAF 0.17 cannot be cancelled: the address tells whether it still means this child.
  self->delayed_send(self, which.spec.stop_timeout, kill_atom_v, which.handle.address());
}

void supervisor_state::on_down(const caf::down_msg& down) {
  const auto found = std::find_if(children.begin(), children.end(), [&](const child& each) {
    return each.handle && each.handle.address() == down.source;
  });
  if (found == children.end())
    return;
  const bool asked_for = found->stopping;
  found->handle = nullptr;
  found->stopping = false;
  directory->down(found->spec.name, asked_for ? std::string{} : to_text(down.reason));
  if (halting)
    return stop_next();
  if (!asked_for)
    return fail(*found, down.reason);
  replace_ended();
  start_missing();
}

void supervisor_state::change(const child_changes_ptr& changes) {
  if (halting)
    return;
  changing.push_back(changes);
  for (const auto& [name, spec] : changes->children) {
    const auto found = std::find_if(children.begin(), children.end(),
                                    [wanted = &name](const child& each) { return each.spec.name == *wanted; });
    if (found != children.end()) {
      found->leaving = true;
      found->successor = spec;
      stop(*found);
    } else if (spec) {
      start(children.emplace_back(child{*spec, {}}));
    }
  }
  replace_ended();
}

/// Those that were to leave and have ended are forgotten, and their successors started.
void supervisor_state::replace_ended() {
  for (auto& each : children) {
    if (!each.leaving || each.handle)
      continue;
    directory->forget(each.spec.name);
    if (!each.successor)
      continue;
    each = child{*std::move(each.successor), {}};
    start(each);
  }
  std::erase_if(children, [](const child& each) { return each.leaving && !each.handle; });
  if (std::any_of(children.begin(), children.end(), [](const child& each) { return each.leaving; }))
    return;
  for (const auto& done : std::exchange(changing, {}))
    if (done->on_done)
      done->on_done();
}

void supervisor_state::fail(child& which, const caf::error& reason) {
  if (which.spec.restart == restart_rule::temporary ||
      (which.spec.restart == restart_rule::transient && ended_normally(reason))) {
    which.wanted = false;
    return;
  }
  if (!budget->spend(self->clock().now())) {
    log::error(component, config.name, "{} failed ({}) and was restarted {} times within {} s: giving up",
               which.spec.name, to_text(reason), config.restarts_max, config.window.count() / 1000);
    self->quit(actor_failure(config.name + ": " + which.spec.name + " keeps failing: " + to_text(reason)));
    return;
  }
  log::warning(component, config.name, "{} failed ({}): restarting it", which.spec.name, to_text(reason));
  const auto failed = static_cast<std::size_t>(&which - children.data());
  for (auto i = children.size(); i-- > 0;)
    if (i != failed && (config.strategy == restart_strategy::one_for_all ||
                        (config.strategy == restart_strategy::rest_for_one && i > failed)))
      stop(children[i]);
  restarting = true;
  if (budget->spent() == 1) {
    waits->reset();
    return start_missing();
  }
  if (!backing_off) {
    backing_off = true;
    self->delayed_send(self, waits->next(), restart_atom_v);
  }
}

void supervisor_state::start_missing() {
  if (!restarting || backing_off || halting)
    return;
  // Wait until all that are to end have ended, then start in the order of declaration.
  if (std::any_of(children.begin(), children.end(), [](const child& each) { return each.stopping; }))
    return;
  restarting = false;
  for (auto& each : children)
    if (!each.handle && each.wanted)
      start(each);
}

void supervisor_state::halt() {
  halting = true;
  // Last first here too: whoever leans on children declared before it knows of its own end when it hears of theirs.
  if (!config.stop_in_reverse)
    for (auto each = children.rbegin(); each != children.rend(); ++each)
      stop(*each);
  stop_next();
}

void supervisor_state::stop_next() {
  for (auto i = children.size(); i-- > 0;)
    if (children[i].handle)
      return stop(children[i]);
  self->quit(caf::exit_reason::user_shutdown);
}

caf::behavior supervisor(caf::stateful_actor<supervisor_state>* self, supervisor_config config,
                         std::vector<child_spec> children, actor_directory* directory) {
  set_quiet_handlers(self);
  assert_that(config.validate().empty(), "a supervisor's configuration is valid");
  auto& state = self->state;
  state.self = self;
  state.directory = directory;
  state.budget = std::make_unique<restart_budget>(config.restarts_max, config.window);
  state.waits = std::make_unique<backoff>(config.backoff_min, config.backoff_max, self->id());
  state.config = std::move(config);
  self->set_down_handler([self](caf::down_msg& down) { self->state.on_down(down); });
  on_exit_message(self, [self](const caf::error&) { self->state.halt(); });
  for (auto& spec : children)
    state.children.push_back(supervisor_state::child{std::move(spec), {}});
  for (auto& each : state.children)
    state.start(each);
  return {
    [self](restart_atom) {
      self->state.backing_off = false;
      self->state.start_missing();
    },
    [self](const child_changes_ptr& changes) { self->state.change(changes); },
    [self](kill_atom, const caf::actor_addr& late) {
      for (auto& each : self->state.children)
        if (each.handle && each.stopping && each.handle.address() == late) {
          log::warning(component, self->state.config.name, "{} did not end in time: killing it", each.spec.name);
          self->send_exit(each.handle, caf::exit_reason::kill);
        }
    },
  };
}

void start_children(const caf::actor& supervisor, std::vector<child_spec> children) {
  auto changes = std::make_shared<child_changes>();
  for (auto& child : children) {
    auto name = child.name;
    changes->children.push_back({std::move(name), std::move(child)});
  }
  caf::anon_send(supervisor, child_changes_ptr{std::move(changes)});
}

void stop_children(const caf::actor& supervisor, const std::vector<child_spec>& children,
                   std::function<void()> on_done) {
  auto changes = std::make_shared<child_changes>();
  for (const auto& child : children)
    changes->children.push_back({child.name, {}});
  changes->on_done = std::move(on_done);
  caf::anon_send(supervisor, child_changes_ptr{std::move(changes)});
}

} // namespace penstock::actors
