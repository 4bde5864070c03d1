// The baseline of ingest: a bare subscriber that stores nothing and acknowledges at once. Reads are coalesced by a
// short pause, and all the PUBACKs of a read go out in one write (the fastest way found). Prints the result as JSON
// when
// --count messages have come, or when none came for --idle-ms after the first. With --count 0 it goes on until it is
// told to end (SIGTERM) and none came for --idle-ms.
//
// With --qos 0 it is what the publish benchmark has at the other end of the broker.
#include "bench/wire.hpp"

#include <csignal>

namespace {

volatile std::sig_atomic_t told_to_end = 0;

} // namespace

int main(int argc, char** argv) try {
  const bench::options options{argc,
                               argv,
                               {{"port", "1883"},
                                {"filter", "users/+/devices/+/telemetry"},
                                {"qos", "1"},
                                {"count", "1000000"},
                                {"connections", "1"},
                                {"receive-maximum", "20000"},
                                {"pause-us", "300"},
                                {"idle-ms", "10000"}}};
  const std::uint64_t wanted = options.number("count");
  const auto qos = static_cast<unsigned>(options.number("qos"));
  const auto idle = static_cast<int>(options.number("idle-ms"));
  if (wanted == 0)
    std::signal(SIGTERM, [](int) { told_to_end = 1; });
  const std::uint64_t connections = options.number("connections");
  const std::string filter = (connections > 1 ? "$share/baseline/" : "") + options.text("filter");
  std::vector<pollfd> sockets;
  std::vector<bench::receiver> inputs(connections);
  std::uint64_t subscribed = 0;
  for (std::uint64_t i = 0; i < connections; ++i) {
    const int fd = bench::dial(static_cast<std::uint16_t>(options.number("port")));
    bench::send_all(fd, bench::connect_packet("raw-subscriber-" + std::to_string(::getpid()) + "-" + std::to_string(i),
                                              static_cast<std::uint16_t>(options.number("receive-maximum"))));
    bench::send_all(fd, bench::subscribe_packet(filter, qos));
    sockets.push_back({fd, POLLIN, 0});
  }

  std::uint64_t received = 0;
  std::uint64_t payload_bytes = 0;
  bench::clock::time_point first{};
  bench::clock::time_point last{};
  std::string acknowledgements;
  while (wanted == 0 || received < wanted) {
    const int ready = ::poll(sockets.data(), sockets.size(), wanted != 0 && received == 0 ? -1 : idle);
    if (ready < 0 && errno != EINTR)
      bench::fail("poll");
    if (ready < 0 || (ready == 0 && wanted == 0 && told_to_end == 0))
      continue;
    if (ready == 0)
      break;
    for (std::size_t i = 0; i < sockets.size(); ++i) {
      if ((sockets[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0)
        continue;
      acknowledgements.clear();
      inputs[i].receive(sockets[i].fd, [&](const bench::packet& packet) {
        if (packet.type() == 9 && ++subscribed == connections) {
          std::printf("subscribed\n");
          std::fflush(stdout);
        }
        if (packet.type() != 3)
          return;
        if (received++ == 0)
          first = bench::clock::now();
        payload_bytes += bench::payload_of(packet).size();
        if (qos > 0)
          bench::put_puback(acknowledgements, packet.u16(2u + packet.u16(0)));
      });
      bench::send_all(sockets[i].fd, acknowledgements);
    }
    last = bench::clock::now();
    if (received > 0 && options.number("pause-us") > 0)
      ::usleep(static_cast<useconds_t>(options.number("pause-us")));
  }
  // CLOCK_MONOTONIC, so that it can be held against the publisher's start.
  std::printf("{\"messages\": %llu, \"payload_bytes\": %llu, \"seconds\": %.4f, \"finished_at\": %.6f, "
              "\"cpu_seconds\": %.3f}\n",
              static_cast<unsigned long long>(received), static_cast<unsigned long long>(payload_bytes),
              bench::seconds(last - first), bench::seconds(last.time_since_epoch()), bench::cpu_seconds());
  return wanted == 0 || received == wanted ? 0 : 1;
} catch (const std::exception& failure) {
  std::fprintf(stderr, "raw_subscriber: %s\n", failure.what());
  return 70;
}
