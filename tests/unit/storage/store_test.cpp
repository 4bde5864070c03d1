#include "fixture.hpp"
#include "storage/bisect.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <limits>
#include <set>
#include <thread>

namespace penstock::storage::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;

class store_test : public storage_test {
public:
  /// A store with these letters, one microsecond apart.
  std::unique_ptr<store> with_letters(const std::vector<std::string>& payloads) {
    auto target = prepared();
    record::frame_builder builder{types_of(readings())};
    std::int64_t arrived = 0;
    for (const auto& payload : payloads)
      builder.add_letter("topic", payload, {errc::payload_malformed, "no JSON"},
                         wall_time{std::chrono::microseconds{++arrived}});
    write_one(*target, *view(builder.seal("telemetry", 0, 1, 1)));
    return target;
  }
};

TEST_F(store_test, the_table_of_a_pipeline_is_what_its_configuration_says) {
  config::ingest pipeline;
  pipeline.name = "telemetry";
  pipeline.table = "raw";
  pipeline.key = {"time"};
  pipeline.columns = {{.name = "time", .source = {}, .type = column_type::timestamp, .optional = false},
                      {.name = "note", .source = {}, .type = column_type::json, .optional = true}};
  pipeline.indexes = {{{"note", true}}};
  const auto made = table_of(pipeline);
  EXPECT_EQ(made.pipeline, "telemetry");
  EXPECT_EQ(made.name, "raw");
  EXPECT_EQ(made.key, pipeline.key);
  EXPECT_EQ(made.indexes, pipeline.indexes);
  ASSERT_EQ(made.columns.size(), 2u);
  EXPECT_EQ(made.columns[1].name, "note");
  EXPECT_EQ(made.columns[1].type, column_type::json);
  EXPECT_TRUE(made.columns[1].optional);
}

TEST_F(store_test, a_dead_letter_is_known_by_the_hash_of_topic_and_payload) {
  // printf 'a/b\0hello' | sha256sum
  EXPECT_EQ(dead_letter_id("a/b", "hello"), "c96bfc11a3360916d4f414e1d5a792de117f11ef259463cc1c4c03671a78897d");
  EXPECT_NE(dead_letter_id("a", "b"), dead_letter_id("ab", ""));
}

TEST_F(store_test, dead_letters_are_found_by_pipeline_and_prefix_latest_first) {
  auto target = with_letters({"one", "two", "three"});
  auto all = target->dead_letters({});
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 3u);
  EXPECT_EQ(all->at(0).payload, "three");
  EXPECT_EQ(all->at(2).payload, "one");
  EXPECT_EQ(target->dead_letters({.pipeline = "other", .id = {}})->size(), 0u);
  EXPECT_EQ(target->dead_letters({.pipeline = "telemetry", .id = {}, .limit = 2})->size(), 2u);
  EXPECT_EQ(target->dead_letters({.pipeline = "", .id = {}, .limit = 0})->size(), 3u);
  const auto id = dead_letter_id("topic", "two");
  auto one = target->dead_letters({.pipeline = "", .id = id.substr(0, 12)});
  ASSERT_TRUE(one);
  ASSERT_EQ(one->size(), 1u);
  EXPECT_EQ(one->at(0).id, id);
  EXPECT_EQ(target->dead_letters({.pipeline = "", .id = "%"})->size(), 0u);
}

TEST_F(store_test, dead_letters_are_counted_by_pipeline) {
  auto target = with_letters({"one", "two"});
  EXPECT_EQ(*target->dead_letter_count("telemetry"), 2u);
  EXPECT_EQ(*target->dead_letter_count(""), 2u);
  EXPECT_EQ(*target->dead_letter_count("other"), 0u);
}

TEST_F(store_test, dead_letters_are_paged_through_in_the_order_of_their_ids) {
  auto target = with_letters({"one", "two", "three", "four", "five"});
  std::vector<std::string> ids;
  std::string after;
  for (;;) {
    auto page = target->dead_letters({.pipeline = "telemetry", .id = {}, .limit = 2, .after = after});
    ASSERT_TRUE(page);
    if (page->empty())
      break;
    for (const auto& letter : *page)
      ids.push_back(letter.id);
    after = ids.back();
  }
  EXPECT_EQ(ids.size(), 5u);
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 5u);
}

