#include "actors/links.hpp"

#include "security/tls_context.hpp"

#include <caf/io/middleman.hpp>
#include <caf/openssl/manager.hpp>
#include <caf/timespan.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace penstock::actors {

namespace {

/// CAF cuts healthy links where the longest silence is not at least four of them.
constexpr int heartbeats_a_silence = 5;
/// At each heartbeat CAF also drops what it dials if the peer has not said a first word yet. So between two of them
/// there must be room for a TLS handshake, also on busy machines: 1 s.
constexpr std::chrono::milliseconds silence_least{5000};

class socket_handle {
public:
  explicit socket_handle(int descriptor) : descriptor_(descriptor) {}
  socket_handle(const socket_handle&) = delete;
  socket_handle& operator=(const socket_handle&) = delete;
  ~socket_handle() {
    if (descriptor_ >= 0)
      ::close(descriptor_);
  }
  int get() const { return descriptor_; }

private:
  int descriptor_;
};

error failure_of(int code) {
  return {code == ETIMEDOUT ? errc::timed_out : errc::connection_refused, std::generic_category().message(code)};
}

/// Nothing, or why it could not be connected to.
std::optional<error> try_connect(const addrinfo& where, std::chrono::milliseconds timeout) {
  const socket_handle socket{::socket(where.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (socket.get() < 0)
    return failure_of(errno);
  if (::connect(socket.get(), where.ai_addr, where.ai_addrlen) == 0)
    return std::nullopt;
  if (errno != EINPROGRESS)
    return failure_of(errno);
  pollfd waiting{socket.get(), POLLOUT, 0};
  const auto until = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
    if (ready > 0)
      break;
    if (ready == 0)
      return failure_of(ETIMEDOUT);
    if (errno != EINTR)
      return failure_of(errno);
  }
  int code = 0;
  socklen_t size = sizeof code;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &code, &size);
  return code == 0 ? std::nullopt : std::optional{failure_of(code)};
}

using address_list = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

result<address_list> resolve(const std::string& host, std::uint16_t port, int flags) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = flags;
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found); code != 0)
    return error{errc::connection_refused, host + ": " + ::gai_strerror(code)};
  return address_list{found, &::freeaddrinfo};
}

std::string text_of(const addrinfo& where) {
  std::array<char, NI_MAXHOST> text{};
  ::getnameinfo(where.ai_addr, where.ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
  return text.data();
}

} // namespace

std::chrono::milliseconds link_silence_max(const config::cluster& cluster) {
  return std::max<std::chrono::milliseconds>(cluster.lease, silence_least);
}

result<void> configure_links(caf::actor_system_config& system, const config::cluster& cluster) {
  system.load<caf::io::middleman>();
  const auto silence = link_silence_max(cluster);
  system.set("middleman.heartbeat-interval", caf::timespan{silence / heartbeats_a_silence});
  system.set("middleman.connection-timeout", caf::timespan{silence});
  // It would open a plain port on every interface.
  system.set("middleman.enable-automatic-connections", false);
  // A worker copies each frame before it reads it, on a thread that has to wake up for it.
  system.set("middleman.workers", std::size_t{0});
  const auto& tls = cluster.tls;
  if (tls == config::tls{})
    return {};
  if (tls.ca.empty() || tls.certificate.empty() || tls.key.empty())
    return error{errc::configuration,
                 "cluster.tls: links need ca, certificate and key, since each side checks the other"};
  if (auto context = security::client_context(tls); !context)
    return error{context.error().code, "cluster.tls: " + context.error().message};
  system.load<caf::openssl::manager>();
  system.openssl_cafile = tls.ca.string();
  system.openssl_certificate = tls.certificate.string();
  system.openssl_key = tls.key.string();
  return {};
}

result<void> try_listen(const config::address& address) {
  const auto addresses = resolve(address.host, address.port, AI_PASSIVE);
  if (!addresses)
    return error{errc::configuration, "cannot take links at " + addresses.error().message};
  const auto& where = **addresses;
  const socket_handle socket{::socket(where.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const int yes = 1;
  if (socket.get() >= 0 && ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
      ::bind(socket.get(), where.ai_addr, where.ai_addrlen) == 0 && ::listen(socket.get(), 1) == 0)
    return {};
  const int code = errno;
  return error{code == EADDRINUSE ? errc::address_in_use : errc::configuration,
               "cannot take links at " + address.to_string() + ": " + std::generic_category().message(code)};
}

caf::io::middleman_actor link_manager(caf::actor_system& system, bool tls) {
  return tls ? system.openssl_manager().actor_handle() : system.middleman().actor_handle();
}

result<std::string> probe(const std::string& host, std::uint16_t port, std::chrono::milliseconds timeout) {
  const auto addresses = resolve(host, port, 0);
  if (!addresses)
    return addresses.error();
  error last{errc::connection_refused, host + ": no address"};
  for (const auto* each = addresses->get(); each != nullptr; each = each->ai_next) {
    const auto failure = try_connect(*each, timeout);
    if (!failure)
      return text_of(*each);
    last = *failure;
  }
  return last;
}

} // namespace penstock::actors
