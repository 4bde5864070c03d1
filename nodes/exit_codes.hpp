// What the exit status of every command means.
#pragma once

namespace penstock::nodes {

inline constexpr int exit_done = 0;
inline constexpr int exit_verdict_bad = 1; ///< the command worked, and what it found is bad
inline constexpr int exit_usage = 64;
inline constexpr int exit_unavailable = 69;   ///< something needed cannot be reached
inline constexpr int exit_escalated = 70;     ///< a failure that nothing below the root could mend
inline constexpr int exit_configuration = 78; ///< also: a file that a command reads is not what it should be
inline constexpr int exit_signal = 128;       ///< + the number of the signal that ended it at once

} // namespace penstock::nodes
