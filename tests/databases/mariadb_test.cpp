// What MariaDB and MySQL alone do. Without such a database only the tests of errors run.
#include "fixture.hpp"
#include "storage/mariadb_bulk.hpp"
#include "storage/mariadb_handle.hpp"

#include <cmath>
#include <cstdlib>

namespace penstock::storage::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(mariadb_errors, numbers_have_the_meaning_that_the_document_says) {
  const std::vector<std::pair<errc, std::vector<unsigned>>> meanings{
    {errc::database_busy, {1205, 1213, 1020, 1412, 1317}},
    {errc::timed_out, {1969, 3024}},
    {errc::database_unavailable, {1040, 1053, 1203, 1226, 1290, 1792, 1836, 1927, 1047, 1180}},
    {errc::database_full, {1021, 1114, 3675}},
    {errc::connection_refused, {2002, 2003, 2005}},
    {errc::connection_lost, {2006, 2013, 2055, 4031}},
    {errc::payload_too_large, {1153, 2020}},
    {errc::not_authorised, {1044, 1045, 1142, 1143, 1227, 1698, 2026, 2059}},
    {errc::database_damaged, {1030, 1034, 1194, 1712, 1932}},
    {errc::unsupported, {1273, 1193}},
    {errc::row_refused, {1364, 1366, 1526, 1644, 3140, 3819, 4025}},
  };
  for (const auto& [code, numbers] : meanings)
    for (const auto number : numbers)
      EXPECT_EQ(mariadb::code_of({number, "HY000", ""}), code) << number;
}

TEST(mariadb_errors, other_numbers_go_by_their_state) {
  const std::vector<std::pair<const char*, errc>> states{
    {"22001", errc::row_refused},   {"22007", errc::row_refused},     {"23000", errc::row_refused},
    {"45000", errc::row_refused},   {"42S02", errc::schema_mismatch}, {"42000", errc::schema_mismatch},
    {"40001", errc::database_busy}, {"08S01", errc::connection_lost}, {"28000", errc::not_authorised},
    {"HY000", errc::internal}};
  for (const auto& [state, code] : states)
    EXPECT_EQ(mariadb::code_of({9999, state, ""}), code) << state;
}

TEST(mariadb_errors, a_full_disk_and_a_time_that_is_over_are_known_by_their_words) {
  const auto full = R"(Got error 28 "No space left on device" from storage engine InnoDB)";
  EXPECT_EQ(mariadb::code_of({1030, "HY000", full}), errc::database_full);
  EXPECT_EQ(mariadb::code_of({1026, "HY000", "Error writing file './x' (errno: 28 \"No space left on device\")"}),
            errc::database_full);
  EXPECT_EQ(mariadb::code_of({2013, "HY000",
                              "Lost connection to server at 'handshake: reading initial communication packet', system"
                              " error: 110"}),
            errc::timed_out);
}

TEST(mariadb_errors, values_are_left_out_and_names_stay) {
  const auto text = [](unsigned number, const char* words) {
    return mariadb::failure_of({number, "HY000", words}, "cannot insert").message;
  };
  EXPECT_EQ(text(1366, "Incorrect string value: '\\xFF it's for key' secret' for column `p`.`t`.`c` at row 2"),
            "cannot insert: Incorrect string value: ... for column `p`.`t`.`c` at row 2 (MariaDB 1366)");
  EXPECT_EQ(text(1062, "Duplicate entry 'secret-1' for key 'other'"),
            "cannot insert: Duplicate entry ... for key 'other' (MariaDB 1062)");
  EXPECT_EQ(text(1064, "You have an error near 'it's secret, 'x')' at line 1"),
            "cannot insert: You have an error near ... at line 1 (MariaDB 1064)");
  EXPECT_THAT(text(1292, "Incorrect datetime value: 'secret"), Not(HasSubstr("secret")));
  EXPECT_EQ(text(1406, "Data too long for column 'note' at row 1"),
            "cannot insert: Data too long for column 'note' at row 1 (MariaDB 1406)");
  const auto lines = text(1644, (std::string(395, 'x') + "\n\xe2\x82\xac\xe2\x82\xac").c_str());
  EXPECT_LE(lines.size(), 400u);
  EXPECT_THAT(lines, AllOf(Not(HasSubstr("\n")), HasSubstr("(MariaDB 1644)")));
}

