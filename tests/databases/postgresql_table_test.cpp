// PostgreSQL: tables that are there already, of every make.
#include "fixture.hpp"
#include "storage/postgresql_handle.hpp"

namespace penstock::storage::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class postgresql_table_test : public database_test {
public:
  void SetUp() override {
    if (kind() != database_kind::postgresql)
      GTEST_SKIP() << "for PostgreSQL";
  }
  void TearDown() override {
    if (kind() != database_kind::postgresql)
      return;
    other().run("DROP TABLE IF EXISTS readings; DROP SCHEMA IF EXISTS plant CASCADE; DROP DOMAIN IF EXISTS percent; "
                "DROP TYPE IF EXISTS site;"
                "DROP COLLATION IF EXISTS loose");
  }

  /// What prepare() says of a table made by `sql`.
  error difference(const std::string& sql, const table& wanted = readings()) {
    other().run("DROP TABLE IF EXISTS readings");
    other().run(sql);
    auto ready = opened()->prepare(wanted);
    EXPECT_FALSE(ready);
    return ready ? error{} : ready.error();
  }
};

constexpr auto plain_rest =
  "device TEXT, battery BIGINT, temperature DOUBLE PRECISION, note TEXT, PRIMARY KEY (time, device)";

std::string table_with(const std::string& columns) {
  return "CREATE TABLE readings(time TIMESTAMPTZ, device TEXT, " + columns + ", PRIMARY KEY (time, device))";
}

TEST_F(postgresql_table_test, is_made_with_the_types_of_the_documentation) {
  const table wanted{.pipeline = "telemetry",
                     .name = "every_type",
                     .columns = {{"a", column_type::text, false},
                                 {"b", column_type::integer, true},
                                 {"c", column_type::real, true},
                                 {"d", column_type::boolean, true},
                                 {"e", column_type::timestamp, true},
                                 {"f", column_type::bytes, true},
                                 {"g", column_type::json, true}},
                     .key = {"a"},
                     .indexes = {}};
  prepared(wanted);
  EXPECT_EQ(other().ask("SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute"
                        " WHERE attrelid = 'every_type'::regclass AND attnum > 0"),
            "text, bigint, double precision, boolean, timestamp with time zone, bytea, jsonb");
}

