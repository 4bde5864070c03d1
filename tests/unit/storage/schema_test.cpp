#include "fixture.hpp"

namespace penstock::storage::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class schema_test : public storage_test {
public:
  /// What prepare() says about a table that was made by `sql`.
  error difference(const std::string& sql, const table& table = readings()) {
    other().run(sql);
    auto ready = opened()->prepare(table);
    EXPECT_FALSE(ready);
    return ready ? error{} : ready.error();
  }
  /// True when prepare() takes a table that was made by `sql`.
  bool fits(const std::string& sql) {
    other().run(sql);
    auto target = opened();
    auto ready = target->prepare(readings());
    if (!ready) {
      ADD_FAILURE() << ready.error().to_string();
      return false;
    }
    const auto frame = frame_of(series(0, 3));
    return write_one(*target, *frame) == frame_outcome{3, 0, 0} && write_one(*target, *frame) == frame_outcome{0, 3, 0};
  }
};

TEST_F(schema_test, a_missing_table_is_created_with_its_key_and_indexes) {
  auto wanted = readings();
  wanted.indexes = {{{"device", false}, {"time", true}}};
  auto target = prepared(wanted);
  EXPECT_EQ(other().ask("SELECT group_concat(name || ' ' || type || ' ' || \"notnull\" || ' ' || pk, ', ')"
                        " FROM pragma_table_info('readings')"),
            "time BIGINT 1 1, device TEXT 1 2, battery BIGINT 1 0, temperature REAL 0 0");
  EXPECT_EQ(other().ask("SELECT wr FROM pragma_table_list('readings')"), "1");
  EXPECT_EQ(
    other().ask("SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'readings' AND sql IS NOT NULL"),
    "CREATE INDEX \"readings_by_device_time_desc\" ON \"readings\" (\"device\", \"time\" DESC)");
}

TEST_F(schema_test, preparing_again_changes_nothing) {
  auto wanted = readings();
  wanted.indexes = {{{"device", false}, {"time", true}}};
  prepared(wanted);
  const auto before = other().ask("PRAGMA schema_version");
  prepared(wanted);
  EXPECT_EQ(other().ask("PRAGMA schema_version"), before);
}

TEST_F(schema_test, an_index_that_is_missing_on_a_table_that_is_there_is_added_whatever_its_name) {
  other().run(
    "CREATE TABLE readings(time BIGINT, device TEXT, battery BIGINT, temperature REAL, PRIMARY KEY(time, device));"
    "CREATE INDEX mine ON readings(Battery DESC)");
  auto wanted = readings();
  wanted.indexes = {{{"battery", true}}, {{"battery", false}}};
  prepared(wanted);
  EXPECT_EQ(
    other().ask("SELECT group_concat(name) FROM (SELECT name FROM pragma_index_list('readings') WHERE origin = 'c'"
                " ORDER BY name)"),
    "mine,readings_by_battery");
}

TEST_F(schema_test, every_difference_is_named_at_once_with_its_remedy) {
  const auto failure =
    difference("CREATE TABLE readings(id INTEGER PRIMARY KEY, time TEXT, device NUMERIC, temperature REAL NOT NULL,"
               " site TEXT NOT NULL, note TEXT, counted BIGINT NOT NULL DEFAULT 0, UNIQUE(time))");
  EXPECT_EQ(failure.code, errc::schema_mismatch);
  EXPECT_THAT(
    failure.message,
    AllOf(HasSubstr("pipeline 'telemetry'"), HasSubstr("column \"time\" is declared TEXT"),
          HasSubstr("cannot hold timestamp"), HasSubstr("column \"device\" is declared NUMERIC"),
          HasSubstr("column \"battery\" is missing: run ALTER TABLE \"readings\" ADD COLUMN \"battery\" BIGINT"),
          HasSubstr("column \"temperature\" is NOT NULL in the table and optional"),
          HasSubstr("column \"site\" is NOT NULL without a default"),
          HasSubstr("no primary key or unique index is exactly on the key (\"time\", \"device\")"),
          HasSubstr("(unique are: \"time\"; \"id\")"), HasSubstr("run CREATE UNIQUE INDEX \"readings_key\""),
          Not(HasSubstr("note")), Not(HasSubstr("counted")), Not(HasSubstr("column \"id\"")), Not(HasSubstr("\n"))));
}

TEST_F(schema_test, the_remedies_it_names_are_enough) {
  auto locker = other();
  locker.run("CREATE TABLE readings(time BIGINT, device TEXT, temperature REAL)");
  auto target = opened();
  EXPECT_EQ(target->prepare(readings()).error().code, errc::schema_mismatch);
  locker.run("ALTER TABLE \"readings\" ADD COLUMN \"battery\" BIGINT");
  locker.run(
    "CREATE UNIQUE INDEX \"readings_key\" ON \"readings\" (\"time\" COLLATE BINARY, \"device\" COLLATE BINARY)");
  EXPECT_TRUE(target->prepare(readings()));
}

TEST_F(schema_test, a_key_that_takes_different_texts_for_the_same_is_refused) {
  const auto failure = difference("CREATE TABLE readings(time BIGINT, device TEXT COLLATE NOCASE, battery BIGINT,"
                                  " temperature REAL, PRIMARY KEY(time, device))");
  EXPECT_EQ(failure.code, errc::schema_mismatch);
  EXPECT_THAT(failure.message, HasSubstr("COLLATE"));
}