TEST(mariadb_dates, are_text_and_back) {
  for (const std::int64_t time : {-62'135'596'800'000'000, -1L, 0L, 1L, 951'782'400'000'000L, 253'402'300'799'999'999L})
    EXPECT_EQ(mariadb::microseconds_of(mariadb::date_text(time)), time);
  EXPECT_EQ(mariadb::date_text(-1), "1969-12-31 23:59:59.999999");
  EXPECT_EQ(mariadb::microseconds_of("1970-01-01 00:00:01"), 1'000'000);
  EXPECT_EQ(mariadb::microseconds_of("1970-01-01 00:00:01.5"), 1'500'000);
  EXPECT_FALSE(mariadb::is_date(-62'135'596'800'000'001));
  EXPECT_FALSE(mariadb::is_date(253'402'300'800'000'000));
  EXPECT_FALSE(mariadb::is_date(std::numeric_limits<std::int64_t>::min()));
  EXPECT_FALSE(mariadb::is_date(std::numeric_limits<std::int64_t>::max()));
}

class mariadb_test : public database_test {
public:
  void SetUp() override {
    if (kind() != database_kind::mysql)
      GTEST_SKIP() << "not MariaDB";
  }

  static table updated(const std::string& order) {
    auto wanted = readings();
    wanted.on_conflict = config::conflict_rule::update;
    wanted.order = order;
    return wanted;
  }
};

TEST_F(mariadb_test, keys_that_differ_in_letter_case_spaces_or_zero_bytes_are_different) {
  auto target = prepared();
  std::vector<reading> rows;
  for (const auto* device : {"a", "A", "a ", " a", "\xc3\xa4", "ss", "\xc3\x9f"})
    rows.push_back({.time = 1, .device = device});
  rows.push_back({.time = 1, .device = std::string{"a\0", 2}});
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{8, 0, 0}));
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{0, 8, 0}));
  EXPECT_TRUE(*target->contains(readings(), {"1", "a "}));
  EXPECT_FALSE(*target->contains(readings(), {"1", "a  "}));
}

TEST_F(mariadb_test, duplicates_are_counted_in_every_mixture) {
  auto target = prepared();
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1}})), (frame_outcome{1, 0, 0}));
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1, .battery = 9}})), (frame_outcome{0, 1, 0}));
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1, .battery = 9}, {.time = 2}, {.time = 2, .battery = 7}})),
            (frame_outcome{1, 2, 0}));
  EXPECT_EQ(other().ask("SELECT group_concat(battery ORDER BY time) FROM readings"), "50,50");
}

TEST_F(mariadb_test, updates_count_rows_that_are_new_or_really_replaced) {
  auto target = prepared(updated("battery"));
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1}})), (frame_outcome{1, 0, 0}));
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1, .battery = 51}})), (frame_outcome{1, 0, 0}));
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1, .battery = 51, .temperature = 0.0}})), (frame_outcome{0, 1, 0}));
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1, .battery = 40},
                                          {.time = 1, .battery = 60, .temperature = 1.5},
                                          {.time = 2, .battery = 3},
                                          {.time = 2, .battery = 4, .note = "newest"},
                                          {.time = 2, .battery = 4, .note = "no newer"}})),
            (frame_outcome{3, 2, 0}));
  EXPECT_EQ(other().ask("SELECT group_concat(concat_ws('/', battery, temperature, note) ORDER BY time) FROM readings"),
            "60/1.5,4/20.5/newest");
}

TEST_F(mariadb_test, without_an_order_the_last_to_arrive_wins_and_the_same_values_are_a_duplicate) {
  auto target = prepared(updated(""));
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1, .battery = 9}, {.time = 1, .battery = 8}})),
            (frame_outcome{2, 0, 0}));
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1, .battery = 8}, {.time = 3}})), (frame_outcome{1, 1, 0}));
  EXPECT_EQ(other().ask("SELECT battery FROM readings WHERE battery < 50"), "8");
}

