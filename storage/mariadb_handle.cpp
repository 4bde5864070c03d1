#include "storage/mariadb_handle.hpp"

#include "core/utf8.hpp"

#include <algorithm>
#include <array>

namespace penstock::storage::mariadb {

namespace {

constexpr std::size_t message_bytes_max = 400;

struct row_number {
  unsigned number;
  errc code;
};

// One row of docs/databases.md after the other. Numbers from 2000 to 2999 are libmariadb's own.
constexpr row_number meanings[] = {
  {1205, errc::database_busy}, // lock wait timeout
  {1213, errc::database_busy}, // deadlock
  {1020, errc::database_busy}, // record has changed since last read
  {1412, errc::database_busy}, // table definition has changed, retry
  {1615, errc::database_busy}, // prepared statement needs to be re-prepared
  {1317, errc::database_busy}, // query execution was interrupted (KILL QUERY)
  {3572, errc::database_busy}, // NOWAIT

  {1969, errc::timed_out}, // max_statement_time
  {3024, errc::timed_out}, // max_execution_time

  {1037, errc::database_unavailable}, // out of memory
  {1038, errc::database_unavailable}, // out of sort memory
  {1040, errc::database_unavailable}, // too many connections
  {1041, errc::database_unavailable}, // out of resources
  {1047, errc::database_unavailable}, // a Galera node that is not ready
  {1053, errc::database_unavailable}, // shutdown in progress
  {1135, errc::database_unavailable}, // cannot create a thread
  {1180, errc::database_unavailable}, // error during COMMIT
  {1203, errc::database_unavailable}, // too many connections of this user
  {1226, errc::database_unavailable}, // a resource of this user is used up
  {1290, errc::database_unavailable}, // --read-only
  {1792, errc::database_unavailable}, // a READ ONLY transaction
  {1836, errc::database_unavailable}, // read-only mode
  {1927, errc::database_unavailable}, // connection was killed

  {1021, errc::database_full}, // disk full
  {1114, errc::database_full}, // table is full
  {3675, errc::database_full}, // tablespace is full

  {2002, errc::connection_refused}, // cannot connect
  {2003, errc::connection_refused},
  {2005, errc::connection_refused}, // unknown host

  {1152, errc::connection_lost}, // aborted connection
  {1158, errc::connection_lost}, // errors of the network, as the server saw them
  {1159, errc::connection_lost},
  {1160, errc::connection_lost},
  {1161, errc::connection_lost},
  {2006, errc::connection_lost}, // server has gone away
  {2012, errc::connection_lost}, // error in the handshake
  {2013, errc::connection_lost}, // lost connection during query
  {2055, errc::connection_lost}, // the same, with the system's error
  {4031, errc::connection_lost}, // idle for longer than wait_timeout

  {1153, errc::payload_too_large}, // larger than max_allowed_packet
  {2020, errc::payload_too_large},

  {1044, errc::not_authorised}, // no access to the database
  {1045, errc::not_authorised}, // wrong user or password
  {1129, errc::not_authorised}, // host is blocked
  {1130, errc::not_authorised}, // host is not allowed
  {1142, errc::not_authorised}, // command denied, on a table
  {1143, errc::not_authorised}, // command denied, on a column
  {1227, errc::not_authorised}, // a privilege is needed
  {1251, errc::not_authorised}, // unknown way to log in
  {1370, errc::not_authorised}, // command denied, on a routine
  {1698, errc::not_authorised}, // access denied without a password
  {1820, errc::not_authorised}, // the password must be changed first
  {1862, errc::not_authorised}, // the password has expired
  {3118, errc::not_authorised}, // account is locked
  {4151, errc::not_authorised}, // the same, MariaDB
  {2026, errc::not_authorised}, // TLS: none there, or a certificate that does not hold
  {2049, errc::not_authorised}, // unsafe way to log in
  {2059, errc::not_authorised}, // unknown way to log in
  {2061, errc::not_authorised}, // a way to log in that needs TLS

  {1030, errc::database_damaged}, // error from the storage engine
  {1034, errc::database_damaged}, // incorrect key file
  {1035, errc::database_damaged},
  {1194, errc::database_damaged}, // table is marked as crashed
  {1195, errc::database_damaged},
  {1712, errc::database_damaged}, // index is corrupted
  {1812, errc::database_damaged}, // tablespace is missing
  {1932, errc::database_damaged}, // table does not exist in the engine

  {1273, errc::unsupported}, // unknown collation
  {1286, errc::unsupported}, // unknown storage engine
  {1115, errc::unsupported}, // unknown character set
  {1193, errc::unsupported}, // unknown system variable

  {1364, errc::row_refused}, // field has no default value
  {1366, errc::row_refused}, // incorrect value
  {1526, errc::row_refused}, // no partition for the value
  {1644, errc::row_refused}, // SIGNAL in a trigger
  {3140, errc::row_refused}, // invalid JSON
  {3819, errc::row_refused}, // CHECK, MySQL
  {4025, errc::row_refused}, // CHECK, MariaDB
};

struct state_class {
  const char* state;
  errc code;
};

constexpr state_class classes[] = {
  {"08", errc::connection_lost}, {"22", errc::row_refused},   {"23", errc::row_refused},
  {"28", errc::not_authorised},  {"40", errc::database_busy}, {"42", errc::schema_mismatch},
  {"45", errc::row_refused},     {"44", errc::row_refused},   {"70100", errc::database_busy},
  {"3D", errc::schema_mismatch},
};

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

/// The words of several failures tell of a disk that is full, or of a quota.
bool says_full(std::string_view text) {
  return contains(text, "errno: 28 ") || contains(text, "Got error 28 ") || contains(text, "No space left") ||
         contains(text, "errno: 122 ") || contains(text, "Got error 122 ") || contains(text, "Disk quota");
}

/// Words that name things of the schema only.
bool quotes_names_only(unsigned number) {
  constexpr unsigned numbers[] = {1044, 1045, 1048, 1049, 1054, 1109, 1114, 1115, 1136, 1142, 1143, 1146,
                                  1193, 1227, 1264, 1265, 1273, 1286, 1290, 1364, 1406, 1451, 1452, 1698,
                                  1712, 1812, 1932, 2002, 2003, 2005, 2013, 2026, 2055, 2059, 3819, 4025};
  return std::find(std::begin(numbers), std::end(numbers), number) != std::end(numbers);
}

/// "Incorrect string value: '\xFF' for column `t`.`c`" without what the first quote and the last one hold: a value may
/// contain quotes. The name behind a value stays.
std::string without_values(std::string text) {
  const auto first = text.find('\'');
  if (first == std::string::npos)
    return text;
  auto last = std::string::npos;
  for (const auto* mark : {"' for column ", "' for key "})
    if (const auto found = text.rfind(mark); found != std::string::npos && found > first)
      last = last == std::string::npos ? found : std::max(last, found);
  if (last == std::string::npos)
    last = text.rfind('\'');
  const auto end = last > first ? last + 1 : text.size();
  return text.substr(0, first) + "..." + text.substr(end);
}

} // namespace

errc code_of(const fault& fault) {
  const auto is = [&](const row_number& meaning) { return meaning.number == fault.number; };
  // libmariadb says so where the time was over; 110 is ETIMEDOUT.
  const bool of_client = fault.number >= 2000 && fault.number < 3000;
  if (of_client && (contains(fault.text, "(110)") || contains(fault.text, "error: 110")))
    return errc::timed_out;
  if (says_full(fault.text) && fault.number != 1366 && fault.number != 1644)
    return errc::database_full;
  if (const auto* found = std::find_if(std::begin(meanings), std::end(meanings), is); found != std::end(meanings))
    return found->code;
  const auto starts = [&](const state_class& each) { return fault.state.starts_with(each.state); };
  if (const auto* found = std::find_if(std::begin(classes), std::end(classes), starts); found != std::end(classes))
    return found->code;
  return errc::internal;
}

error failure_of(const fault& fault, std::string_view what) {
  auto text = quotes_names_only(fault.number) ? fault.text : without_values(fault.text);
  text = std::string{what} + ": " + text;
  std::replace(text.begin(), text.end(), '\n', ' ');
  std::replace(text.begin(), text.end(), '\r', ' ');
  const auto number = " (MariaDB " + std::to_string(fault.number) + ")";
  text = clean_utf8(text);
  return {code_of(fault), std::string{utf8_prefix(text, message_bytes_max - number.size())} + number};
}

error last_failure(MYSQL* handle, std::string_view what) {
  return failure_of({mysql_errno(handle), mysql_sqlstate(handle), mysql_error(handle)}, what);
}

std::string identifier(std::string_view name) {
  std::string text = "`";
  for (const char letter : name) {
    if (letter == '`')
      text += '`';
    text += letter;
  }
  return text + '`';
}

std::string literal(MYSQL* handle, std::string_view text) {
  std::string made(2 * text.size() + 3, '\'');
  const auto bytes = mysql_real_escape_string(handle, made.data() + 1, text.data() ? text.data() : "", text.size());
  made.resize(bytes + 1);
  return made + '\'';
}

std::string literal(std::string_view value) {
  std::string text = "'";
  for (const char letter : value) {
    if (letter == '\'' || letter == '\\')
      text += letter;
    text += letter;
  }
  return text + "'";
}

namespace {

constexpr unsigned binary_charset = 63;

cell::kind kind_of(const MYSQL_FIELD& field) {
  switch (field.type) {
  case MYSQL_TYPE_TINY: return field.length == 1 ? cell::kind::boolean : cell::kind::integer; // BOOLEAN is TINYINT(1)
  case MYSQL_TYPE_SHORT:
  case MYSQL_TYPE_INT24:
  case MYSQL_TYPE_LONG:
  case MYSQL_TYPE_LONGLONG:
  case MYSQL_TYPE_YEAR: return cell::kind::integer;
  case MYSQL_TYPE_FLOAT:
  case MYSQL_TYPE_DOUBLE:
  case MYSQL_TYPE_DECIMAL:
  case MYSQL_TYPE_NEWDECIMAL: return cell::kind::real;
  case MYSQL_TYPE_TIMESTAMP:
  case MYSQL_TYPE_DATETIME: return cell::kind::timestamp;
  case MYSQL_TYPE_JSON: return cell::kind::json;
  case MYSQL_TYPE_TINY_BLOB:
  case MYSQL_TYPE_MEDIUM_BLOB:
  case MYSQL_TYPE_LONG_BLOB:
  case MYSQL_TYPE_BLOB:
  case MYSQL_TYPE_VAR_STRING:
  case MYSQL_TYPE_STRING: return field.charsetnr == binary_charset ? cell::kind::bytes : cell::kind::text;
  default: return cell::kind::text;
  }
}

/// MariaDB's JSON is a LONGTEXT with a name beside its type.
bool is_json(const MYSQL_FIELD& field) {
  MARIADB_CONST_STRING format{};
  return mariadb_field_attr(&format, &field, MARIADB_FIELD_ATTR_FORMAT_NAME) == 0 &&
         std::string_view{format.str, format.length} == "json";
}

/// `printed` holds what has to be put differently.
cell cell_of(const MYSQL_FIELD& field, cell::kind kind, std::string_view text, std::string& printed) {
  switch (kind) {
  case cell::kind::boolean: return {kind, text == "0" ? "false" : "true"};
  case cell::kind::timestamp:
    printed.clear();
    append_rfc3339(printed, text);
    if (field.type == MYSQL_TYPE_TIMESTAMP) // the session's time zone is +00:00
      printed += 'Z';
    return {kind, printed};
  case cell::kind::integer:
  case cell::kind::real:
    if ((field.flags & ZEROFILL_FLAG) != 0)
      while (text.size() > 1 && text.front() == '0' && text[1] != '.')
        text.remove_prefix(1);
    return {kind, text};
  default: return {kind, text};
  }
}

} // namespace

result<void> read_cells(MYSQL* handle, const std::string& sql, const row_visitor& visit) {
  if (mysql_real_query(handle, sql.data(), sql.size()) != 0)
    return last_failure(handle, sql);
  const std::unique_ptr<MYSQL_RES, decltype(&mysql_free_result)> answer{mysql_store_result(handle), mysql_free_result};
  if (!answer)
    return last_failure(handle, sql);
  const auto columns = std::size_t{mysql_num_fields(answer.get())};
  const auto* fields = mysql_fetch_fields(answer.get());
  std::vector<cell::kind> kinds;
  for (std::size_t index = 0; index < columns; ++index)
    kinds.push_back(is_json(fields[index]) ? cell::kind::json : kind_of(fields[index]));
  std::vector<cell> row(columns);
  std::vector<std::string> printed(columns);
  while (const auto values = mysql_fetch_row(answer.get())) {
    const auto* lengths = mysql_fetch_lengths(answer.get());
    for (std::size_t index = 0; index < columns; ++index)
      row[index] =
        values[index] ? cell_of(fields[index], kinds[index], {values[index], lengths[index]}, printed[index]) : cell{};
    visit(row);
  }
  return {};
}

result<void> execute(MYSQL* handle, const std::string& sql) {
  if (mysql_real_query(handle, sql.data(), sql.size()) != 0)
    return last_failure(handle, sql);
  if (auto* answer = mysql_store_result(handle)) // of CALL or SELECT
    mysql_free_result(answer);
  return {};
}

result<void> for_each_row(MYSQL* handle, const std::string& sql,
                          const std::function<bool(std::span<const std::string_view>)>& visit) {
  if (mysql_real_query(handle, sql.data(), sql.size()) != 0)
    return last_failure(handle, sql);
  // Not read to its end, freeing it reads the rest.
  const std::unique_ptr<MYSQL_RES, decltype(&mysql_free_result)> answer{mysql_use_result(handle), mysql_free_result};
  if (!answer)
    return last_failure(handle, sql);
  std::vector<std::string_view> row(mysql_num_fields(answer.get()));
  while (const auto values = mysql_fetch_row(answer.get())) {
    const auto* lengths = mysql_fetch_lengths(answer.get());
    for (std::size_t index = 0; index < row.size(); ++index)
      row[index] = values[index] ? std::string_view{values[index], lengths[index]} : std::string_view{};
    if (!visit(row))
      return {};
  }
  if (mysql_errno(handle) != 0)
    return last_failure(handle, sql);
  return {};
}

result<std::vector<std::vector<value>>> query(MYSQL* handle, const std::string& sql) {
  std::vector<std::vector<value>> rows;
  auto read = for_each_row(handle, sql, [&](std::span<const std::string_view> row) {
    auto& values = rows.emplace_back();
    for (const auto& each : row)
      values.push_back(each.data() ? value{each} : value{});
    return true;
  });
  if (!read)
    return read.error();
  return rows;
}

} // namespace penstock::storage::mariadb
