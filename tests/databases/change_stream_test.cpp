// PostgreSQL's logical decoding, with a real server: the slot, the stream, and rows that are made of changes.
// Elsewhere, and through a PgBouncer, which does not take the replication protocol, these tests are skipped.
#include "fixture.hpp"
#include "storage/change_stream.hpp"
#include "storage/connection.hpp"
#include "storage/source.hpp"

#include <nlohmann/json.hpp>

#include <atomic>
#include <thread>

namespace penstock::storage::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using event = change_stream::event;

constexpr auto installation = "0c9b7c0e-6f2e-4f2c-8f0a-3f6d2f1f7a10";

class change_stream_test : public database_test {
public:
  change_stream_test() {
    pipeline.name = "Changes";
    pipeline.database = "test";
    pipeline.table = "source_rows";
    pipeline.key = {"Id"};
    pipeline.topic = "t/{Name}";
    pipeline.detect.changes = config::change_source::logical;
    pipeline.on_update = config::update_rule::publish;
  }
  ~change_stream_test() override { remove_slot(); }

  void SetUp() override {
    if (kind() != database_kind::postgresql || through_pooler())
      GTEST_SKIP() << "of PostgreSQL, without a pooler";
    remove_slot();
    other().run("DROP PUBLICATION IF EXISTS \"penstock_Changes\"");
    other().run("CREATE TABLE source_rows (\"Id\" BIGINT PRIMARY KEY, \"Name\" TEXT, \"Extra\" JSONB, \"Large\" TEXT)");
  }

  bool through_pooler() { return other().ask("SELECT inet_server_port()") != std::to_string(settings().address.port); }
  std::string slot() const { return slot_name(installation, pipeline.name); }
  void remove_slot() {
    if (kind() != database_kind::postgresql || through_pooler())
      return;
    stream.reset();
    const auto there = "FROM pg_replication_slots WHERE slot_name = '" + slot() + "'";
    for (int attempt = 0; attempt < 500 && other().ask("SELECT active " + there) == "t"; ++attempt)
      std::this_thread::sleep_for(10ms); // the server notices that the connection has gone
    other().run("SELECT pg_drop_replication_slot(slot_name) " + there);
  }
  void publish() { other().run(logical_sql(pipeline)); }
  result<std::unique_ptr<change_stream>> try_open() {
    return open_changes(settings(), pipeline, installation, [this] { ++wakes; });
  }
  void open() {
    for (int attempt = 0;; ++attempt) {
      auto made = try_open();
      if (!made && made.error().code == errc::database_unavailable && attempt < 500) {
        std::this_thread::sleep_for(10ms); // the former connection's process still ends
        continue;
      }
      ASSERT_TRUE(made) << made.error().to_string();
      stream = *std::move(made);
      return;
    }
  }
  /// Events but for `reached`, until there are so many.
  std::vector<event> read(std::size_t count, std::size_t rows_max = 1'000) {
    std::vector<event> all;
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (all.size() < count && std::chrono::steady_clock::now() < until) {
      auto some = stream->read(rows_max, 1u << 20);
      EXPECT_TRUE(some) << some.error().to_string();
      if (!some)
        break;
      for (auto& each : *some)
        if (each.what != event::kind::reached)
          all.push_back(std::move(each));
        else
          reached = each.place;
      if (some->empty())
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_GE(all.size(), count);
    return all;
  }
  static std::vector<changed_row> rows_of(const std::vector<event>& events) {
    std::vector<changed_row> rows;
    for (const auto& each : events)
      if (each.what == event::kind::change)
        rows.push_back(each.row);
    return rows;
  }
  std::vector<source_row> messages(std::span<const changed_row> changes) {
    auto table = open_source(settings(), pipeline);
    EXPECT_TRUE(table) << table.error().to_string();
    auto rows = (*table)->read_changes(changes);
    EXPECT_TRUE(rows) << rows.error().to_string();
    return rows ? *rows : std::vector<source_row>{};
  }

  config::publish pipeline;
  std::unique_ptr<change_stream> stream;
  std::atomic<int> wakes{0};
  log_place reached = 0;
};

TEST_F(change_stream_test, what_is_missing_is_said_at_once_with_what_to_do) {
  other().run("ALTER TABLE source_rows DROP CONSTRAINT source_rows_pkey");
  other().run("ALTER TABLE source_rows ADD double_id BIGINT GENERATED ALWAYS AS (2 * \"Id\") STORED");
  const auto ready = check_logical(settings(), pipeline);
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code, errc::unsupported);
  EXPECT_THAT(ready.error().message, AllOf(HasSubstr("there is no publication penstock_Changes"),
                                           HasSubstr("penstock tables logical Changes --apply"),
                                           HasSubstr("has no primary key"), HasSubstr("double_id is generated")));
  EXPECT_THAT(try_open().error().message, HasSubstr("there is no publication"));
  EXPECT_EQ(other().ask("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '" + slot() + "'"), "0");
}

