// What the storage benchmarks share: 500,000 rows of telemetry in the order of time, in frames, and how they are
// counted.
#pragma once

#include "record/frame.hpp"
#include "storage/store.hpp"

#include <benchmark/benchmark.h>

#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace penstock::storage {

inline constexpr std::int64_t rows_total = 500'000;

struct telemetry {
  std::int64_t time;
  std::string user;
  std::string device;
  std::int64_t sequence_id;
  double temperature;
  std::int64_t battery;
  std::string extra;
};

inline telemetry make(std::int64_t number) {
  const auto device = std::to_string(100'000 + number % 10'000);
  return {.time = 1'700'000'000'000'000 + number * 1000,
          .user = "user-" + std::to_string(100'000 + number % 10'000 / 4),
          .device = "device-" + device,
          .sequence_id = number / 10'000,
          .temperature = 20 + static_cast<double>(number % 1000) * 0.01,
          .battery = number % 100,
          .extra =
            "{\"firmware\":\"1.2." + std::to_string(number % 10) + "\",\"rssi\":-" + std::to_string(number % 90) + "}"};
}

inline table telemetry_table() {
  return {.pipeline = "telemetry",
          .name = "raw_telemetry",
          .columns = {{"time", column_type::timestamp, false},
                      {"user_id", column_type::text, false},
                      {"device_id", column_type::text, false},
                      {"sequence_id", column_type::integer, false},
                      {"temperature", column_type::real, true},
                      {"battery", column_type::integer, true},
                      {"extra_data", column_type::json, false}},
          .key = {"time", "user_id", "device_id", "sequence_id"},
          .indexes = {}};
}

/// All rows in frames of this many, made once.
inline const std::vector<std::unique_ptr<record::frame_view>>& frames_of(std::int64_t rows) {
  static std::map<std::int64_t, std::vector<std::unique_ptr<record::frame_view>>> made;
  auto& frames = made[rows];
  if (!frames.empty())
    return frames;
  std::vector<column_type> types;
  for (const auto& column : telemetry_table().columns)
    types.push_back(column.type);
  record::frame_builder builder{types};
  for (std::int64_t number = 0; number < rows_total; ++number) {
    const auto row = make(number);
    builder.set_integer(0, row.time);
    builder.set_string(1, row.user);
    builder.set_string(2, row.device);
    builder.set_integer(3, row.sequence_id);
    builder.set_real(4, row.temperature);
    builder.set_integer(5, row.battery);
    builder.set_string(6, row.extra);
    builder.commit_row("users/u/devices/d/telemetry", "", {});
    if (builder.rows() == static_cast<std::size_t>(rows)) {
      auto view = record::frame_view::open(builder.seal("telemetry", 0, 1, 1), types);
      frames.push_back(std::move(*view));
    }
  }
  return frames;
}

inline double cpu_seconds() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

inline void report(benchmark::State& state, double cpu, std::int64_t rows) {
  state.counters["rows"] = benchmark::Counter(static_cast<double>(rows), benchmark::Counter::kIsRate);
  state.counters["cpu"] = cpu * 1e6 / static_cast<double>(rows);
}

} // namespace penstock::storage
