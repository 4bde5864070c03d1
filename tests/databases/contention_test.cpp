// Several connections at work in one table.
#include "fixture.hpp"
#include "storage/cluster_state.hpp"
#include "storage/connection.hpp"
#include "storage/tracking.hpp"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>

namespace penstock::storage::test {
namespace {

class contention_test : public database_test {
public:
  /// Writes as the batch-writer does: again, until it is done. Returns what was stored, or nothing on another error.
  static std::optional<std::uint32_t> write_until_done(store& to, const record::frame_view& frame,
                                                       std::atomic<int>& retries) {
    for (int times = 0; times < 200; ++times) {
      auto written = write(to, {&frame});
      if (written)
        return written->at(0).stored;
      EXPECT_EQ(written.error().code, errc::database_busy) << written.error().to_string();
      if (written.error().code != errc::database_busy)
        return std::nullopt;
      ++retries;
      std::this_thread::sleep_for(std::chrono::milliseconds{1 + times});
    }
    return std::nullopt;
  }
};

TEST_F(contention_test, a_row_that_another_program_holds_is_busy_in_time_and_then_works) {
  auto target = prepared();
  write_one(*target, *frame_of({{.time = 1}}));
  other().session().begin();
  other().run("UPDATE readings SET battery = 60");
  const auto frame = frame_of(series(0, 10));
  const auto before = std::chrono::steady_clock::now();
  auto failed = write(*target, {frame.get()});
  const auto waited = std::chrono::steady_clock::now() - before;
  other().session().rollback();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, errc::database_busy) << failed.error().to_string();
  EXPECT_GE(waited, settings().busy_timeout - 100ms);
  EXPECT_LE(waited, settings().busy_timeout + 3s);
  EXPECT_EQ(write_one(*target, *frame), (frame_outcome{9, 1, 0}));
}

TEST_F(contention_test, a_transaction_that_hangs_is_ended_by_the_server) {
  if (kind() == database_kind::sqlite)
    GTEST_SKIP() << "there is no server";
  auto target = prepared();
  write_one(*target, *frame_of({{.time = 1}}));
  auto impatient = settings();
  impatient.transaction_idle_max = 1s;
  auto hanging = open_connection(impatient, access::read_write);
  ASSERT_TRUE(hanging);
  ASSERT_TRUE((*hanging)->begin());
  ASSERT_TRUE((*hanging)->change("UPDATE readings SET battery = 60"));
  const auto began = std::chrono::steady_clock::now();
  std::atomic<int> retries = 0;
  EXPECT_EQ(write_until_done(*target, *frame_of(series(0, 10)), retries), 9u);
  EXPECT_GE(std::chrono::steady_clock::now() - began, 500ms);
  EXPECT_LE(std::chrono::steady_clock::now() - began, 5s);
  const auto committed = (*hanging)->commit();
  ASSERT_FALSE(committed);
  EXPECT_EQ(disposition_of(committed.error().code), disposition::retry) << committed.error().to_string();
  EXPECT_EQ(other().ask("SELECT count(*) FROM readings WHERE battery = 60"), "0");
}

TEST_F(contention_test, a_change_of_tables_that_hangs_is_ended_by_the_server) {
  if (kind() == database_kind::sqlite)
    GTEST_SKIP() << "there is no server";
  auto impatient = settings();
  impatient.transaction_idle_max = 1s;
  auto hanging = open_connection(impatient, access::read_write);
  ASSERT_TRUE(hanging);
  ASSERT_TRUE((*hanging)->begin());
  ASSERT_TRUE((*hanging)->lock_schema());
  (*hanging)->session() << "CREATE TABLE half (made INT)"; // MariaDB commits it
  auto next = open_connection(settings(), access::read_write);
  ASSERT_TRUE(next);
  const auto began = std::chrono::steady_clock::now();
  bool locked = false;
  while (!locked && std::chrono::steady_clock::now() - began < 10s) {
    ASSERT_TRUE((*next)->begin());
    const auto tried = (*next)->lock_schema();
    locked = static_cast<bool>(tried);
    if (!tried) {
      EXPECT_EQ(tried.error().code, errc::database_busy) << tried.error().to_string();
    }
  }
  EXPECT_TRUE(locked);
  EXPECT_LE(std::chrono::steady_clock::now() - began, 5s);
  (*next)->roll_back();
  // What is done is done, and no longer limited.
  std::this_thread::sleep_for(1500ms);
  EXPECT_TRUE((*next)->begin());
}

TEST_F(contention_test, who_has_nothing_to_make_does_not_wait_for_who_makes_an_index) {
  if (kind() == database_kind::sqlite)
    GTEST_SKIP() << "one writes at a time";
  prepared();
  config::publish pipeline;
  pipeline.name = "P";
  const auto prepare_all = [&] {
    auto target = opened();
    EXPECT_TRUE(target->prepare(readings()));
    session_record session;
    session.client_id = session.broker = session.pipeline = "p";
    EXPECT_TRUE(target->enlist(session));
    auto made = open_tracking(settings(), pipeline);
    EXPECT_TRUE(made && (*made)->prepare());
    auto state = open_cluster_state(settings());
    EXPECT_TRUE(state && (*state)->prepare());
  };
  prepare_all();
  auto busy = open_connection(settings(), access::read_write);
  ASSERT_TRUE(busy);
  ASSERT_TRUE((*busy)->begin());
  ASSERT_TRUE((*busy)->lock_schema());
  const auto began = std::chrono::steady_clock::now();
  prepare_all();
  EXPECT_LE(std::chrono::steady_clock::now() - began, settings().busy_timeout);
  (*busy)->roll_back();
}

TEST_F(contention_test, a_deadlock_is_busy_and_works_when_it_is_tried_again) {
  auto wanted = readings();
  wanted.on_conflict = config::conflict_rule::update;
  auto target = prepared(wanted);
  write_one(*target, *frame_of(series(1, 2)));
  const auto update = [&](std::int64_t time) {
    return "UPDATE readings SET battery = 7 WHERE " + other().microseconds("time") + " = " + std::to_string(time);
  };
  other().session().begin();
  other().run(update(2));
  std::atomic<int> retries{0};
  std::optional<std::uint32_t> stored;
  std::thread writer{[&] { stored = write_until_done(*target, *frame_of(series(1, 2)), retries); }};
  std::this_thread::sleep_for(300ms); // the writer has row 1 and waits for row 2
  try {
    other().session() << update(1);
    other().session().commit();
  } catch (const soci::soci_error&) { // the other one is the victim
    other().session().rollback();
  }
  writer.join();
  EXPECT_EQ(stored, 2u);
  EXPECT_EQ(other().ask("SELECT count(*) FROM readings WHERE battery = 50"), "2");
}

TEST_F(contention_test, two_connections_that_write_the_same_keys_in_opposite_order_lose_nothing) {
  prepared();
  constexpr std::int64_t rounds = 12, rows = 300;
  std::atomic<int> retries{0};
  std::atomic<std::uint32_t> stored{0};
  std::atomic<int> failures{0};
  const auto work = [&](bool backwards) {
    auto target = prepared();
    for (std::int64_t round = 0; round < rounds; ++round) {
      // In pieces of one transaction, so that each holds some of its keys while it waits for others.
      std::vector<std::unique_ptr<record::frame_view>> frames;
      auto all = series(round * rows, rows);
      if (backwards)
        std::reverse(all.begin(), all.end());
      const auto done = write_until_done(*target, *frame_of(all), retries);
      if (done)
        stored += *done;
      else
        ++failures;
    }
  };
  std::thread forwards{work, false};
  std::thread backwards{work, true};
  forwards.join();
  backwards.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(stored, rounds * rows);
  EXPECT_EQ(*opened()->row_count(readings()), static_cast<std::uint64_t>(rounds * rows));
}

TEST_F(contention_test, two_connections_that_update_the_same_keys_in_opposite_order_end_with_the_newest) {
  auto wanted = readings();
  wanted.on_conflict = config::conflict_rule::update;
  wanted.order = "temperature";
  prepared(wanted);
  constexpr int rounds = 12;
  std::atomic<int> retries{0};
  std::atomic<int> failures{0};
  const auto work = [&](int parity) {
    auto target = prepared(wanted);
    for (int version = parity; version < 2 * rounds; version += 2) {
      auto all = series(0, 200);
      for (auto& row : all) {
        row.battery = version;
        row.temperature = version;
      }
      if (parity == 1)
        std::reverse(all.begin(), all.end());
      if (!write_until_done(*target, *frame_of(all), retries))
        ++failures;
    }
  };
  std::thread even{work, 0};
  std::thread odd{work, 1};
  even.join();
  odd.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(other().ask("SELECT count(*) FROM readings WHERE battery = " + std::to_string(2 * rounds - 1)), "200");
}

TEST_F(contention_test, letters_that_two_connections_keep_at_once_are_one_each_and_seen_by_both) {
  prepared();
  std::atomic<int> retries{0};
  const auto work = [&] {
    auto target = prepared();
    record::frame_builder builder{types_of(readings())};
    for (int index = 0; index < 200; ++index)
      builder.add_letter("t", std::to_string(index), error{errc::payload_malformed, "no JSON"}, wall_time{});
    const auto frame = view(builder.seal("telemetry", 0, 1, 1), readings());
    for (int times = 0; times < 5; ++times)
      write_until_done(*target, *frame, retries);
  };
  std::thread one{work};
  std::thread two{work};
  one.join();
  two.join();
  EXPECT_EQ(other().ask("SELECT count(*) FROM penstock_dead_letters WHERE seen = 10"), "200");
}

} // namespace
} // namespace penstock::storage::test
