// The archiver of one pipeline: what is kept for a time only goes, or moves to an archive. In small transactions with
// pauses between them, so that those who write never wait long. Spawned detached, since the database blocks.
#pragma once

#include "core/backoff.hpp"
#include "messages/messages.hpp"
#include "storage/retention.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace penstock::actors {

struct archiver_config {
  std::string name; ///< "telemetry/archiver"
  std::function<result<std::unique_ptr<storage::retention_task>>()> open;
  std::string work; ///< for the log: "rows and dead letters deleted"
  std::chrono::milliseconds retry_min{1'000};
  std::chrono::milliseconds retry_max{60'000};

  /// Empty, or what is wrong.
  std::string validate() const;
};

struct archiver_state {
  static inline const char* name = "archiver";

  messages::archiver_actor::stateful_pointer<archiver_state> self = nullptr;
  archiver_config config;
  std::unique_ptr<storage::retention_task> task; ///< null: not open
  std::unique_ptr<backoff> waits;
  bool failing = false;
  std::uint64_t rows = 0; ///< in this round

  void on_check();
};

messages::archiver_actor::behavior_type archiver(messages::archiver_actor::stateful_pointer<archiver_state> self,
                                                 archiver_config config);

} // namespace penstock::actors
