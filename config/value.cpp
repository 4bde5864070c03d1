#include "config/value.hpp"

#include "config/findings.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace penstock::config {

namespace {

error wrong(std::string text) { return {errc::configuration, std::move(text)}; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

bool is_word(std::string_view text) {
  return !text.empty() && is_letter(text.front()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_letter(c) || is_digit(c); });
}

template <class T>
std::optional<T> to_number(std::string_view text) {
  T value{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

using unit = std::pair<std::string_view, std::uint64_t>;
constexpr std::array<unit, 5> duration_units{unit{"d", 86'400'000}, unit{"h", 3'600'000}, unit{"m", 60'000},
                                             unit{"s", 1'000}, unit{"ms", 1}};
constexpr std::array<unit, 8> duration_words{unit{"second", 1'000},   unit{"seconds", 1'000},  unit{"minute", 60'000},
                                             unit{"minutes", 60'000}, unit{"hour", 3'600'000}, unit{"hours", 3'600'000},
                                             unit{"day", 86'400'000}, unit{"days", 86'400'000}};
constexpr std::array<unit, 4> count_units{unit{"G", 1'000'000'000}, unit{"M", 1'000'000}, unit{"k", 1'000},
                                          unit{"", 1}};
constexpr std::array<unit, 4> size_units{unit{"GiB", 1u << 30}, unit{"MiB", 1u << 20}, unit{"KiB", 1u << 10},
                                         unit{"B", 1}};

template <std::size_t N>
std::optional<std::uint64_t> with_unit(std::string_view text, const std::array<unit, N>& units) {
  const auto digits = static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
  const auto number = to_number<std::uint64_t>(text.substr(0, digits));
  if (!number)
    return std::nullopt;
  std::string_view name = text.substr(digits);
  if (name.starts_with(' '))
    name.remove_prefix(1);
  for (const auto& [word, factor] : units)
    if (word == name && *number <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / factor)
      return *number * factor;
  return std::nullopt;
}

template <std::size_t N>
std::string in_largest_unit(std::uint64_t value, const std::array<unit, N>& units) {
  for (const auto& [word, factor] : units)
    if (value % factor == 0 && (value != 0 || factor == 1))
      return std::to_string(value / factor) + std::string{word};
  return std::to_string(value);
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    unsigned code = 0;
    const auto hex = text.substr(i + 1, 2);
    const auto [end, failure] = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
    if (hex.size() != 2 || failure != std::errc{} || end != hex.data() + 2)
      return std::nullopt;
    plain += static_cast<char>(code);
    i += 2;
  }
  return plain;
}

/// Letters, digits, and what of `kept` and "-._~" stand for themselves.
std::string percent_encoded(std::string_view text, std::string_view kept) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (is_letter(c) || is_digit(c) || std::string_view{"-.~"}.find(c) != std::string_view::npos ||
        kept.find(c) != std::string_view::npos)
      encoded += c;
    else
      encoded += {'%', hex[code >> 4u], hex[code & 0xfu]};
  }
  return encoded;
}

struct url_login {
  std::optional<std::string> user;
  std::optional<std::string> password;
};

/// Takes "USER[:PASSWORD]@" off the front of `text`. The last @ counts: a password may hold one that should have been
/// escaped.
result<url_login> take_login(std::string_view& text) {
  url_login login;
  const auto at = text.rfind('@');
  if (at == std::string_view::npos)
    return login;
  const std::string_view both = text.substr(0, at);
  const auto colon = both.find(':');
  login.user = percent_decoded(both.substr(0, colon));
  if (colon != std::string_view::npos)
    login.password = percent_decoded(both.substr(colon + 1));
  if (!login.user || (colon != std::string_view::npos && !login.password))
    return wrong("has a % in user or password that is not followed by two hexadecimal digits; write % as %25");
  text.remove_prefix(at + 1);
  return login;
}

/// The steps of ".a.b[0].c".
result<std::vector<source::step>> parse_steps(std::string_view text) {
  std::vector<source::step> steps;
  while (!text.empty()) {
    if (text.front() == '[') {
      const auto end = text.find(']');
      const auto index =
        end == std::string_view::npos ? std::nullopt : to_number<std::uint32_t>(text.substr(1, end - 1));
      if (!index)
        return wrong("must have the number of an element, from 0, between [ and ]");
      steps.push_back({"", *index});
      text.remove_prefix(end + 1);
    } else if (text.front() == '.') {
      const auto end = std::min(text.find_first_of(".[]", 1), text.size());
      if (end == 1)
        return wrong("must have the name of a member after every '.'");
      steps.push_back({std::string{text.substr(1, end - 1)}, 0});
      text.remove_prefix(end);
    } else {
      return wrong("must have '.NAME' or '[INDEX]' after ']'");
    }
  }
  return steps;
}

/// A reference that begins at `text[0]`: the number of $ before the brace, or 0 where it is plain text.
std::size_t dollars_before_brace(std::string_view text) {
  const auto count = std::min(text.find_first_not_of('$'), text.size());
  return count < text.size() && text[count] == '{' ? count : 0;
}

result<std::string> value_of(std::string_view reference, const variable_lookup& lookup) {
  const auto separator = reference.find(':');
  const std::string name{reference.substr(0, separator)};
  if (!is_word(name))
    return wrong("'${' must be followed by the name of a variable and '}'; a literal '${' is written '$${'");
  const auto value = lookup(name);
  if (separator == std::string_view::npos) {
    if (!value)
      return wrong("the variable " + name + " is not set; set it, or write ${" + name + ":-default}");
    return *value;
  }
  const std::string_view rest = reference.substr(separator);
  if (rest.starts_with(":-"))
    return value && !value->empty() ? *value : std::string{rest.substr(2)};
  if (!rest.starts_with(":?"))
    return wrong("after '${" + name + "' comes '}', ':-default}' or ':?message}'");
  if (value && !value->empty())
    return *value;
  const std::string message{rest.substr(2)};
  return wrong("the variable " + name + " is not set" + (message.empty() ? "" : ": " + message));
}

/// `text` is what follows "sqlite:".
result<database_url> parse_sqlite_url(std::string_view text) {
  if (text.starts_with("//"))
    return wrong(
      "must be sqlite:PATH without //: sqlite:telemetry.db is relative to `data`, sqlite:/var/lib/x.db is absolute");
  if (text.empty() || text.ends_with('/'))
    return wrong("must name a file after sqlite:");
  if (text.starts_with(":memory:"))
    return wrong("must name a file: a database in memory is gone when its connection closes, and nobody else sees it");
  database_url url;
  url.address.path = text;
  return url;
}

struct server_scheme {
  std::string_view name;
  database_kind kind;
  std::uint16_t port;
  std::string_view socket_option;
};
/// The first of a kind is the one that is printed.
constexpr std::array<server_scheme, 4> server_schemes{
  server_scheme{"postgresql://", database_kind::postgresql, 5432, "host"},
  server_scheme{"postgres://", database_kind::postgresql, 5432, "host"},
  server_scheme{"mysql://", database_kind::mysql, 3306, "socket"},
  server_scheme{"mariadb://", database_kind::mysql, 3306, "socket"}};

const server_scheme& scheme_of(database_kind kind) {
  return *std::find_if(server_schemes.begin(), server_schemes.end(),
                       [kind](const server_scheme& s) { return s.kind == kind; });
}

constexpr std::array<std::pair<std::string_view, tls_mode>, 5> tls_modes{
  std::pair{std::string_view{"disable"}, tls_mode::disable},
  {"prefer", tls_mode::prefer},
  {"require", tls_mode::require},
  {"verify-ca", tls_mode::verify_ca},
  {"verify-full", tls_mode::verify_full}};

/// Nothing where it is badly written, or has a character 0, which no database driver takes.
std::optional<std::string> decoded_part(std::string_view text) {
  auto plain = percent_decoded(text);
  return plain && plain->find('\0') == std::string::npos ? plain : std::nullopt;
}

error badly_encoded() {
  return wrong("has a % that is not followed by two hexadecimal digits, or %00; write % as %25");
}

result<void> take_tls_mode(database_url& url, const std::string& word) {
  if (url.tls_mode)
    return wrong("has sslmode twice; remove one");
  for (const auto& [name, meaning] : tls_modes)
    if (name == word)
      url.tls_mode = meaning;
  if (!url.tls_mode)
    return wrong("must have one of disable, prefer, require, verify-ca, verify-full after sslmode=");
  return {};
}

result<void> take_socket(database_url& url, const server_scheme& scheme, const std::string& path) {
  const std::string option{scheme.socket_option};
  if (!url.address.host.empty())
    return wrong("has " + option + "= twice; remove one");
  if (!path.starts_with('/'))
    return wrong("must have an absolute path after " + option + "=, that of a Unix socket" +
                 (scheme.kind == database_kind::postgresql ? "'s directory" : "") +
                 "; another machine is named before the database");
  url.address.host = path;
  return {};
}

/// `text` is what follows the '?'.
result<void> take_options(database_url& url, const server_scheme& scheme, std::string_view text) {
  while (!text.empty()) {
    const std::string_view option = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(option.size() + 1, text.size()));
    const auto equals = std::min(option.find('='), option.size());
    const auto value = decoded_part(option.substr(std::min(equals + 1, option.size())));
    if (!value)
      return badly_encoded();
    const std::string_view name = option.substr(0, equals);
    result<void> taken;
    if (name == "sslmode")
      taken = take_tls_mode(url, *value);
    else if (name == scheme.socket_option)
      taken = take_socket(url, scheme, *value);
    else
      return wrong("has an option after '?' that is not known; known are: sslmode, " +
                   std::string{scheme.socket_option});
    if (!taken)
      return taken;
  }
  return {};
}

/// `text` is "HOST[:PORT]", or "[localhost][:PORT]" where there is a socket.
result<void> take_host(database_url& url, const server_scheme& scheme, std::string_view text) {
  const bool socket = is_socket(url.address);
  const bool has_port = text.rfind(':') != std::string_view::npos && !text.ends_with(']');
  if (text.find('%') != std::string_view::npos)
    return wrong("must have no % in the host; a Unix socket stands behind: ?" + std::string{scheme.socket_option} +
                 "=/PATH");
  const std::string host = socket && (text.empty() || text.starts_with(':')) ? "localhost" : "";
  const auto where =
    parse_address(host + std::string{text} + (has_port ? std::string{} : ":" + std::to_string(scheme.port)));
  if (!where || where->port == 0)
    return wrong("must name a host, a port from 1 to 65535 where it is not " + std::to_string(scheme.port) +
                 ", and a database, such as " + std::string{scheme.name} + "db.example/telemetry");
  url.address.port = where->port;
  if (!socket)
    url.address.host = where->host;
  else if (where->host != "localhost")
    return wrong("names a host and a Unix socket; remove one of them");
  else if (has_port && scheme.kind == database_kind::mysql)
    return wrong("names a port and a Unix socket; remove one of them");
  return {};
}

/// `text` is what follows the scheme.
result<database_url> parse_server_url(const server_scheme& scheme, std::string_view text) {
  database_url url;
  url.kind = scheme.kind;
  auto login = take_login(text);
  if (!login)
    return login.error();
  const auto has_zero = [](const auto& part) { return part && part->find('\0') != std::string::npos; };
  if (has_zero(login->user) || has_zero(login->password))
    return badly_encoded();
  url.user = std::move(login->user);
  url.password = std::move(login->password);
  const std::string_view place = text.substr(0, text.find('?'));
  text.remove_prefix(std::min(place.size() + 1, text.size()));
  if (const auto taken = take_options(url, scheme, text); !taken)
    return taken.error();
  const auto slash = place.find('/');
  if (const auto taken = take_host(url, scheme, place.substr(0, slash)); !taken)
    return taken.error();
  const auto name = slash == std::string_view::npos ? std::string_view{} : place.substr(slash + 1);
  const auto database = decoded_part(name);
  if (!database)
    return badly_encoded();
  if (database->empty() || name.find_first_of("/#") != std::string_view::npos)
    return wrong("must name one database after the host, such as " + std::string{scheme.name} + "db.example/telemetry");
  url.address.database = *database;
  return url;
}

} // namespace

result<milliseconds> parse_duration(std::string_view text) {
  auto value = with_unit(text, duration_units);
  if (!value)
    value = with_unit(text, duration_words);
  if (!value)
    return wrong("must be a duration: a whole number and ms, s, m, h or d, such as 500ms or 5s");
  return milliseconds{static_cast<std::int64_t>(*value)};
}

std::string to_text(milliseconds duration) {
  if (duration.count() == 0)
    return "0s";
  return in_largest_unit(static_cast<std::uint64_t>(duration.count()), duration_units);
}

result<std::uint64_t> parse_size(std::string_view text) {
  const auto value = with_unit(text, size_units);
  if (!value)
    return wrong("must be a size: a whole number and B, KiB, MiB or GiB, such as 16MiB");
  return *value;
}

std::string size_to_text(std::uint64_t bytes) { return in_largest_unit(bytes, size_units); }

result<std::uint64_t> parse_count(std::string_view text) {
  const auto value = with_unit(text, count_units);
  if (!value)
    return wrong("must be a whole number, such as 500, or one with k, M or G, such as 10M");
  return *value;
}

std::string count_to_text(std::uint64_t count) { return in_largest_unit(count, count_units); }

result<std::uint64_t> parse_percentage(std::string_view text) {
  const auto form = wrong("must be a percentage with at most two decimals, such as 1% or 0.25%");
  if (!text.ends_with('%'))
    return form;
  text.remove_suffix(1);
  const auto point = text.find('.');
  std::string digits{text.substr(0, point)};
  const std::size_t whole = digits.size();
  if (point != std::string_view::npos)
    digits += text.substr(point + 1);
  const std::size_t decimals = digits.size() - whole;
  if (whole == 0 || whole > 6 || decimals > 2 || (point != std::string_view::npos && decimals == 0) ||
      !std::all_of(digits.begin(), digits.end(), is_digit))
    return form;
  digits.append(2 - decimals, '0');
  return *to_number<std::uint64_t>(digits);
}

std::string percentage_to_text(std::uint64_t hundredths) {
  std::string text = std::to_string(hundredths / 100);
  if (const auto rest = hundredths % 100; rest != 0) {
    text += rest < 10 ? ".0" : ".";
    text += std::to_string(rest % 10 == 0 ? rest / 10 : rest);
  }
  return text + "%";
}

result<address> parse_address(std::string_view text) {
  const auto colon = text.rfind(':');
  const auto port = colon == std::string_view::npos ? std::nullopt : to_number<std::uint16_t>(text.substr(colon + 1));
  std::string_view host = text.substr(0, std::min(colon, text.size()));
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed)
    host = host.substr(1, host.size() - 2);
  if (!port || host.empty() || host.find_first_of(" /@[]") != std::string_view::npos ||
      (!bracketed && host.find(':') != std::string_view::npos))
    return wrong("must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080; port 0 takes any free one");
  return address{std::string{host}, *port};
}

result<std::optional<address>> parse_http_address(std::string_view text) {
  if (text == "off" || text == "false")
    return std::optional<address>{};
  auto made = parse_address(text);
  if (!made)
    return wrong(made.error().message + "; or 'off'");
  return std::optional{std::move(*made)};
}

std::string add_role(std::vector<role>& roles, std::string_view word) {
  std::vector<std::string> names;
  for (const role r : all_roles()) {
    names.emplace_back(name_of(r));
    if (name_of(r) != word)
      continue;
    const auto place = std::lower_bound(roles.begin(), roles.end(), r);
    if (place != roles.end() && *place == r)
      return "must not stand there twice";
    roles.insert(place, r);
    return {};
  }
  return "must be one of " + list_of(names) + did_you_mean(word, names);
}

result<broker_url> parse_broker_url(std::string_view text) {
  broker_url url;
  if (text.starts_with("mqtts://"))
    url.use_tls = true;
  else if (!text.starts_with("mqtt://"))
    return wrong("must begin with mqtt:// or, for TLS, mqtts://");
  text.remove_prefix(text.find("://") + 3);
  auto login = take_login(text);
  if (!login)
    return login.error();
  url.user = std::move(login->user);
  url.password = std::move(login->password);
  if (text.ends_with('/'))
    text.remove_suffix(1);
  if (text.find_first_of("/?#") != std::string_view::npos)
    return wrong("must end after the port: topics stand in the pipeline, TLS files under `tls`");
  const bool has_port = text.rfind(':') != std::string_view::npos && !text.ends_with(']');
  const auto where =
    parse_address(has_port ? std::string{text} : std::string{text} + (url.use_tls ? ":8883" : ":1883"));
  if (!where || where->port == 0)
    return wrong("must name a host and a port from 1 to 65535, such as mqtt://broker.example:1883");
  url.host = where->host;
  url.port = where->port;
  return url;
}

result<database_url> parse_database_url(std::string_view text) {
  if (text.starts_with("sqlite:"))
    return parse_sqlite_url(text.substr(7));
  for (const server_scheme& scheme : server_schemes)
    if (text.starts_with(scheme.name))
      return parse_server_url(scheme, text.substr(scheme.name.size()));
  return wrong("must begin with sqlite:, postgresql:// or mysql:// (or mariadb://)");
}

std::string to_text(const database_url& url) {
  const database_address& to = url.address;
  if (url.kind == database_kind::sqlite)
    return "sqlite:" + to.path.string();
  const server_scheme& scheme = scheme_of(url.kind);
  std::string text{scheme.name};
  if (!is_socket(to))
    text += address{to.host, to.port}.to_string();
  else if (to.port != scheme.port)
    text += ":" + std::to_string(to.port);
  text += "/" + percent_encoded(to.database, "");
  if (is_socket(to))
    return text + "?" + std::string{scheme.socket_option} + "=" + percent_encoded(to.host, "/");
  return url.tls_mode ? text + "?sslmode=" + std::string{name_of(*url.tls_mode)} : text;
}

std::string_view name_of(tls_mode mode) {
  for (const auto& [name, meaning] : tls_modes)
    if (meaning == mode)
      return name;
  return {};
}

bool is_socket(const database_address& address) { return address.host.starts_with('/'); }

result<source> parse_source(std::string_view text) {
  using kind = source::kind;
  if (text == "$received")
    return source{kind::received, {}, {}};
  if (text == "$latency_ms")
    return source{kind::latency_ms, {}, {}};
  if (text == "topic")
    return source{kind::topic, {}, {}};
  if (text.starts_with("topic.")) {
    const std::string_view name = text.substr(6);
    if (!is_word(name))
      return wrong("must have the NAME of a {NAME} in the topics after 'topic.'");
    return source{kind::topic_level, {}, std::string{name}};
  }
  if (text == "payload.raw")
    return source{kind::payload_raw, {}, {}};
  if (text == "payload.rest")
    return source{kind::payload_rest, {}, {}};
  if (text == "payload")
    return wrong("must name a part of the payload: payload.raw is the whole, payload.NAME a member");
  if (!text.starts_with("payload.") && !text.starts_with("payload["))
    return wrong(
      "must be payload.PATH, payload.raw, payload.rest, topic, topic.NAME, $received or $latency_ms; a constant is "
      "written `value: x`");
  auto steps = parse_steps(text.substr(7));
  if (!steps)
    return steps.error();
  return source{kind::payload_path, std::move(*steps), {}};
}

std::optional<std::string> to_text(const source& source) {
  switch (source.from) {
  case source::kind::payload_raw: return "payload.raw";
  case source::kind::payload_rest: return "payload.rest";
  case source::kind::topic: return "topic";
  case source::kind::topic_level: return "topic." + source.name;
  case source::kind::received: return "$received";
  case source::kind::latency_ms: return "$latency_ms";
  case source::kind::constant: return std::nullopt;
  case source::kind::payload_path: break;
  }
  if (source.path.empty())
    return std::nullopt;
  std::string text = "payload";
  for (const auto& step : source.path)
    text += step.name.empty() ? "[" + std::to_string(step.index) + "]" : "." + step.name;
  return text;
}

result<published_field> parse_added_field(const std::string& name, const std::string& text) {
  using kind = published_field::kind;
  if (text == "$table")
    return published_field{name, kind::table, {}};
  if (text == "$now")
    return published_field{name, kind::now, {}};
  if (text == "$id")
    return published_field{name, kind::id, {}};
  if (text.starts_with('$'))
    return wrong("must be $table, $now, $id or a constant that does not begin with $");
  return published_field{name, kind::constant, text};
}

std::string added_field_to_text(const published_field& field) {
  switch (field.from) {
  case published_field::kind::table: return "$table";
  case published_field::kind::now: return "$now";
  case published_field::kind::id: return "$id";
  case published_field::kind::column:
  case published_field::kind::constant: break;
  }
  return field.source;
}

result<index_column> parse_index_column(std::string_view text) {
  const auto space = text.find(' ');
  const std::string_view order = space == std::string_view::npos ? "asc" : text.substr(space + 1);
  if (order != "asc" && order != "desc")
    return wrong("must be a column, with or without 'asc' or 'desc' after it");
  return index_column{std::string{text.substr(0, space)}, order == "desc"};
}

bool is_identifier(std::string_view name) { return is_word(name) && name.size() <= 63; }

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 &&
         std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || is_digit(c) || c == '-'; });
}

