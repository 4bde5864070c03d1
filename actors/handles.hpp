// Handles of actors elsewhere.
#pragma once

#include <caf/actor_addr.hpp>
#include <caf/actor_cast.hpp>
#include <caf/actor_control_block.hpp>

namespace penstock::actors {

/// Whether an address was taken from this very handle. A link that was lost and made anew gives an actor another
/// handle, equal to the former one: a down message of that may come behind the first word over the new link.
template <class Handle>
bool is_of(const caf::actor_addr& address, const Handle& handle) {
  return handle && address.get() == caf::actor_cast<caf::strong_actor_ptr>(handle).get();
}

} // namespace penstock::actors
