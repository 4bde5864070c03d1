#include "config/value.hpp"
#include "core/assert.hpp"
#include "storage/mariadb_handle.hpp"

#include <openssl/x509.h>

#include <algorithm>
#include <filesystem>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <system_error>

namespace penstock::storage::mariadb {

namespace {

using config::tls_mode;

constexpr std::chrono::seconds answer_margin{1};

/// libmariadb counts in seconds, and 0 is for ever.
unsigned seconds_of(config::milliseconds time) {
  return static_cast<unsigned>(std::max<std::int64_t>(1, (time.count() + 999) / 1000));
}

bool verifies(tls_mode mode) { return mode >= tls_mode::verify_ca; }

template <class Value>
void set(MYSQL* handle, mysql_option option, const Value& value) {
  assert_that(mysql_optionsv(handle, option, value) == 0, "libmariadb knows the option");
}

void set_flag(MYSQL* handle, mysql_option option, bool on) {
  const my_bool value = on ? 1 : 0;
  set(handle, option, &value);
}

void set_tls(MYSQL* handle, const config::tls& tls, tls_mode mode) {
  set_flag(handle, MYSQL_OPT_SSL_ENFORCE, mode != tls_mode::disable);
  // It is what libmariadb calls the check of the host's name; later versions check unless told.
  set_flag(handle, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, mode == tls_mode::verify_full);
  if (mode == tls_mode::disable)
    return;
  if (!tls.certificate.empty()) {
    set(handle, MYSQL_OPT_SSL_CERT, tls.certificate.c_str());
    set(handle, MYSQL_OPT_SSL_KEY, tls.key.c_str());
  }
  if (!verifies(mode))
    return;
  // A named authority is what makes libmariadb check the certificate, so the system's own are named too.
  if (!tls.ca.empty()) {
    set(handle, MYSQL_OPT_SSL_CA, tls.ca.c_str());
    return;
  }
  std::error_code ignored;
  if (std::filesystem::exists(X509_get_default_cert_file(), ignored))
    set(handle, MYSQL_OPT_SSL_CA, X509_get_default_cert_file());
  set(handle, MYSQL_OPT_SSL_CAPATH, X509_get_default_cert_dir());
}

/// A connection on which nothing is asked for long (a lane without messages) must not die unseen either.
void keep_alive(MYSQL* handle) {
  const int on = 1;
  const int idle_seconds = 30;
  const int interval_seconds = 10;
  const int probes = 3;
  const auto descriptor = static_cast<int>(mysql_get_socket(handle));
  // Best effort: a Unix socket has none of it.
  static_cast<void>(setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
  static_cast<void>(setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds));
  static_cast<void>(setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval_seconds, sizeof interval_seconds));
  static_cast<void>(setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes));
}

result<handle> log_in(const config::database& settings, const config::database_address& to, tls_mode mode) {
  handle made{mysql_init(nullptr)};
  assert_that(made != nullptr, "libmariadb has memory for a connection");
  const bool socket = config::is_socket(to);
  set(made.get(), MYSQL_SET_CHARSET_NAME, "utf8mb4");
  const auto connecting = seconds_of(settings.connect_timeout);
  set(made.get(), MYSQL_OPT_CONNECT_TIMEOUT, &connecting); // for the log-in too
  set_tls(made.get(), settings.tls, mode);
  // Otherwise "localhost" would be the default Unix socket, and a server could ask for files of this machine.
  const auto protocol = static_cast<unsigned>(socket ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP);
  set(made.get(), MYSQL_OPT_PROTOCOL, &protocol);
  const unsigned no_files = 0;
  set(made.get(), MYSQL_OPT_LOCAL_INFILE, &no_files);
  // Whoever sits between the two could ask for the password as it is.
  if (!socket && !verifies(mode))
    set(made.get(), MARIADB_OPT_RESTRICTED_AUTH,
        "mysql_native_password,client_ed25519,caching_sha2_password,sha256_password");
  // Without CLIENT_FOUND_ROWS, which SOCI would set: a row that is there already would count like one that is new.
  if (mysql_real_connect(made.get(), socket ? nullptr : to.host.c_str(), to.user.c_str(), to.password.value.c_str(),
                         to.database.c_str(), to.port, socket ? to.host.c_str() : nullptr, 0) == nullptr)
    return last_failure(made.get(), "cannot log in");
  if (mode >= tls_mode::require && mysql_get_ssl_cipher(made.get()) == nullptr)
    return error{errc::not_authorised, "the server has no TLS, which sslmode asks for"};
  keep_alive(made.get());
  return made;
}

