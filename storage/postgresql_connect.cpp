#include "storage/postgresql_connect.hpp"

#include "config/value.hpp"
#include "core/hex.hpp"
#include "storage/postgresql_handle.hpp"

#include <openssl/x509.h>
#include <soci/postgresql/soci-postgresql.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>
#include <poll.h>
#include <thread>

namespace penstock::storage::postgresql {

namespace {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int server_version_min = 120'000;

std::string percent_encoded(const std::string& text) {
  std::string encoded;
  for (const char letter : text)
    if (std::isalnum(static_cast<unsigned char>(letter)))
      encoded += letter;
    else
      encoded += "%" + to_hex({&letter, 1});
  return encoded;
}

/// The certificates that the system trusts: libpq before 16 does not look for them by itself.
std::string system_certificates() {
  const std::array<const char*, 3> files{X509_get_default_cert_file(), "/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt"};
  for (const char* const file : files)
    if (std::filesystem::exists(file))
      return file;
  return {};
}

/// The whole seconds that libpq counts in, of which 2 are its least.
std::string seconds_of(milliseconds limit) {
  return std::to_string(std::max<std::int64_t>(2, std::chrono::ceil<std::chrono::seconds>(limit).count()));
}

/// What a failed log-in means, from SQLSTATE, and where there is none (nobody answered, or it is a PgBouncer, which
/// says 08P01 to everything) from the English text: libpq's is translated only in a program that asks for it,
/// PgBouncer's never.
struct sign {
  std::string_view text;
  errc code;
};
constexpr std::array signs{
  sign{"password", errc::not_authorised},          sign{"authentication failed", errc::not_authorised},
  sign{"no such user", errc::not_authorised},      sign{"certificate", errc::not_authorised},
  sign{"does not support SSL", errc::unsupported}, sign{"SSL", errc::not_authorised},
  sign{"startup parameter", errc::unsupported},    sign{"no such database", errc::schema_mismatch},
  sign{"does not exist", errc::schema_mismatch},
};

errc code_from_text(std::string_view text, errc otherwise) {
  const auto* const found = std::find_if(
    signs.begin(), signs.end(), [&](const sign& each) { return text.find(each.text) != std::string_view::npos; });
  return found == signs.end() ? otherwise : found->code;
}

/// libpq words a failed log-in "FATAL:  28P01: password authentication failed ..." when it is asked to be verbose: the
/// only way to the SQLSTATE of a connection that was not made. The first word is in the server's language. Takes the
/// SQLSTATE out of the text, and what follows the first line.
std::string take_sqlstate(std::string& text) {
  const auto is_digit = [](unsigned char letter) { return std::isdigit(letter) != 0 || std::isupper(letter) != 0; };
  for (auto at = text.find(":  "); at != std::string::npos; at = text.find(":  ", at + 1)) {
    auto sqlstate = text.substr(at + 3, 5);
    if (sqlstate.size() < 5 || !std::all_of(sqlstate.begin(), sqlstate.end(), is_digit) ||
        text.compare(at + 8, 2, ": ") != 0)
      continue;
    text.erase(at + 3, 7);
    text.erase(std::min(text.find('\n', at), text.size()));
    return sqlstate;
  }
  return {};
}

/// A connection of our own that only tries: libpq alone, so that it ends in time and says what is wrong.
class trial {
public:
  trial(const std::string& url, clock::time_point until) : connection_(PQconnectStart(url.c_str())), until_(until) {
    if (connection_)
      PQsetErrorVerbosity(connection_.get(), PQERRORS_VERBOSE);
  }

  result<void> run() {
    if (!connection_)
      return error{errc::internal, "libpq has no memory"};
    if (auto connected = log_in(); !connected)
      return connected;
    // A PgBouncer takes a log-in while the server behind it is gone.
    if (auto answered = ask(); !answered)
      return answered;
    const char* const encoding = PQparameterStatus(connection_.get(), "server_encoding");
    if (encoding && std::string_view{encoding} != "UTF8")
      return error{errc::unsupported, "its encoding is " + std::string{encoding} +
                                        ", and Penstock stores UTF-8: make one with CREATE DATABASE ... ENCODING 'UTF8'"
                                        " TEMPLATE template0"};
    if (PQserverVersion(connection_.get()) < server_version_min)
      return error{errc::unsupported, "its version is " +
                                        std::string{PQparameterStatus(connection_.get(), "server_version")} +
                                        ", and Penstock needs PostgreSQL 12 or later"};
    return {};
  }

  raw_connection take() { return std::move(connection_); }

private:
  result<void> log_in() {
    if (PQstatus(connection_.get()) == CONNECTION_BAD)
      return failure(errc::connection_refused);
    for (auto state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK; state = PQconnectPoll(connection_.get())) {
      if (state == PGRES_POLLING_FAILED)
        return failure(errc::connection_refused);
      if (!wait(state == PGRES_POLLING_READING ? POLLIN : POLLOUT))
        return timed_out();
    }
    return {};
  }

  result<void> ask() {
    if (PQsendQuery(connection_.get(), "SELECT 1") != 1)
      return failure(errc::connection_lost);
    while (PQisBusy(connection_.get()) == 1) {
      if (!wait(POLLIN))
        return timed_out();
      if (PQconsumeInput(connection_.get()) != 1)
        return failure(errc::database_unavailable);
    }
    const answer got{PQgetResult(connection_.get())};
    return PQresultStatus(got.get()) == PGRES_TUPLES_OK ? result<void>{} : failure(errc::database_unavailable);
  }

