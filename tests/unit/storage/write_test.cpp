#include "fixture.hpp"

#include <cerrno>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
namespace penstock::storage::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class write_test : public storage_test {};

TEST_F(write_test, rows_are_stored_once_however_often_they_come) {
  auto target = prepared();
  const auto frame = frame_of(series(0, 250));
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{250, 0, 0}));
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{0, 250, 0}));
  EXPECT_EQ(*target->row_count(readings()), 250u);
}

TEST_F(write_test, a_duplicate_keeps_the_first_row) {
  auto target = prepared();
  const auto first = frame_of({{.time = 1, .battery = 10}});
  const auto second = frame_of({{.time = 1, .battery = 99}});
  write_one(*target, *first);
  EXPECT_EQ(write_one(*target, *second), (frame_outcome{0, 1, 0}));
  EXPECT_EQ(other().ask("SELECT battery FROM readings"), "10");
}

TEST_F(write_test, duplicates_are_counted_over_all_frames_of_a_call_and_attributed_to_the_last) {
  auto target = prepared();
  const auto twice = frame_of({{.time = 1}, {.time = 2}, {.time = 1}, {.time = 2}, {.time = 3}});
  const auto overlapping = frame_of(series(2, 4));
  const auto fresh = frame_of(series(100, 7));
  auto written = write(*target, {twice.get(), overlapping.get(), fresh.get()});
  ASSERT_TRUE(written);
  EXPECT_THAT(*written, ElementsAre(frame_outcome{5, 0, 0}, frame_outcome{4, 0, 0}, frame_outcome{3, 4, 0}));
}

TEST_F(write_test, no_frames_and_empty_frames_are_fine) {
  auto target = prepared();
  auto nothing = write(*target, {});
  ASSERT_TRUE(nothing);
  EXPECT_TRUE(nothing->empty());
  const auto empty = frame_of({});
  EXPECT_EQ(write_one(*target, *empty), (frame_outcome{0, 0, 0}));
}

TEST_F(write_test, a_refused_row_becomes_a_dead_letter_and_the_rest_is_stored) {
  other().run("CREATE TABLE readings(time BIGINT NOT NULL, device TEXT NOT NULL, battery BIGINT CHECK(battery >= 0),"
              " temperature REAL, PRIMARY KEY(time, device))");
  auto target = prepared();
  auto readings_in = series(0, 1000);
  readings_in[0].battery = -1;
  readings_in[333].battery = -2;
  readings_in[999].battery = -3;
  readings_in[500].time = 0; // a duplicate of a refused row is stored
  const auto frame = frame_of(readings_in);
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{997, 0, 3}));
  auto letters = target->dead_letters({});
  ASSERT_TRUE(letters);
  ASSERT_EQ(letters->size(), 3u);
  for (const auto& letter : *letters) {
    EXPECT_EQ(letter.code, errc::row_refused);
    EXPECT_THAT(letter.reason, HasSubstr("CHECK constraint failed"));
    EXPECT_EQ(letter.topic, "devices/device-1");
    EXPECT_EQ(letter.pipeline, "telemetry");
  }
  EXPECT_EQ(letters->at(0).payload, "payload at 999");
  EXPECT_EQ(letters->at(0).id, dead_letter_id("devices/device-1", "payload at 999"));
  EXPECT_EQ(letters->at(0).first_seen, wall_time{std::chrono::microseconds{1999}});
}

TEST_F(write_test, a_frame_of_nothing_but_refused_rows_is_all_dead_letters) {
  other().run("CREATE TABLE readings(time BIGINT NOT NULL, device TEXT NOT NULL, battery BIGINT CHECK(battery < 0),"
              " temperature REAL, PRIMARY KEY(time, device))");
  auto target = prepared();
  const auto frame = frame_of(series(0, 300));
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{0, 0, 300}));
  EXPECT_EQ(*target->dead_letter_count("telemetry"), 300u);
}

struct refusing_table {
  const char* what;
  const char* sql;
  const char* reason;
};

class refusal_test : public storage_test, public testing::WithParamInterface<refusing_table> {};

