// The connections that a node has open to one database. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace penstock::telemetry {

class database_board {
public:
  /// `connections_max`: as configured; nothing: a file has no such limit.
  explicit database_board(std::optional<std::uint32_t> connections_max) : connections_max_(connections_max) {}

  /// A connection was opened; it counts for as long as what is returned lives.
  std::shared_ptr<void> opened() const {
    ++*open_;
    return {open_.get(), [open = open_](void*) { --*open; }};
  }

  std::uint32_t connections() const { return *open_; }
  std::optional<std::uint32_t> connections_max() const { return connections_max_; }

private:
  std::shared_ptr<std::atomic<std::uint32_t>> open_ = std::make_shared<std::atomic<std::uint32_t>>(0);
  const std::optional<std::uint32_t> connections_max_;
};

} // namespace penstock::telemetry
