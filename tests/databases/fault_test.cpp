// Servers that die, and networks that lose what they are given. SQLite has neither.
#include "fixture.hpp"

#include <thread>

namespace penstock::storage::test {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

class fault_test : public database_test {
public:
  void SetUp() override {
    through_ = database_through_network();
    if (!through_)
      GTEST_SKIP() << "no network between";
    through_->busy_timeout = 1s;
    through_->statement_timeout = 2s;
    through_->connect_timeout = 2s;
  }
  void TearDown() override {
    if (through_)
      make_fault("forward");
  }

  std::unique_ptr<store> prepared_through() const {
    auto made = opened(*through_);
    auto ready = made->prepare(readings());
    EXPECT_TRUE(ready) << ready.error().to_string();
    return made;
  }

  /// Runs a call that must fail within a time, and returns why it does.
  template <class Call>
  static error failure_within(std::chrono::milliseconds limit, const Call& call) {
    const auto before = std::chrono::steady_clock::now();
    auto done = call();
    EXPECT_LE(std::chrono::steady_clock::now() - before, limit);
    EXPECT_FALSE(done);
    return done ? error{} : done.error();
  }

  /// Opens until it works again. A PgBouncer that could not log in tries it again after 15 s, and refuses until then.
  std::unique_ptr<store> opened_again() const {
    for (const auto began = std::chrono::steady_clock::now(); std::chrono::steady_clock::now() - began < 60s;) {
      auto made = open(*through_);
      if (made && (*made)->prepare(readings()))
        return std::move(*made);
      EXPECT_EQ(made ? disposition::retry : disposition_of(made.error().code), disposition::retry)
        << made.error().to_string();
      std::this_thread::sleep_for(50ms);
    }
    ADD_FAILURE() << "it never works again";
    return nullptr;
  }

  std::optional<config::database> through_;
};

// What a write, a question and a log-in may take: statement_timeout or connect_timeout, and the margin.
constexpr auto call_limit = 4s;

TEST_F(fault_test, a_network_that_swallows_everything_is_noticed_and_nothing_is_lost) {
  auto target = prepared_through();
  write_one(*target, *frame_of(series(0, 10)));
  const auto frame = frame_of(series(5, 10));
  make_fault("swallow");
  const auto failed = failure_within(call_limit, [&] { return write(*target, {frame.get()}); });
  EXPECT_EQ(failed.code, errc::timed_out) << failed.to_string();
  EXPECT_THAT(failed.message, HasSubstr("did not answer"));
  target.reset();
  const auto refused = failure_within(call_limit, [&] { return open(*through_); });
  EXPECT_EQ(refused.code, errc::timed_out) << refused.to_string();
  make_fault("forward");
  target = opened_again();
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{5, 5, 0}));
}

TEST_F(fault_test, a_question_that_is_never_answered_is_noticed) {
  auto target = prepared_through();
  make_fault("swallow");
  const auto failed = failure_within(call_limit, [&] { return target->ping(); });
  EXPECT_EQ(failed.code, errc::timed_out) << failed.to_string();
}

TEST_F(fault_test, a_reading_that_stops_in_the_middle_is_noticed_but_one_that_goes_on_for_long_is_not) {
  auto target = prepared_through();
  auto rows = series(0, 20'000);
  for (auto& row : rows) // 15 MB, so that they do not all wait in the buffers of the network
    for (row.device.clear(); row.device.size() < 3 * 250;)
      row.device += "\xe2\x82\xac";
  write_one(*target, *frame_of(rows));
  std::size_t visited = 0;
  const auto slow = target->for_each_key(readings(), [&](const key_text&) {
    if (++visited % 5'000 == 3)
      std::this_thread::sleep_for(1'200ms);
    return true;
  });
  EXPECT_TRUE(slow) << slow.error().to_string();
  visited = 0;
  const auto failed = failure_within(call_limit, [&] {
    return target->for_each_key(readings(), [&](const key_text&) {
      if (++visited == 100)
        make_fault("swallow");
      return true;
    });
  });
  EXPECT_EQ(failed.code, errc::timed_out) << failed.to_string();
  EXPECT_LT(visited, 20'000u);
}

TEST_F(fault_test, a_network_that_stalls_for_less_than_the_limit_does_no_harm) {
  auto target = prepared_through();
  const auto frame = frame_of(series(0, 3'000));
  make_fault("stall");
  std::jthread later{[] {
    std::this_thread::sleep_for(700ms);
    make_fault("forward");
  }};
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{3'000, 0, 0}));
  later.join();
}

TEST_F(fault_test, a_connection_that_is_cut_is_lost_and_the_next_one_works) {
  auto target = prepared_through();
  const auto frame = frame_of(series(0, 10));
  make_fault("cut");
  const auto failed = failure_within(call_limit, [&] { return write(*target, {frame.get()}); });
  EXPECT_EQ(failed.code, errc::connection_lost) << failed.to_string();
  make_fault("refuse");
  const auto refused = failure_within(call_limit, [&] { return open(*through_); });
  EXPECT_EQ(refused.code, errc::connection_refused) << refused.to_string();
  make_fault("forward");
  EXPECT_EQ(write_one(*opened_again(), *frame), (frame_outcome{10, 0, 0}));
}

TEST_F(fault_test, a_server_that_is_killed_loses_nothing_that_was_committed) {
  auto target = prepared_through();
  write_one(*target, *frame_of(series(0, 100)));
  const auto frame = frame_of(series(50, 100));
  make_fault("kill");
  const auto failed = failure_within(call_limit, [&] { return write(*target, {frame.get()}); });
  // A PgBouncer waits for the server to come back.
  EXPECT_THAT(failed.code, AnyOf(errc::connection_lost, errc::database_unavailable, errc::timed_out))
    << failed.to_string();
  const auto refused = failure_within(call_limit, [&] { return open(*through_); });
  EXPECT_EQ(disposition_of(refused.code), disposition::retry) << refused.to_string();
  make_fault("start");
  target = opened_again();
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{50, 50, 0}));
}

TEST_F(fault_test, a_server_that_is_stopped_in_mid_load_keeps_each_row_once) {
  auto target = prepared_through();
  std::jthread operator_at_work{[] {
    std::this_thread::sleep_for(100ms);
    make_fault("stop");
    make_fault("start");
  }};
  std::int64_t next = 0;
  int failures = 0;
  bool unknown = false; // whether the last batch is stored: it is written again
  // At least as many batches as it takes until the fault has come and gone.
  for (int batches = 0; batches < 60 || failures == 0 || unknown;) {
    const auto frame = frame_of(series(next, 100));
    auto written = write(*target, {frame.get()});
    unknown = !written;
    if (written) {
      next += 90; // ten of them come again in the next
      ++batches;
      continue;
    }
    ASSERT_EQ(disposition_of(written.error().code), disposition::retry) << written.error().to_string();
    ++failures;
    target = opened_again();
    ASSERT_TRUE(target);
  }
  operator_at_work.join();
  EXPECT_EQ(*opened_again()->row_count(readings()), static_cast<std::uint64_t>(next + 10));
}

} // namespace
} // namespace penstock::storage::test
