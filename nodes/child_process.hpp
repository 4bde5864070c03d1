// A process that a command starts, watches and ends by its pid.
#pragma once

#include "core/result.hpp"

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace penstock::nodes {

/// Ended (SIGKILL) by the destructor, if it has not ended by itself.
class child_process {
public:
  /// Its standard output and error go to `log`, appended. Signals are as a shell would set them.
  static result<child_process> start(const std::vector<std::string>& arguments, const std::filesystem::path& log);

  child_process(child_process&& other) noexcept;
  child_process& operator=(child_process&& other) noexcept;
  ~child_process();

  pid_t pid() const { return pid_; }
  void signal(int number);
  /// The exit status as a shell gives it (128 + signal where a signal ended it); nothing: it still runs after `limit`.
  std::optional<int> wait(std::chrono::milliseconds limit);

private:
  explicit child_process(pid_t pid) : pid_(pid) {}
  pid_t pid_ = 0; ///< 0: ended, and collected
  std::optional<int> status_;
};

/// The program that runs now.
std::filesystem::path this_program();

} // namespace penstock::nodes
