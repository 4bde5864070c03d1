#include "actors/archiver.hpp"

#include "core/assert.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>

#include <algorithm>

namespace penstock::actors {

using namespace messages;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

constexpr const char* component = "archiver";

/// The first timestamp of the key.
std::string age_of(const storage::table& table) {
  for (const auto& name : table.key)
    for (const auto& column : table.columns)
      if (column.name == name && column.type == column_type::timestamp)
        return name;
  return {};
}

} // namespace

std::string archiver_config::validate() const {
  if (name.empty() || !open)
    return "an archiver needs a name and a database";
  if (retention.count() > 0 && column.empty() && age_of(table).empty())
    return name + ": no column says how old a row is";
  if (rows_max == 0 || retry_min.count() <= 0 || retry_max < retry_min)
    return name + ": rows_max > 0 and 0 < retry_min <= retry_max";
  return {};
}

/// A hundredth of what is kept: nobody sees that a row of 90 days stayed for some hours more. At most ten minutes.
milliseconds archiver_state::round_every() const {
  auto shortest = milliseconds::max();
  for (const auto kept : {config.retention, config.letters_retention})
    if (kept.count() > 0)
      shortest = std::min(shortest, kept);
  return std::clamp<milliseconds>(shortest / 100, 1s, 10min);
}

/// One transaction a table. Returns how many rows went; as many as `rows_max` means that there may be more.
result<std::uint64_t> archiver_state::delete_some() {
  std::uint64_t most = 0;
  if (config.retention.count() > 0) {
    auto rows = store->delete_older(config.table, config.column, wall_now() - config.retention, config.rows_max);
    if (!rows)
      return rows;
    deleted += *rows;
    most = *rows;
  }
  if (config.letters_retention.count() > 0) {
    auto letters =
      store->delete_older_letters(config.table.pipeline, wall_now() - config.letters_retention, config.rows_max);
    if (!letters)
      return letters;
    deleted += *letters;
    most = std::max(most, *letters);
  }
  return most;
}

void archiver_state::on_check() {
  const auto began = self->clock().now();
  auto failure = [&](const error& why) {
    store.reset();
    if (!std::exchange(failing, true))
      log::warning(component, config.name, "cannot delete what is old ({}); trying again", why.to_string());
    self->delayed_send(self, waits->next(), check_atom_v);
  };
  if (!store) {
    auto opened = config.open();
    if (!opened)
      return failure(opened.error());
    store = std::move(*opened);
  }
  auto some = delete_some();
  if (!some)
    return failure(some.error());
  waits->reset();
  if (std::exchange(failing, false))
    log::info(component, config.name, "deletes what is old again");
  if (*some >= config.rows_max) // as long a pause as the work took: half of the time belongs to the writers
    return self->delayed_send(self, std::max<caf::timespan>(self->clock().now() - began, 20ms), check_atom_v);
  if (deleted > 0)
    log::info(component, config.name, "deleted {} rows and dead letters that were older than they are kept",
              std::exchange(deleted, 0));
  self->delayed_send(self, round_every(), check_atom_v);
}

archiver_actor::behavior_type archiver(archiver_actor::stateful_pointer<archiver_state> self, archiver_config config) {
  set_quiet_handlers(self);
  const auto wrong = config.validate();
  assert_that(wrong.empty(), wrong.c_str());
  auto& state = self->state;
  state.self = self;
  state.config = std::move(config);
  if (state.config.column.empty())
    state.config.column = age_of(state.config.table);
  state.waits = std::make_unique<backoff>(state.config.retry_min, state.config.retry_max, self->id());
  self->set_exit_handler([self](caf::exit_msg& exit) {
    if (exit.reason)
      self->quit(exit.reason);
  });
  self->delayed_send(self, state.config.retry_min, check_atom_v);
  return {
    [self](check_atom) { self->state.on_check(); },
  };
}

} // namespace penstock::actors