  bool wait(short events) {
    const auto left = std::chrono::ceil<milliseconds>(until_ - clock::now()).count();
    pollfd socket{.fd = PQsocket(connection_.get()), .events = events, .revents = 0};
    return left > 0 && ::poll(&socket, 1, static_cast<int>(left)) > 0;
  }

  error failure(errc otherwise) {
    std::string text = PQerrorMessage(connection_.get());
    const auto sqlstate = take_sqlstate(text);
    const bool says_nothing = sqlstate.empty() || sqlstate == "08P01";
    const auto code = PQconnectionNeedsPassword(connection_.get()) == 1 ? errc::not_authorised
                      : says_nothing ? code_from_text(text, sqlstate.empty() ? otherwise : errc::database_unavailable)
                                     : code_of(sqlstate);
    return {code, text + (sqlstate.empty() ? "" : " (" + sqlstate + ")")};
  }

  static error timed_out() { return {errc::timed_out, "no answer within connect_timeout"}; }

  raw_connection connection_;
  clock::time_point until_;
};

using made_session = result<std::unique_ptr<soci::session>>;

// SOCI says nothing of why a connection failed, and loses the memory of one that fails a little later: so ours tries
// first.
made_session connect_twice(const std::string& url, clock::time_point until) {
  if (auto possible = trial{url, until}.run(); !possible)
    return possible.error();
  try {
    return std::make_unique<soci::session>(soci::postgresql, url);
  } catch (const soci::postgresql_soci_error& thrown) {
    return error{code_of(thrown.sqlstate()), thrown.get_error_message()};
  } catch (const soci::soci_error& thrown) {
    return error{errc::database_unavailable, thrown.get_error_message()};
  }
}

/// Runs it in a thread, which is left alone where it takes too long: the look-up of a name and SOCI's own first
/// statement have no limit.
made_session within(milliseconds limit, const std::string& url) {
  struct exchange {
    std::mutex mutex;
    std::condition_variable done;
    std::optional<made_session> outcome;
  };
  const auto shared = std::make_shared<exchange>();
  const auto until = clock::now() + limit;
  std::thread{[shared, url, until] {
    auto outcome = connect_twice(url, until);
    const std::lock_guard lock{shared->mutex};
    shared->outcome = std::move(outcome);
    shared->done.notify_one();
  }}.detach();
  std::unique_lock lock{shared->mutex};
  // A little more than the trial's own limit, which can say more.
  if (!shared->done.wait_until(lock, until + milliseconds{200}, [&] { return shared->outcome.has_value(); }))
    return error{errc::timed_out, "no answer within connect_timeout"};
  return *std::exchange(shared->outcome, std::nullopt);
}

} // namespace

std::string connect_text(const config::database& settings, const config::database_address& where) {
  std::string url = "postgresql://";
  char before = '?';
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty())
      url += std::exchange(before, '&') + std::string{name} + "=" + percent_encoded(value);
  };
  const auto milliseconds_of = [](milliseconds limit) { return std::to_string(limit.count()); };
  add("host", where.host);
  add("port", std::to_string(where.port));
  add("dbname", where.database);
  add("user", where.user);
  add("password", where.password.value);
  add("sslmode", std::string{config::name_of(where.tls_mode)});
  if (where.tls_mode >= config::tls_mode::verify_ca)
    add("sslrootcert", settings.tls.ca.empty() ? system_certificates() : settings.tls.ca.string());
  add("sslcert", settings.tls.certificate.string());
  add("sslkey", settings.tls.key.string());
  add("application_name", "penstock");
  add("client_encoding", "UTF8");
  add("connect_timeout", seconds_of(settings.connect_timeout));
  // A peer that is gone without a word, or does not take what is sent.
  add("tcp_user_timeout", milliseconds_of(settings.statement_timeout));
  add("keepalives_idle", "10");
  add("keepalives_interval", "5");
  add("keepalives_count", "3");
  return url;
}

namespace {

/// Which database could not be connected to, and why.
error failed(const config::database& settings, const config::database_address& where, const error& why) {
  const auto at = config::is_socket(where) ? where.host : config::address{where.host, where.port}.to_string();
  return {why.code,
          failure_text("database '" + settings.name + "' (" + where.database + " at " + at + ")", why.message)};
}

} // namespace

result<std::unique_ptr<soci::session>> connect(const config::database& settings,
                                               const config::database_address& where) {
  auto made = within(settings.connect_timeout, connect_text(settings, where));
  if (made)
    return made;
  return failed(settings, where, made.error());
}

result<raw_connection> connect_to_log(const config::database& settings) {
  const auto options = percent_encoded("-c datestyle=ISO -c timezone=UTC -c intervalstyle=postgres"
                                       " -c extra_float_digits=3 -c bytea_output=hex");
  trial made{connect_text(settings, settings.address) + "&replication=database&options=" + options,
             clock::now() + settings.connect_timeout};
  if (auto connected = made.run(); !connected)
    return failed(settings, settings.address, connected.error());
  return made.take();
}

} // namespace penstock::storage::postgresql
