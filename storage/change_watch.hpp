// Says that a source table may have changed, sooner than the next poll would find out. A wake-up only: polling stays
// the truth, and nothing is lost where a wake-up is.
//
//   PostgreSQL  LISTEN on the channel "penstock", which the trigger of notify_sql() tells the table's name. Not through
//               a PgBouncer in transaction mode.
//   SQLite      inotify on the file and its -wal
//   MariaDB     none
#pragma once

#include "config/config.hpp"
#include "storage/store.hpp"

#include <functional>
#include <memory>
#include <string>

namespace penstock::storage {

/// Runs a thread of its own, which connects again by itself. Destroying it stops the thread.
class change_watch {
public:
  virtual ~change_watch() = default;
};

/// `on_change` runs on the watch's thread, at most once in 2 ms. nullptr where the database has no such thing. A
/// connection that it needs counts on the `board`, where one is given.
std::unique_ptr<change_watch> watch_changes(const config::database& database, const std::string& table,
                                            std::function<void()> on_change, const connection_board& board = {});

/// What makes a table tell of its changes; empty where nothing is needed or possible. Run it as the table's owner.
std::string notify_sql(config::database_kind kind, const std::string& table);
/// What takes that back.
std::string unnotify_sql(config::database_kind kind, const std::string& table);

} // namespace penstock::storage
