// OpenSSL contexts from the configuration. The handles fit boost::asio::ssl without its headers here.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"

#include <memory>
#include <string>

struct ssl_ctx_st;
struct ssl_st;

namespace penstock::security {

/// Before there are threads: OpenSSL 3.0 leaks a provider where two threads are the first to use it.
void load_openssl();

struct tls_context_deleter {
  void operator()(ssl_ctx_st* context) const;
};
using tls_context = std::unique_ptr<ssl_ctx_st, tls_context_deleter>;

/// A client's context: TLS 1.2 or later, the CA (or the system's), and the client's certificate and key where given.
/// Reads the files anew with each call. Fails with `configuration`; the message names the file.
result<tls_context> client_context(const config::tls& settings);

/// Before the handshake of a client: sends `host` as server name, and, where `settings.verify`, refuses a certificate
/// that is not for this host name or address.
result<void> expect_host(ssl_st* connection, const std::string& host, const config::tls& settings);

/// Why OpenSSL failed last on this thread: its text, or "unknown error". Clears its queue.
std::string tls_error_text();

} // namespace penstock::security