TEST_F(store_test, a_list_can_do_without_the_payloads) {
  auto target = with_letters({std::string("th\0ree", 6)});
  auto without = target->dead_letters({.pipeline = "", .id = {}, .limit = 1, .after = {}, .payloads = false});
  ASSERT_TRUE(without);
  EXPECT_EQ(without->at(0).payload, "");
  EXPECT_EQ(without->at(0).payload_bytes, 6u);
  EXPECT_EQ(target->dead_letters({})->at(0).payload_bytes, 6u);
}

TEST_F(store_test, before_the_first_run_there_are_no_dead_letters) {
  auto target = opened();
  EXPECT_EQ(target->dead_letters({})->size(), 0u);
  EXPECT_EQ(*target->dead_letter_count(""), 0u);
}

TEST_F(store_test, keys_are_visited_in_their_canonical_text) {
  table keyed{.pipeline = "p",
              .name = "keyed",
              .columns = {{"time", column_type::timestamp, false},
                          {"number", column_type::integer, false},
                          {"real", column_type::real, false},
                          {"yes", column_type::boolean, false},
                          {"text", column_type::text, false},
                          {"bytes", column_type::bytes, false}},
              .key = {"text", "bytes", "time", "number", "real", "yes"},
              .indexes = {}};
  auto target = prepared(keyed);
  record::frame_builder builder{types_of(keyed)};
  builder.set_integer(0, 1'700'000'000'123'456);
  builder.set_integer(1, std::numeric_limits<std::int64_t>::min());
  builder.set_real(2, 0.1);
  builder.set_boolean(3, true);
  builder.set_string(4, std::string_view{"ü\0x", 4});
  builder.set_string(5, std::string_view{"\xff\0", 2});
  builder.commit_row("topic", "payload", {});
  ASSERT_EQ(write_one(*target, *view(builder.seal("p", 0, 1, 1), keyed)), (frame_outcome{1, 0, 0}));
  std::vector<key_text> seen;
  ASSERT_TRUE(target->for_each_key(keyed, [&](const key_text& key) {
    seen.push_back(key);
    return true;
  }));
  const key_text expected{
    std::string{"ü\0x", 4}, std::string{"\xff\0", 2}, "1700000000123456", "-9223372036854775808", "0.1", "1"};
  EXPECT_THAT(seen, ElementsAre(expected));
  EXPECT_TRUE(*target->contains(keyed, expected));
  auto another = expected;
  another[4] = "0.2";
  EXPECT_FALSE(*target->contains(keyed, another));
  another[4] = "nonsense";
  EXPECT_EQ(target->contains(keyed, another).error().code, errc::field_type);
}

TEST_F(store_test, visiting_stops_when_told) {
  auto target = prepared();
  write_one(*target, *frame_of(series(0, 10)));
  int visited = 0;
  ASSERT_TRUE(target->for_each_key(readings(), [&](const key_text&) { return ++visited < 4; }));
  EXPECT_EQ(visited, 4);
}

TEST_F(store_test, asking_for_a_table_that_is_missing_is_a_mismatch) {
  auto target = opened();
  EXPECT_EQ(target->row_count(readings()).error().code, errc::schema_mismatch);
  EXPECT_EQ(target->contains(readings(), {"1", "a"}).error().code, errc::schema_mismatch);
  EXPECT_EQ(target->for_each_key(readings(), [](const key_text&) { return true; }).error().code, errc::schema_mismatch);
}

TEST_F(store_test, a_reader_sees_what_is_committed_while_a_writer_writes) {
  auto writer = prepared();
  auto reader = opened(access::read_only);
  write_one(*writer, *frame_of(series(0, 100)));
  EXPECT_EQ(*reader->row_count(readings()), 100u);
  EXPECT_TRUE(*reader->contains(readings(), {"7", "device-1"}));
  auto locker = other();
  locker.run("BEGIN IMMEDIATE; INSERT INTO readings VALUES(-1, 'x', 0, 0)");
  EXPECT_EQ(*reader->row_count(readings()), 100u);
  EXPECT_FALSE(*reader->contains(readings(), {"-1", "x"}));
  locker.run("COMMIT");
  EXPECT_TRUE(*reader->contains(readings(), {"-1", "x"}));
  // A contains() that is done holds no snapshot: the writer can fold all of the WAL back.
  EXPECT_EQ(locker.ask("PRAGMA wal_checkpoint(TRUNCATE)"), "0");
}

TEST_F(store_test, a_reader_needs_no_wal_beside_the_file) {
  {
    auto writer = prepared();
    write_one(*writer, *frame_of(series(0, 5)));
  }
  ASSERT_FALSE(std::filesystem::exists(settings().address.path.string() + "-wal"));
  ASSERT_FALSE(std::filesystem::exists(settings().address.path.string() + "-shm"));
  EXPECT_EQ(*opened(access::read_only)->row_count(readings()), 5u);
}

TEST_F(store_test, a_reader_changes_nothing) {
  auto writer = prepared();
  write_one(*writer, *frame_of({}));
  auto reader = opened(access::read_only);
  auto unknown = readings();
  unknown.name = "unknown";
  EXPECT_TRUE(reader->prepare(unknown));
  EXPECT_EQ(reader->installation_id().error().code, errc::schema_mismatch);
  EXPECT_EQ(other().ask("SELECT count(*) FROM sqlite_master WHERE name = 'unknown'"), "0");
  ASSERT_TRUE(reader->prepare(readings()));
  EXPECT_THROW(static_cast<void>(reader->write({})), assertion_failed);
  EXPECT_THROW(static_cast<void>(reader->replay({})), assertion_failed);
}

TEST_F(store_test, the_installation_id_is_made_once) {
  auto target = opened();
  auto first = target->installation_id();
  ASSERT_TRUE(first) << first.error().to_string();
  EXPECT_THAT(*first, MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_EQ(*target->installation_id(), *first);
  target = prepared();
  EXPECT_EQ(*target->installation_id(), *first);
  EXPECT_EQ(*opened(access::read_only)->installation_id(), *first);
}

TEST_F(store_test, a_reader_makes_no_installation_id) {
  prepared();
  auto id = opened(access::read_only)->installation_id();
  ASSERT_FALSE(id);
  EXPECT_EQ(id.error().code, errc::schema_mismatch);
}

TEST_F(store_test, a_file_that_is_no_database_is_damaged) {
  std::ofstream{settings().address.path} << std::string(10'000, 'x');
  for (const auto access : {access::read_write, access::read_only}) {
    auto made = open(settings(), access);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, errc::database_damaged) << made.error().to_string();
    EXPECT_THAT(made.error().message, HasSubstr(settings().address.path.string()));
  }
}

TEST_F(store_test, what_cannot_be_opened_is_named) {
  auto missing = open(settings(), access::read_only);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, errc::database_damaged);
  EXPECT_THAT(missing.error().message, HasSubstr("No such file or directory); `penstock run` makes it"));
  auto nowhere = settings();
  nowhere.address.path = nowhere.address.path.parent_path() / "not there" / "x.db";
  auto made = open(nowhere);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::database_damaged);
  EXPECT_THAT(made.error().message, HasSubstr("No such file or directory); make its folder"));
  auto folder = settings();
  folder.address.path = folder.address.path.parent_path();
  EXPECT_THAT(open(folder).error().message, HasSubstr("Is a directory); it is a folder: name a file"));
}

