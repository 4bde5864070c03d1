#include "nodes/run.hpp"

#include "config/load.hpp"
#include "nodes/check.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/node.hpp"
#include "nodes/version.hpp"
#include "security/tls_context.hpp"
#include "telemetry/log.hpp"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <thread>
#include <unistd.h>

namespace penstock::nodes {

namespace {

constexpr const char* component = "node";
/// Tells the main thread that the tree has ended.
const int signal_end = SIGRTMIN;
constexpr int stop_deadline_s = 60;
/// For what is left when the tree has ended.
constexpr int end_deadline_s = 20;

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : signals)
    sigaddset(&set, number);
  return set;
}

/// Blocked before any thread exists, so that they reach only sigwaitinfo.
void block_signals() {
  const auto all = set_of({SIGTERM, SIGINT, SIGHUP, signal_end});
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void start_log(const config::log& settings) {
  log::options options;
  options.minimum = log::level_from(settings.level).value_or(log::level::info);
  options.format = settings.format == config::log_format::json ? log::format::json : log::format::text;
  log::init(options);
}

config::load_options load_options_of(const run_options& options, std::vector<config::problem>& warnings) {
  config::load_options how;
  how.node = options.node;
  how.joins = options.joins;
  how.runs = true;
  how.warnings = &warnings;
  return how;
}

/// Why the tree ended, once it has.
struct ending {
  std::mutex mutex;
  std::optional<std::string> failure;
};

/// Has the node take its configuration again at each SIGHUP, on a thread of its own, so that SIGTERM is heard
/// meanwhile. A signal that comes while one is under way stays pending, and is next.
class reloader {
public:
  reloader(node& running, const run_options& options)
    : running_(running), options_(options), thread_([this] { work(); }) {}
  ~reloader() {
    stop();
    pthread_kill(thread_.native_handle(), SIGHUP);
    thread_.join();
  }
  reloader(const reloader&) = delete;
  reloader& operator=(const reloader&) = delete;

  /// From now on signals are ignored.
  void stop() { stopped_ = true; }

private:
  void work() {
    for (const auto hang_up = set_of({SIGHUP});;) {
      if (sigwaitinfo(&hang_up, nullptr) < 0)
        continue; // EINTR
      if (stopped_)
        return;
      std::vector<config::problem> warnings;
      const auto read = config::load_file(options_.config, load_options_of(options_, warnings));
      running_.reload(read, warnings);
    }
  }

  node& running_;
  const run_options& options_;
  std::atomic<bool> stopped_ = false;
  std::thread thread_; ///< last: it uses the others
};

int wait_for_end(node& running, reloader& reloads, ending& end) {
  const auto signals = set_of({SIGTERM, SIGINT, signal_end});
  bool stopping = false;
  for (;;) {
    const timespec deadline{stop_deadline_s, 0};
    const int number = stopping ? sigtimedwait(&signals, nullptr, &deadline) : sigwaitinfo(&signals, nullptr);
    if (number == signal_end)
      break;
    if (number < 0) {
      if (errno == EINTR)
        continue;
      log::error(component, "", "not stopped after {} s; ending at once, what is unacknowledged stays with the broker",
                 stop_deadline_s);
      log::flush();
      ::_exit(exit_escalated);
    }
    if (stopping) {
      log::warning(component, "", "a second signal: ending at once, what is unacknowledged stays with the broker");
      log::flush();
      ::_exit(128 + number);
    }
    stopping = true;
    reloads.stop();
    log::info(component, "",
              "stopping: no more is read; what was read is committed and acknowledged (again to end at once)");
    running.stop();
  }
  const std::lock_guard lock{end.mutex};
  const int code = end.failure ? exit_escalated : exit_done;
  // A thread that is stuck in a call to a database or a resolver must not keep the process from ending.
  std::thread{[code] {
    std::this_thread::sleep_for(std::chrono::seconds{end_deadline_s});
    ::_exit(code);
  }}.detach();
  if (end.failure)
    log::error(component, "", "the supervision tree gave up: {}; exiting with {} for the service manager to restart",
               *end.failure, code);
  return code;
}

} // namespace

int run(const run_options& options) {
  block_signals();
  security::load_openssl();
  config::configuration configuration;
  std::vector<config::problem> warnings;
  if (!load_or_report(options.config, load_options_of(options, warnings), configuration, std::cerr))
    return exit_configuration;
  start_log(configuration.log);
  log::info(component, "", "penstock {}, node {}, configuration {}, data {}", version(), configuration.node.name,
            configuration.file.string(), configuration.data.string());
  for (const auto& warning : warnings)
    log::warning(component, "", "{}", warning.to_string());

  const auto end = std::make_shared<ending>();
  node running{configuration};
  auto started = running.start([end](std::optional<std::string> failure) {
    {
      const std::lock_guard lock{end->mutex};
      end->failure = std::move(failure);
    }
    ::kill(::getpid(), signal_end);
  });
  if (!started) {
    log::error(component, "", "cannot start: {}", started.error().message);
    return started.error().code == errc::configuration || started.error().code == errc::schema_mismatch
             ? exit_configuration
             : exit_unavailable;
  }
  log::info(component, "", "running; SIGTERM stops gracefully, SIGHUP reads the configuration again");
  const int code = [&] {
    reloader reloads{running, options};
    return wait_for_end(running, reloads, *end);
  }();
  std::cerr << running.account_text();
  log::info(component, "", "{}", code == exit_done ? "stopped" : "ended");
  log::flush();
  return code;
}

} // namespace penstock::nodes
