// A TCP socket on 127.0.0.1: for a port that is free, and for whether somebody listens.
#pragma once

#include <cstdint>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace penstock::mqtt {

class loopback_socket {
public:
  loopback_socket() : handle_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~loopback_socket() {
    if (handle_ >= 0)
      close(handle_);
  }
  loopback_socket(const loopback_socket&) = delete;
  loopback_socket& operator=(const loopback_socket&) = delete;

  /// False: nobody listens there.
  bool connect_to(std::uint16_t port) {
    sockaddr_in address = loopback(port);
    return connect(handle_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  /// A port that is free now; 0: none.
  std::uint16_t free_port() {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(handle_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        getsockname(handle_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      return 0;
    return ntohs(address.sin_port);
  }

private:
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  int handle_;
};

} // namespace penstock::mqtt