TEST_F(store_test, paths_with_spaces_and_signs_are_opened_as_they_are) {
  auto odd = settings();
  odd.address.path = odd.address.path.parent_path() / "a  b = c ü.db";
  auto made = open(odd);
  ASSERT_TRUE(made) << made.error().to_string();
  EXPECT_TRUE(std::filesystem::exists(odd.address.path));
  odd.address.path = odd.address.path.parent_path() / "a\"b.db";
  EXPECT_EQ(open(odd).error().code, errc::configuration);
}

TEST_F(store_test, two_writers_that_make_the_same_new_file_both_get_it) {
  auto patient = settings();
  patient.busy_timeout = std::chrono::milliseconds{5000};
  std::vector<std::string> ids(4);
  std::vector<std::thread> writers;
  for (auto& id : ids)
    writers.emplace_back([&id, &patient] {
      auto made = open(patient);
      if (!made) {
        id = made.error().to_string();
        return;
      }
      auto ready = (*made)->prepare(readings());
      auto own = (*made)->installation_id();
      id = !ready ? ready.error().to_string() : own ? *own : own.error().to_string();
    });
  for (auto& writer : writers)
    writer.join();
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 1u) << testing::PrintToString(ids);
  EXPECT_EQ(ids[0].size(), 36u) << ids[0];
}

