#include "mqtt/embedded_broker.hpp"

#include "mqtt/loopback_socket.hpp"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <optional>
#include <signal.h>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace penstock::mqtt {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr auto poll_interval = 2ms;

std::string read_all(const fs::path& file) {
  std::ifstream in{file, std::ios::binary};
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::optional<fs::path> find_mosquitto() {
  // Debian keeps it where only root's PATH looks.
  std::string path = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin";
  if (const char* own = std::getenv("PATH")) // NOLINT(concurrency-mt-unsafe): nobody writes the environment
    path = std::string{own} + ":" + path;
  std::istringstream folders{path};
  for (std::string folder; std::getline(folders, folder, ':');) {
    const fs::path candidate = fs::path{folder} / "mosquitto";
    if (!folder.empty() && access(candidate.c_str(), X_OK) == 0)
      return candidate;
  }
  return std::nullopt;
}

/// The arguments of a process, empty when it does not run (or has died and is not reaped).
std::vector<std::string> arguments_of(pid_t pid) {
  std::istringstream line{read_all("/proc/" + std::to_string(pid) + "/cmdline")};
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(line, argument, '\0');)
    arguments.push_back(argument);
  return arguments;
}

/// A process has no arguments any more when it ends, but holds its sockets until it is a zombie or gone.
bool is_ending(pid_t pid) {
  const std::string stat = read_all("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t name_end = stat.rfind(") ");
  const bool there = name_end != std::string::npos && name_end + 2 < stat.size();
  return there && stat[name_end + 2] != 'Z' && stat[name_end + 2] != 'X' && arguments_of(pid).empty();
}

/// The last lines of a log, on one line.
std::string tail_of(const fs::path& file) {
  constexpr std::size_t lines_max = 4;
  std::istringstream text{read_all(file)};
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);)
    if (!line.empty())
      lines.push_back(line);
  std::string out;
  for (std::size_t i = lines.size() > lines_max ? lines.size() - lines_max : 0; i < lines.size(); ++i)
    out += (out.empty() ? "" : " | ") + lines[i];
  return out.empty() ? "mosquitto said nothing" : out;
}

} // namespace

struct embedded_broker::impl {
  embedded_broker_options options;
  fs::path config_file;
  fs::path pid_file;
  fs::path log_file;
  pid_t pid = 0;
  std::uint16_t port = 0;
  bool child = false; ///< ours to reap; an adopted one is not
  bool left = false;

  bool running();
  void signal_and_wait(milliseconds timeout);
  bool is_ours(pid_t process) const;
  pid_t orphan() const;
  std::uint16_t configured_port() const;
  bool adopt();
  result<void> write_config() const;
  result<void> spawn(const fs::path& mosquitto);
  result<void> await();
};

bool embedded_broker::impl::running() {
  if (pid == 0)
    return false;
  if (child) {
    const pid_t reaped = waitpid(pid, nullptr, WNOHANG);
    if (reaped == 0)
      return true;
  } else if (is_ours(pid) || is_ending(pid)) {
    return true;
  }
  pid = 0;
  return false;
}

void embedded_broker::impl::signal_and_wait(milliseconds timeout) {
  if (!running())
    return;
  kill(pid, SIGTERM);
  const auto deadline = steady_clock::now() + timeout;
  while (running() && steady_clock::now() < deadline)
    std::this_thread::sleep_for(poll_interval);
  if (running())
    kill(pid, SIGKILL);
  while (running())
    std::this_thread::sleep_for(poll_interval);
}

/// Whether this process is a mosquitto with our configuration: a pid may be another process's by now, which must not be
/// touched.
bool embedded_broker::impl::is_ours(pid_t process) const {
  const auto arguments = arguments_of(process);
  return arguments.size() == 3 && fs::path{arguments[0]}.filename() == "mosquitto" && arguments[1] == "-c" &&
         arguments[2] == config_file.string();
}

/// The mosquitto that the pid file names; 0: none. It removes that file some time before it ends.
pid_t embedded_broker::impl::orphan() const {
  std::istringstream text{read_all(pid_file)};
  pid_t found = 0;
  return text >> found && found > 1 && is_ours(found) ? found : 0;
}

