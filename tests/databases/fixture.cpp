#include "fixture.hpp"

#include "config/value.hpp"
#include "tests/support/temporary_directory.hpp"

#include <soci/mysql/soci-mysql.h>
#include <soci/postgresql/soci-postgresql.h>
#include <soci/sqlite3/soci-sqlite3.h>

#include <algorithm>
#include <cstdlib>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace penstock::storage::test {

namespace {

std::filesystem::path temporary_file() {
  static const temporary_directory made;
  return made.file("test.db");
}

const soci::backend_factory& factory_of(database_kind kind) {
  switch (kind) {
  case database_kind::sqlite: return soci::sqlite3;
  case database_kind::postgresql: return soci::postgresql;
  case database_kind::mysql: return soci::mysql;
  }
  return soci::sqlite3;
}

std::string connect_text(const config::database& database) {
  const auto& at = database.address;
  switch (database.kind) {
  case database_kind::sqlite: return "dbname=" + at.path.string() + " timeout=10";
  case database_kind::postgresql:
    return "host=" + at.host + " port=" + std::to_string(at.port) + " dbname=" + at.database + " user=" + at.user +
           " password=" + at.password.value;
  case database_kind::mysql:
    return "host=" + at.host + " port=" + std::to_string(at.port) + " db=" + at.database + " user=" + at.user +
           " password=" + at.password.value + " charset=utf8mb4";
  }
  return {};
}

} // namespace

config::database database_at(const std::string& url) {
  config::database made;
  made.name = "under-test";
  made.busy_timeout = 2s;
  made.statement_timeout = 10s;
  made.url = url;
  auto parsed = config::parse_database_url(url);
  if (!parsed)
    throw std::runtime_error{"not the url of a database: " + parsed.error().message};
  made.kind = parsed->kind;
  made.address = parsed->address;
  made.address.user = made.user = parsed->user.value_or("");
  made.password.value = parsed->password.value_or("");
  made.address.password = made.password;
  made.address.tls_mode = parsed->tls_mode.value_or(config::tls_mode::prefer);
  return made;
}

config::database database_under_test() {
  const char* const url = std::getenv("PENSTOCK_TEST_DATABASE");
  return database_at(url ? url : "sqlite:" + temporary_file().string());
}

std::optional<config::database> database_through_network() {
  const char* const url = std::getenv("PENSTOCK_TEST_DATABASE_PROXY");
  return url ? std::optional{database_at(url)} : std::nullopt;
}

void make_fault(const std::string& command) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = std::getenv("PENSTOCK_TEST_DATABASE_FAULTS");
  ASSERT_LT(path.size(), sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const auto line = command + "\n";
  EXPECT_EQ(::write(socket, line.data(), line.size()), static_cast<ssize_t>(line.size()));
  std::string answer(1'000, '\0');
  answer.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::read(socket, answer.data(), answer.size()))));
  ::close(socket);
  EXPECT_EQ(answer, "ok\n") << command;
}

abilities abilities_of(database_kind kind) {
  switch (kind) {
  case database_kind::sqlite:
    return {.zero_in_text = true, .infinity = true, .not_a_number = false, .negative_zero = false};
  case database_kind::postgresql:
    return {.zero_in_text = false, .infinity = true, .not_a_number = true, .negative_zero = true};
  case database_kind::mysql:
    return {.zero_in_text = true, .infinity = false, .not_a_number = false, .negative_zero = false};
  }
  return {};
}

hand::hand(const config::database& database)
  : kind_(database.kind), session_(factory_of(database.kind), connect_text(database)) {
  if (kind_ == database_kind::postgresql) // "table does not exist, skipping" would go to standard error
    PQsetNoticeReceiver(
      static_cast<soci::postgresql_session_backend*>(session_.get_backend())->conn_, [](void*, const PGresult*) {},
      nullptr);
}

void hand::run(const std::string& sql) {
  try {
    session_ << sql;
  } catch (const std::exception& failure) {
    ADD_FAILURE() << failure.what();
  }
}

std::string hand::ask(const std::string& sql) {
  try {
    std::string answer;
    auto is = soci::i_ok;
    session_ << sql, soci::into(answer, is);
    return !session_.got_data() ? "no row" : is == soci::i_null ? "NULL" : answer;
  } catch (const std::exception& failure) {
    ADD_FAILURE() << failure.what();
    return {};
  }
}

std::string hand::hex(const std::string& column, column_type type) const {
  if (kind_ == database_kind::sqlite)
    return "CASE WHEN " + column + " IS NOT NULL THEN hex(CAST(" + column + " AS BLOB)) END"; // hex(NULL) is ''

  if (kind_ == database_kind::mysql)
    return "hex(" + column + ")";
  return type == column_type::bytes ? "encode(" + column + ", 'hex')"
                                    : "encode(convert_to(" + column + "::text, 'UTF8'), 'hex')";
}

