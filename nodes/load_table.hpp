// `penstock load --table`: rows in the source table of a publish pipeline, as a plant would insert them, and the ledger
// of what was committed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>

namespace penstock::nodes {

struct load_table_options {
  std::filesystem::path config;
  std::string node;
  std::string pipeline; ///< empty: the only one
  bool create = false;  ///< make the table where it is missing

  std::uint64_t monitors = 100;
  std::optional<std::uint64_t> count; ///< rows inserted and updated; without it, 10,000 or what `duration` allows
  std::optional<std::chrono::milliseconds> duration;
  std::optional<double> rate; ///< rows a second, > 0; without it as fast as possible
  std::size_t writers = 4;    ///< connections, >= 1
  // Of the transactions, 0 to 100:
  double late_percent = 0;
  double updates_percent = 0;
  double rollbacks_percent = 0;              ///< below 100
  std::chrono::milliseconds late_for{5'000}; ///< how long late ones stay open at most
  std::uint64_t seed = 1;
  std::filesystem::path ledger;              ///< empty: none
  std::chrono::milliseconds timeout{30'000}; ///< how long the database may be away before it gives up
};

/// Each writer commits transactions of up to 100 rows (of what is due in 20 ms, with a rate). A late one is committed
/// by a connection of its own while its writer goes on, of 16 at most; on SQLite, where an open one would block all
/// others, its ids are dealt and it is begun late. Monitors are m00001 and so on; one belongs to one writer. SIGINT and
/// SIGTERM end it early, with what is late committed at once; the ledger is written in either case. Exit code: done,
/// usage, configuration, unavailable. The calling thread must be the only one of the process.
int load_table(const load_table_options& options, std::ostream& out, std::ostream& err);

} // namespace penstock::nodes
