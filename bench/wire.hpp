// The least of MQTT 3.1.1 and 5 that the benchmarks' own programs need. Of no use outside them: nothing here checks
// what a peer sends further than a benchmark on loopback needs.
#pragma once

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace bench {

using clock = std::chrono::steady_clock;

[[noreturn]] inline void fail(const std::string& what) {
  throw std::runtime_error(what + (errno != 0 ? std::string{": "} + std::strerror(errno) : std::string{}));
}

/// `--name value` pairs; the names that are known stand in `defaults`.
class options {
public:
  options(int argc, char** argv, std::map<std::string, std::string> defaults) : values_(std::move(defaults)) {
    for (int i = 1; i < argc; i += 2) {
      const std::string name = argv[i];
      if (name.rfind("--", 0) != 0 || values_.count(name.substr(2)) == 0 || i + 1 == argc)
        throw std::runtime_error("unknown option, or no value: " + name);
      values_[name.substr(2)] = argv[i + 1];
    }
  }
  const std::string& text(const std::string& name) const { return values_.at(name); }
  std::uint64_t number(const std::string& name) const {
    const std::string& value = text(name);
    std::uint64_t parsed = 0;
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), parsed);
    if (code != std::errc{} || end != value.data() + value.size())
      throw std::runtime_error("--" + name + " is not a number: " + value);
    return parsed;
  }

private:
  std::map<std::string, std::string> values_;
};

inline double seconds(clock::duration time) { return std::chrono::duration<double>(time).count(); }

/// User and system time of this process.
inline double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

// ---- packets

inline void put_u16(std::string& out, std::size_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value & 0xff);
}

inline void put_string(std::string& out, std::string_view text) {
  put_u16(out, text.size());
  out += text;
}

inline void put_length(std::string& out, std::size_t value) {
  do {
    const std::size_t digit = value % 128;
    value /= 128;
    out += static_cast<char>(digit | (value > 0 ? 0x80u : 0u));
  } while (value > 0);
}

inline void put_packet(std::string& out, unsigned type_and_flags, std::string_view body) {
  out += static_cast<char>(type_and_flags);
  put_length(out, body.size());
  out += body;
}

/// A clean MQTT 5 session, without keep alive: a subscriber with QoS 0 has nothing to send.
inline std::string connect_packet(const std::string& client_id, std::uint16_t receive_maximum) {
  std::string body;
  put_string(body, "MQTT");
  body += '\x05';
  body += '\x02'; // clean start
  put_u16(body, 0);
  body += '\x03'; // properties: Receive Maximum
  body += '\x21';
  put_u16(body, receive_maximum);
  put_string(body, client_id);
  std::string out;
  put_packet(out, 0x10, body);
  return out;
}

inline std::string subscribe_packet(const std::string& filter, unsigned qos = 1) {
  std::string body;
  put_u16(body, 1);
  body += '\0';
  put_string(body, filter);
  body += static_cast<char>(qos);
  std::string out;
  put_packet(out, 0x82, body);
  return out;
}

inline void put_puback(std::string& out, std::uint16_t id) {
  out += '\x40';
  out += '\x02';
  put_u16(out, id);
}

struct packet {
  unsigned first = 0; ///< type and flags
  std::string_view body;
  unsigned type() const { return first >> 4; }
  std::uint16_t u16(std::size_t at) const {
    return static_cast<std::uint16_t>((static_cast<unsigned char>(body.at(at)) << 8) |
                                      static_cast<unsigned char>(body.at(at + 1)));
  }
};

/// Of a PUBLISH of MQTT 5 with properties shorter than 16 KiB.
inline std::string_view payload_of(const packet& publish) {
  std::size_t at = 2u + publish.u16(0) + ((publish.first & 0x06u) != 0 ? 2u : 0u);
  std::size_t length = static_cast<unsigned char>(publish.body.at(at++));
  if (length >= 0x80u)
    length = (length & 0x7fu) | static_cast<std::size_t>(static_cast<unsigned char>(publish.body.at(at++))) << 7;
  return publish.body.substr(at + length);
}

