#include "fixture.hpp"

#include <cerrno>

namespace penstock::storage::test {
namespace {

using testing::HasSubstr;

/// Letters of readings that were refused as long as `battery` was below zero.
class replay_test : public storage_test {
public:
  replay_test() {
    other().run("CREATE TABLE readings(time BIGINT NOT NULL, device TEXT NOT NULL, battery BIGINT, temperature REAL,"
                " PRIMARY KEY(time, device));"
                "CREATE TRIGGER guard BEFORE INSERT ON readings WHEN new.battery < 0 BEGIN"
                " SELECT RAISE(ABORT, 'battery below zero'); END");
    target_ = prepared();
    const auto frame = frame_of(refused());
    EXPECT_EQ(write_one(*target_, *frame), (frame_outcome{0, 0, 3}));
  }

  static std::vector<reading> refused() {
    return {{.time = 0, .battery = -1}, {.time = 1, .battery = -1}, {.time = 2, .battery = -1}};
  }
  static std::string id_of(std::int64_t time) {
    return dead_letter_id("devices/device-1", "payload at " + std::to_string(time));
  }

  /// The refused ones as they are.
  result<std::vector<std::optional<error>>> replay_all() {
    std::vector<std::unique_ptr<record::frame_view>> messages;
    std::vector<retried_letter> letters;
    for (const auto& reading : refused()) {
      messages.push_back(frame_of({reading}));
      letters.push_back({id_of(reading.time), messages.back().get()});
    }
    return target_->replay(letters);
  }

  dead_letter letter(const std::string& id) {
    auto found = target_->dead_letters({.pipeline = "telemetry", .id = id});
    EXPECT_TRUE(found && found->size() == 1);
    return found && found->size() == 1 ? found->front() : dead_letter{};
  }
  std::uint64_t rows() { return *target_->row_count(readings()); }
  std::uint64_t letters() { return *target_->dead_letter_count("telemetry"); }

