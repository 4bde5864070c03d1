#include "fixture.hpp"

#include <algorithm>
#include <numeric>
#include <random>

namespace penstock::storage::test {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class write_test : public database_test {
public:
  std::string battery_at(std::int64_t time) {
    return other().ask("SELECT battery FROM readings WHERE " + other().microseconds("time") + " = " +
                       std::to_string(time));
  }
  static table updated(const std::string& order = {}) {
    auto wanted = readings();
    wanted.on_conflict = config::conflict_rule::update;
    wanted.order = order;
    return wanted;
  }
};

TEST_F(write_test, rows_are_stored_once_however_often_they_come) {
  auto target = prepared();
  const auto frame = frame_of(series(0, 250));
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{250, 0, 0}));
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{0, 250, 0}));
  EXPECT_EQ(*target->row_count(readings()), 250u);
}

TEST_F(write_test, a_duplicate_keeps_the_first_row_in_a_batch_and_across) {
  auto target = prepared();
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1, .battery = 10}, {.time = 2}, {.time = 1, .battery = 11}})),
            (frame_outcome{2, 1, 0}));
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1, .battery = 99}})), (frame_outcome{0, 1, 0}));
  EXPECT_EQ(battery_at(1), "10");
}

TEST_F(write_test, few_repeats_among_many_new_rows_are_duplicates_and_the_rest_is_stored) {
  auto target = prepared();
  EXPECT_EQ(write_one(*target, *frame_of(series(0, 100))), (frame_outcome{100, 0, 0}));
  EXPECT_EQ(write_one(*target, *frame_of(series(99, 201))), (frame_outcome{200, 1, 0}));
  auto rows = series(300, 100);
  rows.push_back({.time = 350, .battery = 99});
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{100, 1, 0}));
  EXPECT_EQ(write_one(*target, *frame_of(series(400, 100))), (frame_outcome{100, 0, 0}));
  EXPECT_EQ(battery_at(350), "50");
  EXPECT_EQ(*target->row_count(readings()), 500u);
}

TEST_F(write_test, columns_with_one_value_in_all_rows_but_perhaps_the_last_are_kept) {
  auto target = prepared();
  const auto count = [&](const std::string& condition) {
    return other().ask("SELECT COUNT(*) FROM readings WHERE " + condition);
  };
  auto rows = series(0, 200);
  for (auto& row : rows)
    row = {.time = row.time, .device = "", .battery = -5, .temperature = std::nullopt, .note = ""};
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{200, 0, 0}));
  EXPECT_EQ(count("device = '' AND battery = -5 AND temperature IS NULL AND note = ''"), "200");
  for (auto& row : rows)
    row = {.time = 1'000 + row.time, .device = "d", .battery = 1, .temperature = 1.5, .note = std::nullopt};
  rows.back() = {.time = 2'000, .device = "e", .battery = 2, .temperature = std::nullopt, .note = "n"};
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{200, 0, 0}));
  EXPECT_EQ(count("device = 'd' AND battery = 1 AND temperature = 1.5 AND note IS NULL"), "199");
  EXPECT_EQ(count("device = 'e' AND battery = 2 AND temperature IS NULL AND note = 'n'"), "1");
}

TEST_F(write_test, several_frames_go_in_one_transaction_and_are_counted) {
  auto target = prepared();
  std::vector<std::unique_ptr<record::frame_view>> frames;
  std::vector<const record::frame_view*> views;
  for (int index = 0; index < 50; ++index) {
    frames.push_back(frame_of(series(index * 90, 100))); // ten overlap
    views.push_back(frames.back().get());
  }
  frames.push_back(frame_of({}));
  views.push_back(frames.back().get());
  auto written = write(*target, views);
  ASSERT_TRUE(written) << written.error().to_string();
  ASSERT_THAT(*written, SizeIs(51));
  const auto stored = std::accumulate(written->begin(), written->end(), 0u,
                                      [](auto sum, const auto& outcome) { return sum + outcome.stored; });
  EXPECT_EQ(stored, 50u * 90 + 10);
  EXPECT_EQ(*target->row_count(readings()), stored);
}

TEST_F(write_test, keys_that_differ_in_letter_case_accents_or_trailing_space_are_different) {
  auto target = prepared();
  const std::vector<std::string> devices{"a", "A", "a ", " a", "\xc3\xa4", "a\xcc\x88", "ss", "\xc3\x9f", ""};
  std::vector<reading> rows;
  for (const auto& device : devices)
    rows.push_back({.time = 1, .device = device});
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{static_cast<std::uint32_t>(devices.size()), 0, 0}));
}

