// Values that stand as text in the file: durations, sizes, addresses, URLs, sources of columns, variables.
// Errors say what is wrong with the form and never repeat the text, which may come from a secret variable.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::config {

/// "100ms", "5s", "10m", "12h", "7d", "1 day", "90 days": a whole number and a unit, or its word but for milliseconds.
result<milliseconds> parse_duration(std::string_view text);
std::string to_text(milliseconds duration);

/// "512B", "64KiB", "16MiB", "1GiB".
result<std::uint64_t> parse_size(std::string_view text);
std::string size_to_text(std::uint64_t bytes);

/// "500", "20k", "10M", "1G": a whole number, or thousands, millions or billions.
result<std::uint64_t> parse_count(std::string_view text);
std::string count_to_text(std::uint64_t count);

/// "1%", "0.25%": in hundredths of a percent.
result<std::uint64_t> parse_percentage(std::string_view text);
std::string percentage_to_text(std::uint64_t hundredths);

/// "HOST:PORT"; an IPv6 address in brackets.
result<address> parse_address(std::string_view text);

/// The same, or "off".
result<std::optional<address>> parse_http_address(std::string_view text);

/// Adds the role `word`, in the order of all_roles(). "must be ..." where it is none or stands there already, else
/// empty.
std::string add_role(std::vector<role>& roles, std::string_view word);

struct broker_url {
  std::string host;
  std::uint16_t port = 0;
  bool use_tls = false;
  std::optional<std::string> user; ///< percent-decoded, as is the password
  std::optional<std::string> password;
};
/// "mqtt://[USER[:PASSWORD]@]HOST[:PORT]" or mqtts.
result<broker_url> parse_broker_url(std::string_view text);

struct database_url {
  database_kind kind = database_kind::sqlite;
  database_address address;        ///< where it is: `path` as written, or `host`, `port` and `database`
  std::optional<std::string> user; ///< percent-decoded, as is all of a server's URL
  std::optional<std::string> password;
  std::optional<config::tls_mode> tls_mode; ///< sslmode
};
/// "sqlite:PATH", or SCHEME://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?OPTION=VALUE[&OPTION=VALUE]...]
///   SCHEME  postgresql, postgres; mysql, mariadb
///   OPTION  sslmode; the path of a Unix socket, in place of HOST: host (PostgreSQL: its directory), socket (MySQL)
/// A raw @ ends the log-in, wherever it stands.
result<database_url> parse_database_url(std::string_view text);
/// In one form, without user and password.
std::string to_text(const database_url& url);
/// "disable", "prefer", "require", "verify-ca", "verify-full".
std::string_view name_of(tls_mode mode);
/// True where the host of a server is the path of a Unix socket.
bool is_socket(const database_address& address);

/// "payload.a.b[0].c", "payload.raw", "payload.rest", "topic", "topic.NAME", "$received", "$latency_ms".
result<source> parse_source(std::string_view text);
/// As the configuration writes it; nothing for a constant, or where it is not set.
std::optional<std::string> to_text(const source& source);

/// A member `name` of a published payload that is no column: "$table", "$now", "$id", or a constant.
result<published_field> parse_added_field(const std::string& name, const std::string& text);
std::string added_field_to_text(const published_field& field);

/// One index column: "NAME", "NAME asc" or "NAME desc".
result<index_column> parse_index_column(std::string_view text);

/// True where `name` can be a table or a column in every database: a letter or _, then letters, digits, _; at most 63.
bool is_identifier(std::string_view name);

/// True where `name` can name a node, broker, database or pipeline: names go into client ids, file names, metrics and
/// paths.
bool is_name(std::string_view name);

/// ASCII letters in lower case.
std::string lower(std::string_view text);

using variable_lookup = std::function<std::optional<std::string>(const std::string&)>;
/// Puts in ${VAR}, ${VAR:-default} and ${VAR:?message}. Before a brace, $$ stands for one $ ("$${x}" is the text
/// "${x}"); any other $ is itself. What is put in is not looked through again.
result<std::string> with_variables(std::string_view text, const variable_lookup& lookup);
/// True where with_variables would look something up.
bool has_variables(std::string_view text);
/// The inverse for a literal text.
std::string escape_variables(std::string_view text);

} // namespace penstock::config
