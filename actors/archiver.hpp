// The archiver of one pipeline: deletes rows and dead letters that are older than they are to be kept. In small
// transactions with pauses between them, so that the batch-writers never wait long. Spawned detached, since the
// database blocks.
#pragma once

#include "core/backoff.hpp"
#include "messages/messages.hpp"
#include "storage/store.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace penstock::actors {

struct archiver_config {
  std::string name; ///< "telemetry/archiver"
  storage::table table;
  std::chrono::milliseconds retention{0};         ///< of rows; 0: for ever
  std::string column;                             ///< the age of a row; empty: the first timestamp of the key
  std::chrono::milliseconds letters_retention{0}; ///< of dead letters; 0: for ever
  std::function<result<std::unique_ptr<storage::store>>()> open;
  std::size_t rows_max = 1'000; ///< in one transaction
  std::chrono::milliseconds retry_min{1'000};
  std::chrono::milliseconds retry_max{60'000};

  /// Empty, or what is wrong.
  std::string validate() const;
};

struct archiver_state {
  static inline const char* name = "archiver";

  messages::archiver_actor::stateful_pointer<archiver_state> self = nullptr;
  archiver_config config;
  std::unique_ptr<storage::store> store; ///< null: not open
  std::unique_ptr<backoff> waits;
  bool failing = false;
  std::uint64_t deleted = 0; ///< in this round

  void on_check();
  result<std::uint64_t> delete_some();
  std::chrono::milliseconds round_every() const;
};

messages::archiver_actor::behavior_type archiver(messages::archiver_actor::stateful_pointer<archiver_state> self,
                                                 archiver_config config);

} // namespace penstock::actors
