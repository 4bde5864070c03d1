// What SQLite can take at most (a plain loop over a prepared INSERT of 100 rows), and what a store takes from frames.
// 7 columns, a key of 4 in the order of time, a new file for every benchmark. rows: wall clock; cpu: seconds per
// million.
#include "bench/storage/telemetry.hpp"
#include "storage/sqlite_handle.hpp"

#include <filesystem>
#include <unistd.h>

namespace penstock::storage {
namespace {

config::database new_database(std::int64_t level) {
  config::database made;
  made.name = "bench";
  made.address.path = std::filesystem::temp_directory_path() / ("penstock-bench-" + std::to_string(getpid()) + ".db");
  made.synchronous = level == 0 ? config::synchronous::normal : config::synchronous::full;
  for (const auto* end : {"", "-wal", "-shm"})
    std::filesystem::remove(made.address.path.string() + end);
  return made;
}

void remove(const config::database& database) {
  for (const auto* end : {"", "-wal", "-shm"})
    std::filesystem::remove(database.address.path.string() + end);
}

/// Arguments: rows a transaction, 0 NORMAL or 1 FULL.
void raw_loop(benchmark::State& state) {
  const auto database = new_database(state.range(1));
  { // the same file, settings and table as the store's
    auto made = open(database);
    if (!made || !(*made)->prepare(telemetry_table()))
      state.SkipWithError("cannot prepare the table");
  }
  std::vector<telemetry> rows;
  for (std::int64_t number = 0; number < rows_total; ++number)
    rows.push_back(make(number));
  sqlite_api::sqlite3* handle = nullptr;
  sqlite_api::sqlite3_open(database.address.path.c_str(), &handle);
  static_cast<void>(
    sqlite::execute(handle, state.range(1) == 0 ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL"));
  static_cast<void>(sqlite::execute(handle, "PRAGMA wal_autocheckpoint=2000"));
  {
    std::string sql = "INSERT INTO raw_telemetry VALUES ";
    for (int row = 0; row < 100; ++row)
      sql += row ? ",(?,?,?,?,?,?,?)" : "(?,?,?,?,?,?,?)";
    auto insert =
      sqlite::statement::prepare(handle, sql + " ON CONFLICT(time,user_id,device_id,sequence_id) DO NOTHING");
    std::size_t next = 0;
    const auto begun = cpu_seconds();
    for (auto _ : state) {
      static_cast<void>(sqlite::execute(handle, "BEGIN IMMEDIATE"));
      for (std::int64_t done = 0; done < state.range(0); done += 100) {
        for (int at = 1; at <= 700; at += 7) {
          const auto& row = rows[next++];
          insert->bind(at, row.time);
          insert->bind_text(at + 1, row.user);
          insert->bind_text(at + 2, row.device);
          insert->bind(at + 3, row.sequence_id);
          insert->bind(at + 4, row.temperature);
          insert->bind(at + 5, row.battery);
          insert->bind_text(at + 6, row.extra);
        }
        if (auto stepped = insert->run(); !stepped)
          state.SkipWithError(stepped.error().message.c_str());
      }
      static_cast<void>(sqlite::execute(handle, "COMMIT"));
    }
    report(state, cpu_seconds() - begun, static_cast<std::int64_t>(next));
  }
  sqlite_api::sqlite3_close(handle);
  remove(database);
}

/// Arguments: rows a frame, frames a transaction, 0 NORMAL or 1 FULL.
void store_write(benchmark::State& state) {
  const auto database = new_database(state.range(2));
  const auto& frames = frames_of(state.range(0));
  {
    auto made = open(database);
    if (!made || !(*made)->prepare(telemetry_table()))
      state.SkipWithError("cannot prepare the table");
    std::size_t next = 0;
    const auto begun = cpu_seconds();
    for (auto _ : state) {
      std::vector<const record::frame_view*> batch;
      for (std::int64_t index = 0; index < state.range(1); ++index)
        batch.push_back(frames[next++].get());
      auto written = (*made)->write(batch);
      if (!written)
        state.SkipWithError(written.error().message.c_str());
      else if (written->back().stored != state.range(0))
        state.SkipWithError("rows are missing");
    }
    report(state, cpu_seconds() - begun, static_cast<std::int64_t>(next) * state.range(0));
  }
  remove(database);
}

/// Google Benchmark takes one number of iterations for all arguments of a family; a file of the same size needs one
/// each.
const bool registered = [] {
  for (const std::int64_t level : {0, 1}) {
    for (const std::int64_t rows : {1000, 5000})
      benchmark::RegisterBenchmark("raw_loop", raw_loop)
        ->ArgNames({"rows", "full"})
        ->Args({rows, level})
        ->Iterations(rows_total / rows)
        ->UseRealTime();
    for (const auto& [rows, frames] : {std::pair<std::int64_t, std::int64_t>{1000, 1}, {5000, 1}, {100, 50}, {1, 1000}})
      benchmark::RegisterBenchmark("store_write", store_write)
        ->ArgNames({"rows", "frames", "full"})
        ->Args({rows, frames, level})
        ->Iterations(rows_total / rows / frames)
        ->UseRealTime();
  }
  return true;
}();

} // namespace
} // namespace penstock::storage
