#include "fixture.hpp"

#include <atomic>
#include <sys/syscall.h>
#include <unistd.h>

namespace {
std::atomic<int> syncs{0};
}

// Between SQLite and the C library: how often the disk is asked to keep what was written.
extern "C" int fdatasync(int file) {
  ++syncs;
  return static_cast<int>(syscall(SYS_fdatasync, file));
}
extern "C" int fsync(int file) {
  ++syncs;
  return static_cast<int>(syscall(SYS_fsync, file));
}

namespace penstock::storage::test {
namespace {

class sync_test : public storage_test {
public:
  /// Synchronisations of `commits` commits.
  int syncs_of(config::synchronous level, int commits) {
    auto made = settings();
    made.synchronous = level;
    auto target = open(made);
    EXPECT_TRUE(target);
    EXPECT_TRUE((*target)->prepare(readings()));
    // The first writes into a new WAL have synchronisations of their own.
    write_one(**target, *frame_of(series(-100, 1)));
    const int before = syncs;
    for (int time = 0; time < commits; ++time)
      write_one(**target, *frame_of(series(time, 1)));
    return syncs - before;
  }
};

TEST_F(sync_test, full_asks_the_disk_at_every_commit) { EXPECT_EQ(syncs_of(config::synchronous::full, 20), 20); }

TEST_F(sync_test, normal_asks_at_none) { EXPECT_EQ(syncs_of(config::synchronous::normal, 20), 0); }

TEST_F(sync_test, off_asks_at_none) { EXPECT_EQ(syncs_of(config::synchronous::off, 20), 0); }

TEST_F(sync_test, a_new_file_has_a_wal_and_large_pages) {
  prepared();
  EXPECT_EQ(other().ask("PRAGMA journal_mode"), "wal");
  EXPECT_EQ(other().ask("PRAGMA page_size"), "8192");
}

} // namespace
} // namespace penstock::storage::test