TEST_F(write_test, with_update_and_no_order_the_last_to_arrive_wins) {
  auto target = prepared(updated());
  write_one(*target, *frame_of({{.time = 1, .battery = 10}, {.time = 2, .battery = 20}, {.time = 1, .battery = 11}}));
  EXPECT_EQ(battery_at(1), "11");
  EXPECT_EQ(write_one(*target, *frame_of({{.time = 1, .battery = 5}})), (frame_outcome{1, 0, 0}));
  EXPECT_EQ(battery_at(1), "5");
  EXPECT_EQ(battery_at(2), "20");
  EXPECT_EQ(*target->row_count(readings()), 2u);
}

TEST_F(write_test, with_update_and_an_order_the_newest_wins_whenever_it_comes) {
  auto target = prepared(updated("temperature"));
  const auto at = [](double order, std::int64_t battery) {
    return reading{.time = 1, .battery = battery, .temperature = order};
  };
  write_one(*target, *frame_of({at(2, 20), at(5, 50), at(3, 30)}));
  EXPECT_EQ(battery_at(1), "50");
  EXPECT_EQ(write_one(*target, *frame_of({at(4, 40)})), (frame_outcome{0, 1, 0}));
  EXPECT_EQ(write_one(*target, *frame_of({at(5, 51)})), (frame_outcome{0, 1, 0})) << "as new as the one there";
  EXPECT_EQ(battery_at(1), "50");
  EXPECT_EQ(write_one(*target, *frame_of({at(6, 60)})), (frame_outcome{1, 0, 0}));
  EXPECT_EQ(battery_at(1), "60");
  write_one(*target, *frame_of({at(7, 70), at(7, 71)}));
  EXPECT_EQ(battery_at(1), "70") << "of two that are as new, the first stays, in one batch as across batches";
}

TEST_F(write_test, updates_of_many_keys_in_random_order_end_with_the_newest_of_each) {
  auto target = prepared(updated("temperature"));
  std::vector<reading> rows;
  for (std::int64_t key = 0; key < 40; ++key)
    for (std::int64_t version = 0; version < 25; ++version)
      rows.push_back({.time = key, .battery = version, .temperature = static_cast<double>(version)});
  std::shuffle(rows.begin(), rows.end(), std::mt19937{7});
  for (std::size_t first = 0; first < rows.size(); first += 250)
    write_one(*target, *frame_of({rows.begin() + static_cast<std::ptrdiff_t>(first),
                                  rows.begin() + static_cast<std::ptrdiff_t>(first) + 250}));
  EXPECT_EQ(other().ask("SELECT count(*) FROM readings WHERE battery = 24"), "40");
  EXPECT_EQ(*target->row_count(readings()), 40u);
}

