// What the storage tests share: a directory of their own, a table of telemetry, frames, and a second hand on the file.
#pragma once

#include "record/frame.hpp"
#include "storage/sqlite_handle.hpp"
#include "storage/store.hpp"
#include "tests/support/temporary_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace penstock::storage {

inline std::ostream& operator<<(std::ostream& out, const frame_outcome& outcome) {
  return out << outcome.stored << " stored, " << outcome.duplicate << " duplicate, " << outcome.dead_lettered
             << " dead-lettered";
}
inline bool operator==(const frame_outcome& left, const frame_outcome& right) {
  return left.stored == right.stored && left.duplicate == right.duplicate && left.dead_lettered == right.dead_lettered;
}

namespace test {

/// Another program that has the file open.
class other_program {
public:
  explicit other_program(const std::filesystem::path& file) {
    sqlite_api::sqlite3* opened = nullptr;
    EXPECT_EQ(sqlite_api::sqlite3_open(file.c_str(), &opened), SQLITE_OK);
    database_.reset(opened);
  }
  void run(const std::string& sql) {
    auto done = sqlite::execute(database_.get(), sql);
    EXPECT_TRUE(done) << done.error().to_string();
  }
  /// The first column of the first row as SQLite prints it; "NULL".
  std::string ask(const std::string& sql) {
    auto query = sqlite::statement::prepare(database_.get(), sql);
    if (!query) {
      ADD_FAILURE() << query.error().to_string();
      return {};
    }
    auto row = query->step();
    if (!row || !*row)
      return "no row";
    return query->null(0) ? "NULL" : std::string{query->string(0)};
  }
  sqlite_api::sqlite3* database() { return database_.get(); }

private:
  struct close {
    void operator()(sqlite_api::sqlite3* opened) const { sqlite_api::sqlite3_close(opened); }
  };
  std::unique_ptr<sqlite_api::sqlite3, close> database_;
};

/// SQLite's writes fail with an errno while this lives: a full disk, a broken one. One at a time.
class failing_writes {
public:
  explicit failing_writes(int system_errno) {
    why_ = system_errno;
    for (const char* call : {"write", "pwrite", "pwrite64"})
      replace(call, reinterpret_cast<sqlite_api::sqlite3_syscall_ptr>(&fail));
  }
  ~failing_writes() {
    for (const char* call : {"write", "pwrite", "pwrite64"})
      replace(call, nullptr);
  }
  failing_writes(const failing_writes&) = delete;
  failing_writes& operator=(const failing_writes&) = delete;

private:
  static ssize_t fail() {
    errno = why_;
    return -1;
  }
  static void replace(const char* call, sqlite_api::sqlite3_syscall_ptr with) {
    auto* files = sqlite_api::sqlite3_vfs_find(nullptr);
    files->xSetSystemCall(files, call, with);
  }
  static inline int why_ = 0;
};

struct reading {
  std::int64_t time = 0;
  std::string device = "device-1";
  std::int64_t battery = 50;
  double temperature = 20.5;
};

inline std::vector<column_type> types_of(const table& table) {
  std::vector<column_type> types;
  for (const auto& column : table.columns)
    types.push_back(column.type);
  return types;
}

class storage_test : public testing::Test {
public:
  config::database settings() const {
    config::database made;
    made.name = "telemetry";
    made.address.path = directory_.file("telemetry.db");
    made.url = "sqlite:telemetry.db";
    made.busy_timeout = std::chrono::milliseconds{50};
    return made;
  }

  static table readings() {
    return {.pipeline = "telemetry",
            .name = "readings",
            .columns = {{"time", column_type::timestamp, false},
                        {"device", column_type::text, false},
                        {"battery", column_type::integer, false},
                        {"temperature", column_type::real, true}},
            .key = {"time", "device"},
            .indexes = {}};
  }

  std::unique_ptr<store> opened(access access = access::read_write) {
    auto made = open(settings(), access);
    EXPECT_TRUE(made) << made.error().to_string();
    return made ? std::move(*made) : nullptr;
  }

  /// Opened and prepared.
  std::unique_ptr<store> prepared(const table& table = readings()) {
    auto made = opened();
    auto ready = made->prepare(table);
    EXPECT_TRUE(ready) << ready.error().to_string();
    return made;
  }

  other_program other() const { return other_program{settings().address.path}; }

  static std::unique_ptr<record::frame_view> view(record::frame frame, const table& table = readings()) {
    const auto types = types_of(table);
    auto made = record::frame_view::open(std::move(frame), types);
    EXPECT_TRUE(made) << made.error().to_string();
    return std::move(*made);
  }

  static std::string payload_of(const reading& reading) { return "payload at " + std::to_string(reading.time); }

  static std::unique_ptr<record::frame_view> frame_of(const std::vector<reading>& readings_in) {
    record::frame_builder builder{types_of(readings())};
    for (const auto& reading : readings_in) {
      builder.set_integer(0, reading.time);
      builder.set_string(1, reading.device);
      builder.set_integer(2, reading.battery);
      builder.set_real(3, reading.temperature);
      builder.commit_row("devices/" + reading.device, payload_of(reading),
                         wall_time{std::chrono::microseconds{1000 + reading.time}});
    }
    return view(builder.seal("telemetry", 0, 1, 1));
  }

  /// `count` readings at rising times.
  static std::vector<reading> series(std::int64_t first, std::int64_t count) {
    std::vector<reading> made;
    for (std::int64_t time = first; time < first + count; ++time)
      made.push_back({.time = time});
    return made;
  }

  static result<std::vector<frame_outcome>> write(store& to, const std::vector<const record::frame_view*>& frames) {
    return to.write(frames);
  }

  /// The outcome of one frame that must succeed.
  static frame_outcome write_one(store& to, const record::frame_view& frame) {
    auto written = write(to, {&frame});
    if (!written) {
      ADD_FAILURE() << written.error().to_string();
      return {};
    }
    return written->at(0);
  }

private:
  temporary_directory directory_;
};

} // namespace test
} // namespace penstock::storage