TEST_F(mariadb_test, a_row_that_another_unique_index_knows_is_refused_not_taken_for_a_duplicate) {
  for (const auto& wanted : {readings(), updated("battery")}) {
    other().run("DROP TABLE IF EXISTS readings");
    prepared(wanted);
    other().run("ALTER TABLE readings ADD UNIQUE only_once (battery)");
    auto target = prepared(wanted);
    EXPECT_EQ(write_one(*target, *frame_of({{.time = 1, .battery = 1}, {.time = 2, .battery = 2}})),
              (frame_outcome{2, 0, 0}));
    EXPECT_EQ(write_one(*target, *frame_of({{.time = 3, .battery = 1}, {.time = 4, .battery = 4}})),
              (frame_outcome{1, 0, 1}));
    EXPECT_THAT(letters(*target).at(0).reason, HasSubstr("unique index"));
    EXPECT_EQ(other().ask("SELECT group_concat(battery ORDER BY battery) FROM readings"), "1,2,4");
  }
}

TEST_F(mariadb_test, what_is_larger_than_max_allowed_packet_is_split_and_a_single_row_refused) {
  auto target = prepared();
  const auto packet = std::stoul(other().ask("SELECT @@max_allowed_packet"));
  std::vector<reading> rows = series(0, 40);
  for (auto& row : rows)
    row.note = std::string(packet / 16, 'x');
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{40, 0, 0}));
  // A bad row in the second packet, and one that no packet takes.
  rows = series(100, 40);
  for (auto& row : rows)
    row.note = std::string(packet / 16, 'x');
  rows[30].temperature = std::nan("");
  rows[25].note = "\xff";
  rows[20].note = std::string(packet, 'x');
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{37, 0, 3}));
  std::vector<errc> codes;
  for (const auto& letter : letters(*target))
    codes.push_back(letter.code);
  EXPECT_THAT(codes, testing::UnorderedElementsAre(errc::payload_too_large, errc::field_range, errc::row_refused));
  EXPECT_EQ(*target->row_count(readings()), 77u);
  EXPECT_TRUE(target->ping());
}

TEST_F(mariadb_test, a_letter_as_large_as_a_packet_leaves_the_connection_as_it_is) {
  auto target = prepared();
  const auto packet = std::stoul(other().ask("SELECT @@max_allowed_packet"));
  record::frame_builder builder{types_of(readings())};
  builder.add_letter("t", std::string(packet, 'x'), error{errc::payload_malformed, "no JSON"}, wall_time{});
  const auto frame = view(builder.seal("telemetry", 0, 1, 1), readings());
  auto failed = write(*target, {frame.get()});
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("max_allowed_packet"));
  EXPECT_TRUE(target->ping());
}

TEST_F(mariadb_test, rows_of_tables_without_transactions_are_not_taken) {
  other().run("CREATE TABLE readings (time DATETIME(6) NOT NULL, device VARCHAR(20) NOT NULL, battery BIGINT NOT NULL,"
              " temperature DOUBLE, note LONGTEXT, PRIMARY KEY (time, device)) ENGINE=MyISAM CHARACTER SET utf8mb4"
              " COLLATE utf8mb4_nopad_bin");
  auto ready = opened()->prepare(readings());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code, errc::schema_mismatch);
  EXPECT_THAT(ready.error().message, HasSubstr("ENGINE=InnoDB"));
}

TEST_F(mariadb_test, a_key_that_pads_is_named_with_the_statement_that_mends_it) {
  prepared();
  other().run("ALTER TABLE readings CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
  auto ready = opened()->prepare(readings());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code, errc::schema_mismatch);
  const std::string mended = "ALTER TABLE `readings` CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin";
  EXPECT_THAT(ready.error().message, HasSubstr(mended));
  other().run(mended);
  prepared();
}