TEST_P(refusal_test, refuses_the_one_row_alone) {
  other().run(GetParam().sql);
  auto target = prepared();
  auto readings_in = series(0, 100);
  readings_in[42].battery = -1;
  readings_in[42].device = "unknown";
  const auto frame = frame_of(readings_in);
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{99, 0, 1}));
  auto letters = target->dead_letters({});
  ASSERT_TRUE(letters);
  ASSERT_EQ(letters->size(), 1u);
  EXPECT_EQ(letters->at(0).payload, "payload at 42");
  EXPECT_EQ(letters->at(0).code, errc::row_refused);
  EXPECT_THAT(letters->at(0).reason, HasSubstr(GetParam().reason));
}

INSTANTIATE_TEST_SUITE_P(
  whatever_refuses_it, refusal_test,
  testing::Values(
    refusing_table{"check",
                   "CREATE TABLE readings(time BIGINT, device TEXT, battery BIGINT CHECK(battery >= 0),"
                   " temperature REAL, PRIMARY KEY(time, device)) WITHOUT ROWID",
                   "CHECK constraint failed"},
    refusing_table{"not_null",
                   "CREATE TABLE readings(time BIGINT, device TEXT, battery BIGINT, temperature REAL,"
                   " alive BIGINT NOT NULL AS (CASE WHEN battery >= 0 THEN 1 END), PRIMARY KEY(time, device))",
                   "NOT NULL constraint failed"},
    refusing_table{
      "trigger",
      "CREATE TABLE readings(time BIGINT, device TEXT, battery BIGINT, temperature REAL,"
      " PRIMARY KEY(time, device)); CREATE TRIGGER guard BEFORE INSERT ON readings WHEN new.battery < 0 BEGIN"
      " SELECT RAISE(ABORT, 'battery below zero'); END",
      "battery below zero"},
    refusing_table{"foreign_key",
                   "CREATE TABLE devices(id TEXT PRIMARY KEY); INSERT INTO devices VALUES('device-1');"
                   "CREATE TABLE readings(time BIGINT, device TEXT REFERENCES devices(id), battery BIGINT,"
                   " temperature REAL, PRIMARY KEY(time, device))",
                   "FOREIGN KEY constraint failed"},
    refusing_table{"other_unique",
                   "CREATE TABLE readings(time BIGINT, device TEXT, battery BIGINT, temperature REAL,"
                   " PRIMARY KEY(time, device));"
                   "CREATE UNIQUE INDEX one ON readings(battery) WHERE battery < 0;"
                   "INSERT INTO readings VALUES(-5, 'x', -1, 0)",
                   "UNIQUE constraint failed"},
    refusing_table{"expression",
                   "CREATE TABLE readings(time BIGINT, device TEXT, battery BIGINT, temperature REAL,"
                   " CHECK(json_extract(iif(battery < 0, 'no json', '{}'), '$.a') IS NULL),"
                   " PRIMARY KEY(time, device))",
                   "malformed JSON"}),
  [](const auto& tested) { return std::string{tested.param.what}; });

TEST_F(write_test, a_value_of_another_type_in_a_strict_table_is_refused) {
  // The declared types fit; what the row holds does not: an infinity is no INT.
  other().run("CREATE TABLE readings(time INT, device TEXT, battery INT, temperature ANY CHECK(typeof(temperature)"
              " = 'real'), PRIMARY KEY(time, device)) STRICT");
  auto target = prepared();
  record::frame_builder builder{types_of(readings())};
  for (int time = 0; time < 3; ++time) {
    builder.set_integer(0, time);
    builder.set_string(1, "device-1");
    builder.set_integer(2, 1);
    if (time == 1)
      builder.set_null(3);
    else
      builder.set_real(3, 1);
    builder.commit_row("topic", std::to_string(time), {});
  }
  EXPECT_EQ(write_one(*target, *view(builder.seal("telemetry", 0, 1, 1))), (frame_outcome{2, 0, 1}));
}

TEST_F(write_test, what_is_not_a_number_is_refused_and_infinity_is_kept) {
  auto target = prepared();
  auto readings_in = series(0, 3);
  readings_in[0].temperature = std::numeric_limits<double>::infinity();
  readings_in[1].temperature = std::nan("");
  readings_in[2].temperature = -std::numeric_limits<double>::infinity();
  const auto frame = frame_of(readings_in);
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{2, 0, 1}));
  EXPECT_EQ(target->dead_letters({})->at(0).code, errc::field_range);
  EXPECT_EQ(other().ask("SELECT temperature = 9e999 FROM readings WHERE time = 0"), "1");
  EXPECT_EQ(other().ask("SELECT temperature = -9e999 FROM readings WHERE time = 2"), "1");
}

