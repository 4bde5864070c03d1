#include "fixture.hpp"

#include <algorithm>
#include <limits>
#include <set>

namespace penstock::storage::test {
namespace {

class read_test : public database_test {};

/// A key of every type that has one.
table keyed() {
  return {.pipeline = "telemetry",
          .name = "every_type",
          .columns = {{"time", column_type::timestamp, false},
                      {"count", column_type::integer, false},
                      {"level", column_type::real, false},
                      {"alarm", column_type::boolean, false},
                      {"device", column_type::text, false}},
          .key = {"time", "device", "count", "level", "alarm"},
          .indexes = {}};
}

struct key_of_all {
  std::int64_t time;
  std::int64_t count;
  double level;
  bool alarm;
  std::string device;
};

TEST_F(read_test, keys_are_read_and_found_as_they_were_written) {
  const std::vector<key_of_all> keys{
    {0, 0, 0.5, false, "a"},
    {1'767'225'600'123'456, std::numeric_limits<std::int64_t>::max(), 0.1, true, "\xe2\x82\xac'\"\\"},
    {-62'135'596'800'000'000, std::numeric_limits<std::int64_t>::min(), -1.7976931348623157e308, true, ""},
    {253'402'300'799'999'999, -1, 5e-324, false, "A:b ?%"}};
  const std::set<key_text> expected{{"0", "a", "0", "0.5", "0"},
                                    {"1767225600123456", "\xe2\x82\xac'\"\\", "9223372036854775807", "0.1", "1"},
                                    {"-62135596800000000", "", "-9223372036854775808", "-1.7976931348623157e+308", "1"},
                                    {"253402300799999999", "A:b ?%", "-1", "5e-324", "0"}};
  record::frame_builder builder{types_of(keyed())};
  for (const auto& key : keys) {
    builder.set_integer(0, key.time);
    builder.set_integer(1, key.count);
    builder.set_real(2, key.level);
    builder.set_boolean(3, key.alarm);
    builder.set_string(4, key.device);
    builder.commit_row("t", std::to_string(key.time), wall_time{});
  }
  auto target = prepared(keyed());
  EXPECT_EQ(write_one(*target, *view(builder.seal("telemetry", 0, 1, 1), keyed())), (frame_outcome{4, 0, 0}));
  std::set<key_text> found;
  auto read = target->for_each_key(keyed(), [&](const key_text& key) { return found.insert(key).second; });
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(found, expected);
  for (const auto& key : expected) {
    auto there = target->contains(keyed(), key);
    ASSERT_TRUE(there) << there.error().to_string();
    EXPECT_TRUE(*there) << testing::PrintToString(key);
  }
  EXPECT_FALSE(*target->contains(keyed(), {"0", "A", "0", "0.5", "0"}));
  EXPECT_FALSE(*target->contains(keyed(), {"1", "a", "0", "0.5", "0"}));
  EXPECT_EQ(target->contains(keyed(), {"x", "a", "0", "0.5", "0"}).error().code, errc::field_type);
}

TEST_F(read_test, a_visit_that_says_stop_ends_the_reading_and_the_store_goes_on) {
  auto target = prepared();
  write_one(*target, *frame_of(series(0, 5'000)));
  std::size_t visited = 0;
  auto read = target->for_each_key(readings(), [&](const key_text&) { return ++visited < 10; });
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(visited, 10u);
  EXPECT_EQ(write_one(*target, *frame_of(series(5'000, 10))), (frame_outcome{10, 0, 0}));
  visited = 0;
  ASSERT_TRUE(target->for_each_key(readings(), [&](const key_text&) { return ++visited > 0; }));
  EXPECT_EQ(visited, 5'010u);
  EXPECT_EQ(*target->row_count(readings()), 5'010u);
}

TEST_F(read_test, a_store_that_only_reads_sees_what_was_committed) {
  auto target = prepared();
  write_one(*target, *frame_of(series(0, 10)));
  auto reader = opened(access::read_only);
  ASSERT_TRUE(reader->prepare(readings()));
  EXPECT_EQ(*reader->row_count(readings()), 10u);
  EXPECT_TRUE(*reader->contains(readings(), {"3", "device-1"}));
  EXPECT_EQ(*reader->dead_letter_count("telemetry"), 0u);
  EXPECT_TRUE(reader->ping());
}

TEST_F(read_test, letters_are_found_by_pipeline_prefix_and_position) {
  auto target = prepared();
  record::frame_builder builder{types_of(readings())};
  for (int index = 0; index < 20; ++index)
    builder.add_letter("t", std::to_string(index), error{errc::payload_malformed, "no JSON"},
                       wall_time{std::chrono::microseconds{index}});
  write_one(*target, *view(builder.seal("telemetry", 0, 1, 1), readings()));
  const auto all = letters(*target);
  ASSERT_EQ(all.size(), 20u);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end(), [](auto& left, auto& right) { return left.id < right.id; }));
  const auto behind = target->dead_letters(
    {.pipeline = "telemetry", .id = std::nullopt, .limit = 5, .after = all[9].id, .payloads = false});
  ASSERT_TRUE(behind) << behind.error().to_string();
  ASSERT_EQ(behind->size(), 5u);
  EXPECT_EQ(behind->at(0).id, all[10].id);
  EXPECT_EQ(behind->at(0).payload, "");
  const auto one = target->dead_letters({.pipeline = "", .id = all[7].id.substr(0, 20)});
  ASSERT_TRUE(one && one->size() == 1u);
  EXPECT_EQ(one->at(0).id, all[7].id);
  const auto latest = target->dead_letters({.pipeline = "", .id = std::nullopt, .limit = 1});
  ASSERT_TRUE(latest && latest->size() == 1u);
  EXPECT_EQ(latest->at(0).payload, "19");
}

TEST_F(read_test, older_rows_and_letters_are_deleted_in_pieces) {
  auto target = prepared();
  write_one(*target, *frame_of(series(0, 100)));
  const auto before = wall_time{std::chrono::microseconds{50}};
  EXPECT_EQ(*target->delete_older(readings(), "time", before, 30), 30u);
  EXPECT_EQ(*target->delete_older(readings(), "time", before, 30), 20u);
  EXPECT_EQ(*target->delete_older(readings(), "time", before, 30), 0u);
  EXPECT_EQ(*target->row_count(readings()), 50u);
  record::frame_builder builder{types_of(readings())};
  for (int index = 0; index < 20; ++index)
    builder.add_letter("t", std::to_string(index), error{errc::payload_malformed, "no JSON"},
                       wall_time{std::chrono::microseconds{index}});
  write_one(*target, *view(builder.seal("telemetry", 0, 1, 1), readings()));
  const auto letters_before = wall_time{std::chrono::microseconds{12}};
  EXPECT_EQ(*target->delete_older_letters("another", letters_before, 10), 0u);
  EXPECT_EQ(*target->delete_older_letters("telemetry", letters_before, 10), 10u);
  EXPECT_EQ(*target->delete_older_letters("telemetry", letters_before, 10), 2u);
  EXPECT_EQ(*target->dead_letter_count("telemetry"), 8u);
}

TEST_F(read_test, the_installation_id_is_made_once) {
  EXPECT_EQ(opened(access::read_only)->installation_id().error().code, errc::schema_mismatch);
  const auto made = opened()->installation_id();
  ASSERT_TRUE(made) << made.error().to_string();
  EXPECT_EQ(made->size(), 36u);
  EXPECT_EQ(*opened()->installation_id(), *made);
  EXPECT_EQ(*opened(access::read_only)->installation_id(), *made);
}

} // namespace
} // namespace penstock::storage::test
