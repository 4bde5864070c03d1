// Decoding the telemetry of the ingest example into frames: seven columns, payloads of about 150 bytes.
#include "core/time_text.hpp"
#include "decode/decoder.hpp"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>
#include <vector>

namespace penstock::decode {
namespace {

using config::source;

config::column column(std::string name, source::kind from, std::string at, column_type type, bool optional = false) {
  config::column made{std::move(name), {from, {}, {}}, type, optional};
  if (from == source::kind::payload_path)
    made.source.path.push_back({std::move(at), 0});
  else
    made.source.name = std::move(at);
  return made;
}

config::ingest telemetry() {
  config::ingest pipeline;
  pipeline.name = "telemetry";
  pipeline.topics = {"users/{user_id}/devices/{device_id}/telemetry"};
  pipeline.columns = {
    column("time", source::kind::payload_path, "time", column_type::timestamp),
    column("user_id", source::kind::topic_level, "user_id", column_type::text),
    column("device_id", source::kind::topic_level, "device_id", column_type::text),
    column("sequence_id", source::kind::payload_path, "sequence_id", column_type::integer),
    column("temperature", source::kind::payload_path, "temperature", column_type::real, true),
    column("battery", source::kind::payload_path, "battery", column_type::integer, true),
    column("extra_data", source::kind::payload_rest, "", column_type::json),
  };
  return pipeline;
}

struct message {
  std::string topic;
  std::string payload;
};

std::vector<message> messages() {
  std::vector<message> made;
  for (int i = 0; i < 1'000; ++i) {
    char topic[100];
    char payload[300];
    std::snprintf(topic, sizeof topic, "users/user-%04d/devices/device-%06d/telemetry", i % 100, i);
    std::snprintf(payload, sizeof payload,
                  R"({"time":"2026-01-31T12:%02d:%02d.%03dZ","sequence_id":%d,"temperature":%d.%02d,"battery":%d,)"
                  R"("firmware":"1.4.%d","signal":-%d,"uptime_s":%d})",
                  i % 60, i % 59, i, 100'000 + i, 15 + i % 20, i % 100, i % 101, i % 10, 40 + i % 60, i * 977);
    made.push_back({topic, payload});
  }
  return made;
}

void decode_telemetry(benchmark::State& state) {
  const auto pipeline = telemetry();
  const auto input = messages();
  const auto decoder = make_decoder(pipeline);
  record::frame_builder builder{column_types(pipeline)};
  std::size_t bytes = 0;
  std::size_t next = 0;
  for (auto _ : state) {
    const auto& message = input[next];
    decoder->decode(message.topic, message.payload, wall_time{}, builder);
    bytes += message.payload.size();
    if (++next == input.size()) {
      next = 0;
      if (builder.letters() != 0)
        state.SkipWithError("a payload was refused");
      if (builder.rows() >= 5'000)
        benchmark::DoNotOptimize(builder.seal("telemetry", 0, 1, 1).bytes());
    }
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK(decode_telemetry);

void match_topic(benchmark::State& state) {
  const auto pattern = topic_pattern::parse("users/{user_id}/devices/{device_id}/telemetry");
  std::vector<std::string_view> values;
  const std::string topic = "users/user-0042/devices/device-001234/telemetry";
  for (auto _ : state)
    benchmark::DoNotOptimize(pattern->match(topic, values));
}
BENCHMARK(match_topic);

void parse_time(benchmark::State& state) {
  std::string text = "2026-01-31T12:00:00.123Z";
  for (auto _ : state) {
    benchmark::DoNotOptimize(text.data());
    benchmark::DoNotOptimize(parse_rfc3339(text));
  }
}
BENCHMARK(parse_time);

} // namespace
} // namespace penstock::decode
