// The hot path of ingest: PUBLISH packets of QoS 1 with 150-byte payloads in, PUBACKs out.
#include "mqtt/session.hpp"

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace penstock::mqtt {
namespace {

const std::string topic = "users/user-0042/devices/device-001234/telemetry";
const std::string payload(150, 'x');

std::string stream_of(std::size_t bytes) {
  std::string out;
  for (std::uint16_t id = 1; out.size() + 256 < bytes; ++id)
    encode(out, publish_packet{topic, payload, id, 0, 1, false, false}, version::v5);
  return out;
}

void decode_publish(benchmark::State& state) {
  const std::string stream = stream_of(256 * 1024);
  std::int64_t messages = 0;
  for (auto _ : state) {
    std::string_view left = stream;
    packet_view packet;
    while (scan(left, packet) == scan_status::complete) {
      auto message = decode_publish(packet, version::v5);
      benchmark::DoNotOptimize(message);
      left.remove_prefix(packet.size);
      ++messages;
    }
  }
  state.SetItemsProcessed(messages);
  state.counters["per_message"] =
    benchmark::Counter(static_cast<double>(messages), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(decode_publish);

void encode_pubacks(benchmark::State& state) {
  constexpr std::uint16_t acks = 1'000;
  std::string out;
  for (auto _ : state) {
    out.clear();
    for (std::uint16_t id = 1; id <= acks; ++id)
      encode_success(out, packet_type::puback, id);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetItemsProcessed(state.iterations() * acks);
  state.counters["per_message"] = benchmark::Counter(static_cast<double>(state.iterations() * acks),
                                                     benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(encode_pubacks);

/// One chunk of 256 KiB through the session, released and acknowledged.
void session_feed_and_release(benchmark::State& state) {
  const std::string stream = stream_of(256 * 1024);
  session_options options;
  options.client_id = "bench";
  session one{options};
  const monotonic now;
  one.open(now);
  std::string connack;
  encode(connack, connack_packet{}, version::v5);
  burst nothing;
  if (!one.feed(connack, now, nothing))
    state.SkipWithError("CONNACK");
  std::string output;
  std::vector<std::uint64_t> tokens;
  std::int64_t messages = 0;
  for (auto _ : state) {
    burst out;
    out.messages.reserve(stream.size() / 128);
    const auto taken = one.feed(stream, now, out);
    benchmark::DoNotOptimize(taken);
    one.release(one.delivered());
    one.take_output(now, output, tokens);
    messages += static_cast<std::int64_t>(out.messages.size());
  }
  state.SetItemsProcessed(messages);
  state.counters["per_message"] =
    benchmark::Counter(static_cast<double>(messages), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(session_feed_and_release);

} // namespace
} // namespace penstock::mqtt