struct code_case {
  int sqlite;
  errc code;
};

TEST(sqlite_codes, mean_what_the_documentation_says) {
  for (const auto& [sqlite, code] : {code_case{0, errc::none},          {5, errc::database_busy},
                                     {6, errc::database_busy},          {15, errc::database_busy},
                                     {261, errc::database_busy},        {517, errc::database_busy},
                                     {13, errc::database_full},         {7, errc::database_unavailable},
                                     {8, errc::database_unavailable},   {10, errc::database_unavailable},
                                     {778, errc::database_unavailable}, {1032, errc::database_unavailable},
                                     {11, errc::database_damaged},      {14, errc::database_damaged},
                                     {26, errc::database_damaged},      {18, errc::row_refused},
                                     {20, errc::row_refused},           {275, errc::row_refused},
                                     {787, errc::row_refused},          {1299, errc::row_refused},
                                     {1811, errc::row_refused},         {2067, errc::row_refused},
                                     {3091, errc::row_refused},         {1, errc::schema_mismatch},
                                     {3, errc::not_authorised},         {21, errc::internal}})
    EXPECT_EQ(sqlite::code_of(sqlite), code) << sqlite;
}

/// A database of numbered rows some of which it refuses.
struct pretended_table {
  std::set<std::size_t> bad;
  bool names_the_row = false;
  std::size_t rows_tried = 0;
  std::vector<std::size_t> refused;

  result<std::uint32_t> insert(std::size_t first, std::size_t last) {
    return insert_around_bad_rows(
      first, last,
      [this](std::size_t from, std::size_t to) {
        rows_tried += to - from;
        const auto found = bad.lower_bound(from);
        if (found == bad.end() || *found >= to)
          return attempt{.stored = static_cast<std::uint32_t>(to - from)};
        const auto row = names_the_row ? std::optional{*found} : std::nullopt;
        return attempt{.refused = refusal{{errc::row_refused, "bad"}, row}};
      },
      [this](std::size_t row, const error&) -> result<void> {
        refused.push_back(row);
        return {};
      });
  }
};

TEST(insert_around_bad_rows, refuses_exactly_the_bad_rows) {
  for (const bool named : {true, false})
    for (const auto& bad : std::vector<std::set<std::size_t>>{{}, {0}, {99}, {0, 1, 2}, {50, 51, 99}, {3, 30, 60}}) {
      pretended_table table{.bad = bad, .names_the_row = named, .refused = {}};
      auto stored = table.insert(0, 100);
      ASSERT_TRUE(stored);
      EXPECT_EQ(*stored, 100 - bad.size());
      EXPECT_THAT(table.refused, testing::ElementsAreArray(bad));
    }
}

TEST(insert_around_bad_rows, costs_little_where_the_row_is_named) {
  pretended_table table{.bad = {}, .names_the_row = true, .refused = {}};
  for (std::size_t row = 0; row < 5000; row += 100)
    table.bad.insert(row + 50);
  ASSERT_TRUE(table.insert(0, 5000));
  EXPECT_EQ(table.refused.size(), 50u);
  pretended_table once{.bad = {4000}, .names_the_row = true, .refused = {}};
  ASSERT_TRUE(once.insert(0, 5000));
  EXPECT_LE(once.rows_tried, 10'001u);
}

TEST(insert_around_bad_rows, ends_at_an_error_that_is_not_the_rows) {
  int tried = 0;
  auto stored = insert_around_bad_rows(
    0, 100,
    [&](std::size_t, std::size_t) {
      ++tried;
      return attempt{.refused = refusal{{errc::database_busy, "locked"}}};
    },
    [](std::size_t, const error&) -> result<void> { return {}; });
  ASSERT_FALSE(stored);
  EXPECT_EQ(stored.error().code, errc::database_busy);
  EXPECT_EQ(tried, 1);
}

} // namespace
} // namespace penstock::storage::test
