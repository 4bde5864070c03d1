#include "actors/archiver.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/memory_store.hpp"

#include <gmock/gmock.h>

namespace penstock::actors {

using namespace std::chrono_literals;

namespace {

struct archiver_test : testing::actor_fixture {
  std::shared_ptr<testing::memory_database> database = std::make_shared<testing::memory_database>();

  storage::row_retention kept() const {
    storage::row_retention kept;
    kept.table = {.pipeline = "p",
                  .name = "readings",
                  .columns = {{"device", column_type::text}, {"time", column_type::timestamp}},
                  .key = {"device", "time"},
                  .indexes = {}};
    kept.rows = 90 * 24h;
    return kept;
  }

  testing::ended_at_scope_exit spawn() {
    archiver_config config;
    config.name = "p/archiver";
    config.open = [open = testing::opens(database),
                   kept = kept()]() -> result<std::unique_ptr<storage::retention_task>> {
      auto store = open();
      if (!store)
        return store.error();
      return storage::make_row_retention(*std::move(store), kept);
    };
    return {caf::actor_cast<caf::actor>(system.spawn(archiver, config))};
  }
};

} // namespace

TEST_F(archiver_test, deletes_in_chunks_until_nothing_old_is_left_and_looks_again_later) {
  const auto alive = spawn();
  database->deletes = {1'000, 1'000, 17};
  pass(2s);
  EXPECT_EQ(database->deletions, 3u);
  pass(9min);
  EXPECT_EQ(database->deletions, 3u);
  pass(2min);
  EXPECT_EQ(database->deletions, 4u);
}

TEST_F(archiver_test, a_failure_is_tried_again_on_a_new_connection) {
  const auto alive = spawn();
  database->delete_failures = {{errc::connection_lost, "gone"}};
  database->open_failures = {{errc::connection_refused, "not there"}};
  database->deletes = {5};
  pass(20s);
  EXPECT_EQ(database->deletions, 2u);
  EXPECT_EQ(database->opened, 3u); // refused; opened, and lost at the first deletion; opened again
  EXPECT_TRUE(database->deletes.empty());
}

TEST_F(archiver_test, needs_a_column_that_tells_how_old_a_row_is) {
  auto rows = kept();
  EXPECT_EQ(rows.validate(), "");
  rows.table.key = {"device"};
  EXPECT_THAT(rows.validate(), ::testing::HasSubstr("no column says how old a row is"));
  rows.column = "time";
  EXPECT_EQ(rows.validate(), "");
}

} // namespace penstock::actors
