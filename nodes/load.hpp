// `penstock load`: simulated devices that publish, and the ledger of what they published.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>

namespace penstock::nodes {

struct load_options {
  std::filesystem::path config; ///< either these: the shape of a pipeline's messages,
  std::string node;
  std::string pipeline;   ///< (empty: the only one)
  std::string broker_url; ///< or these: the telemetry shape
  std::string topic;      ///< "users/{user_id}/devices/{device_id}/telemetry"

  std::uint64_t devices = 100;
  std::optional<std::uint64_t> count; ///< distinct messages; without it, 10,000 or what `duration` allows
  std::optional<std::chrono::milliseconds> duration;
  std::optional<double> rate; ///< distinct messages/s over all connections, > 0; without it as fast as possible
  std::uint8_t qos = 1;
  std::size_t connections = 4;   ///< >= 1
  double duplicates_percent = 0; ///< of the messages, published once more soon after
  double malformed_percent = 0;
  std::chrono::milliseconds ramp{0}; ///< the time in which the rate (or the window) grows from nothing to all
  std::uint64_t seed = 1;
  std::filesystem::path ledger;              ///< empty: none
  std::chrono::milliseconds timeout{30'000}; ///< how long no connection may be up before it gives up
};

/// Publishes with clean sessions of its own; a message is repeated (QoS 1) where a connection broke before its
/// acknowledgement. SIGINT and SIGTERM end it early, a second one at once; the ledger is written in either case. With a
/// configuration and a ledger it also looks, for about 100 messages a second, when their rows become visible in the
/// database. Exit code: done, configuration, unavailable, 128 + signal. The calling thread must be the only one of the
/// process.
int load(const load_options& options, std::ostream& out, std::ostream& err);

} // namespace penstock::nodes