TEST_F(postgresql_table_test, narrower_types_refuse_what_they_cannot_hold_row_by_row) {
  other().run("CREATE TYPE site AS ENUM ('north', 'south'); CREATE DOMAIN percent AS smallint CHECK (VALUE <= 100);"
              "CREATE TABLE readings(time TIMESTAMPTZ(6), device VARCHAR(8), battery percent, temperature FLOAT8,"
              " note site, PRIMARY KEY (device, time))");
  auto target = prepared();
  const auto outcome = write_one(*target, *frame_of({{.time = 1, .note = "north"},
                                                     {.time = 2, .device = "much too long", .note = "north"},
                                                     {.time = 3, .battery = 70'000},
                                                     {.time = 4, .battery = 101},
                                                     {.time = 5, .note = "east"},
                                                     {.time = 6,
                                                      .device = "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
                                                                "12345"}}));
  EXPECT_EQ(outcome, (frame_outcome{2, 0, 4}));
  std::map<std::string, error> refused;
  for (const auto& letter : letters(*target))
    refused[letter.payload] = {letter.code, letter.reason};
  EXPECT_EQ(refused["payload at 2"].code, errc::field_range);
  EXPECT_THAT(refused["payload at 2"].message, HasSubstr("device"));
  EXPECT_EQ(refused["payload at 3"].code, errc::field_range);
  EXPECT_THAT(refused["payload at 3"].message, HasSubstr("battery"));
  EXPECT_EQ(refused["payload at 4"].code, errc::row_refused);
  EXPECT_THAT(refused["payload at 4"].message, AllOf(HasSubstr("percent_check"), HasSubstr("23514")));
  EXPECT_EQ(refused["payload at 5"].code, errc::row_refused);
  EXPECT_THAT(refused["payload at 5"].message, HasSubstr("22P02"));
}

TEST_F(postgresql_table_test, numeric_and_json_and_varchar_hold_their_values) {
  auto wanted = readings();
  wanted.columns[4].type = column_type::json;
  other().run(table_with("battery NUMERIC(25, 3), temperature FLOAT8, note JSON"));
  auto target = prepared(wanted);
  record::frame_builder builder{types_of(wanted)};
  builder.set_integer(0, 1);
  builder.set_string(1, "a");
  builder.set_integer(2, std::numeric_limits<std::int64_t>::min());
  builder.set_null(3);
  builder.set_string(4, "{\"b\" : 1,  \"a\":2}");
  builder.commit_row("t", "p", wall_time{});
  EXPECT_EQ(write_one(*target, *view(builder.seal("telemetry", 0, 1, 1), wanted)), (frame_outcome{1, 0, 0}));
  EXPECT_EQ(other().ask("SELECT battery || ' ' || note FROM readings"),
            "-9223372036854775808.000 {\"b\" : 1,  \"a\":2}");
}

TEST_F(postgresql_table_test, types_that_would_change_a_value_do_not_hold_it) {
  const std::vector<std::pair<const char*, const char*>> changing{
    {"device", "CHAR(20)"},     {"device", "UUID"},      {"device", "NAME"},         {"battery", "NUMERIC(5, -2)"},
    {"battery", "FLOAT8"},      {"temperature", "REAL"}, {"temperature", "NUMERIC"}, {"time", "TIMESTAMP"},
    {"time", "TIMESTAMPTZ(3)"}, {"time", "DATE"},        {"note", "JSONB"},          {"note", "TEXT[]"}};
  for (const auto& [column, type] : changing) {
    std::string sql =
      "CREATE TABLE readings(time TIMESTAMPTZ, device TEXT, battery BIGINT, temperature FLOAT8, note TEXT,"
      " PRIMARY KEY (time, device))";
    const auto at = sql.find(std::string{column} + " ") + std::string_view{column}.size() + 1;
    sql.replace(at, sql.find(',', at) - at, type);
    const auto failure = difference(sql);
    EXPECT_EQ(failure.code, errc::schema_mismatch);
    EXPECT_THAT(failure.message, AllOf(HasSubstr(column), HasSubstr("cannot hold"))) << type;
  }
}

TEST_F(postgresql_table_test, what_would_lose_rows_in_silence_is_named) {
  const std::string rest = plain_rest;
  const auto says = [&](const std::string& sql, const char* text) {
    const auto failure = difference(sql);
    EXPECT_EQ(failure.code, errc::schema_mismatch);
    EXPECT_THAT(failure.message, HasSubstr(text)) << sql;
  };
  says("CREATE UNLOGGED TABLE readings(time TIMESTAMPTZ, " + rest + ")", "UNLOGGED");
  says("CREATE TABLE readings(time TIMESTAMPTZ, " + rest +
         ");"
         "CREATE RULE quiet AS ON INSERT TO readings DO INSTEAD NOTHING",
       "RULE");
  says("CREATE TABLE readings(time TIMESTAMPTZ, " + rest + ", UNIQUE (battery) DEFERRABLE INITIALLY DEFERRED)",
       "INITIALLY DEFERRED");
  says("CREATE TABLE readings(time TIMESTAMPTZ, device TEXT, battery BIGINT, temperature FLOAT8, note TEXT,"
       " PRIMARY KEY (time, device) DEFERRABLE)",
       "no primary key or unique index");
  says("CREATE TABLE readings(time TIMESTAMPTZ, device TEXT, battery BIGINT, temperature FLOAT8, note TEXT);"
       "CREATE UNIQUE INDEX ON readings (time, device) WHERE battery > 0",
       "no primary key or unique index");
  says("CREATE TABLE readings(time TIMESTAMPTZ, device TEXT, battery BIGINT, temperature FLOAT8, note TEXT);"
       "CREATE UNIQUE INDEX ON readings (time, lower(device))",
       "no primary key or unique index");
  says("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
       "CREATE TABLE readings(time TIMESTAMPTZ, device TEXT COLLATE loose, battery BIGINT, temperature FLOAT8,"
       " note TEXT, PRIMARY KEY (time, device))",
       "COLLATE");
  says("CREATE TABLE readings(time TIMESTAMPTZ, device TEXT, battery BIGINT GENERATED ALWAYS AS IDENTITY,"
       " temperature FLOAT8, note TEXT, PRIMARY KEY (time, device))",
       "generated");
  says("CREATE TABLE readings(time TIMESTAMPTZ, device TEXT, battery BIGINT, temperature FLOAT8 GENERATED ALWAYS AS"
       " (battery * 2) STORED, note TEXT, PRIMARY KEY (time, device))",
       "generated");
}

TEST_F(postgresql_table_test, columns_that_fill_themselves_may_be_left_out) {
  other().run("CREATE TABLE readings(id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, added TIMESTAMPTZ NOT NULL"
              " DEFAULT now(), time TIMESTAMPTZ, device TEXT, battery BIGINT, temperature FLOAT8, note TEXT,"
              " twice BIGINT GENERATED ALWAYS AS (battery * 2) STORED);"
              "CREATE UNIQUE INDEX ON readings (device, time) INCLUDE (battery)");
  auto target = prepared();
  const auto frame = frame_of(series(0, 10));
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{10, 0, 0}));
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{0, 10, 0}));
}

