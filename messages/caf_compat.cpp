#include "messages/caf_compat.hpp"

#include <caf/exit_reason.hpp>

namespace penstock {

std::string to_text(const caf::error& reason) {
  if (!reason || reason == caf::exit_reason::normal)
    return "ended";
  if (reason == caf::exit_reason::user_shutdown)
    return "stopped";
  if (reason == caf::exit_reason::kill)
    return "killed";
  if (reason.category() == caf::atom("system") && reason.context().match_elements<std::string>())
    return reason.context().get_as<std::string>(0);
  return caf::to_string(reason);
}

} // namespace penstock
