#include "telemetry/log.hpp"

#include "telemetry/visible.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>

namespace penstock::log {

namespace {

constexpr std::array<std::string_view, 5> names{"trace", "debug", "info", "warning", "error"};

spdlog::level::level_enum spdlog_level(level severity) {
  switch (severity) {
  case level::trace: return spdlog::level::trace;
  case level::debug: return spdlog::level::debug;
  case level::info: return spdlog::level::info;
  case level::warning: return spdlog::level::warn;
  case level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

// The process has one log; it is made on the first line and never destroyed, for threads may log while statics go.
struct state {
  std::atomic<level> minimum{level::info};
  std::atomic<format> layout{format::text};
  std::shared_ptr<spdlog::logger> text = make("%Y-%m-%d %H:%M:%S.%e %^%-7l%$ %v");
  std::shared_ptr<spdlog::logger> json = make(R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ",%v})", spdlog::pattern_time_type::utc);

  static std::shared_ptr<spdlog::logger> make(const char* pattern,
                                              spdlog::pattern_time_type time = spdlog::pattern_time_type::local) {
    auto logger =
      std::make_shared<spdlog::logger>("penstock", std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>());
    logger->set_pattern(pattern, time);
    logger->set_level(spdlog::level::trace);
    logger->flush_on(spdlog::level::warn);
    logger->set_error_handler([](const std::string&) {});
    return logger;
  }
};

state& the_log() {
  static auto& instance = *std::make_unique<state>().release();
  return instance;
}

void append_json_string(std::string& line, std::string_view text) {
  line += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string json_members(level severity, std::string_view component, std::string_view actor, std::string_view message) {
  std::string line = R"("level":")";
  line += name_of(severity);
  line += R"(","component":)";
  append_json_string(line, component);
  line += R"(,"actor":)";
  append_json_string(line, actor);
  line += R"(,"message":)";
  append_json_string(line, message);
  return line;
}

std::string text_line(std::string_view component, std::string_view actor, std::string_view message) {
  return telemetry::visible(actor.empty() ? component : actor) + ": " + telemetry::visible(message);
}

} // namespace

std::string_view name_of(level severity) noexcept { return names[static_cast<std::size_t>(severity)]; }

std::optional<level> level_from(std::string_view name) noexcept {
  for (std::size_t index = 0; index < names.size(); ++index)
    if (names[index] == name)
      return static_cast<level>(index);
  return std::nullopt;
}

void init(const options& options) noexcept {
  try {
    the_log().layout = options.format;
    the_log().minimum = options.minimum;
  } catch (...) {
  }
}

void set_level(level minimum) noexcept {
  try {
    the_log().minimum = minimum;
  } catch (...) {
  }
}

bool enabled(level severity) noexcept {
  try {
    return severity >= the_log().minimum.load(std::memory_order_relaxed);
  } catch (...) {
    return false;
  }
}

void flush() noexcept {
  try {
    the_log().text->flush();
    the_log().json->flush();
  } catch (...) {
  }
}

void write(level severity, std::string_view component, std::string_view actor, std::string_view message) noexcept {
  try {
    if (!enabled(severity))
      return;
    if (the_log().layout == format::json)
      the_log().json->log(spdlog_level(severity),
                          spdlog::string_view_t{json_members(severity, component, actor, message)});
    else
      the_log().text->log(spdlog_level(severity), spdlog::string_view_t{text_line(component, actor, message)});
  } catch (...) {
  }
}

void vwrite(level severity, std::string_view component, std::string_view actor, fmt::string_view pattern,
            fmt::format_args arguments) noexcept {
  try {
    write(severity, component, actor, fmt::vformat(pattern, arguments));
  } catch (...) {
    write(severity, component, actor, {pattern.data(), pattern.size()});
  }
}

} // namespace penstock::log