TEST_F(change_stream_test, a_table_whose_updates_would_be_refused_is_not_published) {
  other().run("ALTER TABLE source_rows DROP CONSTRAINT source_rows_pkey");
  auto database = open_connection(settings(), access::read_write);
  const auto refused = (*database)->change(logical_sql(pipeline));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("has no primary key"));
  pipeline.on_update = config::update_rule::ignore;
  publish();
  EXPECT_TRUE(check_logical(settings(), pipeline));
  other().run("INSERT INTO source_rows VALUES (1, 'a')");
  other().run("UPDATE source_rows SET \"Name\" = 'b'");
}

TEST_F(change_stream_test, a_role_that_may_not_replicate_is_told_so) {
  publish();
  other().run("DROP ROLE IF EXISTS plain");
  other().run("CREATE ROLE plain LOGIN PASSWORD 'plain'");
  auto plain = settings();
  plain.address.user = plain.user = "plain";
  plain.password.value = plain.address.password.value = "plain";
  const auto ready = check_logical(plain, pipeline);
  ASSERT_FALSE(ready);
  EXPECT_THAT(ready.error().message,
              AllOf(HasSubstr("ALTER ROLE \"plain\" REPLICATION"), Not(HasSubstr("publication"))));
  other().run("DROP ROLE plain");
}

TEST_F(change_stream_test, a_server_without_a_free_slot_is_named_but_not_where_the_pipeline_has_its_own) {
  publish();
  open();
  other().run("SELECT pg_create_physical_replication_slot('full_' || i) FROM generate_series(2,"
              " current_setting('max_replication_slots')::int) i");
  EXPECT_TRUE(check_logical(settings(), pipeline));
  auto another = pipeline;
  another.name = "Another";
  EXPECT_THAT(check_logical(settings(), another).error().message, HasSubstr("raise max_replication_slots"));
  other().run("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'full_%'");
}

TEST_F(change_stream_test, the_sql_may_be_run_again_and_what_it_made_stays) {
  publish();
  const auto made = other().ask("SELECT oid FROM pg_publication WHERE pubname = 'penstock_Changes'");
  publish();
  EXPECT_EQ(other().ask("SELECT oid FROM pg_publication WHERE pubname = 'penstock_Changes'"), made);
  other().run(unlogical_sql(pipeline));
  EXPECT_EQ(other().ask("SELECT count(*) FROM pg_publication WHERE pubname = 'penstock_Changes'"), "0");
}

TEST_F(change_stream_test, changes_come_in_order_as_they_were_made) {
  publish();
  open();
  EXPECT_TRUE(stream->is_new());
  other().run("INSERT INTO source_rows VALUES (1, 'a', '{\"x\": 1}', NULL), (2, 'b', NULL, 'l')");
  other().run("UPDATE source_rows SET \"Name\" = 'c' WHERE \"Id\" = 1");
  other().run("DELETE FROM source_rows WHERE \"Id\" = 2");
  const auto events = read(5);
  const auto rows = rows_of(events);
  ASSERT_THAT(rows, SizeIs(3));
  EXPECT_EQ(rows[0].values, R"({"Id":"1","Name":"a","Extra":{"x": 1},"Large":null})");
  EXPECT_EQ(rows[1].values, R"({"Id":"2","Name":"b","Extra":null,"Large":"l"})");
  EXPECT_EQ(rows[2].values, R"({"Id":"1","Name":"c","Extra":{"x": 1},"Large":null})");
  EXPECT_EQ(rows[2].made_by, changed_row::kind::update);
  EXPECT_GT(rows[2].at, rows[0].at);
  EXPECT_EQ(events[2].what, event::kind::commit);
  EXPECT_GT(events[4].place, events[2].place);
}

