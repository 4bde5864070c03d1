// The program's log: lines on stderr, for people as text, for collectors as JSON (one object a line: time, level,
// component, actor, message). Thread-safe. Nothing here throws: what cannot be written is dropped.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::log {

enum class level : std::uint8_t { trace, debug, info, warning, error };
enum class format : std::uint8_t { text, json };

/// "trace", "debug", "info", "warning", "error": the words of the configuration.
std::string_view name_of(level severity) noexcept;
std::optional<level> level_from(std::string_view name) noexcept;

struct options {
  level minimum = level::info;
  log::format format = log::format::text; ///< text is coloured on a terminal
};

/// Before it, and without it, lines of info and above go to stderr as text. May be called again.
void init(const options& options) noexcept;
/// Takes effect at once.
void set_level(level minimum) noexcept;
bool enabled(level severity) noexcept;
void flush() noexcept; ///< warnings and errors are flushed by themselves

/// `component`: what it is ("ingestor", "http"); `actor`: which one ("telemetry/ingestor/0"), or empty.
void write(level severity, std::string_view component, std::string_view actor, std::string_view message) noexcept;
void vwrite(level severity, std::string_view component, std::string_view actor, fmt::string_view pattern,
            fmt::format_args arguments) noexcept;

template <class... Args>
void trace(std::string_view component, std::string_view actor, fmt::format_string<Args...> pattern,
           Args&&... args) noexcept {
  if (enabled(level::trace))
    vwrite(level::trace, component, actor, pattern, fmt::make_format_args(args...));
}

template <class... Args>
void debug(std::string_view component, std::string_view actor, fmt::format_string<Args...> pattern,
           Args&&... args) noexcept {
  if (enabled(level::debug))
    vwrite(level::debug, component, actor, pattern, fmt::make_format_args(args...));
}

template <class... Args>
void info(std::string_view component, std::string_view actor, fmt::format_string<Args...> pattern,
          Args&&... args) noexcept {
  if (enabled(level::info))
    vwrite(level::info, component, actor, pattern, fmt::make_format_args(args...));
}

template <class... Args>
void warning(std::string_view component, std::string_view actor, fmt::format_string<Args...> pattern,
             Args&&... args) noexcept {
  if (enabled(level::warning))
    vwrite(level::warning, component, actor, pattern, fmt::make_format_args(args...));
}

template <class... Args>
void error(std::string_view component, std::string_view actor, fmt::format_string<Args...> pattern,
           Args&&... args) noexcept {
  if (enabled(level::error))
    vwrite(level::error, component, actor, pattern, fmt::make_format_args(args...));
}

} // namespace penstock::log