TEST_F(write_test, null_in_a_column_that_is_not_optional_is_refused) {
  other().run(
    "CREATE TABLE readings(time BIGINT, device TEXT, battery BIGINT, temperature REAL, PRIMARY KEY(time, device))");
  auto target = prepared();
  record::frame_builder builder{types_of(readings())};
  builder.set_null(0); // SQLite itself takes NULL into the key of a rowid table, as often as it comes
  builder.set_string(1, "device-1");
  builder.set_integer(2, 1);
  builder.set_null(3);
  builder.commit_row("topic", "payload", {});
  EXPECT_EQ(write_one(*target, *view(builder.seal("telemetry", 0, 1, 1))), (frame_outcome{0, 0, 1}));
  EXPECT_EQ(target->dead_letters({})->at(0).code, errc::field_missing);
}

TEST_F(write_test, letters_are_kept_with_their_bytes_and_seen_again) {
  auto target = prepared();
  const std::string payload{"\0\xff\xfe bytes \0", 11};
  const auto letter_at = [&](std::int64_t arrived, const char* reason) {
    record::frame_builder builder{types_of(readings())};
    builder.add_letter("devices/ü", payload, {errc::field_missing, reason},
                       wall_time{std::chrono::microseconds{arrived}});
    return view(builder.seal("telemetry", 0, 1, 1));
  };
  EXPECT_EQ(write_one(*target, *letter_at(100, "no time")), (frame_outcome{0, 0, 1}));
  EXPECT_EQ(write_one(*target, *letter_at(300, "still none")), (frame_outcome{0, 0, 1}));
  EXPECT_EQ(write_one(*target, *letter_at(200, "late")), (frame_outcome{0, 0, 1}));
  auto letters = target->dead_letters({});
  ASSERT_TRUE(letters);
  ASSERT_EQ(letters->size(), 1u);
  const auto& letter = letters->at(0);
  EXPECT_EQ(letter.payload, payload);
  EXPECT_EQ(letter.topic, "devices/ü");
  EXPECT_EQ(letter.code, errc::field_missing);
  EXPECT_EQ(letter.seen, 3u);
  EXPECT_EQ(letter.attempts, 0u);
  EXPECT_EQ(letter.first_seen, wall_time{std::chrono::microseconds{100}});
  EXPECT_EQ(letter.last_seen, wall_time{std::chrono::microseconds{300}});
  EXPECT_EQ(other().ask("SELECT typeof(payload) FROM penstock_dead_letters"), "blob");
}

TEST_F(write_test, a_lock_held_elsewhere_is_busy_within_the_timeout_and_nothing_is_stored) {
  auto target = prepared();
  auto locker = other();
  locker.run("BEGIN IMMEDIATE");
  const auto frame = frame_of(series(0, 10));
  const auto begun = std::chrono::steady_clock::now();
  auto written = write(*target, {frame.get()});
  const auto waited = std::chrono::steady_clock::now() - begun;
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, errc::database_busy);
  EXPECT_GE(waited, std::chrono::milliseconds{40});
  EXPECT_LT(waited, std::chrono::seconds{2});
  locker.run("ROLLBACK");
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{10, 0, 0}));
}

TEST_F(write_test, a_full_disk_stores_nothing_of_the_call_and_goes_on_when_there_is_room) {
  auto target = prepared();
  const auto before = frame_of(series(0, 10));
  write_one(*target, *before);
  const auto small = frame_of(series(10, 5));
  const auto large = frame_of(series(1000, 20'000));
  {
    const failing_writes full{ENOSPC};
    auto written = write(*target, {small.get(), large.get()});
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, errc::database_full) << written.error().to_string();
    EXPECT_EQ(*target->row_count(readings()), 10u);
  }
  auto written = write(*target, {small.get(), large.get()});
  ASSERT_TRUE(written) << written.error().to_string();
  EXPECT_THAT(*written, ElementsAre(frame_outcome{5, 0, 0}, frame_outcome{20'000, 0, 0}));
}

TEST_F(write_test, a_failing_disk_is_unavailable_and_another_store_goes_on) {
  auto target = prepared();
  const auto frame = frame_of(series(0, 10));
  {
    const failing_writes broken{EIO};
    auto written = write(*target, {frame.get()});
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, errc::database_unavailable) << written.error().to_string();
  }
  target.reset();
  target = prepared();
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{10, 0, 0}));
}

TEST_F(write_test, a_file_that_was_moved_takes_no_commit_that_nobody_would_find) {
  auto target = prepared();
  const auto frame = frame_of(series(0, 10));
  write_one(*target, *frame);
  for (const char* suffix : {"", "-wal", "-shm"})
    std::filesystem::rename(settings().address.path.string() + suffix,
                            settings().address.path.string() + ".old" + suffix);
  const auto next = frame_of(series(10, 10));
  auto written = write(*target, {next.get()});
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, errc::database_unavailable) << written.error().to_string();
  target.reset();
  target = prepared();
  EXPECT_EQ(write_one(*target, *next), (frame_outcome{10, 0, 0}));
}