TEST_F(schema_test, clauses_that_would_drop_rows_in_silence_are_refused) {
  EXPECT_THAT(difference("CREATE TABLE readings(time BIGINT, device TEXT, battery BIGINT NOT NULL on  conflict IGNORE,"
                         " temperature REAL, PRIMARY KEY(time, device))")
                .message,
              HasSubstr("ON CONFLICT"));
  other().run("DROP TABLE readings");
  EXPECT_THAT(
    difference("CREATE TABLE readings(time BIGINT, device TEXT REFERENCES other(id) DEFERRABLE INITIALLY DEFERRED,"
               " battery BIGINT, temperature REAL, PRIMARY KEY(time, device))")
      .message,
    HasSubstr("INITIALLY DEFERRED"));
  other().run("DROP TABLE readings");
  EXPECT_THAT(difference("CREATE TABLE readings(time BIGINT, device TEXT, battery BIGINT, temperature REAL,"
                         " PRIMARY KEY(time, device)); CREATE TRIGGER filter BEFORE INSERT ON readings BEGIN"
                         " SELECT raise(ignore) WHERE new.battery < 0; END")
                .message,
              HasSubstr("trigger \"filter\""));
}

TEST_F(schema_test, tables_of_other_shapes_fit) {
  for (const auto* sql :
       {"CREATE TABLE readings(id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, TIME INTEGER, device VARCHAR(40), "
        "battery INT,"
        " temperature DOUBLE PRECISION, note TEXT, UNIQUE(device, time))",
        "CREATE TABLE readings(time, device, battery, temperature, PRIMARY KEY(time DESC, device))",
        "CREATE TABLE readings(time TIMESTAMP, device TEXT COLLATE NOCASE, battery DECIMAL, temperature FLOAT,"
        " seen TEXT NOT NULL DEFAULT 'x'); CREATE UNIQUE INDEX k ON readings(device COLLATE BINARY, time)",
        "CREATE TABLE readings(time INT NOT NULL, device TEXT NOT NULL, battery ANY, temperature REAL,"
        " PRIMARY KEY(time, device)) STRICT, WITHOUT ROWID"}) {
    EXPECT_TRUE(fits(sql)) << sql;
    other().run("DROP TABLE readings");
  }
}

TEST_F(schema_test, an_integer_primary_key_can_be_the_key) {
  other().run("CREATE TABLE counted(id INTEGER PRIMARY KEY, value TEXT)");
  const table counted{.pipeline = "p",
                      .name = "counted",
                      .columns = {{"id", column_type::integer, false}, {"value", column_type::text, true}},
                      .key = {"id"},
                      .indexes = {}};
  EXPECT_TRUE(opened()->prepare(counted));
}

TEST_F(schema_test, a_partial_unique_index_is_no_key) {
  EXPECT_EQ(difference("CREATE TABLE readings(time BIGINT, device TEXT, battery BIGINT, temperature REAL);"
                       "CREATE UNIQUE INDEX k ON readings(time, device) WHERE battery > 0")
              .code,
            errc::schema_mismatch);
}

TEST_F(schema_test, types_of_strict_tables_are_taken_at_their_word) {
  EXPECT_THAT(difference("CREATE TABLE readings(time INT, device TEXT, battery INT, temperature INT,"
                         " PRIMARY KEY(time, device)) STRICT")
                .message,
              HasSubstr("column \"temperature\" is declared INT, which cannot hold real"));
}

TEST_F(schema_test, a_view_is_refused) {
  EXPECT_THAT(
    difference("CREATE VIEW readings AS SELECT 1 AS time, 2 AS device, 3 AS battery, 4 AS temperature").message,
    HasSubstr("it is a view"));
}

TEST_F(schema_test, a_name_with_a_schema_and_an_optional_key_are_configuration_errors) {
  auto qualified = readings();
  qualified.name = "main.readings";
  EXPECT_EQ(opened()->prepare(qualified).error().code, errc::configuration);
  auto optional = readings();
  optional.columns[0].optional = true;
  EXPECT_EQ(opened()->prepare(optional).error().code, errc::configuration);
}

TEST_F(schema_test, a_refused_table_leaves_nothing_behind) {
  difference("CREATE TABLE readings(time BIGINT)");
  EXPECT_EQ(other().ask("SELECT count(*) FROM sqlite_master WHERE name LIKE 'penstock%'"), "0");
}

TEST_F(schema_test, read_only_it_checks_and_creates_nothing) {
  prepared();
  auto reader = opened(access::read_only);
  EXPECT_TRUE(reader->prepare(readings()));
  auto missing = readings();
  missing.name = "not_there";
  EXPECT_TRUE(reader->prepare(missing));
  EXPECT_EQ(other().ask("SELECT count(*) FROM sqlite_master WHERE name = 'not_there'"), "0");
  auto wrong = readings();
  wrong.key = {"time"};
  EXPECT_EQ(reader->prepare(wrong).error().code, errc::schema_mismatch);
}

TEST_F(schema_test, tables_of_a_newer_penstock_are_left_alone) {
  prepared();
  other().run("UPDATE penstock_meta SET value = '2' WHERE name = 'schema_version'");
  EXPECT_EQ(opened()->prepare(readings()).error().code, errc::unsupported);
}

} // namespace
} // namespace penstock::storage::test
