#include "nodes/source_rows.hpp"
#include "nodes/source_table.hpp"
#include "publish_fixture.hpp"

namespace penstock::nodes::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class source_table_test : public publish_test {
protected:
  void make_table() {
    for (const auto& statement : create_source_sql(pipeline(), config::database_kind::sqlite, database()->words()))
      sql(statement);
  }
  result<source_rows> rows() {
    const auto connection = database();
    const auto actual = connection->read_table(pipeline().table);
    EXPECT_TRUE(actual);
    return source_rows::make(pipeline(), config::database_kind::sqlite, connection->words(), *actual);
  }
  std::vector<std::string> columns() {
    std::vector<std::string> names;
    const auto table = *database()->read_table(pipeline().table);
    for (const auto& column : table.columns)
      names.push_back(column.name + " " + column.type);
    return names;
  }
};

std::vector<std::string> names_of(const std::string& condition,
                                  config::database_kind kind = config::database_kind::sqlite) {
  std::vector<std::string> names;
  for (const auto& column : columns_of_condition(condition, kind))
    names.push_back(column.name + ":" + std::string{name_of(column.type)});
  return names;
}

TEST_F(source_table_test, a_condition_names_columns) {
  EXPECT_THAT(names_of(""), IsEmpty());
  EXPECT_THAT(names_of("Quality >= 0"), ElementsAre("Quality:integer"));
  EXPECT_THAT(names_of("t.Level > 1.5 AND NOT (State IN ('on', 'it''s'))"), ElementsAre("Level:real", "State:text"));
  EXPECT_THAT(names_of("length(Name) > 3 or \"Other one\" is null"), ElementsAre("Name:text", "Other one:text"));
  EXPECT_THAT(names_of("Quality >= 0 and \"Kind\" = 'x'", config::database_kind::postgresql),
              ElementsAre("quality:integer", "Kind:text"));
}

TEST_F(source_table_test, it_has_what_the_pipeline_names_and_what_a_plant_has) {
  configure(1883, "    on_update: publish\n    version: Version\n    where: \"Quality >= 0 AND State <> 'off'\"\n");
  make_table();
  EXPECT_THAT(columns(), ElementsAre("RecordId INTEGER", "CreatedAt INTEGER", "MonitorId TEXT", "Version INTEGER",
                                     "Value REAL", "Quality INTEGER", "Timestamp INTEGER", "State TEXT"));
}

TEST_F(source_table_test, its_rows_are_inserted_updated_and_found) {
  configure(1883, "    on_update: publish\n    version: Version\n");
  make_table();
  const auto made = rows();
  ASSERT_TRUE(made) << made.error().message;
  const std::vector<source_row> inserted{{.id = 7, .version = 1, .monitor = 0, .time_us = 1'000},
                                         {.id = 9, .version = 2, .monitor = 11, .time_us = 1'001}};
  sql(made->insert_sql(inserted));
  auto changed = inserted[0];
  changed.version = 3;
  sql(made->update_sql(changed));
  EXPECT_THAT(rows_of("SELECT RecordId, CreatedAt, MonitorId, Version FROM TableA ORDER BY RecordId"),
              ElementsAre(ElementsAre("7", "1000", "m00001", "3"), ElementsAre("9", "1001", "m00012", "2")));
  EXPECT_THAT(rows_of(made->count_sql(inserted[1], false)), ElementsAre(ElementsAre("1")));
  EXPECT_THAT(rows_of(made->count_sql(changed, true)), ElementsAre(ElementsAre("1")));
  EXPECT_THAT(rows_of(made->count_sql(inserted[0], true)), ElementsAre(ElementsAre("0")));
  EXPECT_THAT(rows_of(made->highest_sql()), ElementsAre(ElementsAre("9", "3")));
  EXPECT_THAT(made->key_of(changed), ElementsAre("7"));
  EXPECT_EQ(made->order_of(changed), 1'000);
  EXPECT_EQ(made->monitor_of(inserted[1]), "m00012");
}

TEST_F(source_table_test, a_table_that_is_there_is_filled_by_its_types) {
  sql("CREATE TABLE TableA(RecordId TEXT PRIMARY KEY, CreatedAt DATETIME NOT NULL, MonitorId INTEGER, Value DOUBLE,"
      " Flag BOOLEAN NOT NULL, Body BLOB NOT NULL, Made TEXT DEFAULT 'by default',"
      " Twice REAL GENERATED ALWAYS AS (2 * Value))");
  const auto made = rows();
  ASSERT_TRUE(made) << made.error().message;
  const source_row row{.id = 7, .version = 1, .monitor = 4, .time_us = 1'700'000'000'000'001};
  sql(made->insert_sql({&row, 1}));
  EXPECT_THAT(rows_of("SELECT RecordId, CreatedAt, MonitorId, typeof(Value), Made, Twice = 2 * Value FROM TableA"),
              ElementsAre(ElementsAre("r000000000007", "2023-11-14T22:13:20.000001Z", "5", "real", "by default", "1")));
  EXPECT_EQ(made->id_of(rows_of(made->highest_sql()).at(0).at(0)), 7);
  EXPECT_THAT(made->key_of(row), ElementsAre("r000000000007"));
}

TEST_F(source_table_test, a_column_that_is_missing_or_cannot_be_raised_is_named) {
  sql("CREATE TABLE TableA(RecordId INTEGER PRIMARY KEY, Value REAL)");
  auto made = rows();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::configuration);
  EXPECT_THAT(made.error().message, HasSubstr("it has no column CreatedAt, MonitorId"));
  configure(1883, "    on_update: publish\n    version: Value\n");
  made = rows();
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("must be an integer"));
}

TEST_F(source_table_test, each_database_gets_its_own_words) {
  auto words = database()->words();
  words.folds_names = false;
  const auto statements = create_source_sql(
    [&] {
      auto from = pipeline();
      from.table = "dbo.TableA";
      return from;
    }(),
    config::database_kind::postgresql, words);
  EXPECT_EQ(statements.at(0), "CREATE SCHEMA IF NOT EXISTS \"dbo\"");
  EXPECT_THAT(statements.at(1), HasSubstr("CREATE TABLE \"dbo\".\"TableA\""));
  EXPECT_THAT(statements.at(2), HasSubstr("(\"CreatedAt\")"));
}

} // namespace
} // namespace penstock::nodes::test
