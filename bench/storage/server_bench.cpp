// What a store takes from frames, beside the fastest idempotent way that the server's own client library offers,
// written by hand: PostgreSQL: binary COPY into a temporary table, then INSERT ... SELECT ... ON CONFLICT DO NOTHING.
// MariaDB: arrays bound to one INSERT ... ON DUPLICATE KEY UPDATE. The server is the one that PENSTOCK_BENCH_DATABASE
// names (bench/databases/run.py starts one); without it there is nothing here.
#include "bench/storage/telemetry.hpp"
#include "config/load.hpp"

#include <array>
#include <bit>
#include <cstdlib>
#include <functional>
#include <libpq-fe.h>
#include <mysql.h>

namespace penstock::storage {
namespace {

const char* server_url() { return std::getenv("PENSTOCK_BENCH_DATABASE"); }

config::database server() {
  auto loaded = config::load_text("databases: {bench: {url: '" + std::string{server_url()} + "'}}\n", "bench.yaml");
  return std::get<config::configuration>(loaded).databases.at("bench");
}

std::vector<telemetry> all_rows() {
  std::vector<telemetry> rows;
  for (std::int64_t number = 0; number < rows_total; ++number)
    rows.push_back(make(number));
  return rows;
}

/// An empty table as the store makes it.
bool make_table(benchmark::State& state, const std::function<bool(const char*)>& run) {
  run("DROP TABLE IF EXISTS raw_telemetry");
  auto made = open(server());
  if (made && (*made)->prepare(telemetry_table()))
    return true;
  state.SkipWithError("cannot prepare the table");
  return false;
}

// ---- PostgreSQL

using pg = std::unique_ptr<PGconn, decltype(&PQfinish)>;

bool execute(PGconn* connection, const char* sql) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> done{PQexec(connection, sql), PQclear};
  const auto status = PQresultStatus(done.get());
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_IN;
}

template <class T>
void append_big_endian(std::string& to, T value) {
  for (int shift = 8 * (sizeof(T) - 1); shift >= 0; shift -= 8)
    to += static_cast<char>((value >> shift) & 0xff);
}

void append_field(std::string& to, std::string_view bytes) {
  append_big_endian(to, static_cast<std::uint32_t>(bytes.size()));
  to += bytes;
}

void append_field(std::string& to, std::int64_t value) {
  append_big_endian(to, std::uint32_t{8});
  append_big_endian(to, static_cast<std::uint64_t>(value));
}

/// https://www.postgresql.org/docs/15/sql-copy.html, binary format
std::string copy_data(const std::vector<telemetry>& rows, std::size_t first, std::size_t last) {
  constexpr std::int64_t epoch_2000 = 946'684'800'000'000;
  std::string data{"PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19};
  for (auto index = first; index < last; ++index) {
    const auto& row = rows[index];
    append_big_endian(data, std::uint16_t{7});
    append_field(data, row.time - epoch_2000);
    append_field(data, row.user);
    append_field(data, row.device);
    append_field(data, row.sequence_id);
    append_field(data, static_cast<std::int64_t>(std::bit_cast<std::uint64_t>(row.temperature)));
    append_field(data, row.battery);
    append_field(data, "\1" + row.extra);
  }
  return data + "\377\377";
}

bool copy_in(PGconn* connection, const std::string& data) {
  if (!execute(connection, "COPY incoming FROM STDIN (FORMAT binary)") ||
      PQputCopyData(connection, data.data(), static_cast<int>(data.size())) != 1 ||
      PQputCopyEnd(connection, nullptr) != 1)
    return false;
  bool good = true;
  while (auto* done = PQgetResult(connection)) {
    good = good && PQresultStatus(done) == PGRES_COMMAND_OK;
    PQclear(done);
  }
  return good;
}

void postgresql_by_hand(benchmark::State& state) {
  const auto rows = all_rows();
  const pg connection{PQconnectdb(server_url()), PQfinish};
  if (!make_table(state, [&](const char* sql) { return execute(connection.get(), sql); }))
    return;
  execute(connection.get(),
          "SET client_min_messages = warning; DROP TABLE IF EXISTS incoming; CREATE TEMP TABLE incoming"
          " (LIKE raw_telemetry) ON COMMIT DELETE ROWS");
  const auto batch = static_cast<std::size_t>(state.range(0));
  std::size_t next = 0;
  const auto begun = cpu_seconds();
  for (auto _ : state) {
    const bool good =
      execute(connection.get(), "BEGIN") && copy_in(connection.get(), copy_data(rows, next, next + batch)) &&
      execute(connection.get(), "INSERT INTO raw_telemetry SELECT * FROM incoming ON CONFLICT DO NOTHING") &&
      execute(connection.get(), "COMMIT");
    if (!good)
      state.SkipWithError(PQerrorMessage(connection.get()));
    next += batch;
  }
  report(state, cpu_seconds() - begun, static_cast<std::int64_t>(next));
}

// ---- MariaDB

struct mysql_connection {
  MYSQL* handle = mysql_init(nullptr);
  mysql_connection() {
    const auto& address = server().address;
    mysql_options(handle, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_real_connect(handle, address.host.c_str(), address.user.c_str(), address.password.value.c_str(),
                       address.database.c_str(), address.port, nullptr, 0);
  }
  mysql_connection(const mysql_connection&) = delete;
  mysql_connection& operator=(const mysql_connection&) = delete;
  ~mysql_connection() { mysql_close(handle); }
};

/// The columns of a batch as arrays.
struct bound_batch {
  std::vector<MYSQL_TIME> times;
  std::vector<MYSQL_TIME*> time_pointers;
  std::vector<std::int64_t> sequences, batteries;
  std::vector<double> temperatures;
  std::vector<const char*> users, devices, extras;
  std::vector<unsigned long> user_sizes, device_sizes, extra_sizes;

  void fill(const std::vector<telemetry>& rows, std::size_t first, std::size_t last);
  std::array<MYSQL_BIND, 7> binds();
};

MYSQL_TIME time_of(std::int64_t microseconds) {
  const std::time_t second = microseconds / 1'000'000;
  std::tm parts{};
  gmtime_r(&second, &parts);
  MYSQL_TIME made{};
  made.year = static_cast<unsigned>(parts.tm_year + 1900);
  made.month = static_cast<unsigned>(parts.tm_mon + 1);
  made.day = static_cast<unsigned>(parts.tm_mday);
  made.hour = static_cast<unsigned>(parts.tm_hour);
  made.minute = static_cast<unsigned>(parts.tm_min);
  made.second = static_cast<unsigned>(parts.tm_sec);
  made.second_part = static_cast<unsigned long>(microseconds % 1'000'000);
  made.time_type = MYSQL_TIMESTAMP_DATETIME;
  return made;
}

void bound_batch::fill(const std::vector<telemetry>& rows, std::size_t first, std::size_t last) {
  *this = {};
  for (auto index = first; index < last; ++index) {
    const auto& row = rows[index];
    times.push_back(time_of(row.time));
    users.push_back(row.user.data());
    user_sizes.push_back(row.user.size());
    devices.push_back(row.device.data());
    device_sizes.push_back(row.device.size());
    sequences.push_back(row.sequence_id);
    temperatures.push_back(row.temperature);
    batteries.push_back(row.battery);
    extras.push_back(row.extra.data());
    extra_sizes.push_back(row.extra.size());
  }
  for (auto& time : times)
    time_pointers.push_back(&time);
}

std::array<MYSQL_BIND, 7> bound_batch::binds() {
  std::array<MYSQL_BIND, 7> made{};
  const auto text = [&](std::size_t index, std::vector<const char*>& values, std::vector<unsigned long>& sizes) {
    made.at(index).buffer_type = MYSQL_TYPE_STRING;
    made.at(index).buffer = values.data();
    made.at(index).length = sizes.data();
  };
  const auto plain = [&](std::size_t index, enum_field_types type, void* values) {
    made.at(index).buffer_type = type;
    made.at(index).buffer = values;
  };
  plain(0, MYSQL_TYPE_DATETIME, time_pointers.data()); // times by pointer, unlike numbers
  text(1, users, user_sizes);
  text(2, devices, device_sizes);
  plain(3, MYSQL_TYPE_LONGLONG, sequences.data());
  plain(4, MYSQL_TYPE_DOUBLE, temperatures.data());
  plain(5, MYSQL_TYPE_LONGLONG, batteries.data());
  text(6, extras, extra_sizes);
  return made;
}

void mariadb_by_hand(benchmark::State& state) {
  const auto rows = all_rows();
  const mysql_connection connection;
  const auto run = [&](const char* sql) { return mysql_query(connection.handle, sql) == 0; };
  if (!make_table(state, run))
    return;
  auto* insert = mysql_stmt_init(connection.handle);
  const std::string sql = "INSERT INTO raw_telemetry VALUES (?,?,?,?,?,?,?) ON DUPLICATE KEY UPDATE"
                          " sequence_id = raw_telemetry.sequence_id";
  mysql_stmt_prepare(insert, sql.data(), sql.size());
  const auto batch = static_cast<std::size_t>(state.range(0));
  bound_batch arrays;
  std::size_t next = 0;
  const auto begun = cpu_seconds();
  for (auto _ : state) {
    arrays.fill(rows, next, next + batch);
    auto binds = arrays.binds();
    auto size = static_cast<unsigned int>(batch);
    mysql_stmt_attr_set(insert, STMT_ATTR_ARRAY_SIZE, &size);
    if (!run("START TRANSACTION") || mysql_stmt_bind_param(insert, binds.data()) != 0 ||
        mysql_stmt_execute(insert) != 0 || !run("COMMIT"))
      state.SkipWithError(mysql_stmt_error(insert));
    next += batch;
  }
  report(state, cpu_seconds() - begun, static_cast<std::int64_t>(next));
  mysql_stmt_close(insert);
}

// ---- both

void server_store_write(benchmark::State& state) {
  const auto& frames = frames_of(state.range(0));
  const bool is_postgresql = server().kind == config::database_kind::postgresql;
  const pg postgresql{is_postgresql ? PQconnectdb(server_url()) : nullptr, PQfinish};
  const auto drop = [&](const char* sql) {
    return is_postgresql ? execute(postgresql.get(), sql) : mysql_query(mysql_connection{}.handle, sql) == 0;
  };
  if (!make_table(state, drop))
    return;
  auto target = open(server());
  if (!target || !(*target)->prepare(telemetry_table()))
    return state.SkipWithError("cannot prepare the table");
  std::size_t next = 0;
  const auto begun = cpu_seconds();
  for (auto _ : state) {
    const record::frame_view* const batch[] = {frames[next++].get()};
    auto written = (*target)->write(batch);
    if (!written)
      state.SkipWithError(written.error().message.c_str());
    else if (written->back().stored != state.range(0))
      state.SkipWithError("rows are missing");
  }
  report(state, cpu_seconds() - begun, static_cast<std::int64_t>(next) * state.range(0));
}

const bool registered = [] {
  if (server_url() == nullptr)
    return false;
  const bool is_postgresql = server().kind == config::database_kind::postgresql;
  for (const std::int64_t rows : {1000, 5000}) {
    benchmark::RegisterBenchmark("by_hand", is_postgresql ? postgresql_by_hand : mariadb_by_hand)
      ->ArgName("rows")
      ->Arg(rows)
      ->Iterations(rows_total / rows)
      ->UseRealTime();
    benchmark::RegisterBenchmark("server_store_write", server_store_write)
      ->ArgName("rows")
      ->Arg(rows)
      ->Iterations(rows_total / rows)
      ->UseRealTime();
  }
  return true;
}();

} // namespace
} // namespace penstock::storage