std::string lower(std::string_view text) {
  std::string made{text};
  for (char& c : made)
    if (c >= 'A' && c <= 'Z')
      c = static_cast<char>(c - 'A' + 'a');
  return made;
}

result<std::string> with_variables(std::string_view text, const variable_lookup& lookup) {
  std::string whole;
  while (!text.empty()) {
    const auto next = std::min(text.find('$'), text.size());
    whole += text.substr(0, next);
    text.remove_prefix(next);
    const auto dollars = dollars_before_brace(text);
    whole.append(dollars / 2, '$');
    if (dollars % 2 == 1) {
      const auto end = text.find('}');
      if (end == std::string_view::npos)
        return wrong("'${' has no '}'; a literal '${' is written '$${'");
      auto value = value_of(text.substr(dollars + 1, end - dollars - 1), lookup);
      if (!value)
        return value;
      whole += *value;
      text.remove_prefix(end + 1);
    } else {
      const auto plain = dollars != 0 ? dollars : std::min(text.find_first_not_of('$'), text.size());
      whole.append(dollars != 0 ? 0 : plain, '$');
      text.remove_prefix(plain);
    }
  }
  return whole;
}

bool has_variables(std::string_view text) {
  for (auto at = text.find('$'); at != std::string_view::npos;) {
    const auto end = std::min(text.find_first_not_of('$', at), text.size());
    if (dollars_before_brace(text.substr(at)) % 2 == 1)
      return true;
    at = text.find('$', end);
  }
  return false;
}

std::string escape_variables(std::string_view text) {
  std::string escaped;
  while (!text.empty()) {
    const auto next = std::min(text.find('$'), text.size());
    escaped += text.substr(0, next);
    text.remove_prefix(next);
    const auto run = std::min(text.find_first_not_of('$'), text.size());
    escaped.append(dollars_before_brace(text) != 0 ? 2 * run : run, '$');
    text.remove_prefix(run);
  }
  return escaped;
}

} // namespace penstock::config