TEST_F(postgresql_table_test, a_table_of_a_schema_is_made_found_and_indexed_there) {
  other().run("CREATE SCHEMA plant");
  auto wanted = readings();
  wanted.name = "plant.readings";
  wanted.indexes = {{{"device", false}, {"time", true}}};
  wanted.on_conflict = config::conflict_rule::update;
  wanted.order = "battery";
  for (const std::uint32_t fresh : {5u, 0u}) {
    auto target = prepared(wanted);
    EXPECT_EQ(write_one(*target, *frame_of(series(0, 5))), (frame_outcome{fresh, 5 - fresh, 0}));
    EXPECT_TRUE(*target->contains(wanted, {"3", "device-1"}));
    EXPECT_EQ(*target->row_count(wanted), 5u);
  }
  EXPECT_EQ(other().ask("SELECT count(*) FROM pg_indexes WHERE schemaname = 'plant'"), "2");
  EXPECT_EQ(*opened()->delete_older(wanted, "time", wall_time{std::chrono::microseconds{2}}, 10), 2u);
}

TEST_F(postgresql_table_test, a_name_without_a_schema_goes_by_the_search_path) {
  auto wanted = readings();
  wanted.name = "every_type";
  other().run("CREATE SCHEMA plant; CREATE TABLE plant.every_type(a BIGINT)");
  prepared(wanted);
  EXPECT_EQ(other().ask("SELECT to_regclass('public.every_type') IS NOT NULL"), "t");
}

TEST_F(postgresql_table_test, of_a_table_in_partitions_only_old_rows_are_deleted) {
  other().run(
    "CREATE TABLE readings(time TIMESTAMPTZ, device TEXT, battery BIGINT, temperature FLOAT8, note TEXT,"
    " PRIMARY KEY (time, device)) PARTITION BY RANGE (time);"
    "CREATE TABLE readings_old PARTITION OF readings FOR VALUES FROM (MINVALUE) TO ('1970-01-01 00:00:00.00005Z');"
    "CREATE TABLE readings_new PARTITION OF readings FOR VALUES FROM ('1970-01-01 00:00:00.00005Z') TO"
    " ('1970-01-01 00:00:00.0001Z')");
  auto target = prepared();
  // The rows of both partitions lie at the same places.
  EXPECT_EQ(write_one(*target, *frame_of(series(0, 100))), (frame_outcome{100, 0, 0}));
  EXPECT_EQ(write_one(*target, *frame_of(series(99, 3))), (frame_outcome{0, 1, 2})) << "no partition takes them";
  EXPECT_EQ(*target->delete_older(readings(), "time", wall_time{std::chrono::microseconds{60}}, 40), 40u);
  EXPECT_EQ(*target->delete_older(readings(), "time", wall_time{std::chrono::microseconds{60}}, 40), 20u);
  EXPECT_EQ(other().ask("SELECT count(*) || ' ' || (extract(microseconds from min(time)))::bigint FROM readings"),
            "40 60");
  other().run("DROP TABLE readings");
}

