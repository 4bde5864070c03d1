// The baseline of publish: a bare publisher that reads no database and records nothing. As many connections as the
// pipeline has shards, a window of messages in flight on each, with QoS 1, or 2 and its full handshake. The packets are
// made beforehand; answers are read coalesced, and what follows from a read goes out in one write. Prints the result as
// JSON when all messages are acknowledged.
#include "bench/wire.hpp"

namespace {

/// The i-th row of the source table, as run.py fills it and a pipeline publishes it.
void put_row(std::string& out, std::uint64_t i, std::uint64_t monitors, unsigned qos, std::uint16_t id) {
  char monitor[32];
  std::snprintf(monitor, sizeof monitor, "monitor-%05llu", static_cast<unsigned long long>(i % monitors));
  char payload[256];
  std::snprintf(payload, sizeof payload,
                R"({"id":%llu,"monitor":"%s","value":%llu.5,"unit":"mm/s","quality":192,"created":)"
                R"("2026-11-25T10:%02llu:%02llu.%06lluZ"})",
                static_cast<unsigned long long>(i), monitor, static_cast<unsigned long long>(i % 1'000),
                static_cast<unsigned long long>(i / 60'000'000 % 60),
                static_cast<unsigned long long>(i / 1'000'000 % 60), static_cast<unsigned long long>(i % 1'000'000));
  std::string body;
  bench::put_string(body, std::string{"data/TableA/"} + monitor);
  bench::put_u16(body, id);
  body += '\0'; // no properties
  body += payload;
  bench::put_packet(out, qos == 2 ? 0x34 : 0x32, body);
}

class connection {
public:
  connection(std::uint16_t port, std::uint64_t number, std::uint64_t window) : fd_(bench::dial(port)), window_(window) {
    bench::send_all(
      fd_, bench::connect_packet("raw-publisher-" + std::to_string(::getpid()) + "-" + std::to_string(number), 65'535));
    bool connected = false;
    while (!connected)
      input_.receive(fd_, [&](const bench::packet& packet) { connected = connected || packet.type() == 2; });
  }

  void add(std::uint64_t i, std::uint64_t monitors, unsigned qos) {
    put_row(packets_, i, monitors, qos, static_cast<std::uint16_t>((ends_.size() - 1) % 65'535 + 1));
    ends_.push_back(packets_.size());
  }

  int fd() const { return fd_; }
  std::uint64_t left() const { return ends_.size() - 1 - done_; }

  void receive() {
    input_.receive(fd_, [&](const bench::packet& packet) {
      const bool is_received = packet.type() == 5;
      if (!is_received && packet.type() != 4 && packet.type() != 7)
        return;
      if (packet.body.size() > 2 && static_cast<unsigned char>(packet.body[2]) >= 0x80)
        throw std::runtime_error("the broker refused a message");
      if (!is_received) {
        ++done_;
        return;
      }
      output_ += "\x62\x02"; // PUBREL
      output_ += packet.body.substr(0, 2);
    });
  }

  void send() {
    const std::uint64_t most = std::min<std::uint64_t>(ends_.size() - 1, done_ + window_);
    if (most > sent_)
      output_.append(packets_, ends_[sent_], ends_[most] - ends_[sent_]);
    sent_ = std::max(sent_, most);
    bench::send_all(fd_, output_);
    output_.clear();
  }

private:
  int fd_;
  std::uint64_t window_;
  bench::receiver input_;
  std::string packets_;
  std::vector<std::uint64_t> ends_{0};
  std::string output_;
  std::uint64_t sent_ = 0;
  std::uint64_t done_ = 0;
};

} // namespace

int main(int argc, char** argv) try {
  const bench::options options{argc,
                               argv,
                               {{"port", "1883"},
                                {"count", "300000"},
                                {"qos", "2"},
                                {"connections", "5"},
                                {"monitors", "10000"},
                                {"window", "1000"},
                                {"pause-us", "300"}}};
  const std::uint64_t count = options.number("count");
  const auto qos = static_cast<unsigned>(options.number("qos"));
  std::vector<connection> connections;
  std::vector<pollfd> sockets;
  for (std::uint64_t i = 0; i < options.number("connections"); ++i) {
    connections.emplace_back(static_cast<std::uint16_t>(options.number("port")), i, options.number("window"));
    sockets.push_back({connections.back().fd(), POLLIN, 0});
  }
  // A monitor's messages keep their order: they go through one connection.
  for (std::uint64_t i = 1; i <= count; ++i)
    connections[i % options.number("monitors") % connections.size()].add(i, options.number("monitors"), qos);

  const double cpu = bench::cpu_seconds();
  const auto start = bench::clock::now();
  for (auto& one : connections)
    one.send();
  while (std::any_of(connections.begin(), connections.end(), [](const auto& one) { return one.left() > 0; })) {
    if (::poll(sockets.data(), sockets.size(), -1) < 0 && errno != EINTR)
      bench::fail("poll");
    for (std::size_t i = 0; i < sockets.size(); ++i) {
      if ((sockets[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0)
        continue;
      connections[i].receive();
      connections[i].send();
    }
    if (options.number("pause-us") > 0)
      ::usleep(static_cast<useconds_t>(options.number("pause-us")));
  }
  const auto seconds = bench::seconds(bench::clock::now() - start);
  std::printf("{\"messages\": %llu, \"seconds\": %.4f, \"messages_per_second\": %.0f, \"cpu_seconds\": %.3f}\n",
              static_cast<unsigned long long>(count), seconds, static_cast<double>(count) / seconds,
              bench::cpu_seconds() - cpu);
  return 0;
} catch (const std::exception& failure) {
  std::fprintf(stderr, "raw_publisher: %s\n", failure.what());
  return 70;
}