TEST_F(write_test, one_row_of_5000_that_a_constraint_refuses_becomes_a_dead_letter_and_the_rest_is_stored) {
  prepared();
  other().refuse_negative_batteries();
  auto target = prepared();
  auto rows = series(0, 5'000);
  rows[3'456].battery = -1;
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{4'999, 0, 1}));
  const auto refused = letters(*target);
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_EQ(refused[0].code, errc::row_refused);
  EXPECT_EQ(refused[0].payload, payload_of(rows[3'456]));
  EXPECT_EQ(refused[0].topic, "devices/device-1");
  EXPECT_EQ(refused[0].first_seen, wall_time{std::chrono::microseconds{1000 + 3'456}});
  EXPECT_EQ(*target->row_count(readings()), 4'999u);
}

TEST_F(write_test, a_refused_row_without_its_message_is_an_error_and_nothing_is_stored_before_it_comes) {
  prepared();
  other().refuse_negative_batteries();
  auto target = prepared();
  auto rows = series(0, 200);
  EXPECT_EQ(write_one(*target, *frame_of(rows, false)), (frame_outcome{200, 0, 0}));
  rows = series(200, 200);
  rows[150].battery = -1;
  const auto without = frame_of(rows, false);
  const auto refused = write(*target, {without.get()});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::row_refused);
  EXPECT_EQ(*target->row_count(readings()), 200u);
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{199, 0, 1}));
  EXPECT_EQ(letters(*target).at(0).payload, payload_of(rows[150]));
}

TEST_F(write_test, refused_rows_at_the_ends_and_in_a_row_are_all_found) {
  prepared();
  other().refuse_negative_batteries();
  auto target = prepared();
  auto rows = series(0, 400);
  for (const auto at : {0u, 1u, 2u, 199u, 200u, 398u, 399u})
    rows[at].battery = -1;
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{393, 0, 7}));
}

TEST_F(write_test, a_value_that_is_too_long_refuses_its_row_alone) {
  prepared();
  other().refuse_long_notes();
  auto target = prepared();
  auto rows = series(0, 300);
  for (auto& row : rows)
    row.note = "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac 14 more: +++"; // 20 characters
  rows[17].note = "this one has 21 chars";
  rows[18].note = "only spaces too many ";
  EXPECT_EQ(write_one(*target, *frame_of(rows)), (frame_outcome{298, 0, 2}));
  for (const auto& letter : letters(*target))
    EXPECT_THAT(letter.reason, HasSubstr("note"));
}

TEST_F(write_test, letters_of_the_frames_are_kept_once_and_counted) {
  auto target = prepared();
  const auto frame_with_letter = [](std::int64_t arrived) {
    record::frame_builder builder{types_of(readings())};
    builder.add_letter("some/topic", std::string{"\0\xff{", 3}, error{errc::payload_malformed, "no JSON"},
                       wall_time{std::chrono::microseconds{arrived}});
    return view(builder.seal("telemetry", 0, 1, 1), readings());
  };
  EXPECT_EQ(write_one(*target, *frame_with_letter(100)), (frame_outcome{0, 0, 1}));
  EXPECT_EQ(write_one(*target, *frame_with_letter(300)), (frame_outcome{0, 0, 1}));
  write_one(*target, *frame_with_letter(200));
  const auto kept = letters(*target);
  ASSERT_THAT(kept, SizeIs(1));
  EXPECT_EQ(kept[0].id, dead_letter_id("some/topic", std::string{"\0\xff{", 3}));
  EXPECT_EQ(kept[0].payload, (std::string{"\0\xff{", 3}));
  EXPECT_EQ(kept[0].payload_bytes, 3u);
  EXPECT_EQ(kept[0].topic, "some/topic");
  EXPECT_EQ(kept[0].reason, "no JSON");
  EXPECT_EQ(kept[0].code, errc::payload_malformed);
  EXPECT_EQ(kept[0].seen, 3u);
  EXPECT_EQ(kept[0].first_seen, wall_time{std::chrono::microseconds{100}});
  EXPECT_EQ(kept[0].last_seen, wall_time{std::chrono::microseconds{300}});
  EXPECT_EQ(*target->dead_letter_count("telemetry"), 1u);
  EXPECT_EQ(*target->dead_letter_count("another"), 0u);
}

TEST_F(write_test, a_reason_with_bytes_that_are_no_text_is_kept_as_far_as_it_is_text) {
  auto target = prepared();
  record::frame_builder builder{types_of(readings())};
  builder.add_letter("t", "p", error{errc::payload_malformed, std::string{"bad \0 byte \xff here", 17}}, wall_time{});
  EXPECT_EQ(write_one(*target, *view(builder.seal("telemetry", 0, 1, 1), readings())), (frame_outcome{0, 0, 1}));
  const auto kept = letters(*target);
  ASSERT_THAT(kept, SizeIs(1));
  EXPECT_THAT(kept[0].reason, HasSubstr("bad "));
}

TEST_F(write_test, thousands_of_letters_in_one_transaction) {
  auto target = prepared();
  record::frame_builder builder{types_of(readings())};
  for (int index = 0; index < 3'000; ++index)
    builder.add_letter("some/topic", std::to_string(index), error{errc::payload_malformed, "no JSON"}, wall_time{});
  EXPECT_EQ(write_one(*target, *view(builder.seal("telemetry", 0, 1, 1), readings())), (frame_outcome{0, 0, 3'000}));
  EXPECT_EQ(*target->dead_letter_count("telemetry"), 3'000u);
}

TEST_F(write_test, a_letter_that_is_replayed_goes_or_counts_an_attempt) {
  prepared();
  other().refuse_negative_batteries();
  auto target = prepared();
  const auto bad = frame_of({{.time = 1, .battery = -1}});
  const auto worse = frame_of({{.time = 2, .battery = -1}});
  write_one(*target, *bad);
  write_one(*target, *worse);
  const auto repaired = frame_of({{.time = 1, .battery = 1}});
  const auto id = [](std::int64_t time) { return dead_letter_id("devices/device-1", payload_of({.time = time})); };
  const std::vector<retried_letter> retried{{id(1), repaired.get()}, {id(2), worse.get()}};
  auto outcome = target->replay(retried);
  ASSERT_TRUE(outcome) << outcome.error().to_string();
  ASSERT_THAT(*outcome, SizeIs(2));
  EXPECT_FALSE(outcome->at(0));
  ASSERT_TRUE(outcome->at(1));
  EXPECT_EQ(outcome->at(1)->code, errc::row_refused);
  const auto stayed = letters(*target);
  ASSERT_THAT(stayed, SizeIs(1));
  EXPECT_EQ(stayed[0].id, id(2));
  EXPECT_EQ(stayed[0].attempts, 1u);
  EXPECT_EQ(*target->row_count(readings()), 1u);
  other().allow_negative_batteries();
}

} // namespace
} // namespace penstock::storage::test
