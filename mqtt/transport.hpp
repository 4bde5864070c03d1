// A TCP or TLS connection to a broker. For mqtt/client.cpp only; everything runs on the thread of the context.
#pragma once

#include "config/config.hpp"
#include "core/error.hpp"
#include "core/result.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility> // Asio 1.74 needs it before its own headers in C++20

namespace penstock::mqtt {

/// Calls back once for each operation, also after `close` (with an error). Keeps itself alive while an operation runs.
class transport : public std::enable_shared_from_this<transport> {
public:
  using done = std::function<void(result<void>)>;
  using read_done = std::function<void(result<std::size_t>)>;

  transport(boost::asio::io_context& context, const config::broker& broker);

  /// Resolves, connects, and shakes hands. No timeout: close it.
  void connect(done handler);
  /// One read of at least one byte into `buffer`, which must stay.
  void read(char* buffer, std::size_t size, read_done handler);
  /// All of `bytes`, which must stay.
  void write(const std::string& bytes, done handler);
  void close();

private:
  using tcp = boost::asio::ip::tcp;
  using code = boost::system::error_code;
  void connect_to(const tcp::resolver::results_type& endpoints, done handler);
  void on_connected(const code& failure, done handler);
  void shake_hands(done handler);
  error failure_of(const code& failure, const char* what) const;

  config::broker broker_;
  std::string peer_; ///< host:port
  tcp::resolver resolver_;
  tcp::socket socket_;
  std::optional<boost::asio::ssl::context> tls_context_;
  std::optional<boost::asio::ssl::stream<tcp::socket&>> tls_;
};

} // namespace penstock::mqtt