TEST_F(change_stream_test, what_is_not_confirmed_is_told_again) {
  publish();
  open();
  other().run("INSERT INTO source_rows VALUES (1, 'a')");
  other().run("INSERT INTO source_rows VALUES (2, 'b')");
  const auto events = read(4);
  ASSERT_THAT(events, SizeIs(4));
  std::this_thread::sleep_for(1'100ms); // confirmations go out once a second
  ASSERT_TRUE(stream->confirm(events[1].place));
  const auto confirmed =
    "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = '" + slot() + "'";
  for (int attempt = 0; attempt < 1'000 && other().ask(confirmed) != std::to_string(events[1].place); ++attempt)
    std::this_thread::sleep_for(10ms);
  stream.reset();
  open();
  EXPECT_FALSE(stream->is_new());
  const auto again = rows_of(read(2));
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again[0].key.front(), "2");
}

TEST_F(change_stream_test, whoever_waits_is_woken_by_a_change) {
  publish();
  open();
  ASSERT_TRUE(stream->read(10, 1'000));
  const auto before = wakes.load();
  other().run("INSERT INTO source_rows VALUES (1, 'a')");
  for (int attempt = 0; attempt < 1'000 && wakes == before; ++attempt)
    std::this_thread::sleep_for(10ms);
  EXPECT_GT(wakes, before);
  EXPECT_THAT(rows_of(read(2)), SizeIs(1));
}

TEST_F(change_stream_test, no_more_is_read_than_is_wanted) {
  publish();
  open();
  other().run("INSERT INTO source_rows SELECT i, 'a' FROM generate_series(1, 1000) i");
  std::size_t rows = 0;
  for (int attempt = 0; attempt < 2'000 && rows < 1'000; ++attempt) {
    auto some = stream->read(7, 1u << 20);
    ASSERT_TRUE(some);
    const auto changes = rows_of(*some).size();
    EXPECT_LE(changes, 7u);
    rows += changes;
    if (changes == 0)
      std::this_thread::sleep_for(5ms);
  }
  EXPECT_EQ(rows, 1'000u);
}

TEST_F(change_stream_test, the_server_says_how_far_it_has_looked) {
  publish();
  open();
  other().run("CREATE TABLE IF NOT EXISTS readings (x INT)"); // another table's changes
  other().run("INSERT INTO readings VALUES (1)");
  const auto end = stream->end();
  ASSERT_TRUE(end);
  EXPECT_GE(end->written, end->flushed);
  for (int attempt = 0; attempt < 1'000 && reached < end->flushed; ++attempt) {
    ASSERT_TRUE(stream->ask());
    read(0);
    auto some = stream->read(10, 1'000);
    ASSERT_TRUE(some);
    for (const auto& each : *some)
      reached = std::max(reached, each.place);
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_GE(reached, end->flushed);
}

TEST_F(change_stream_test, who_opens_the_slot_last_has_it) {
  publish();
  open();
  const auto former = std::move(stream);
  open();
  EXPECT_FALSE(stream->is_new());
  auto end = former->read(10, 1'000);
  for (int attempt = 0; end && attempt < 1'000; ++attempt, end = former->read(10, 1'000))
    std::this_thread::sleep_for(5ms);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, errc::connection_lost);
  other().run("INSERT INTO source_rows VALUES (1, 'a')");
  EXPECT_THAT(rows_of(read(2)), SizeIs(1));
}

TEST_F(change_stream_test, a_slot_that_is_gone_or_lost_is_made_anew) {
  publish();
  open();
  remove_slot();
  open();
  EXPECT_TRUE(stream->is_new());
  stream.reset();
  // Far more log than max_slot_wal_keep_size; the server looks at a checkpoint.
  for (int round = 0; round < 8; ++round) {
    other().run("INSERT INTO source_rows SELECT i, repeat(md5(i::text), 100) FROM generate_series(1, 10000) i");
    other().run("TRUNCATE source_rows");
    other().run("SELECT pg_switch_wal()");
  }
  other().run("CHECKPOINT");
  ASSERT_EQ(other().ask("SELECT wal_status FROM pg_replication_slots WHERE slot_name = '" + slot() + "'"), "lost");
  open();
  EXPECT_TRUE(stream->is_new());
  EXPECT_EQ(stream->slot()->keeps, "reserved");
}

TEST_F(change_stream_test, slots_are_listed_with_the_pipeline_that_they_are_of) {
  publish();
  open();
  auto database = open_connection(settings(), access::read_write);
  ASSERT_TRUE(database);
  const auto all = slots_of(**database);
  ASSERT_TRUE(all);
  ASSERT_THAT(*all, SizeIs(1));
  EXPECT_EQ(all->front().name, slot());
  EXPECT_TRUE(is_slot_of(all->front().name, "Changes"));
  EXPECT_EQ(drop_slot(**database, slot()).error().code, errc::database_unavailable);
}

// --- rows of changes
// -----------------------------------------------------------------------------------------------------

TEST_F(change_stream_test, a_change_becomes_the_message_that_its_row_would) {
  other().run("DROP TABLE source_rows");
  other().run("CREATE TABLE source_rows (\"Id\" BIGINT PRIMARY KEY, \"Name\" TEXT, whole INT, part NUMERIC(10, 2),"
              " real8 DOUBLE PRECISION, yes BOOLEAN, at TIMESTAMPTZ, plain TIMESTAMP, day DATE, raw BYTEA, doc JSONB,"
              " text_doc JSON, list INT[], span INTERVAL, id2 UUID, fixed CHAR(5))");
  publish();
  open();
  other().run("INSERT INTO source_rows VALUES (1, E'\\u20ac \"x\" \\\\ \\t''', -5, 12.50, 0.1, true,"
              " '2026-11-25 10:00:00.123456+02', '2026-11-25 10:00:00', '2026-11-25', '\\x00ff', '{\"a\": [1, null]}',"
              " '{\"b\":  1.0}', '{1,2,NULL}', '1 day 02:03:04', '0c9b7c0e-6f2e-4f2c-8f0a-3f6d2f1f7a10', 'ab')");
  other().run("INSERT INTO source_rows (\"Id\", real8) VALUES (2, 'NaN')");
  const auto changes = rows_of(read(4));
  const auto told = messages(changes);
  const auto table = open_source(settings(), pipeline);
  const auto there = (*table)->read(source::path::key, "", 10);
  ASSERT_TRUE(there) << there.error().to_string();
  ASSERT_THAT(told, SizeIs(2));
  ASSERT_THAT(*there, SizeIs(2));
  for (std::size_t index = 0; index < 2; ++index) {
    EXPECT_EQ(told[index].payload, (*there)[index].payload);
    EXPECT_EQ(told[index].topic, (*there)[index].topic);
    EXPECT_EQ(told[index].record_id, (*there)[index].record_id);
    EXPECT_EQ(told[index].hash, (*there)[index].hash);
    EXPECT_EQ(told[index].version, "");
    EXPECT_TRUE(told[index].since);
  }
}

TEST_F(change_stream_test, conditions_and_versions_are_those_of_the_change) {
  pipeline.where = "\"Name\" <> 'no'";
  publish();
  open();
  other().run("INSERT INTO source_rows VALUES (1, 'no'), (2, 'a')");
  other().run("UPDATE source_rows SET \"Name\" = 'b' WHERE \"Id\" = 2");
  other().run("UPDATE source_rows SET \"Name\" = 'no' WHERE \"Id\" = 2");
  auto changes = rows_of(read(7));
  ASSERT_THAT(changes, SizeIs(4));
  changes[2].version = "v";
  const auto rows = messages(changes);
  ASSERT_THAT(rows, SizeIs(4));
  EXPECT_FALSE(rows[0].wanted);
  EXPECT_EQ(rows[1].topic, "t/a");
  EXPECT_EQ(rows[2].topic, "t/b");
  EXPECT_EQ(rows[2].version, "v");
  EXPECT_EQ(rows[2].since, changes[2].committed_at);
  EXPECT_FALSE(rows[3].wanted);
}

TEST_F(change_stream_test, large_values_that_a_change_left_alone_come_from_the_table) {
  publish();
  open();
  other().run("ALTER TABLE source_rows ALTER \"Large\" SET STORAGE EXTERNAL");
  other().run(
    "INSERT INTO source_rows VALUES (1, 'a', NULL, repeat('x', 100000)), (2, 'a', NULL, repeat('y', 100000))");
  other().run("UPDATE source_rows SET \"Name\" = 'b'");
  other().run("UPDATE source_rows SET \"Name\" = 'c' WHERE \"Id\" = 1");
  other().run("DELETE FROM source_rows WHERE \"Id\" = 2");
  const auto changes = rows_of(read(8));
  ASSERT_THAT(changes, SizeIs(5));
  const auto rows = messages(changes);
  ASSERT_THAT(rows, SizeIs(5));
  for (const auto& row : rows)
    if (row.refusal.empty()) {
      EXPECT_EQ(nlohmann::json::parse(row.payload).at("Large").get<std::string>().size(), 100'000u);
    }
  EXPECT_EQ(rows[2].topic, "t/b"); // its own value, though the row has another by now
  EXPECT_EQ(rows[2].refusal, "");
  EXPECT_THAT(rows[3].refusal, HasSubstr("no longer in the table"));
  EXPECT_EQ(rows[4].topic, "t/c");
}

TEST_F(change_stream_test, a_change_that_cannot_be_read_is_refused_alone) {
  std::vector<changed_row> changes(5);
  for (std::size_t index = 0; index < changes.size(); ++index) {
    changes[index].key = {std::to_string(index)};
    changes[index].values = R"({"Id":")" + std::to_string(index) + R"(","Name":"a"})";
  }
  changes[3].values = R"({"Id":"3","Name":"a","Extra":{"x":"\u0000"}})";
  const auto rows = messages(changes);
  ASSERT_THAT(rows, SizeIs(5));
  for (std::size_t index = 0; index < rows.size(); ++index) {
    EXPECT_EQ(rows[index].record_id, std::to_string(index));
    EXPECT_EQ(rows[index].refusal.empty(), index != 3);
  }
}

} // namespace
} // namespace penstock::storage::test
