#include "storage/letter_file.hpp"
#include "tests/unit/storage/fixture.hpp"

#include <fstream>

namespace penstock::storage::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

dead_letter letter(const std::string& id, std::uint64_t seen = 1) {
  return {.id = id,
          .pipeline = "telemetry",
          .topic = "a/b",
          .payload = std::string("\0\xff\n\"", 4),
          .payload_bytes = 4,
          .code = errc::row_refused,
          .reason = "no",
          .first_seen = wall_time{std::chrono::microseconds{1}},
          .last_seen = wall_time{std::chrono::microseconds{2}},
          .seen = seen,
          .attempts = 0};
}

struct letter_file_test : testing::Test {
  temporary_directory directory;
  std::filesystem::path path = directory.file("letters/dead");
  letter_file file{path, 1'000};

  std::map<std::string, dead_letter> read() {
    auto content = file.read();
    EXPECT_TRUE(content);
    return content->letters;
  }
  void put(const dead_letter& one) { EXPECT_TRUE(file.put({&one, 1})); }
};

TEST_F(letter_file_test, keeps_what_is_put_into_it_the_last_of_an_id_and_forgets_what_is_gone) {
  EXPECT_THAT(read(), IsEmpty());
  put(letter("one"));
  put(letter("two"));
  put(letter("one", 7));
  const auto found = read();
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found.at("one").seen, 7u);
  EXPECT_EQ(found.at("one").payload, letter("one").payload);
  const std::string gone = "two";
  ASSERT_TRUE(file.remove({&gone, 1}));
  EXPECT_THAT(read(), SizeIs(1));
}

TEST_F(letter_file_test, a_damaged_or_cut_line_is_skipped_and_counted_and_the_next_one_is_whole) {
  put(letter("one"));
  {
    std::ofstream more{path, std::ios::app};
    more << "00000000 {\"id\":\"damaged\"}\nffff";
  }
  put(letter("two"));
  auto content = file.read();
  ASSERT_TRUE(content);
  EXPECT_THAT(content->letters, SizeIs(2));
  EXPECT_EQ(content->damaged, 2u);
}

TEST_F(letter_file_test, is_rotated_at_its_limit_and_still_read_whole) {
  for (int number = 0; number < 12; ++number)
    put(letter("id-" + std::to_string(number)));
  EXPECT_TRUE(std::filesystem::exists(path.string() + ".1"));
  EXPECT_TRUE(std::filesystem::exists(path.string() + ".2"));
  EXPECT_LE(std::filesystem::file_size(path), 1'000u);
  EXPECT_THAT(read(), SizeIs(12));
}

TEST_F(letter_file_test, a_place_that_cannot_be_written_is_named) {
  letter_file nowhere{"/proc/penstock/letters", 1'000};
  const auto one = letter("one");
  const auto put = nowhere.put({&one, 1});
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, errc::database_unavailable);
  EXPECT_THAT(put.error().message, HasSubstr("/proc/penstock/letters"));
}

/// A database that takes rows and refuses dead letters.
struct refused_letters : storage_test {
  config::dead_letters letters;
  std::unique_ptr<store> target;

  void SetUp() override {
    letters.file = std::filesystem::path{settings().address.path}.replace_filename("letters");
    auto made = open(settings(), access::read_write, letters);
    ASSERT_TRUE(made);
    target = *std::move(made);
    ASSERT_TRUE(target->prepare(readings()));
    other().run(
      "CREATE TRIGGER no_letters BEFORE INSERT ON penstock_dead_letters BEGIN SELECT RAISE(ABORT, 'no'); END;"
      "CREATE TRIGGER no_zero BEFORE INSERT ON readings WHEN new.battery = 0 BEGIN SELECT RAISE(ABORT, 'zero');"
      " END");
  }
  dead_letter_filter all() const { return {.pipeline = "telemetry", .id = std::nullopt}; }
};

TEST_F(refused_letters, go_to_the_file_and_hold_up_nothing) {
  const auto frame = frame_of({{.time = 1}, {.time = 2, .battery = 0}, {.time = 3}});
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{2, 0, 1}));
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{0, 2, 1})); // delivered again
  const auto listed = target->dead_letters(all());
  ASSERT_TRUE(listed);
  ASSERT_THAT(*listed, SizeIs(1));
  EXPECT_EQ(listed->at(0).seen, 2u);
  EXPECT_THAT(listed->at(0).reason, HasSubstr("zero"));
  EXPECT_EQ(*target->dead_letter_count("telemetry"), 1u);
}

TEST_F(refused_letters, are_replayed_from_the_file_and_then_gone) {
  write_one(*target, *frame_of({{.time = 2, .battery = 0}}));
  const auto id = target->dead_letters(all())->at(0).id;
  const auto still_bad = frame_of({{.time = 2, .battery = 0}});
  const retried_letter again{id, still_bad.get()};
  auto tried = target->replay({&again, 1});
  ASSERT_TRUE(tried);
  EXPECT_TRUE(tried->at(0).has_value());
  EXPECT_EQ(target->dead_letters(all())->at(0).attempts, 1u);
  const auto repaired = frame_of({{.time = 2, .battery = 1}});
  const retried_letter good{id, repaired.get()};
  tried = target->replay({&good, 1});
  ASSERT_TRUE(tried);
  EXPECT_FALSE(tried->at(0).has_value());
  EXPECT_THAT(*target->dead_letters(all()), IsEmpty());
  EXPECT_EQ(*target->row_count(readings()), 1u);
}

TEST_F(refused_letters, stop_the_pipeline_where_there_is_no_file) {
  auto without = prepared();
  const auto frame = frame_of({{.time = 2, .battery = 0}});
  const auto written = write(*without, {frame.get()});
  ASSERT_FALSE(written);
  EXPECT_EQ(disposition_of(written.error().code), disposition::fatal);
  EXPECT_THAT(written.error().message, HasSubstr("dead_letters.file"));
}

} // namespace
} // namespace penstock::storage::test
