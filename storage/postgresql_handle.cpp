#include "storage/postgresql_handle.hpp"

#include "core/hex.hpp"
#include "core/utf8.hpp"
#include "storage/sql_words.hpp"

#include <soci/postgresql/soci-postgresql.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace penstock::storage::postgresql {

namespace {

// A server's text may hold a whole statement; a log line must not.
constexpr std::size_t message_bytes_max = 400;
constexpr std::size_t what_bytes_max = 120;

// The server ends a statement itself at statement_timeout; the connection is cut only where it does not.
constexpr std::chrono::milliseconds margin{1'000};

struct meaning {
  std::string_view sqlstate; ///< or its first characters
  errc code;
};

// The first that fits.
constexpr std::array meanings{
  meaning{"08", errc::connection_lost},
  meaning{"0A", errc::unsupported},
  meaning{"21", errc::row_refused},             // a statement that would change a row twice
  meaning{"22", errc::row_refused},             // data: out of range, not in the encoding, too long
  meaning{"23", errc::row_refused},             // constraints
  meaning{"25P03", errc::timed_out},            // idle in a transaction; the server closes
  meaning{"25006", errc::database_unavailable}, // read-only: a standby
  meaning{"27", errc::row_refused},             // a trigger changed the row as well
  meaning{"28", errc::not_authorised},
  meaning{"38", errc::row_refused}, // a function of the table: trigger, CHECK
  meaning{"39", errc::row_refused},
  meaning{"3D", errc::schema_mismatch}, // no such database
  meaning{"3F", errc::schema_mismatch}, // no such schema
  meaning{"40", errc::database_busy},   // 40001 serialisation, 40P01 deadlock
  meaning{"42501", errc::not_authorised},
  meaning{"42", errc::schema_mismatch}, // 42P01 no such table, 42703 no such column, ...
  meaning{"44", errc::row_refused},     // WITH CHECK OPTION
  meaning{"53100", errc::database_full},
  meaning{"53", errc::database_unavailable},
  meaning{"54000", errc::row_refused},   // a value too large for an index, most of all
  meaning{"55P03", errc::database_busy}, // lock_timeout
  meaning{"55006", errc::database_unavailable},
  meaning{"57014", errc::timed_out}, // statement_timeout, or somebody cancelled it
  meaning{"57P", errc::database_unavailable},
  meaning{"58", errc::database_unavailable}, // the server's system: I/O errors
  meaning{"72000", errc::database_busy},
  meaning{"P0", errc::row_refused}, // RAISE in a trigger
  meaning{"XX001", errc::database_damaged},
  meaning{"XX002", errc::database_damaged},
};

std::string_view field(const PGresult* result, int code) {
  const char* const text = PQresultErrorField(result, code);
  return text ? text : "";
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.remove_suffix(1);
  return text;
}

} // namespace

errc code_of(std::string_view sqlstate) {
  if (trimmed(sqlstate).empty())
    return errc::connection_lost;
  const auto* const found = std::find_if(meanings.begin(), meanings.end(),
                                         [&](const meaning& each) { return sqlstate.starts_with(each.sqlstate); });
  return found == meanings.end() ? errc::internal : found->code;
}

std::string identifier(std::string_view name) { return quoted(name, '"'); }

std::string literal(std::string_view value) { return quoted(value, '\''); }

std::string failure_text(std::string_view what, std::string_view reason) {
  std::string text = clean_utf8(trimmed(utf8_prefix(what, what_bytes_max)));
  text += what.size() > what_bytes_max ? "...: " : ": ";
  text += clean_utf8(trimmed(reason));
  std::replace_if(
    text.begin(), text.end(), [](char letter) { return letter == '\n' || letter == '\t' || letter == '\r'; }, ' ');
  if (text.size() > message_bytes_max)
    text = std::string{utf8_prefix(text, message_bytes_max - 3)} + "...";
  return text;
}

std::uint32_t answer::affected() const {
  const std::string_view digits = PQcmdTuples(result_.get());
  std::uint32_t count = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), count);
  return count;
}

