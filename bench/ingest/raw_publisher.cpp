// A bare QoS 1 publisher of the telemetry shape: a window of PUBLISH packets in flight, acknowledgements read
// coalesced. Prints the result as JSON when all are acknowledged.
#include "bench/wire.hpp"

int main(int argc, char** argv) try {
  const bench::options options{
    argc,
    argv,
    {{"port", "1883"}, {"count", "1000000"}, {"window", "1000"}, {"pause-us", "300"}, {"payload-bytes", "150"}}};
  const std::uint64_t count = options.number("count");
  const std::uint64_t window = options.number("window");
  const bench::telemetry messages{options.number("payload-bytes"), bench::wall_now()};
  std::string packets;
  std::vector<std::uint64_t> ends{0};
  for (std::uint64_t i = 0; i < count; ++i) {
    messages.put_publish(packets, i, static_cast<std::uint16_t>(i % 65'535 + 1), true);
    ends.push_back(packets.size());
  }

  const int fd = bench::dial(static_cast<std::uint16_t>(options.number("port")));
  bench::receiver input;
  bool connected = false;
  bench::send_all(fd, bench::connect_packet("raw-publisher-" + std::to_string(::getpid()), 65'535));
  while (!connected)
    input.receive(fd, [&](const bench::packet& packet) { connected = connected || packet.type() == 2; });

  const double cpu = bench::cpu_seconds();
  const auto start = bench::clock::now();
  std::uint64_t sent = 0;
  std::uint64_t acknowledged = 0;
  while (acknowledged < count) {
    const std::uint64_t most = std::min(count, acknowledged + window);
    if (most > sent) {
      bench::send_all(fd, std::string_view{packets}.substr(ends[sent], ends[most] - ends[sent]));
      sent = most;
    }
    if (options.number("pause-us") > 0)
      ::usleep(static_cast<useconds_t>(options.number("pause-us")));
    input.receive(fd, [&](const bench::packet& packet) { acknowledged += packet.type() == 4 ? 1 : 0; });
  }
  const auto end = bench::clock::now();
  std::printf(
    "{\"messages\": %llu, \"seconds\": %.4f, \"started_at\": %.6f, \"finished_at\": %.6f, \"cpu_seconds\": %.3f}\n",
    static_cast<unsigned long long>(count), bench::seconds(end - start), bench::seconds(start.time_since_epoch()),
    bench::seconds(end.time_since_epoch()), bench::cpu_seconds() - cpu);
  return 0;
} catch (const std::exception& failure) {
  std::fprintf(stderr, "raw_publisher: %s\n", failure.what());
  return 70;
}