/// prefer: without TLS where it does not work.
result<handle> log_in(const config::database& settings, const config::database_address& to) {
  auto made = log_in(settings, to, to.tls_mode);
  if (made || to.tls_mode != tls_mode::prefer || made.error().code != errc::not_authorised)
    return made;
  auto plain = log_in(settings, to, tls_mode::disable);
  return plain ? std::move(plain) : std::move(made);
}

void look_at_version(server& made) {
  auto* handle = made.handle.get();
  made.is_mariadb = mariadb_connection(handle) != 0;
  unsigned long capabilities = 0; // of those beyond the 32 bits of the handshake
  mariadb_get_infov(handle, MARIADB_CONNECTION_EXTENDED_SERVER_CAPABILITIES, &capabilities);
  made.binds_arrays = made.is_mariadb && (capabilities & (MARIADB_CLIENT_STMT_BULK_OPERATIONS >> 32)) != 0;
}

std::string settings_sql(const server& made, const config::database& settings) {
  const auto lock_seconds = std::to_string(seconds_of(settings.busy_timeout));
  // The second and third are in force before the first, where somebody has set them for the whole server.
  const auto idle = std::to_string(made.idle_seconds_max);
  const auto idle_limits = "idle_transaction_timeout = " + idle + ", idle_write_transaction_timeout = " + idle +
                           ", idle_readonly_transaction_timeout = " + idle + ", ";
  // NO_AUTO_VALUE_ON_ZERO: a zero stays one in an AUTO_INCREMENT column.
  return "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
         "NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', autocommit = 1,"
         " innodb_lock_wait_timeout = " +
         lock_seconds + ", lock_wait_timeout = " + lock_seconds + ", " + (made.is_mariadb ? idle_limits : "") +
         limit_setting(made, settings.statement_timeout);
}

result<void> set_up(server& made, const config::database& settings, access access) {
  auto* handle = made.handle.get();
  if (auto done = execute(handle, settings_sql(made, settings)); !done)
    return done;
  auto asked = query(handle, "SELECT @@max_allowed_packet, @@log_bin AND @@binlog_format = 'STATEMENT'");
  if (!asked)
    return asked.error();
  assert_that(asked->size() == 1 && asked->front().size() == 2 && asked->front()[0], "a server has these variables");
  made.packet_bytes = std::stoul(*asked->front()[0]);
  const bool logs_statements = asked->front()[1] == "1";
  // The server refuses bulk statements then: "only row based replication".
  made.binds_arrays = made.binds_arrays && !logs_statements;
  // It locks no gaps between keys, over which writers of different keys would wait for each other. InnoDB refuses it
  // where the binary log is to hold statements.
  if (!logs_statements)
    if (auto done = execute(handle, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"); !done)
      return done;
  if (access == access::read_only)
    return execute(handle, "SET SESSION TRANSACTION READ ONLY");
  return {};
}

} // namespace

error told(const server& on, error failure) {
  if (on.watch->cut())
    return {errc::timed_out, "the database did not answer in time, and the connection was cut"};
  return failure;
}

std::string limit_setting(const server& on, config::milliseconds limit) {
  if (!on.is_mariadb) // of queries only
    return "max_execution_time = " + std::to_string(limit.count());
  return "max_statement_time = " + std::to_string(limit.count() / 1000) + "." +
         std::to_string(1000 + limit.count() % 1000).substr(1);
}

result<server> connect(const config::database& settings, access access) {
  const auto& to = access == access::read_only && settings.read_address ? *settings.read_address : settings.address;
  auto logged_in = log_in(settings, to);
  if (!logged_in)
    return logged_in.error();
  server made;
  made.handle = *std::move(logged_in);
  made.watch = std::make_unique<socket_watch>(static_cast<int>(mysql_get_socket(made.handle.get())));
  // The server's own limit, statement_timeout, comes first: it says what was wrong.
  made.answer_limit = settings.statement_timeout + answer_margin;
  made.idle_seconds_max = seconds_of(settings.transaction_idle_max);
  look_at_version(made);
  const call_limit limit{*made.watch, settings.connect_timeout};
  if (auto ready = set_up(made, settings, access); !ready)
    return told(made, ready.error());
  return made;
}

} // namespace penstock::storage::mariadb