  std::unique_ptr<store> target_;
};

TEST_F(replay_test, rows_are_stored_and_their_letters_go) {
  other().run("DROP TRIGGER guard");
  auto replayed = replay_all();
  ASSERT_TRUE(replayed) << replayed.error().to_string();
  EXPECT_EQ(replayed->size(), 3u);
  for (const auto& stays : *replayed)
    EXPECT_FALSE(stays);
  EXPECT_EQ(rows(), 3u);
  EXPECT_EQ(letters(), 0u);
}

TEST_F(replay_test, a_row_that_is_there_already_lets_its_letter_go) {
  write_one(*target_, *frame_of({{.time = 1, .battery = 7}}));
  const auto message = frame_of({{.time = 1, .battery = 8}});
  const retried_letter repaired{id_of(1), message.get()};
  auto replayed = target_->replay({&repaired, 1});
  ASSERT_TRUE(replayed);
  EXPECT_FALSE(replayed->front());
  EXPECT_EQ(letters(), 2u);
  EXPECT_EQ(other().ask("SELECT battery FROM readings"), "7");
}

TEST_F(replay_test, one_that_is_refused_again_stays_with_what_is_wrong_now_and_the_others_go) {
  other().run("DROP TRIGGER guard; CREATE TRIGGER guard BEFORE INSERT ON readings WHEN new.time = 1 BEGIN"
              " SELECT RAISE(ABORT, 'no time for that'); END");
  auto replayed = replay_all();
  ASSERT_TRUE(replayed) << replayed.error().to_string();
  EXPECT_FALSE(replayed->at(0));
  ASSERT_TRUE(replayed->at(1));
  EXPECT_FALSE(replayed->at(2));
  EXPECT_EQ(replayed->at(1)->code, errc::row_refused);
  EXPECT_EQ(rows(), 2u);
  EXPECT_EQ(letters(), 1u);
  const auto stays = letter(id_of(1));
  EXPECT_EQ(stays.attempts, 1u);
  EXPECT_EQ(stays.seen, 1u);
  EXPECT_EQ(stays.payload, "payload at 1");
  EXPECT_THAT(stays.reason, HasSubstr("no time for that"));
}

TEST_F(replay_test, one_that_cannot_be_decoded_stays_with_the_new_reason) {
  record::frame_builder builder{types_of(readings())};
  builder.add_letter("devices/device-1", "payload at 2", {errc::field_missing, "no time"}, {});
  const auto message = view(builder.seal("telemetry", 0, 1, 1));
  const retried_letter again{id_of(2), message.get()};
  auto replayed = target_->replay({&again, 1});
  ASSERT_TRUE(replayed);
  EXPECT_EQ(replayed->front(), (error{errc::field_missing, "no time"}));
  const auto stays = letter(id_of(2));
  EXPECT_EQ(stays.code, errc::field_missing);
  EXPECT_EQ(stays.reason, "no time");
  EXPECT_EQ(stays.attempts, 1u);
}

TEST_F(replay_test, a_repair_that_fails_leaves_the_reason_of_the_letter_that_is_kept) {
  record::frame_builder builder{types_of(readings())};
  builder.add_letter("devices/device-1", "a repair", {errc::field_missing, "no time"}, {});
  const auto message = view(builder.seal("telemetry", 0, 1, 1));
  const retried_letter again{id_of(2), message.get()};
  auto replayed = target_->replay({&again, 1});
  ASSERT_TRUE(replayed);
  EXPECT_EQ(replayed->front(), (error{errc::field_missing, "no time"}));
  EXPECT_EQ(letters(), 3u) << "the repair is no letter of its own";
  const auto stays = letter(id_of(2));
  EXPECT_EQ(stays.code, errc::row_refused);
  EXPECT_THAT(stays.reason, HasSubstr("battery below zero"));
  EXPECT_EQ(stays.attempts, 1u);
}

TEST_F(replay_test, a_letter_that_cannot_be_deleted_takes_its_row_back) {
  other().run("DROP TRIGGER guard; CREATE TRIGGER keep BEFORE DELETE ON penstock_dead_letters WHEN old.hash = '" +
              id_of(2) + "' BEGIN SELECT RAISE(ABORT, 'kept'); END");
  auto replayed = replay_all();
  ASSERT_FALSE(replayed);
  EXPECT_THAT(replayed.error().message, testing::Not(HasSubstr(id_of(2)))) << "no values in a message";
  EXPECT_EQ(rows(), 0u);
  EXPECT_EQ(letters(), 3u);
  EXPECT_EQ(letter(id_of(0)).attempts, 0u);
  other().run("DROP TRIGGER keep");
  ASSERT_TRUE(replay_all());
  EXPECT_EQ(rows(), 3u);
}

TEST_F(replay_test, a_commit_that_fails_undoes_rows_deletions_and_attempts) {
  other().run("DROP TRIGGER guard; CREATE TRIGGER guard BEFORE INSERT ON readings WHEN new.time = 1 BEGIN"
              " SELECT RAISE(ABORT, 'no'); END");
  {
    const failing_writes full{ENOSPC};
    auto replayed = replay_all();
    ASSERT_FALSE(replayed);
    EXPECT_EQ(replayed.error().code, errc::database_full) << replayed.error().to_string();
  }
  EXPECT_EQ(rows(), 0u);
  EXPECT_EQ(letters(), 3u);
  EXPECT_EQ(letter(id_of(1)).attempts, 0u);
  auto replayed = replay_all();
  ASSERT_TRUE(replayed) << replayed.error().to_string();
  EXPECT_EQ(rows(), 2u);
  EXPECT_EQ(letters(), 1u);
}

TEST_F(replay_test, a_lock_held_elsewhere_is_busy_and_changes_nothing) {
  auto locker = other();
  locker.run("BEGIN IMMEDIATE");
  EXPECT_EQ(replay_all().error().code, errc::database_busy);
  locker.run("ROLLBACK");
  EXPECT_EQ(letter(id_of(0)).attempts, 0u);
}

TEST_F(replay_test, letters_of_another_pipeline_are_left_alone) {
  other().run(
    "DROP TRIGGER guard; INSERT INTO penstock_dead_letters SELECT 'other', hash, topic, payload, code, reason,"
    " first_seen, last_seen, seen, attempts FROM penstock_dead_letters");
  ASSERT_TRUE(replay_all());
  EXPECT_EQ(letters(), 0u);
  EXPECT_EQ(*target_->dead_letter_count("other"), 3u);
}

} // namespace
} // namespace penstock::storage::test
