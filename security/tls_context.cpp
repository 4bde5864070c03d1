#include "security/tls_context.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <array>
#include <system_error>

namespace penstock::security {

namespace {

error unusable(const char* what, const std::filesystem::path& file) {
  return {errc::configuration, std::string{what} + " " + file.string() + ": " + tls_error_text()};
}

bool is_address(const std::string& host) {
  std::array<unsigned char, 16> bytes{};
  return inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 || inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

} // namespace

void load_openssl() {
  OPENSSL_init_ssl(0, nullptr);
  EVP_MD_free(EVP_MD_fetch(nullptr, "SHA256", nullptr));
  SSL_CTX_free(SSL_CTX_new(TLS_client_method()));
}

void tls_context_deleter::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

std::string tls_error_text() {
  // The first entry is the cause; later ones say what could not be done because of it.
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0)
    return "unknown error";
  if (const char* reason = ERR_reason_error_string(code))
    return reason;
  if (ERR_SYSTEM_ERROR(code))
    return std::generic_category().message(ERR_GET_REASON(code));
  return "OpenSSL error " + std::to_string(code);
}

result<tls_context> client_context(const config::tls& settings) {
  ERR_clear_error();
  tls_context context{SSL_CTX_new(TLS_client_method())};
  if (!context)
    return error{errc::internal, "no TLS context: " + tls_error_text()};
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(context.get(), settings.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (settings.ca.empty()) {
    if (SSL_CTX_set_default_verify_paths(context.get()) != 1)
      return error{errc::configuration, "the system's CA certificates: " + tls_error_text()};
  } else if (SSL_CTX_load_verify_locations(context.get(), settings.ca.c_str(), nullptr) != 1) {
    return unusable("CA file", settings.ca);
  }
  if (!settings.certificate.empty() &&
      SSL_CTX_use_certificate_chain_file(context.get(), settings.certificate.c_str()) != 1)
    return unusable("certificate file", settings.certificate);
  if (!settings.key.empty()) {
    if (SSL_CTX_use_PrivateKey_file(context.get(), settings.key.c_str(), SSL_FILETYPE_PEM) != 1)
      return unusable("key file", settings.key);
    if (!settings.certificate.empty() && SSL_CTX_check_private_key(context.get()) != 1)
      return unusable("the certificate is not for the key in", settings.key);
  }
  return context;
}

result<void> expect_host(ssl_st* connection, const std::string& host, const config::tls& settings) {
  ERR_clear_error();
  const bool address = is_address(host);
  // RFC 6066, 3: a server name is never an address.
  if (!address && SSL_ctrl(connection, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                           const_cast<char*>(host.c_str())) != 1)
    return error{errc::configuration, "host name " + host + ": " + tls_error_text()};
  if (!settings.verify)
    return {};
  X509_VERIFY_PARAM* parameters = SSL_get0_param(connection);
  const int done = address ? X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str())
                           : X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), host.size());
  if (done != 1)
    return error{errc::configuration, "host name " + host + ": " + tls_error_text()};
  return {};
}

} // namespace penstock::security
