// What the commands that work on a running node's pipeline have in common.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::nodes {

/// The pipeline of that name; with an empty name the only one there is. Prints to `err` which ones there are otherwise.
const config::ingest* find_pipeline(const config::configuration& configuration, const std::string& name,
                                    std::ostream& err);

/// The same of a publish pipeline.
const config::publish* find_publish(const config::configuration& configuration, const std::string& name,
                                    std::ostream& err);

/// How to reach a broker from another process: where an embedded one listens stands in DATA/run.json while its node
/// runs.
result<config::broker> reachable_broker(const config::configuration& configuration, const std::string& name);

/// "0.5"
std::string number_text(double number);

/// "12,345"
std::string with_commas(std::uint64_t number);

/// "1:02:03" or "02:03"
std::string clock_text(std::chrono::seconds time);

/// ", 02:03 left"; nothing where it is not known.
void print_time_left(std::ostream& out, std::optional<double> seconds);

/// As it is where it is printable UTF-8 (line breaks included); otherwise as hex.
bool printable(std::string_view text);

/// While one lives, SIGINT, SIGTERM and SIGHUP are only counted. Make it before any other thread starts: they inherit
/// that.
class interrupt {
public:
  interrupt();
  ~interrupt();
  interrupt(const interrupt&) = delete;
  interrupt& operator=(const interrupt&) = delete;

  /// How many came so far.
  unsigned count();
  int last_signal() const { return last_; }

private:
  struct saved_mask;
  std::unique_ptr<saved_mask> saved_;
  int fd_;
  unsigned count_ = 0;
  int last_ = 0;
};

} // namespace penstock::nodes
