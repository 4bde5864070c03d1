// What the conformance tests share. They run on any database: the one whose url is in PENSTOCK_TEST_DATABASE, or else a
// SQLite file of their own. What differs between databases for a test is in `hand` alone.
//
// Tests run one after the other in one database; each begins without tables.
#pragma once

#include "config/config.hpp"
#include "record/frame.hpp"
#include "storage/store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <soci/soci.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
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

using namespace std::chrono_literals;
using config::database_kind;

/// The database under test, from the environment; a SQLite file where it names none. `more` is put behind the name of
/// the file.
config::database database_under_test();
/// From a url; tests wait less than the defaults say.
config::database database_at(const std::string& url);

/// The database under test through a network that make_fault() can break; nothing where there is none (SQLite).
std::optional<config::database> database_through_network();
/// See Faults in tests/support/database_server.py. A failed assertion where it does not work.
void make_fault(const std::string& command);

/// Another program at work in the database, through SOCI alone.
class hand {
public:
  explicit hand(const config::database& database);

  soci::session& session() { return session_; }
  void run(const std::string& sql);
  /// The first column of the first row as text; "NULL", "no row".
  std::string ask(const std::string& sql);

  // What databases write differently.
  /// The same expression for text, json and bytes.
  std::string hex(const std::string& column, column_type type) const;
  /// A timestamp as microseconds since 1970.
  std::string microseconds(const std::string& column) const;
  /// Makes the database refuse rows of `readings` whose battery is below zero, and takes that back.
  void refuse_negative_batteries();
  void allow_negative_batteries();
  /// Makes it refuse notes of more than 20 characters.
  void refuse_long_notes();

private:
  database_kind kind_;
  soci::session session_;
};

/// What a database cannot keep, and therefore refuses.
struct abilities {
  bool zero_in_text = true;
  bool infinity = true;
  bool not_a_number = true;
  bool negative_zero = true;
};
abilities abilities_of(database_kind kind);

struct reading {
  std::int64_t time = 0;
  std::string device = "device-1";
  std::int64_t battery = 50;
  std::optional<double> temperature = 20.5;
  std::optional<std::string> note = std::nullopt;
};

class database_test : public testing::Test {
public:
  database_test();
  ~database_test() override;

  const config::database& settings() const { return settings_; }
  database_kind kind() const { return settings_.kind; }
  hand& other() { return *other_; }

  /// time, device, battery, temperature (optional), note (optional); key: time, device.
  static table readings();

  std::unique_ptr<store> opened(access access = access::read_write) const { return opened(settings_, access); }
  static std::unique_ptr<store> opened(const config::database& at, access access = access::read_write);
  /// Opened and prepared.
  std::unique_ptr<store> prepared(const table& table = readings()) const;

  static std::unique_ptr<record::frame_view> view(record::frame frame, const table& table);
  static std::unique_ptr<record::frame_view> frame_of(const std::vector<reading>& of, bool with_messages = true);
  /// `count` readings at rising times.
  static std::vector<reading> series(std::int64_t first, std::int64_t count);
  static std::string payload_of(const reading& reading) { return "payload at " + std::to_string(reading.time); }

  /// The outcome of one frame that must succeed.
  static frame_outcome write_one(store& to, const record::frame_view& frame);
  static result<std::vector<frame_outcome>> write(store& to, const std::vector<const record::frame_view*>& frames) {
    return to.write(frames);
  }
  /// Every dead letter, by rising id.
  static std::vector<dead_letter> letters(store& of);

private:
  void drop_all();
  config::database settings_;
  std::unique_ptr<hand> other_;
};

std::vector<column_type> types_of(const table& table);

} // namespace test
} // namespace penstock::storage