/// Calls `visit` with every whole packet in `bytes`; returns how many bytes they took.
template <class Visit>
std::size_t for_each_packet(std::string_view bytes, Visit&& visit) {
  std::size_t at = 0;
  while (true) {
    std::size_t length = 0;
    std::size_t header = 1;
    bool whole = false;
    for (unsigned shift = 0; at + header < bytes.size() && shift < 28; shift += 7) {
      const auto digit = static_cast<unsigned char>(bytes[at + header++]);
      length |= static_cast<std::size_t>(digit & 0x7fu) << shift;
      if ((digit & 0x80u) == 0) {
        whole = true;
        break;
      }
    }
    if (!whole || at + header + length > bytes.size())
      return at;
    visit(packet{static_cast<unsigned char>(bytes[at]), bytes.substr(at + header, length)});
    at += header + length;
  }
}

// ---- telemetry

/// The i-th message of the telemetry shape: users/{u}/devices/{d}/telemetry with a JSON payload. 10,000 devices of
/// 1,000 users; every message has a time of its own, so that every key is unique.
class telemetry {
public:
  telemetry(std::size_t payload_bytes, std::chrono::sys_time<std::chrono::microseconds> start)
    : payload_bytes_(payload_bytes), start_(start) {}

  std::string topic(std::uint64_t i) const {
    char text[64];
    std::snprintf(text, sizeof text, "users/user_%llu/devices/device_%03llu/telemetry",
                  static_cast<unsigned long long>(i % devices / 10), static_cast<unsigned long long>(i % 10));
    return text;
  }

  std::string payload(std::uint64_t i) const {
    const auto time = start_ + std::chrono::microseconds(i);
    const auto whole = std::chrono::floor<std::chrono::seconds>(time);
    const std::time_t seconds = whole.time_since_epoch().count();
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    char date[32];
    std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
    char text[256];
    std::snprintf(
      text, sizeof text,
      R"({"time":"%s.%06lldZ","sequence_id":%llu,"temperature":%.2f,"battery":%llu,"rssi":-%llu,"firmware":"2.4.1",)"
      R"("status":"ok","note":")",
      date, static_cast<long long>((time - whole).count()), static_cast<unsigned long long>(i / devices),
      20.0 + static_cast<double>(i * 7919 % 2500) / 100.0, static_cast<unsigned long long>(10 + i % 90),
      static_cast<unsigned long long>(40 + i % 60));
    std::string out = text;
    if (out.size() + 2 < payload_bytes_)
      out.append(payload_bytes_ - 2 - out.size(), 'x');
    return out + "\"}";
  }

  /// A QoS 1 PUBLISH.
  void put_publish(std::string& out, std::uint64_t i, std::uint16_t id, bool version_5) const {
    body_.clear();
    put_string(body_, topic(i));
    put_u16(body_, id);
    if (version_5)
      body_ += '\0';
    body_ += payload(i);
    put_packet(out, 0x32, body_);
  }

private:
  static constexpr std::uint64_t devices = 10'000;
  std::size_t payload_bytes_;
  std::chrono::sys_time<std::chrono::microseconds> start_;
  mutable std::string body_;
};

inline auto wall_now() { return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()); }

// ---- sockets

inline void no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

inline int dial(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    fail("cannot connect");
  no_delay(fd);
  return fd;
}

inline void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0)
      fail("cannot send");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

/// Bytes that arrived and are not yet whole packets.
class receiver {
public:
  explicit receiver(std::size_t capacity = 1u << 20) : buffer_(capacity, '\0') {}

  /// One recv. False: nothing there (non-blocking). Throws when the peer closed.
  template <class Visit>
  bool receive(int fd, Visit&& visit) {
    const ssize_t got = ::recv(fd, buffer_.data() + filled_, buffer_.size() - filled_, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
      return false;
    if (got < 0)
      fail("cannot receive");
    if (got == 0) {
      errno = 0;
      fail("the peer closed the connection");
    }
    filled_ += static_cast<std::size_t>(got);
    const std::size_t taken = for_each_packet(std::string_view{buffer_.data(), filled_}, visit);
    std::memmove(buffer_.data(), buffer_.data() + taken, filled_ - taken);
    filled_ -= taken;
    if (filled_ == buffer_.size())
      throw std::runtime_error("a packet is longer than the buffer");
    return true;
  }

private:
  std::string buffer_;
  std::size_t filled_ = 0;
};

} // namespace bench
