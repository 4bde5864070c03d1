// Building, sealing and reading a frame of telemetry: the seven columns of the ingest example, 150-byte payloads.
#include "record/frame.hpp"

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace penstock::record {
namespace {

constexpr std::int64_t rows_per_frame = 5'000;
const std::vector<column_type> types{column_type::timestamp, column_type::text, column_type::text,
                                     column_type::integer,   column_type::real, column_type::integer,
                                     column_type::json};
const std::string topic = "users/user-0042/devices/device-001234/telemetry";
const std::string payload(150, 'x');

void add_rows(frame_builder& builder) {
  for (std::int64_t i = 0; i < rows_per_frame; ++i) {
    builder.set_integer(0, 1'700'000'000'000'000 + i);
    builder.set_string(1, "user-0042");
    builder.set_string(2, "device-001234");
    builder.set_integer(3, i);
    if (i % 8 == 0)
      builder.set_null(4);
    else
      builder.set_real(4, 21.5);
    builder.set_integer(5, 87);
    builder.set_string(6, R"({"firmware":"1.2.3","signal":-71})");
    builder.commit_row(topic, payload, wall_time{std::chrono::microseconds{i}});
  }
}

void build_and_seal(benchmark::State& state) {
  frame_builder builder{types};
  std::size_t bytes = 0;
  for (auto _ : state) {
    add_rows(builder);
    const frame sealed = builder.seal("telemetry", 0, 1, 1);
    bytes = sealed.bytes();
    benchmark::DoNotOptimize(sealed.words().begin());
  }
  state.SetItemsProcessed(state.iterations() * rows_per_frame);
  state.counters["bytes_per_row"] = static_cast<double>(bytes) / rows_per_frame;
}
BENCHMARK(build_and_seal)->Unit(benchmark::kMicrosecond);

void open_and_read(benchmark::State& state) {
  frame_builder builder{types};
  add_rows(builder);
  const frame sealed = builder.seal("telemetry", 0, 1, 1);
  for (auto _ : state) {
    const auto opened = frame_view::open(sealed, types);
    const auto& view = **opened;
    std::size_t sum = 0;
    for (std::size_t row = 0; row < view.rows(); ++row) {
      sum += static_cast<std::size_t>(view.column(0).integer(row)) + view.column(1).string(row).size() +
             view.column(2).string(row).size() + static_cast<std::size_t>(view.column(3).integer(row)) +
             static_cast<std::size_t>(view.column(4).null(row) ? 0 : view.column(4).real(row)) +
             static_cast<std::size_t>(view.column(5).integer(row)) + view.column(6).string(row).size();
    }
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations() * rows_per_frame);
}
BENCHMARK(open_and_read)->Unit(benchmark::kMicrosecond);

} // namespace
} // namespace penstock::record