TEST_F(postgresql_table_test, a_key_too_large_for_the_index_refuses_its_row) {
  auto target = prepared();
  std::string device;
  for (int index = 0; device.size() < 9'000; ++index) // which does not compress to less than a third of a page
    device += std::to_string(index * 7919 % 10'007);
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1}, {.time = 2, .device = device}})), (frame_outcome{1, 0, 1}));
  EXPECT_EQ(letters(*target).at(0).code, errc::row_refused);
}

TEST_F(postgresql_table_test, a_trigger_may_refuse_a_row) {
  prepared();
  other().run("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF new.battery < 0 THEN"
              " RAISE EXCEPTION ''battery below zero''; END IF; RETURN new; END';"
              "CREATE TRIGGER guard BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION refuse()");
  auto target = prepared();
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1}, {.time = 2, .battery = -1}})), (frame_outcome{1, 0, 1}));
  EXPECT_THAT(letters(*target).at(0).reason, HasSubstr("battery below zero"));
  other().run("DROP TABLE readings; DROP FUNCTION refuse");
}

class hypertable_test : public postgresql_table_test {
public:
  static table hyper() {
    auto wanted = readings();
    wanted.hypertable = config::hypertable{.time_column = "time", .chunk = std::chrono::hours{24 * 30}};
    return wanted;
  }
  void TearDown() override {
    postgresql_table_test::TearDown();
    if (kind() != database_kind::postgresql)
      return;
    other().run("BEGIN; SET LOCAL allow_system_table_mods = on;"
                "DELETE FROM pg_extension WHERE extname = 'timescaledb'; COMMIT;"
                "DROP SCHEMA IF EXISTS timescaledb_information CASCADE; DROP SCHEMA IF EXISTS scale CASCADE");
  }

  /// What Penstock uses of TimescaleDB, which Debian does not have: its entry, its function and its view.
  void install_stand_in() {
    other().run(
      "CREATE SCHEMA scale; CREATE SCHEMA timescaledb_information;"
      "CREATE TABLE timescaledb_information.hypertables(hypertable_schema name, hypertable_name name, text text);"
      "CREATE FUNCTION scale.create_hypertable(relation regclass, time_column_name name,"
      " chunk_time_interval anyelement = NULL::bigint, create_default_indexes boolean = true)"
      " RETURNS bigint LANGUAGE sql AS $$"
      " INSERT INTO timescaledb_information.hypertables SELECT relnamespace::regnamespace::name, relname,"
      " concat_ws(' ', time_column_name, chunk_time_interval, create_default_indexes)"
      " FROM pg_class WHERE oid = relation; SELECT 1::bigint $$;"
      "BEGIN; SET LOCAL allow_system_table_mods = on;"
      "INSERT INTO pg_extension SELECT 4000000000, 'timescaledb', 10, 'scale'::regnamespace, false, '2.11.0',"
      " NULL, NULL; COMMIT");
  }
};

TEST_F(hypertable_test, without_timescale_says_what_to_do_and_makes_nothing) {
  auto ready = opened()->prepare(hyper());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code, errc::schema_mismatch);
  EXPECT_THAT(ready.error().message,
              AllOf(HasSubstr("CREATE EXTENSION timescaledb"), HasSubstr("remove `hypertable`")));
  EXPECT_EQ(other().ask("SELECT to_regclass('readings')"), "NULL");
}

TEST_F(hypertable_test, is_made_when_the_table_is_made_and_is_found_again) {
  install_stand_in();
  auto target = prepared(hyper());
  EXPECT_EQ(other().ask("SELECT text FROM timescaledb_information.hypertables WHERE hypertable_name = 'readings'"),
            "time 720:00:00 f");
  EXPECT_EQ(write_one(*target, *frame_of(series(0, 10))), (frame_outcome{10, 0, 0}));
  prepared(hyper());
  EXPECT_TRUE(opened(access::read_only)->prepare(hyper()));
}

TEST_F(hypertable_test, a_plain_table_that_is_there_is_a_difference) {
  prepared();
  for (const bool installed : {false, true}) {
    if (installed)
      install_stand_in();
    auto ready = opened()->prepare(hyper());
    ASSERT_FALSE(ready);
    EXPECT_EQ(ready.error().code, errc::schema_mismatch);
    EXPECT_THAT(ready.error().message, HasSubstr("create_hypertable('\"readings\"', 'time', migrate_data => true)"));
  }
}

} // namespace
} // namespace penstock::storage::test
