#include "actors/presence.hpp"

#include "actors/pipeline_actors.hpp"
#include "telemetry/log.hpp"

#include <sstream>

namespace penstock::actors {

using namespace messages;

namespace {
constexpr const char* component = "presence";
constexpr std::uint32_t commands_max = 64;
constexpr std::size_t command_bytes_max = 256;
} // namespace

bool presence_state::tell_pipelines(bool pause, const std::string& pipeline) const {
  const auto tell = [&](const std::string& name) {
    const auto actor = config.directory->find(name);
    if (actor && pause)
      caf::anon_send(actor, pause_atom_v);
    else if (actor)
      caf::anon_send(actor, resume_atom_v);
  };
  // The board first: an actor that is being restarted goes by it.
  const auto told = config.board->pause(pipeline, pause);
  for (const auto& [name, shard] : told.ingest)
    tell(ingestor_name(name, shard));
  for (const auto& name : told.retiring)
    tell(retiring_name(name));
  for (const auto& name : told.publish)
    tell(poller_name(name));
  return !told.ingest.empty() || !told.publish.empty();
}

void presence_state::on_command(const std::string& command) {
  if (const auto dropped = commands->leave(); dropped > 0)
    log::warning(component, config.name, "{} commands dropped: {} were waiting", dropped, commands_max);
  std::istringstream words{command};
  std::string verb;
  std::string pipeline;
  words >> verb >> pipeline;
  if (verb == "status") {
    connection->report(telemetry::to_json(config.board->snapshot()));
    return;
  }
  if ((verb == "pause" || verb == "resume") && tell_pipelines(verb == "pause", pipeline)) {
    log::info(component, config.name, "{} {} on request", verb, pipeline.empty() ? "everything" : pipeline);
    return;
  }
  log::warning(component, config.name, "not a command: '{}'; use pause [PIPELINE], resume [PIPELINE] or status",
               command.substr(0, 60));
}

caf::behavior presence(caf::stateful_actor<presence_state>* self, presence_config config) {
  set_quiet_handlers(self);
  auto& state = self->state;
  state.config = std::move(config);
  state.commands = std::make_shared<mailbox_limit>(commands_max);
  // The handlers run on Paho's threads: they only post.
  state.connection = std::make_unique<mqtt::presence>(
    state.config.connection,
    [me = caf::actor{self}, commands = state.commands](const std::string& command) {
      if (commands->enter())
        caf::anon_send(me, command_atom_v, command.substr(0, command_bytes_max));
    },
    [name = state.config.name](const std::string& failure) {
      if (!failure.empty())
        log::warning(component, name, "not connected ({}); trying again", failure);
    });
  state.connection->start();
  on_exit_message(self, [self](const caf::error& reason) {
    self->state.connection->stop();
    self->quit(reason);
  });
  return {
    [self](command_atom, const std::string& command) { self->state.on_command(command); },
    [self](retain_atom, const std::string& topic, const std::string& text) {
      self->state.connection->retain(topic, text);
    },
  };
}

child_spec presence_child(presence_config config) {
  child_spec spec;
  spec.name = config.name;
  spec.kind = presence_state::name;
  spec.start = [config = std::move(config)](caf::actor_system& system) -> caf::actor {
    return system.spawn<caf::detached>(presence, config);
  };
  return spec;
}

} // namespace penstock::actors