cell cell_of(const answer& rows, int row, int column, std::string& printed) {
  if (rows.null(row, column))
    return {};
  const auto text = rows.value(row, column);
  switch (PQftype(rows.get(), column)) {
  case type_id::int2:
  case type_id::int4:
  case type_id::int8: return {cell::kind::integer, text};
  case type_id::float4:
  case type_id::float8:
  case type_id::numeric: return {text.find_first_of("NI") == text.npos ? cell::kind::real : cell::kind::text, text};
  case type_id::boolean: return {cell::kind::boolean, text == "t" ? "true" : "false"};
  case type_id::timestamp:
  case type_id::timestamptz:
    printed.clear();
    append_rfc3339(printed, text);
    return {cell::kind::timestamp, printed};
  case type_id::bytea:
    printed = from_hex(text.substr(std::min<std::size_t>(2, text.size()))).value_or(std::string{}); // behind "\x"
    return {cell::kind::bytes, printed};
  case type_id::json:
  case type_id::jsonb: return {cell::kind::json, text};
  default: return {cell::kind::text, text};
  }
}

handle::handle(PGconn* connection, std::chrono::milliseconds statement_timeout)
  : connection_(connection), limit_(statement_timeout + margin), watch_(PQsocket(connection)) {
  // Without DETAIL, which quotes whole rows.
  PQsetErrorVerbosity(connection_, PQERRORS_TERSE);
  // Notices ("relation exists already") would go to standard error.
  PQsetNoticeReceiver(
    connection_, [](void*, const PGresult*) {}, nullptr);
}

error handle::lost(std::string_view what) const {
  if (watch_.cut())
    return {errc::timed_out, failure_text(what, "the database did not answer within statement_timeout")};
  return {errc::connection_lost, failure_text(what, PQerrorMessage(connection_))};
}

error handle::failure_of(const PGresult* result, std::string_view what) const {
  const auto sqlstate = field(result, PG_DIAG_SQLSTATE);
  if (sqlstate.empty())
    return lost(what);
  // MESSAGE_PRIMARY alone: DETAIL quotes whole rows.
  std::string reason{field(result, PG_DIAG_MESSAGE_PRIMARY)};
  const std::pair<const char*, int> names[] = {{"column", PG_DIAG_COLUMN_NAME},
                                               {"constraint", PG_DIAG_CONSTRAINT_NAME}};
  for (const auto& [kind, code] : names)
    if (const std::string name{field(result, code)}; !name.empty() && reason.find(name) == std::string::npos)
      reason += std::string{", "} + kind + " \"" + name + "\"";
  return {code_of(sqlstate), failure_text(what, reason + " (" + std::string{sqlstate} + ")")};
}

error handle::failure_of(const std::exception& thrown, std::string_view what) const {
  const auto* known = dynamic_cast<const soci::postgresql_soci_error*>(&thrown);
  const auto* any = dynamic_cast<const soci::soci_error*>(&thrown);
  // what() would hold the statement's values.
  const auto text = any ? any->get_error_message() : std::string{thrown.what()};
  const auto sqlstate = known ? known->sqlstate() : std::string{};
  // SOCI makes one up for a connection that went without a word.
  if (PQstatus(connection_) == CONNECTION_BAD && code_of(sqlstate) == errc::connection_lost)
    return lost(what);
  if (!known)
    return {errc::internal, failure_text(what, text)};
  return {code_of(sqlstate), failure_text(what, text + " (" + sqlstate + ")")};
}

// Behind a PgBouncer a server's connection may bring what another of its clients has asked to be told. libpq keeps it
// until somebody takes it.
void handle::forget_notifications() {
  while (auto* notification = PQnotifies(connection_))
    PQfreemem(notification);
}

