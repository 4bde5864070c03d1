#include "actors/embedded_broker.hpp"

#include "telemetry/log.hpp"

namespace penstock::actors {

using namespace messages;
using namespace std::chrono_literals;

namespace {
constexpr const char* component = "embedded-broker";
constexpr auto watch_interval = 1s;
} // namespace

caf::behavior embedded_broker(caf::stateful_actor<embedded_broker_state>* self, const std::string& name,
                              const std::shared_ptr<mqtt::embedded_broker>& process, telemetry::board* board) {
  set_quiet_handlers(self);
  self->delayed_send(self, watch_interval, check_atom_v);
  return {
    [self, name, process, board](check_atom) {
      self->delayed_send(self, watch_interval, check_atom_v);
      if (process->alive())
        return;
      board->broker(name, 0, 0);
      log::warning(component, "broker/" + name, "mosquitto ended by itself: starting it again");
      const auto port = process->start();
      if (!port) {
        log::error(component, "broker/" + name, "{}", port.error().to_string());
        self->quit(actor_failure(port.error().message));
        return;
      }
      board->broker(name, process->pid(), *port);
    },
  };
}

child_spec embedded_broker_child(const std::string& name, const std::shared_ptr<mqtt::embedded_broker>& process,
                                 telemetry::board& board) {
  child_spec spec;
  spec.name = "broker/" + name;
  spec.kind = embedded_broker_state::name;
  spec.start = [name, process, &board](caf::actor_system& system) -> caf::actor {
    return system.spawn<caf::detached>(embedded_broker, name, process, &board);
  };
  return spec;
}

} // namespace penstock::actors
