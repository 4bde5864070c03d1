// What is kept for a time only, and goes a little at a time: the work of an archiver (actors/archiver.hpp).
#pragma once

#include "core/result.hpp"
#include "storage/store.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace penstock::storage {

class retention_task {
public:
  virtual ~retention_task() = default;

  struct step_done {
    std::uint64_t rows = 0; ///< that moved or went
    bool more = false;      ///< there may be more to do at once
  };
  /// One short transaction or a few. After an error the task is opened anew.
  virtual result<step_done> step() = 0;
  /// Between two steps while there is nothing to do.
  virtual std::chrono::milliseconds round_every() const = 0;
};

/// What an ingest pipeline keeps, and for how long; 0: for ever.
struct row_retention {
  storage::table table;
  std::chrono::milliseconds rows{0};
  std::string column; ///< the age of a row; empty: the first timestamp of the key
  std::chrono::milliseconds letters{0};
  std::size_t rows_max = 1'000; ///< in one transaction

  /// Empty, or what is wrong.
  std::string validate() const;
};

/// Deletes rows and dead letters that are older than they are kept.
std::unique_ptr<retention_task> make_row_retention(std::unique_ptr<store> store, row_retention kept);

} // namespace penstock::storage
