#include "mqtt/transport.hpp"

#include "security/tls_context.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/write.hpp>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace penstock::mqtt {

namespace asio = boost::asio;

namespace {

std::string host_of(const config::broker& broker) {
  // An embedded broker has no url, and listens on loopback only.
  return broker.host.empty() ? "127.0.0.1" : broker.host;
}

/// Ends a connection whose peer has gone without a word: its data stays unacknowledged.
void set_user_timeout(int socket, config::milliseconds keep_alive) {
  const auto timeout = std::max(keep_alive, config::milliseconds{10'000});
  const auto value = static_cast<unsigned>(timeout.count());
  setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, sizeof value);
}

} // namespace

transport::transport(asio::io_context& context, const config::broker& broker)
  : broker_(broker), peer_(host_of(broker) + ":" + std::to_string(broker.port)), resolver_(context), socket_(context) {}

void transport::connect(done handler) {
  code not_an_address;
  const auto address = asio::ip::make_address(host_of(broker_), not_an_address);
  if (!not_an_address) {
    const tcp::endpoint endpoint{address, broker_.port};
    connect_to(tcp::resolver::results_type::create(endpoint, "", ""), std::move(handler));
    return;
  }
  resolver_.async_resolve(host_of(broker_), std::to_string(broker_.port), tcp::resolver::numeric_service,
                          [self = shared_from_this(), handler = std::move(handler)](
                            const code& failure, const tcp::resolver::results_type& endpoints) mutable {
                            if (failure)
                              handler(self->failure_of(failure, "the host name cannot be resolved"));
                            else
                              self->connect_to(endpoints, std::move(handler));
                          });
}

void transport::connect_to(const tcp::resolver::results_type& endpoints, done handler) {
  asio::async_connect(
    socket_, endpoints,
    [self = shared_from_this(), handler = std::move(handler)](const code& failure, const tcp::endpoint&) mutable {
      self->on_connected(failure, std::move(handler));
    });
}

void transport::on_connected(const code& failure, done handler) {
  if (failure || !socket_.is_open())
    return handler(failure_of(failure ? failure : asio::error::operation_aborted, "cannot connect"));
  code ignored;
  socket_.set_option(tcp::no_delay{true}, ignored);
  socket_.set_option(asio::socket_base::keep_alive{true}, ignored);
  set_user_timeout(socket_.native_handle(), broker_.keep_alive);
  if (broker_.use_tls)
    shake_hands(std::move(handler));
  else
    handler({});
}

void transport::shake_hands(done handler) {
  auto context = security::client_context(broker_.tls);
  if (!context)
    return handler(context.error());
  tls_context_.emplace((*context).release());
  tls_.emplace(socket_, *tls_context_);
  if (auto expected = security::expect_host(tls_->native_handle(), host_of(broker_), broker_.tls); !expected)
    return handler(expected.error());
  tls_->async_handshake(
    asio::ssl::stream_base::client, [self = shared_from_this(), handler = std::move(handler)](const code& failure) {
      if (!failure)
        return handler({});
      const long verdict = SSL_get_verify_result(self->tls_->native_handle());
      if (verdict != X509_V_OK)
        return handler(error{errc::configuration, self->peer_ + ": the broker's certificate is refused: " +
                                                    X509_verify_cert_error_string(verdict)});
      handler(self->failure_of(failure, "the TLS handshake failed"));
    });
}

void transport::read(char* buffer, std::size_t size, read_done handler) {
  auto finished = [self = shared_from_this(), handler = std::move(handler)](const code& failure, std::size_t count) {
    if (failure)
      handler(self->failure_of(failure, "the connection broke"));
    else
      handler(count);
  };
  if (tls_)
    tls_->async_read_some(asio::buffer(buffer, size), std::move(finished));
  else
    socket_.async_read_some(asio::buffer(buffer, size), std::move(finished));
}

void transport::write(const std::string& bytes, done handler) {
  auto finished = [self = shared_from_this(), handler = std::move(handler)](const code& failure, std::size_t) {
    if (failure)
      handler(self->failure_of(failure, "the connection broke"));
    else
      handler({});
  };
  if (tls_)
    asio::async_write(*tls_, asio::buffer(bytes), std::move(finished));
  else
    asio::async_write(socket_, asio::buffer(bytes), std::move(finished));
}

void transport::close() {
  code ignored;
  resolver_.cancel();
  socket_.shutdown(tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
}

error transport::failure_of(const code& failure, const char* what) const {
  if (failure == asio::error::eof || failure == asio::ssl::error::stream_truncated)
    return {errc::connection_lost, peer_ + ": the broker closed the connection"};
  errc number = errc::connection_lost;
  if (failure == asio::error::connection_refused || failure.category() == asio::error::get_netdb_category())
    number = errc::connection_refused;
  else if (failure == asio::error::timed_out)
    number = errc::timed_out;
  return {number, peer_ + ": " + what + ": " + failure.message()};
}

} // namespace penstock::mqtt
