// Assertions that stay on in release builds: a bug ends the actor (or the process), never corrupts data.
#pragma once

#include <source_location>
#include <stdexcept>
#include <string>

namespace penstock {

/// A broken invariant. Inside an actor it ends the actor, and the supervisor restarts it.
class assertion_failed : public std::logic_error {
public:
  explicit assertion_failed(const char* what, const std::source_location& where)
    : std::logic_error(std::string{where.file_name()} + ":" + std::to_string(where.line()) + ": " + what) {}
};

/// Throws assertion_failed unless `holds`. `what` says what must be true.
inline void assert_that(bool holds, const char* what,
                        const std::source_location& where = std::source_location::current()) {
  if (!holds) [[unlikely]]
    throw assertion_failed(what, where);
}

} // namespace penstock