TEST_F(write_test, a_table_that_went_away_is_a_mismatch_and_no_dead_letter) {
  auto target = prepared();
  other().run("DROP TABLE readings");
  const auto frame = frame_of(series(0, 10));
  auto written = write(*target, {frame.get()});
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, errc::schema_mismatch);
  EXPECT_EQ(*target->dead_letter_count(""), 0u);
}

TEST_F(write_test, dead_letters_are_rolled_back_with_the_rows) {
  auto target = prepared();
  other().run(
    "CREATE TRIGGER guard BEFORE INSERT ON readings WHEN new.battery < 0 BEGIN SELECT RAISE(ROLLBACK, 'no'); END");
  record::frame_builder builder{types_of(readings())};
  builder.add_letter("devices/a", "not json", {errc::payload_malformed, "why"}, {});
  const auto letter = view(builder.seal("telemetry", 0, 1, 1));
  auto readings_in = series(0, 10);
  readings_in[5].battery = -1;
  const auto rolls_back = frame_of(readings_in);
  ASSERT_FALSE(write(*target, {letter.get(), rolls_back.get()}));
  EXPECT_EQ(*target->dead_letter_count(""), 0u);
}

TEST_F(write_test, a_trigger_that_rolls_back_is_named_and_nothing_is_stored) {
  auto target = prepared();
  other().run(
    "CREATE TRIGGER guard BEFORE INSERT ON readings WHEN new.battery < 0 BEGIN SELECT RAISE(ROLLBACK, 'no'); END");
  auto readings_in = series(0, 10);
  readings_in[5].battery = -1;
  const auto frame = frame_of(readings_in);
  auto written = write(*target, {frame.get()});
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, errc::schema_mismatch);
  EXPECT_THAT(written.error().message, HasSubstr("RAISE(ABORT)"));
  EXPECT_EQ(*target->row_count(readings()), 0u);
}

TEST_F(write_test, writing_before_prepare_is_a_bug) {
  auto target = opened();
  EXPECT_THROW(static_cast<void>(write(*target, {})), assertion_failed);
}

TEST_F(write_test, a_second_prepare_changes_the_table) {
  auto target = prepared();
  auto second = readings();
  second.name = "others";
  second.columns.pop_back();
  ASSERT_TRUE(target->prepare(second));
  record::frame_builder builder{types_of(second)};
  builder.set_integer(0, 1);
  builder.set_string(1, "device-1");
  builder.set_integer(2, 1);
  builder.commit_row("topic", "payload", {});
  EXPECT_EQ(write_one(*target, *view(builder.seal("telemetry", 0, 1, 1), second)), (frame_outcome{1, 0, 0}));
  EXPECT_EQ(*target->row_count(second), 1u);
}

/// One column of each type, and the number of the row as key.
table all_types() {
  return {.pipeline = "types",
          .name = "select \"all\"; types",
          .columns = {{"row", column_type::integer, false},
                      {"text value", column_type::text, true},
                      {"integer", column_type::integer, true},
                      {"real", column_type::real, true},
                      {"boolean", column_type::boolean, true},
                      {"timestamp", column_type::timestamp, true},
                      {"bytes", column_type::bytes, true},
                      {"json", column_type::json, true}},
          .key = {"row"},
          .indexes = {}};
}

