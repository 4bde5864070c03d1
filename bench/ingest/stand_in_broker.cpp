// A broker that is never the limit: it sends pre-built QoS 1 messages of the telemetry shape to its subscribers and
// counts their PUBACKs. One thread. First line of its output: "port N"; last: the result as JSON. It then keeps the
// connections until SIGTERM or until all are closed, so that its end is not part of what is measured.
#include "bench/wire.hpp"

#include <array>
#include <fcntl.h>
#include <memory>
#include <sys/epoll.h>
#include <sys/timerfd.h>

namespace {

using bench::clock;

/// One subscriber, and its share of the messages.
struct subscriber {
  int fd = -1;
  bool version_5 = false;
  bool subscribed = false;
  std::uint64_t receive_maximum = 65'535;
  bench::receiver input{1u << 18};

  std::string packets;             ///< all of its messages, one after the other
  std::vector<std::uint64_t> ends; ///< where message i ends in `packets`
  std::uint64_t started = 0;       ///< messages handed to the socket, at least in part
  std::uint64_t bytes_sent = 0;
  std::uint64_t acknowledged = 0;
  std::array<bool, 65'536> in_flight{};
  std::array<clock::time_point, 65'536> sent_at{};
  bool wants_write = false;

  static std::uint16_t id_of(std::uint64_t message) { return static_cast<std::uint16_t>(message % 65'535 + 1); }
};

struct settings {
  std::uint64_t count;
  std::uint64_t rate; ///< messages/s; 0: as fast as possible
  std::uint64_t window;
  std::uint64_t connections;
  std::uint64_t payload_bytes;
  std::uint64_t settle_ms; ///< between the last SUBSCRIBE and the first PUBLISH: the subscriber's start is not measured
};

class broker {
public:
  broker(settings wanted, std::uint16_t port) : wanted_(wanted), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
      bench::fail("cannot listen");
    std::printf("port %u\n", ntohs(address.sin_port));
    std::fflush(stdout);
    watch(listener_, EPOLLIN, EPOLL_CTL_ADD);
    latencies_.reserve(wanted_.count);
  }

  int run() {
    while (!finished_ || !peers_.empty()) {
      std::array<epoll_event, 64> events{};
      const int ready = ::epoll_wait(epoll_, events.data(), events.size(), -1);
      if (ready < 0 && errno != EINTR)
        bench::fail("epoll_wait");
      for (int i = 0; i < ready; ++i)
        handle(events[static_cast<std::size_t>(i)]);
    }
    return out_of_order_ == 0 ? 0 : 1;
  }

private:
  void watch(int fd, std::uint32_t events, int operation) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_, operation, fd, &event) != 0)
      bench::fail("epoll_ctl");
  }

  void handle(const epoll_event& event) {
    if (event.data.fd == listener_)
      return accept_one();
    if (event.data.fd == timer_) {
      std::uint64_t expirations = 0;
      if (::read(timer_, &expirations, sizeof expirations) > 0)
        tick();
      return;
    }
    const auto found = peers_.find(event.data.fd);
    if (found == peers_.end())
      return;
    subscriber& peer = *found->second;
    try {
      if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        read_at_ = clock::now();
        peer.input.receive(peer.fd, [&](const bench::packet& packet) { take(peer, packet); });
      }
      pump(peer);
    } catch (const std::exception&) {
      if (running() && peer.subscribed)
        throw;
      ::close(peer.fd);
      peers_.erase(found);
      return;
    }
    finish_if_done();
  }

  void accept_one() {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
      return;
    bench::no_delay(fd);
    auto peer = std::make_unique<subscriber>();
    peer->fd = fd;
    peers_.emplace(fd, std::move(peer));
    watch(fd, EPOLLIN, EPOLL_CTL_ADD);
  }

  void take(subscriber& peer, const bench::packet& packet) {
    switch (packet.type()) {
    case 1: return take_connect(peer, packet);
    case 3: { // a PUBLISH of the peer's own (its presence): taken and forgotten
      if ((packet.first & 0x06u) == 0x02u) {
        std::string answer;
        bench::put_puback(answer, packet.u16(2u + packet.u16(0)));
        bench::send_all(peer.fd, answer);
      }
      return;
    }
    case 4: return take_puback(peer, packet.u16(0));
    case 8: return take_subscribe(peer, packet);
    case 12: return bench::send_all(peer.fd, std::string_view{"\xd0\x00", 2});
    case 14: return; // DISCONNECT: the peer closes
    default: throw std::runtime_error("unexpected packet type " + std::to_string(packet.type()));
    }
  }

  static void take_connect(subscriber& peer, const bench::packet& packet) {
    peer.version_5 = packet.body.at(6) == 5;
    if (peer.version_5) {
      const std::string_view properties = packet.body.substr(11, static_cast<unsigned char>(packet.body.at(10)));
      for (std::size_t at = 0; at < properties.size();) {
        const auto u16 = [&] {
          return static_cast<std::uint64_t>((static_cast<unsigned char>(properties.at(at + 1)) << 8) |
                                            static_cast<unsigned char>(properties.at(at + 2)));
        };
        switch (properties[at]) {
        case 0x21: peer.receive_maximum = u16(); [[fallthrough]];
        case 0x22: at += 3; break;  // Topic Alias Maximum
        case 0x11: [[fallthrough]]; // Session Expiry Interval
        case 0x27: at += 5; break;  // Maximum Packet Size
        case 0x17: [[fallthrough]]; // Request Problem Information
        case 0x19: at += 2; break;  // Request Response Information
        default: throw std::runtime_error("a property of CONNECT that the stand-in does not know");
        }
      }
    }
    bench::send_all(peer.fd, peer.version_5 ? std::string_view{"\x20\x03\x00\x00\x00", 5}
                                            : std::string_view{"\x20\x02\x00\x00", 4});
  }

  void take_subscribe(subscriber& peer, const bench::packet& packet) {
    std::size_t at = 2;
    if (peer.version_5)
      at += 1u + static_cast<unsigned char>(packet.body.at(at));
    std::string body;
    bench::put_u16(body, packet.u16(0));
    if (peer.version_5)
      body += '\0';
    for (; at < packet.body.size(); at += 2u + packet.u16(at) + 1u)
      body += '\x01';
    std::string answer;
    bench::put_packet(answer, 0x90, body);
    bench::send_all(peer.fd, answer);
    if (!peer.subscribed && shares_.size() < wanted_.connections) {
      peer.subscribed = true;
      shares_.push_back(&peer);
      if (shares_.size() == wanted_.connections)
        prepare();
    }
  }

  void take_puback(subscriber& peer, std::uint16_t id) {
    if (!peer.in_flight[id])
      throw std::runtime_error("PUBACK of an id that is not in flight: " + std::to_string(id));
    if (id != subscriber::id_of(peer.acknowledged))
      ++out_of_order_;
    peer.in_flight[id] = false;
    ++peer.acknowledged;
    ++acknowledged_;
    latencies_.push_back(static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(read_at_ - peer.sent_at[id]).count()));
  }

  void prepare() {
    const bench::telemetry messages{wanted_.payload_bytes, bench::wall_now()};
    for (subscriber* peer : shares_) {
      peer->packets.reserve((wanted_.count / shares_.size() + 1) * (wanted_.payload_bytes + 60));
      peer->ends.reserve(wanted_.count / shares_.size() + 1);
    }
    for (std::uint64_t i = 0; i < wanted_.count; ++i) {
      subscriber& peer = *shares_[i % shares_.size()];
      messages.put_publish(peer.packets, i, subscriber::id_of(peer.ends.size()), peer.version_5);
      peer.ends.push_back(peer.packets.size());
    }
    // One timer: its first expiry starts the clock, the others pace.
    timer_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    const long settle_ns = std::max(1L, static_cast<long>(wanted_.settle_ms) * 1'000'000);
    const itimerspec times{{0, wanted_.rate > 0 ? 1'000'000 : 0},
                           {settle_ns / 1'000'000'000, settle_ns % 1'000'000'000}};
    ::timerfd_settime(timer_, 0, &times, nullptr);
    watch(timer_, EPOLLIN, EPOLL_CTL_ADD);
  }

  void tick() {
    if (started_at_ == clock::time_point{}) {
      started_at_ = clock::now();
      cpu_at_start_ = bench::cpu_seconds();
    }
    pump_all();
  }

  bool running() const { return started_at_ != clock::time_point{} && !finished_; }

  void pump_all() {
    for (subscriber* peer : shares_)
      pump(*peer);
  }

  /// How many messages of `peer` may have been started by now.
  std::uint64_t allowed(const subscriber& peer) const {
    const std::uint64_t window = std::min({wanted_.window, peer.receive_maximum, std::uint64_t{65'000}});
    std::uint64_t most = std::min<std::uint64_t>(peer.ends.size(), peer.acknowledged + window);
    if (wanted_.rate > 0) {
      const double due = bench::seconds(clock::now() - started_at_) * static_cast<double>(wanted_.rate);
      most = std::min(most, static_cast<std::uint64_t>(due / static_cast<double>(shares_.size())));
    }
    return most;
  }

  void pump(subscriber& peer) {
    if (!running() || !peer.subscribed)
      return;
    const std::uint64_t most = allowed(peer);
    const auto now = clock::now();
    while (peer.started < most && !peer.in_flight[subscriber::id_of(peer.started)]) {
      const std::uint16_t id = subscriber::id_of(peer.started++);
      peer.in_flight[id] = true;
      peer.sent_at[id] = now;
    }
    const std::uint64_t end = peer.started == 0 ? 0 : peer.ends[peer.started - 1];
    bool full = false;
    while (peer.bytes_sent < end && !full) {
      const ssize_t sent = ::send(peer.fd, peer.packets.data() + peer.bytes_sent, end - peer.bytes_sent, MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN)
        bench::fail("cannot send");
      full = sent < 0;
      peer.bytes_sent += sent < 0 ? 0u : static_cast<std::uint64_t>(sent);
    }
    if (full != peer.wants_write) {
      peer.wants_write = full;
      watch(peer.fd, full ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
    }
  }

  void finish_if_done() {
    if (!running() || acknowledged_ < wanted_.count)
      return;
    finished_ = true;
    shares_.clear();
    const double time = bench::seconds(clock::now() - started_at_);
    const double cpu = bench::cpu_seconds() - cpu_at_start_;
    std::sort(latencies_.begin(), latencies_.end());
    const auto percentile = [&](double part) {
      return static_cast<double>(
               latencies_[static_cast<std::size_t>(part * static_cast<double>(latencies_.size() - 1))]) /
             1e3;
    };
    std::printf(
      "{\"messages\": %llu, \"seconds\": %.4f, \"messages_per_second\": %.0f, \"acks_out_of_order\": %llu, "
      "\"latency_ms\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f}, \"cpu_seconds\": %.3f}\n",
      static_cast<unsigned long long>(acknowledged_), time, static_cast<double>(acknowledged_) / time,
      static_cast<unsigned long long>(out_of_order_), percentile(0.5), percentile(0.9), percentile(0.99),
      percentile(1.0), cpu);
    std::fflush(stdout);
  }

  settings wanted_;
  int epoll_;
  int listener_ = -1;
  int timer_ = -1;
  std::map<int, std::unique_ptr<subscriber>> peers_;
  std::vector<subscriber*> shares_;
  clock::time_point started_at_{};
  clock::time_point read_at_{}; ///< of the acknowledgements that are being taken
  double cpu_at_start_ = 0;
  bool finished_ = false;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t out_of_order_ = 0;
  std::vector<std::uint32_t> latencies_; ///< microseconds
};

} // namespace

int main(int argc, char** argv) try {
  const bench::options options{argc,
                               argv,
                               {{"port", "0"},
                                {"count", "1000000"},
                                {"rate", "max"},
                                {"window", "20000"},
                                {"connections", "1"},
                                {"payload-bytes", "150"},
                                {"settle-ms", "1000"}}};
  const settings wanted{std::max<std::uint64_t>(options.number("count"), 1),
                        options.text("rate") == "max" ? 0 : options.number("rate"),
                        options.number("window"),
                        options.number("connections"),
                        options.number("payload-bytes"),
                        options.number("settle-ms")};
  return broker{wanted, static_cast<std::uint16_t>(options.number("port"))}.run();
} catch (const std::exception& failure) {
  std::fprintf(stderr, "stand_in_broker: %s\n", failure.what());
  return 70;
}
