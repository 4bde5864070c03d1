#include "config/check.hpp"
#include "config/login.hpp"
#include "config/value.hpp"

#include <algorithm>
#include <optional>

namespace penstock::config {

namespace {

/// The url of a setting; a problem and nothing where it is none. The text is not repeated: an option of it may hold a
/// password.
std::optional<database_url> parse_at(const std::string& path, const std::string& text, findings& problems) {
  if (!problems.sound(path) || text.empty())
    return std::nullopt;
  auto url = parse_database_url(text);
  if (url)
    return std::move(*url);
  problems.add(path, url.error().message);
  return std::nullopt;
}

void resolve_file(database& d, const database_url& url, const std::filesystem::path& data, const std::string& path,
                  findings& problems) {
  d.address.path = (data / url.address.path).lexically_normal();
  for (const char* name : {"read_url", "user", "password", "password_file", "tls", "connect_timeout",
                           "statement_timeout", "connections_max"})
    if (const std::string here = below(path, name); problems.given(here))
      problems.add(here, "is for database servers, and SQLite is a file; remove it");
}

class server_check {
public:
  server_check(database& d, findings& problems) : database_(d), problems_(problems), path_("databases." + d.name) {}

  void run(database_url url) {
    const login_settings login{path_, database_.user, database_.password, database_.password_file};
    take_login(login, url.user, url.password, problems_);
    read_password(login, problems_);
    database_.address = locate(url, at("url"));
    database_.url = to_text(url);
    if (auto replica = parse_at(at("read_url"), database_.read_url, problems_))
      resolve_replica(*replica);
    check_tls();
    check_timeouts();
    if (database_.kind == database_kind::mysql && database_.synchronous != synchronous::full)
      problems_.add(at("synchronous"), "must be full: MySQL and MariaDB have a setting of the whole server for it "
                                       "(innodb_flush_log_at_trx_commit), and Penstock changes no server's settings");
  }

private:
  std::string at(std::string_view name) const { return below(path_, name); }

  /// Where `url` is, with the log-in; makes the url say how TLS is used.
  database_address locate(database_url& url, const std::string& url_path) {
    database_address address = url.address;
    address.user = database_.user;
    address.password = database_.password;
    address.tls_mode = tls_mode_of(url, url_path);
    url.tls_mode = address.tls_mode;
    return address;
  }

  /// A replica has the users of the database that it repeats, so there is one log-in for both.
  void resolve_replica(database_url& url) {
    const std::string path = at("read_url");
    if (url.kind != database_.kind)
      return problems_.add(path, "is another kind of database than url; a replica is of the same kind");
    const bool same_login =
      (!url.user || *url.user == database_.user) && (!url.password || *url.password == database_.password.value);
    if (!same_login && problems_.sound(at("user")) && problems_.sound(at("password_file")))
      problems_.add(path, "has another log-in than the database; a replica takes the same one, so remove user and "
                          "password from it");
    database_.read_address = locate(url, path);
    database_.read_url = to_text(url);
  }

  /// What sslmode says; without it, what the tls section asks for; without both, TLS where the server has it.
  tls_mode tls_mode_of(const database_url& url, const std::string& url_path) {
    if (is_socket(url.address)) {
      if (url.tls_mode && *url.tls_mode >= tls_mode::require)
        problems_.add(url_path, "has sslmode for a Unix socket, which is not encrypted; remove sslmode");
      return tls_mode::disable;
    }
    if (!url.tls_mode)
      return !problems_.given(at("tls")) ? tls_mode::prefer
             : database_.tls.verify      ? tls_mode::verify_full
                                         : tls_mode::require;
    const std::string verify = below(at("tls"), "verify");
    const bool verifies = *url.tls_mode >= tls_mode::verify_ca;
    if (problems_.given(verify) && problems_.sound(verify) && database_.tls.verify != verifies)
      problems_.add(verify, verifies ? "is false, but sslmode in the url has the certificate checked; remove one"
                                     : "is true, but with its sslmode the url has no certificate checked; use "
                                       "sslmode=verify-full, or remove one");
    return *url.tls_mode;
  }

  void check_tls() {
    const std::string path = at("tls");
    const auto mode = [](const auto& address) { return address ? address->tls_mode : tls_mode::disable; };
    const tls_mode strictest = std::max(database_.address.tls_mode, mode(database_.read_address));
    if (problems_.given(path) && problems_.sound(path)) {
      check_client_certificate(database_.tls, path, problems_);
      if (strictest < tls_mode::require && problems_.sound(at("url")) && problems_.sound(at("read_url")))
        problems_.add(path, "needs a connection that is sure to have TLS: over the network, and with no sslmode or "
                            "with require, verify-ca or verify-full");
    }
    database_.tls.verify = strictest >= tls_mode::verify_ca;
  }

  void check_timeouts() {
    if (problems_.sound(at("busy_timeout")) && problems_.sound(at("statement_timeout")) &&
        database_.busy_timeout >= database_.statement_timeout)
      problems_.add(at("busy_timeout"), "must be shorter than statement_timeout (" +
                                          to_text(database_.statement_timeout) +
                                          "), or a lock would look like a dead server");
  }

  database& database_;
  findings& problems_;
  std::string path_;
};

} // namespace

void resolve_database(database& d, const std::filesystem::path& data, findings& problems) {
  const std::string path = "databases." + d.name;
  auto url = parse_at(below(path, "url"), d.url, problems);
  if (!url)
    return;
  d.kind = url->kind;
  if (d.kind == database_kind::sqlite)
    resolve_file(d, *url, data, path, problems);
  else
    server_check{d, problems}.run(std::move(*url));
}

} // namespace penstock::config
