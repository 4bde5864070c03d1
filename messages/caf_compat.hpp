// The only header that knows which CAF this is: 0.17 (Debian 12). What later versions spell differently is wrapped
// here.
#pragma once

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/error.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/sec.hpp>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/type_id.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <exception>
#include <string>
#include <utility>

namespace penstock {

/// A handler of a typed interface that answers with R, or with nothing.
template <class R, class... Ts>
using answers = typename caf::replies_to<Ts...>::template with<R>;
template <class... Ts>
using reacts = caf::reacts_to<Ts...>;

/// Messages that must overtake data: demand, control.
template <class Self, class Destination, class... Ts>
void send_urgent(Self* self, const Destination& destination, Ts&&... content) {
  self->template send<caf::message_priority::high>(destination, std::forward<Ts>(content)...);
}

/// The error that a bug (an exception in a handler) ends an actor with.
inline caf::error actor_failure(const std::string& what) { return caf::make_error(caf::sec::runtime_error, what); }

/// "restart budget overspent" and so on: the text of an exit reason, for people.
std::string to_text(const caf::error& reason);

/// CAF's default handlers print to stdout. Every actor calls this first.
template <class Self>
void set_quiet_handlers(Self* self) {
  self->set_default_handler(caf::drop);
  self->set_error_handler([](const caf::error&) {});
  self->set_exception_handler([](std::exception_ptr& thrown) -> caf::error {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& failure) {
      return actor_failure(failure.what());
    } catch (...) {
      return actor_failure("unknown exception");
    }
  });
}

/// Calls `end` when the actor is told to end, in place of ending it at once.
template <class Self, class End>
void on_exit_message(Self* self, End end) {
  self->set_exit_handler([end = std::move(end)](const caf::exit_msg& exit) {
    if (exit.reason)
      end(exit.reason);
  });
}

} // namespace penstock