result<answer> handle::run(const std::string& sql) {
  forget_notifications();
  const call_limit limit{watch_, limit_};
  answer got{PQexec(connection_, sql.c_str())};
  const auto status = PQresultStatus(got.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
    return failure_of(got.get(), sql);
  return got;
}

result<void> handle::start_copy(const std::string& command) {
  const call_limit limit{watch_, limit_};
  const answer got{PQexec(connection_, command.c_str())};
  if (PQresultStatus(got.get()) != PGRES_COPY_BOTH)
    return failure_of(got.get(), command);
  return {};
}

namespace {

/// The arrays that libpq takes.
struct bound {
  explicit bound(std::span<const parameter> parameters) {
    for (const auto& [type, bytes, null] : parameters) {
      types.push_back(type);
      values.push_back(null ? nullptr : bytes.data() ? bytes.data() : "");
      lengths.push_back(static_cast<int>(bytes.size()));
      formats.push_back(static_cast<int>(value_format::binary));
    }
  }
  int count() const { return static_cast<int>(types.size()); }
  std::vector<Oid> types;
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
};

} // namespace

result<answer> handle::query(const std::string& sql, std::span<const parameter> parameters, value_format format) {
  forget_notifications();
  const call_limit limit{watch_, limit_};
  const bound to{parameters};
  answer got{PQexecParams(connection_, sql.c_str(), to.count(), to.types.data(), to.values.data(), to.lengths.data(),
                          to.formats.data(), static_cast<int>(format))};
  const auto status = PQresultStatus(got.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
    return failure_of(got.get(), sql);
  return got;
}

void handle::send(const std::string& sql, std::span<const parameter> parameters) {
  const bound to{parameters};
  // What fails here fails again at the end of the pipeline.
  static_cast<void>(PQsendQueryParams(connection_, sql.c_str(), to.count(), to.types.data(), to.values.data(),
                                      to.lengths.data(), to.formats.data(), 0));
}

attempt handle::finish_pipeline(std::string_view what) {
  attempt outcome;
  int successes = 0;
  int ends = 0; // of a statement's results; one each
  while (PQstatus(connection_) == CONNECTION_OK && ends < 4) {
    const answer got{PQgetResult(connection_)};
    if (got.get() == nullptr) {
      ++ends;
      continue;
    }
    const auto status = PQresultStatus(got.get());
    if (status == PGRES_PIPELINE_SYNC)
      break;
    if (status == PGRES_COMMAND_OK && ++successes == 2)
      outcome.stored = got.affected();
    else if (status != PGRES_COMMAND_OK && status != PGRES_PIPELINE_ABORTED && !outcome.refused)
      outcome.refused = refusal{failure_of(got.get(), what)};
  }
  if (!outcome.refused && successes != 3)
    outcome.refused = refusal{lost(what)};
  return outcome;
}

attempt handle::run_or_undo(const std::string& sql, std::span<const parameter> parameters) {
  const call_limit limit{watch_, limit_};
  const std::string_view what = std::string_view{sql}.substr(0, sql.find('('));
  if (PQenterPipelineMode(connection_) != 1)
    return {.refused = refusal{lost(what)}};
  send("SAVEPOINT penstock", {});
  send(sql, parameters);
  send("RELEASE SAVEPOINT penstock", {});
  PQpipelineSync(connection_);
  auto outcome = finish_pipeline(what);
  const bool over = PQexitPipelineMode(connection_) == 1;
  // Any other error ends the whole transaction.
  if (over && !outcome.refused)
    return outcome;
  if (outcome.refused && disposition_of(outcome.refused->why.code) != disposition::dead_letter)
    return outcome;
  if (!over)
    return {.refused = refusal{lost(what)}};
  if (auto undone = run("ROLLBACK TO SAVEPOINT penstock; RELEASE SAVEPOINT penstock"); !undone)
    return {.refused = refusal{undone.error()}};
  return outcome;
}

bool handle::in_transaction() const {
  const auto status = PQtransactionStatus(connection_);
  return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

} // namespace penstock::storage::postgresql
