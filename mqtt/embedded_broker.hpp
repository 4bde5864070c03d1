// A mosquitto of our own: started, watched and stopped as a child process, on loopback, with everything it keeps in one
// directory. It outlives us when we are killed, and is then found by its pid file and adopted.
// Not thread-safe: one owner.
#pragma once

#include "core/result.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

namespace penstock::mqtt {

struct embedded_broker_options {
  std::filesystem::path directory; ///< configuration, pid file, log and database of mosquitto; made if missing
  std::uint16_t port = 0;          ///< 0: a free one, or that of the orphan which is adopted
  std::chrono::milliseconds start_timeout{10'000};
  std::vector<std::string> settings; ///< further lines of mosquitto.conf
  bool allow_anonymous = true;
};

class embedded_broker {
public:
  explicit embedded_broker(embedded_broker_options options);
  ~embedded_broker(); ///< stops it, unless `leave` was called

  /// The port, once it accepts connections. Adopts an orphan that listens on the wanted port; ends one that does not.
  /// Fails with `unsupported` when mosquitto is not installed, else with what mosquitto said last.
  result<std::uint16_t> start();
  /// Whether the process runs. Reaps it when it has died; `start` may then be called again, and takes the same port.
  bool alive();
  /// SIGTERM, on which mosquitto saves its sessions; SIGKILL after `timeout`. Nothing to do when it is not running.
  void stop(std::chrono::milliseconds timeout = std::chrono::milliseconds{10'000});
  /// Lets it run on after the destructor.
  void leave();

  pid_t pid() const; ///< 0: not running
  std::uint16_t port() const;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace penstock::mqtt
