#include "storage/read_ahead.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <numeric>

namespace penstock::storage {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Rows with rising ids, and what was asked for them.
struct table {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::int64_t> ids;
  std::vector<std::size_t> reads; ///< how many rows each read asked for
  std::optional<error> failure;
  std::atomic<int> users{0};

  void wait_for_reads(std::size_t count) {
    std::unique_lock lock{mutex};
    ASSERT_TRUE(changed.wait_for(lock, 10s, [&] { return reads.size() >= count; }));
  }
  void add(std::int64_t first, std::int64_t last) {
    const std::lock_guard lock{mutex};
    for (auto id = first; id <= last; ++id)
      ids.push_back(id);
  }
  std::size_t reads_done() {
    const std::lock_guard lock{mutex};
    return reads.size();
  }
};

class table_source final : public source {
public:
  explicit table_source(table& from) : from_(from) {}
  path newest() const override { return path::id; }
  void begin_behind(const std::string&) override {}
  result<std::vector<source_row>> read(path, const std::string& behind, std::size_t rows_max) override {
    EXPECT_EQ(from_.users++, 0) << "two use the connection at once";
    const std::lock_guard lock{from_.mutex};
    std::vector<source_row> rows;
    for (const auto id : from_.ids)
      if ((behind.empty() || id > std::stoll(behind)) && rows.size() < rows_max) {
        rows.emplace_back();
        rows.back().record_id = rows.back().position = std::to_string(id);
      }
    from_.reads.push_back(rows_max);
    from_.changed.notify_all();
    --from_.users;
    if (from_.failure)
      return *std::exchange(from_.failure, std::nullopt);
    return rows;
  }
  result<std::vector<source_row>> read_ids(std::span<const id_range>, std::size_t) override {
    EXPECT_EQ(from_.users, 0);
    return std::vector<source_row>{};
  }
  result<std::vector<source_row>> read_records(std::span<const std::string>) override {
    return std::vector<source_row>{};
  }
  result<std::vector<source_row>> read_changes(std::span<const changed_row>) override {
    return std::vector<source_row>{};
  }
  result<std::string> end(path) override { return std::string{}; }
  result<bool> is_before(const std::string&, const std::string&) override { return false; }
  std::string earlier(const std::string&, std::chrono::milliseconds) override { return {}; }

private:
  table& from_;
};

class read_ahead_test : public testing::Test {
public:
  std::vector<std::string> read(const std::string& behind, std::size_t rows_max) {
    auto rows = reader->read(source::path::id, behind, rows_max);
    EXPECT_TRUE(rows) << rows.error().to_string();
    std::vector<std::string> ids;
    for (const auto& row : *rows)
      ids.push_back(row.position);
    return ids;
  }
  table rows;
  std::unique_ptr<source> reader = read_ahead(std::make_unique<table_source>(rows));
};

TEST_F(read_ahead_test, reads_on_while_reads_are_full) {
  rows.add(1, 5);
  EXPECT_THAT(read("", 2), ElementsAre("1", "2"));
  rows.wait_for_reads(2);
  EXPECT_THAT(read("2", 2), ElementsAre("3", "4"));
  rows.wait_for_reads(3);
  EXPECT_THAT(read("4", 2), ElementsAre("5"));
  EXPECT_EQ(rows.reads_done(), 4u); // the last one asked whether there is more by now
  EXPECT_THAT(read("5", 2), IsEmpty());
  EXPECT_EQ(rows.reads_done(), 5u);
}

TEST_F(read_ahead_test, what_came_after_it_read_ahead_is_found_at_once) {
  rows.add(1, 3);
  EXPECT_THAT(read("", 2), ElementsAre("1", "2"));
  rows.wait_for_reads(2);
  rows.add(4, 4);
  EXPECT_THAT(read("2", 2), ElementsAre("3", "4"));
}

TEST_F(read_ahead_test, gives_as_many_as_are_asked_for) {
  rows.add(1, 10);
  EXPECT_THAT(read("", 4), ElementsAre("1", "2", "3", "4"));
  rows.wait_for_reads(2);
  EXPECT_THAT(read("4", 1), ElementsAre("5"));
  EXPECT_THAT(read("5", 2), ElementsAre("6", "7"));
  EXPECT_THAT(read("7", 3), ElementsAre("8", "9", "10"));
}

TEST_F(read_ahead_test, another_position_is_read_anew) {
  rows.add(1, 10);
  EXPECT_THAT(read("", 2), ElementsAre("1", "2"));
  EXPECT_THAT(read("7", 2), ElementsAre("8", "9"));
  EXPECT_THAT(read("2", 2), ElementsAre("3", "4"));
}

TEST_F(read_ahead_test, a_failure_is_told_to_the_read_that_it_belongs_to) {
  rows.add(1, 10);
  EXPECT_THAT(read("", 2), ElementsAre("1", "2"));
  rows.wait_for_reads(2);
  ASSERT_TRUE(reader->read_ids({}, 1));
  rows.failure = error{errc::connection_lost, "gone"};
  EXPECT_THAT(read("2", 2), ElementsAre("3", "4"));
  rows.wait_for_reads(3);
  const auto failed = reader->read(source::path::id, "4", 2);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, errc::connection_lost);
  EXPECT_THAT(read("4", 2), ElementsAre("5", "6"));
}

} // namespace
} // namespace penstock::storage
