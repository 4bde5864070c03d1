#include "actors/archiver.hpp"

#include "core/assert.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>

#include <algorithm>

namespace penstock::actors {

using namespace messages;
using namespace std::chrono_literals;

namespace {

constexpr const char* component = "archiver";

} // namespace

std::string archiver_config::validate() const {
  if (name.empty() || !open)
    return "an archiver needs a name and a database";
  if (retry_min.count() <= 0 || retry_max < retry_min)
    return name + ": 0 < retry_min <= retry_max";
  return {};
}

void archiver_state::on_check() {
  const auto began = self->clock().now();
  auto failure = [&](const error& why) {
    task.reset();
    if (!std::exchange(failing, true))
      log::warning(component, config.name, "what is old stays ({}); trying again", why.to_string());
    self->delayed_send(self, waits->next(), check_atom_v);
  };
  if (!task) {
    auto opened = config.open();
    if (!opened)
      return failure(opened.error());
    task = std::move(*opened);
  }
  const auto done = task->step();
  if (!done)
    return failure(done.error());
  waits->reset();
  rows += done->rows;
  if (std::exchange(failing, false))
    log::info(component, config.name, "what is old goes again");
  if (done->more) // as long a pause as the work took: half of the time belongs to those who write
    return self->delayed_send(self, std::max<caf::timespan>(self->clock().now() - began, 20ms), check_atom_v);
  if (rows > 0)
    log::info(component, config.name, "{} {}", std::exchange(rows, 0), config.work);
  self->delayed_send(self, task->round_every(), check_atom_v);
}

archiver_actor::behavior_type archiver(archiver_actor::stateful_pointer<archiver_state> self, archiver_config config) {
  set_quiet_handlers(self);
  const auto wrong = config.validate();
  assert_that(wrong.empty(), wrong.c_str());
  auto& state = self->state;
  state.self = self;
  state.config = std::move(config);
  state.waits = std::make_unique<backoff>(state.config.retry_min, state.config.retry_max, self->id());
  on_exit_message(self, [self](const caf::error& reason) { self->quit(reason); });
  self->delayed_send(self, state.config.retry_min, check_atom_v);
  return {
    [self](check_atom) { self->state.on_check(); },
  };
}

} // namespace penstock::actors