std::uint16_t embedded_broker::impl::configured_port() const {
  std::istringstream text{read_all(config_file)};
  for (std::string word; text >> word;) {
    unsigned number = 0;
    if (word == "listener" && text >> number && number < 65'536)
      return static_cast<std::uint16_t>(number);
  }
  return 0;
}

/// True when an orphan is now ours; one on another port is ended.
bool embedded_broker::impl::adopt() {
  const pid_t found = orphan();
  if (found == 0)
    return false;
  pid = found;
  child = false;
  const std::uint16_t listens_on = configured_port();
  const bool right_port = options.port == 0 || options.port == listens_on;
  if (right_port && listens_on != 0 && loopback_socket{}.connect_to(listens_on)) {
    port = listens_on;
    return true;
  }
  signal_and_wait(options.start_timeout);
  return false;
}

result<void> embedded_broker::impl::write_config() const {
  std::ofstream out{config_file, std::ios::trunc};
  out << "# Written by penstock at every start.\n"
      << "listener " << port << " 127.0.0.1\n"
      << "allow_anonymous " << (options.allow_anonymous ? "true" : "false") << "\n"
      << "pid_file " << pid_file.string() << "\n"
      << "persistence true\n"
      << "persistence_location " << options.directory.string() << "/\n"
      << "persistence_file mosquitto.db\n"
      << "autosave_on_changes true\n"
      << "autosave_interval 10000\n"
      << "max_queued_messages 0\n"
      << "max_inflight_messages 0\n"
      << "log_dest file " << log_file.string() << "\n"
      << "log_type error\nlog_type warning\nlog_type notice\n"
      << "connection_messages false\n";
  if (geteuid() == 0)
    out << "user root\n";
  for (const auto& line : options.settings)
    out << line << "\n";
  out.close();
  if (!out)
    return error{errc::configuration,
                 "cannot write " + config_file.string() + ": " + std::generic_category().message(errno)};
  return {};
}

result<void> embedded_broker::impl::spawn(const fs::path& mosquitto) {
  std::array<std::string, 3> words{mosquitto.string(), "-c", config_file.string()};
  std::array<char*, 4> arguments{words[0].data(), words[1].data(), words[2].data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  // It may outlive us, and would keep our listeners' ports and the peers of our sockets with it.
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A group of its own, so that Ctrl-C stops us and not the broker under us; default signals, whatever we block or
  // ignore.
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  const int failure = posix_spawn(&pid, words[0].c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) {
    pid = 0;
    return error{errc::connection_refused,
                 "cannot start " + words[0] + ": " + std::generic_category().message(failure)};
  }
  child = true;
  return {};
}

result<void> embedded_broker::impl::await() {
  const auto deadline = steady_clock::now() + options.start_timeout;
  for (;;) {
    if (!running())
      return error{errc::connection_refused, "mosquitto ended at its start: " + tail_of(log_file)};
    // Before its pid file it has not begun. It opens its listeners after that, one after the other, this one first;
    // should another process have taken the port since we looked, it ends, and whoever supervises it starts it anew.
    if (orphan() == pid && loopback_socket{}.connect_to(port))
      return {};
    if (steady_clock::now() > deadline) {
      signal_and_wait(1s);
      return error{errc::timed_out,
                   "mosquitto accepts no connections on port " + std::to_string(port) + ": " + tail_of(log_file)};
    }
    std::this_thread::sleep_for(poll_interval);
  }
}

embedded_broker::embedded_broker(embedded_broker_options options) : impl_(std::make_unique<impl>()) {
  options.directory = fs::absolute(options.directory);
  impl_->config_file = options.directory / "mosquitto.conf";
  impl_->pid_file = options.directory / "mosquitto.pid";
  impl_->log_file = options.directory / "mosquitto.log";
  impl_->options = std::move(options);
}

embedded_broker::~embedded_broker() {
  if (!impl_->left)
    stop();
}

result<std::uint16_t> embedded_broker::start() {
  impl& self = *impl_;
  if (self.running() || self.adopt())
    return self.port;
  std::error_code failure;
  fs::create_directories(self.options.directory, failure);
  if (failure)
    return error{errc::configuration, "cannot make " + self.options.directory.string() + ": " + failure.message()};
  const auto mosquitto = find_mosquitto();
  if (!mosquitto)
    return error{errc::unsupported, "mosquitto is not installed; the Debian package is `mosquitto` "
                                    "(apt-get install mosquitto)"};
  if (self.options.port != 0)
    self.port = self.options.port;
  else if (self.port == 0)
    self.port = loopback_socket{}.free_port();
  // Another's listener would answer in place of a mosquitto that is still about to fail.
  if (loopback_socket{}.connect_to(self.port))
    return error{errc::address_in_use, "another process listens on 127.0.0.1:" + std::to_string(self.port) +
                                         " (Address already in use); choose another port"};
  fs::remove(self.pid_file, failure);
  fs::remove(self.log_file, failure);
  if (auto written = self.write_config(); !written)
    return written.error();
  if (auto spawned = self.spawn(*mosquitto); !spawned)
    return spawned.error();
  if (auto ready = self.await(); !ready)
    return ready.error();
  return self.port;
}

bool embedded_broker::alive() { return impl_->running(); }

void embedded_broker::stop(milliseconds timeout) { impl_->signal_and_wait(timeout); }

void embedded_broker::leave() { impl_->left = true; }

pid_t embedded_broker::pid() const { return impl_->pid; }

std::uint16_t embedded_broker::port() const { return impl_->port; }

} // namespace penstock::mqtt