/// Values that bite, and random ones.
class value_maker {
public:
  std::string bytes() {
    static const std::vector<std::string> special{
      "",        std::string(1, '\0'),     std::string("a\0b", 3), "\xff\xfe", "0123", "1e5",
      "'; DROP", std::string(100'000, 'x')};
    if (pick(4) == 0)
      return special[pick(special.size())];
    std::string made(pick(40), ' ');
    for (auto& byte : made)
      byte = static_cast<char>(pick(256));
    return made;
  }
  std::string text() {
    static const std::vector<std::string> special{
      "", std::string("a\0b", 3), "Grüße", "日本語", "😀", "007", " 1.50 ", "null"};
    return special[pick(special.size())];
  }
  std::int64_t integer() {
    static const std::vector<std::int64_t> special{
      0,         1,           -1, std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min(),
      1ll << 32, -(1ll << 31)};
    return pick(2) == 0 ? special[pick(special.size())] : static_cast<std::int64_t>(random_());
  }
  double real() {
    static const std::vector<double> special{0.0,
                                             1.0,
                                             -1.5,
                                             0.1,
                                             1e300,
                                             std::numeric_limits<double>::denorm_min(),
                                             std::numeric_limits<double>::max(),
                                             std::numeric_limits<double>::infinity(),
                                             9007199254740993.0,
                                             9.223372036854775807e18};
    return pick(2) == 0
             ? special[pick(special.size())]
             : std::ldexp(static_cast<double>(static_cast<std::int64_t>(random_())), static_cast<int>(pick(200)) - 100);
  }
  std::size_t pick(std::size_t below) { return static_cast<std::size_t>(random_() % below); }

private:
  std::mt19937_64 random_{20'261'121};
};

struct typed_row {
  std::vector<bool> null;
  std::string text, bytes, json;
  std::int64_t integer = 0, timestamp = 0;
  double real = 0;
  bool boolean = false;
};

typed_row make_row(value_maker& values) {
  typed_row row;
  for (std::size_t column = 0; column < all_types().columns.size(); ++column)
    row.null.push_back(column > 0 && values.pick(10) == 0);
  row.text = values.text();
  row.bytes = values.bytes();
  row.json = "{\"a\":\"" + values.text() + "\"}";
  row.integer = values.integer();
  row.timestamp = values.integer();
  row.real = values.real();
  row.boolean = values.pick(2) == 1;
  return row;
}

void add_row(record::frame_builder& builder, std::int64_t number, const typed_row& row) {
  const auto set = [&](std::size_t column, auto assign) {
    if (row.null[column])
      builder.set_null(column);
    else
      assign();
  };
  builder.set_integer(0, number);
  set(1, [&] { builder.set_string(1, row.text); });
  set(2, [&] { builder.set_integer(2, row.integer); });
  set(3, [&] { builder.set_real(3, row.real); });
  set(4, [&] { builder.set_boolean(4, row.boolean); });
  set(5, [&] { builder.set_integer(5, row.timestamp); });
  set(6, [&] { builder.set_string(6, row.bytes); });
  set(7, [&] { builder.set_string(7, row.json); });
  builder.commit_row("topic", std::to_string(number), {});
}

TEST_F(write_test, every_value_comes_back_as_it_went_in) {
  auto target = prepared(all_types());
  value_maker values;
  std::vector<typed_row> rows;
  record::frame_builder builder{types_of(all_types())};
  for (std::int64_t number = 0; number < 2000; ++number) {
    rows.push_back(make_row(values));
    add_row(builder, number, rows.back());
  }
  ASSERT_EQ(write_one(*target, *view(builder.seal("types", 0, 1, 1), all_types())), (frame_outcome{2000, 0, 0}));
  auto reader = other();
  auto query =
    sqlite::statement::prepare(reader.database(), "SELECT * FROM \"select \"\"all\"\"; types\" ORDER BY row");
  ASSERT_TRUE(query);
  for (const auto& row : rows) {
    ASSERT_TRUE(*query->step());
    for (std::size_t column = 1; column < row.null.size(); ++column)
      ASSERT_EQ(query->null(static_cast<int>(column)), row.null[column]);
    const auto there = [&](int column) { return !query->null(column); };
    ASSERT_TRUE(!there(1) || query->string(1) == row.text);
    ASSERT_TRUE(!there(2) || query->integer(2) == row.integer);
    ASSERT_TRUE(!there(3) || query->real(3) == row.real);
    ASSERT_TRUE(!there(4) || query->integer(4) == row.boolean ? 1 : 0);
    ASSERT_TRUE(!there(5) || query->integer(5) == row.timestamp);
    ASSERT_TRUE(!there(6) || query->string(6) == row.bytes);
    ASSERT_TRUE(!there(7) || query->string(7) == row.json);
  }
}

} // namespace
} // namespace penstock::storage::test