TEST_F(mariadb_test, types_that_would_change_a_value_are_named) {
  other().run("CREATE TABLE readings (time DATETIME(3) NOT NULL, device CHAR(20) COLLATE utf8mb4_nopad_bin NOT NULL,"
              " battery DECIMAL(20, 2) NOT NULL, temperature FLOAT, note ENUM('a', 'b'), PRIMARY KEY (time, device))"
              " CHARACTER SET utf8mb4");
  auto ready = opened()->prepare(readings());
  ASSERT_FALSE(ready);
  for (const auto* name :
       {"`time` is declared datetime(3)", "`device` is declared char(20)", "`battery` is declared decimal(20,2)",
        "`temperature` is declared float", "`note` is declared enum('a','b')"})
    EXPECT_THAT(ready.error().message, HasSubstr(name));
}

TEST_F(mariadb_test, smaller_types_that_refuse_what_they_cannot_hold_are_fine) {
  other().run("CREATE TABLE readings (time TIMESTAMP(6) NOT NULL DEFAULT '2000-01-01 00:00:00', device VARBINARY(5)"
              " NOT NULL, battery TINYINT UNSIGNED NOT NULL, temperature DOUBLE, note VARCHAR(3) CHARACTER SET latin1,"
              " PRIMARY KEY (time, device))");
  auto target = prepared();
  const std::int64_t day = 86'400'000'000;
  EXPECT_EQ(write_one(*target, *frame_of({{.time = day, .device = "ok", .battery = 255, .note = "\xc3\xa4"},
                                          {.time = -day, .device = "old"},
                                          {.time = day * 365 * 100, .device = "late"},
                                          {.time = day, .device = "longer"},
                                          {.time = day, .device = "a", .battery = 256},
                                          {.time = day, .device = "b", .battery = -1},
                                          {.time = day, .device = "c", .note = "four"},
                                          {.time = day, .device = "d", .note = "\xe6\xb0\xb4"},
                                          {.time = day, .device = "e", .note = "abc "}})),
            (frame_outcome{1, 0, 8}));
}

TEST_F(mariadb_test, a_key_of_many_texts_fits_an_index) {
  table wanted{.pipeline = "telemetry", .name = "every_type", .columns = {}, .key = {}, .indexes = {{}}};
  for (const auto* name : {"a", "b", "c", "d", "e", "f"})
    wanted.columns.push_back({name, column_type::text, false});
  for (const auto* name : {"g", "h", "i"})
    wanted.columns.push_back({name, column_type::timestamp, false});
  for (const auto& column : wanted.columns) {
    wanted.key.push_back(column.name);
    wanted.indexes[0].push_back({column.name, true});
  }
  prepared(wanted);
  EXPECT_EQ(other().ask("SELECT column_type FROM information_schema.columns WHERE table_schema = database() AND"
                        " table_name = 'every_type' AND column_name = 'a'"),
            "varchar(126)");
}

TEST_F(mariadb_test, tables_of_another_database_are_found) {
  auto wanted = readings();
  wanted.name = settings().address.database + ".readings";
  EXPECT_EQ(write_one(*prepared(wanted), *frame_of(series(0, 3))), (frame_outcome{3, 0, 0}));
  EXPECT_EQ(write_one(*prepared(), *frame_of(series(0, 4))), (frame_outcome{1, 3, 0}));
}

