#include "fixture.hpp"

#include <thread>

namespace penstock::storage::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class schema_test : public database_test {};

TEST_F(schema_test, a_missing_table_is_made_and_found_again) {
  auto wanted = readings();
  wanted.indexes = {{{"device", false}, {"time", true}}, {{"battery", false}}};
  for (int times = 0; times < 3; ++times) {
    auto target = prepared(wanted);
    EXPECT_EQ(write_one(*target, *frame_of({{.time = times}})), (frame_outcome{1, 0, 0}));
  }
  EXPECT_TRUE(opened(access::read_only)->prepare(wanted));
}

TEST_F(schema_test, every_difference_is_named) {
  other().run(
    "CREATE TABLE readings(time BIGINT NOT NULL, device BIGINT NOT NULL, temperature DOUBLE PRECISION NOT NULL,"
    " site BIGINT NOT NULL, PRIMARY KEY (time))");
  for (const auto how : {access::read_write, access::read_only}) {
    auto ready = opened(how)->prepare(readings());
    ASSERT_FALSE(ready);
    EXPECT_EQ(ready.error().code, errc::schema_mismatch);
    EXPECT_THAT(ready.error().message,
                AllOf(HasSubstr("pipeline 'telemetry'"), HasSubstr("device"), HasSubstr("cannot hold text"),
                      HasSubstr("battery"), HasSubstr("is missing: run ALTER TABLE"), HasSubstr("temperature"),
                      HasSubstr("NOT NULL in the table and optional"), HasSubstr("site"),
                      HasSubstr("NOT NULL without a default"), HasSubstr("no primary key or unique index")));
  }
}

TEST_F(schema_test, more_columns_with_defaults_and_another_unique_index_on_the_key_are_fine) {
  prepared();
  other().run("ALTER TABLE readings ADD COLUMN counted INTEGER NOT NULL DEFAULT 7");
  auto target = prepared();
  EXPECT_EQ(write_one(*target, *frame_of(series(0, 3))), (frame_outcome{3, 0, 0}));
  EXPECT_EQ(other().ask("SELECT sum(counted) FROM readings"), "21");
}

TEST_F(schema_test, a_view_is_no_table) {
  auto target = prepared();
  auto wanted = readings();
  wanted.name = "readings_view";
  other().run("CREATE VIEW readings_view AS SELECT * FROM readings");
  auto ready = opened()->prepare(wanted);
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code, errc::schema_mismatch);
  EXPECT_THAT(ready.error().message, HasSubstr("view"));
  other().run("DROP VIEW readings_view");
}

TEST_F(schema_test, a_column_that_goes_stops_the_pipeline_and_it_works_again_when_it_is_back) {
  auto target = prepared();
  write_one(*target, *frame_of(series(0, 3)));
  other().run("ALTER TABLE readings DROP COLUMN note");
  const auto frame = frame_of(series(3, 3));
  auto failed = write(*target, {frame.get()});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, errc::schema_mismatch) << failed.error().to_string();
  EXPECT_THAT(failed.error().message, HasSubstr("note"));
  auto refused = opened()->prepare(readings());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::schema_mismatch);
  other().run("ALTER TABLE readings ADD COLUMN note TEXT");
  target = prepared();
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{3, 0, 0}));
  EXPECT_EQ(*target->row_count(readings()), 6u);
}

TEST_F(schema_test, a_table_that_goes_is_a_schema_mismatch) {
  auto target = prepared();
  other().run("DROP TABLE readings");
  const auto frame = frame_of(series(0, 3));
  auto failed = write(*target, {frame.get()});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, errc::schema_mismatch) << failed.error().to_string();
  EXPECT_EQ(target->row_count(readings()).error().code, errc::schema_mismatch);
}

TEST_F(schema_test, eight_stores_that_make_the_tables_at_once_all_succeed) {
  auto wanted = readings();
  wanted.indexes = {{{"device", false}, {"time", true}}};
  std::vector<std::thread> threads;
  std::vector<std::string> failures(8);
  for (std::size_t index = 0; index < failures.size(); ++index)
    threads.emplace_back([&, index] {
      // As an actor does: what can be retried is.
      for (int times = 0; times < 20; ++times) {
        auto made = open(settings());
        auto ready = made ? (*made)->prepare(wanted) : result<void>{made.error()};
        failures[index] = ready ? "" : ready.error().to_string();
        if (ready || disposition_of(ready.error().code) != disposition::retry)
          return;
      }
    });
  for (auto& thread : threads)
    thread.join();
  EXPECT_THAT(failures, testing::Each(""));
  EXPECT_TRUE(opened()->installation_id());
}

} // namespace
} // namespace penstock::storage::test
