// A client that sends what it is told to, byte by byte if need be.
#pragma once

#include "config/config.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/time.h>
#include <utility>

namespace penstock::web {

class raw_client {
public:
  explicit raw_client(const config::address& server) {
    boost::system::error_code failure;
    socket_.connect({boost::asio::ip::make_address(server.host), server.port}, failure);
    EXPECT_FALSE(failure) << failure.message();
    // A server that never answers fails the test instead of stopping it.
    const timeval limit{20, 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }

  /// False where the server has closed.
  bool send(std::string_view bytes) {
    boost::system::error_code failure;
    boost::asio::write(socket_, boost::asio::buffer(bytes.data(), bytes.size()), failure);
    return !failure;
  }

  void end() {
    boost::system::error_code ignored;
    socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
  }

  /// One answer: header and as much body as Content-Length says (none if `head`); what there is where the server
  /// closes.
  std::string read_answer(bool head = false) {
    while (buffer_.find("\r\n\r\n") == std::string::npos)
      if (!read_some())
        return std::exchange(buffer_, {});
    std::size_t size = buffer_.find("\r\n\r\n") + 4;
    if (const auto length = buffer_.find("Content-Length: "); !head && length < size)
      size += std::stoul(buffer_.substr(length + 16));
    while (buffer_.size() < size)
      if (!read_some())
        break;
    const auto answer = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return answer;
  }

  /// True if nothing more comes and the connection ends.
  bool closed() {
    while (buffer_.empty())
      if (!read_some())
        return true;
    return false;
  }

private:
  bool read_some() {
    char bytes[4096];
    const auto count = ::recv(socket_.native_handle(), bytes, sizeof bytes, 0);
    EXPECT_FALSE(count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) << "no answer within 20 s";
    if (count > 0)
      buffer_.append(bytes, static_cast<std::size_t>(count));
    return count > 0;
  }

  boost::asio::io_context io_;
  boost::asio::ip::tcp::socket socket_{io_};
  std::string buffer_;
};

} // namespace penstock::web