TEST_F(mariadb_test, a_server_that_knows_no_arrays_stores_the_same) {
  auto connected = mariadb::connect(settings(), access::read_write);
  ASSERT_TRUE(connected) << connected.error().to_string();
  connected->binds_arrays = false;
  other().run("CREATE TABLE every_type (i BIGINT NOT NULL PRIMARY KEY, r DOUBLE, b BOOLEAN, d DATETIME(6), t LONGTEXT,"
              " x LONGBLOB) CHARACTER SET utf8mb4");
  using kind = mariadb::parameter::kind;
  auto insert = mariadb::bulk_insert::make(
    *connected, {.table = "every_type",
                 .head = "INSERT INTO every_type (i, r, b, d, t, x)",
                 .values = "?,?,?,?,?,?",
                 .tail = "ON DUPLICATE KEY UPDATE i = every_type.i",
                 .parameters = {kind::integer, kind::real, kind::boolean, kind::timestamp, kind::text, kind::bytes}});
  ASSERT_TRUE(insert);
  auto& rows = **insert;
  rows.at(0).add_integer(std::numeric_limits<std::int64_t>::min());
  rows.at(1).add_real(5e-324);
  rows.at(2).add_boolean(true);
  rows.at(3).add_timestamp(1'767'225'600'123'456);
  rows.at(4).add_string(std::string_view{"\0'\\\"\xf0\x9f\x9a\xb0?", 9});
  rows.at(5).add_string(std::string_view{"\0'\\\xff", 4});
  rows.at(0).add_integer(2);
  for (std::size_t index = 1; index < 6; ++index)
    rows.at(index).add_null();
  for (std::size_t index = 0; index < 6; ++index) // of the first row again
    index == 0 ? rows.at(0).add_integer(2) : rows.at(index).add_null();
  const auto done = rows.run(3);
  ASSERT_FALSE(done.refused) << done.refused->why.to_string();
  EXPECT_EQ(done.stored, 2u);
  EXPECT_EQ(other().ask("SELECT concat_ws('|', i, r, b, d, hex(t), hex(x)) FROM every_type WHERE i < 0"),
            "-9223372036854775808|5e-324|1|2026-01-01 00:00:00.123456|00275C22F09F9AB03F|00275CFF");
  EXPECT_EQ(other().ask("SELECT count(*) FROM every_type WHERE coalesce(r, b, d, t, x) IS NULL"), "1");
}

TEST_F(mariadb_test, what_is_wrong_with_a_log_in_is_said_without_the_password) {
  const auto failure = [&](const auto& change) {
    auto at = settings();
    change(at.address);
    auto made = open(at);
    EXPECT_FALSE(made);
    return made ? error{} : made.error();
  };
  const auto wrong = failure([](auto& address) { address.password.value = "wrong-secret"; });
  EXPECT_EQ(wrong.code, errc::not_authorised) << wrong.message;
  EXPECT_THAT(wrong.message, Not(HasSubstr("wrong-secret")));
  EXPECT_EQ(failure([](auto& address) { address.database = "mysql"; }).code, errc::not_authorised);
  EXPECT_EQ(failure([](auto& address) { address.port = 1; }).code, errc::connection_refused);
  EXPECT_EQ(failure([](auto& address) { address.host = "nowhere.invalid"; }).code, errc::connection_refused);
  EXPECT_EQ(failure([](auto& address) { address.host = "/nowhere.sock"; }).code, errc::connection_refused);
}

TEST_F(mariadb_test, a_missing_database_is_a_schema_mismatch) {
  const char* const admin = std::getenv("PENSTOCK_TEST_DATABASE_ADMIN");
  if (admin == nullptr)
    GTEST_SKIP() << "no superuser";
  auto at = database_at(admin);
  at.address.database = "no_such_database";
  auto made = open(at);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::schema_mismatch) << made.error().message;
}

TEST_F(mariadb_test, the_connection_that_an_administrator_ends_is_replaced) {
  auto target = prepared();
  const auto id = other().ask("SELECT id FROM information_schema.processlist WHERE user = substring_index(user(), '@',"
                              " 1) AND id <> connection_id() ORDER BY id DESC LIMIT 1");
  other().run("KILL " + id);
  const auto frame = frame_of(series(0, 3));
  auto failed = write(*target, {frame.get()});
  ASSERT_FALSE(failed);
  EXPECT_EQ(disposition_of(failed.error().code), disposition::retry) << failed.error().to_string();
  EXPECT_EQ(write_one(*prepared(), *frame), (frame_outcome{3, 0, 0}));
}

TEST_F(mariadb_test, a_statement_that_takes_too_long_is_ended_by_the_server) {
  auto at = settings();
  at.statement_timeout = 1s;
  auto target = opened(at);
  ASSERT_TRUE(target->prepare(readings()));
  other().run("CREATE TRIGGER slow BEFORE INSERT ON readings FOR EACH ROW DO SLEEP(20)");
  const auto frame = frame_of(series(0, 3));
  const auto before = std::chrono::steady_clock::now();
  auto failed = write(*target, {frame.get()});
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
  ASSERT_FALSE(failed);
  EXPECT_EQ(disposition_of(failed.error().code), disposition::retry) << failed.error().to_string();
}

} // namespace
} // namespace penstock::storage::test