std::string hand::microseconds(const std::string& column) const {
  switch (kind_) {
  case database_kind::sqlite: return column;
  case database_kind::postgresql: // in parts: the epoch of the last years that it holds is not exact
    return "(extract(epoch from date_trunc('second', " + column + "))::bigint * 1000000 + extract(microseconds from " +
           column + ")::bigint % 1000000)";
  case database_kind::mysql: return "timestampdiff(MICROSECOND, '1970-01-01', " + column + ")";
  }
  return column;
}

void hand::refuse_negative_batteries() {
  if (kind_ == database_kind::sqlite)
    run("CREATE TRIGGER sound BEFORE INSERT ON readings WHEN new.battery < 0 BEGIN"
        " SELECT RAISE(ABORT, 'battery below zero'); END");
  else
    run("ALTER TABLE readings ADD CONSTRAINT sound CHECK (battery >= 0)");
}

void hand::allow_negative_batteries() {
  run(kind_ == database_kind::sqlite ? "DROP TRIGGER sound" : "ALTER TABLE readings DROP CONSTRAINT sound");
}

void hand::refuse_long_notes() {
  switch (kind_) {
  case database_kind::sqlite:
    return run("CREATE TRIGGER short BEFORE INSERT ON readings WHEN length(new.note) > 20 BEGIN"
               " SELECT RAISE(ABORT, 'note too long'); END");
  case database_kind::postgresql: return run("ALTER TABLE readings ALTER COLUMN note TYPE varchar(20)");
  case database_kind::mysql:
    return run("ALTER TABLE readings MODIFY note VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
  }
}

std::vector<column_type> types_of(const table& table) {
  std::vector<column_type> types;
  for (const auto& column : table.columns)
    types.push_back(column.type);
  return types;
}

database_test::database_test() : settings_(database_under_test()), other_(std::make_unique<hand>(settings_)) {
  drop_all();
}

database_test::~database_test() {
  other_ = std::make_unique<hand>(settings_); // the server may have ended under the former one
  drop_all();
}

void database_test::drop_all() {
  for (const char* name :
       {"readings", "every_type", "source_rows", "composite", "mqtt_sent_records", "mqtt_sent_records_archive",
        "penstock_sent_ranges", "penstock_retries", "penstock_pauses", "penstock_fence", "penstock_nodes",
        "penstock_shards", "penstock_sessions", "penstock_dead_letters", "penstock_meta"})
    other().run(std::string{"DROP TABLE IF EXISTS "} + name);
}

table database_test::readings() {
  return {.pipeline = "telemetry",
          .name = "readings",
          .columns = {{"time", column_type::timestamp, false},
                      {"device", column_type::text, false},
                      {"battery", column_type::integer, false},
                      {"temperature", column_type::real, true},
                      {"note", column_type::text, true}},
          .key = {"time", "device"},
          .indexes = {}};
}

std::unique_ptr<store> database_test::opened(const config::database& at, access access) {
  auto made = open(at, access);
  EXPECT_TRUE(made) << made.error().to_string();
  return made ? std::move(*made) : nullptr;
}

std::unique_ptr<store> database_test::prepared(const table& table) const {
  auto made = opened();
  auto ready = made->prepare(table);
  EXPECT_TRUE(ready) << ready.error().to_string();
  return made;
}

std::unique_ptr<record::frame_view> database_test::view(record::frame frame, const table& table) {
  const auto types = types_of(table);
  auto made = record::frame_view::open(std::move(frame), types);
  EXPECT_TRUE(made) << made.error().to_string();
  return std::move(*made);
}

std::unique_ptr<record::frame_view> database_test::frame_of(const std::vector<reading>& of, bool with_messages) {
  record::frame_builder builder{types_of(readings())};
  builder.keep_messages(with_messages);
  for (const auto& reading : of) {
    builder.set_integer(0, reading.time);
    builder.set_string(1, reading.device);
    builder.set_integer(2, reading.battery);
    reading.temperature ? builder.set_real(3, *reading.temperature) : builder.set_null(3);
    reading.note ? builder.set_string(4, *reading.note) : builder.set_null(4);
    builder.commit_row("devices/" + reading.device, payload_of(reading),
                       wall_time{std::chrono::microseconds{1000 + reading.time}});
  }
  return view(builder.seal("telemetry", 0, 1, 1), readings());
}

std::vector<reading> database_test::series(std::int64_t first, std::int64_t count) {
  std::vector<reading> made;
  for (std::int64_t time = first; time < first + count; ++time)
    made.push_back({.time = time});
  return made;
}

frame_outcome database_test::write_one(store& to, const record::frame_view& frame) {
  auto written = write(to, {&frame});
  if (!written) {
    ADD_FAILURE() << written.error().to_string();
    return {};
  }
  return written->at(0);
}

std::vector<dead_letter> database_test::letters(store& of) {
  auto found = of.dead_letters({.pipeline = "", .id = std::nullopt, .limit = 0, .after = ""});
  if (!found) {
    ADD_FAILURE() << found.error().to_string();
    return {};
  }
  return *std::move(found);
}

} // namespace penstock::storage::test
