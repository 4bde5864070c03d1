#include "storage/change_watch.hpp"

#include "storage/postgresql_connect.hpp"
#include "storage/postgresql_handle.hpp"
#include "storage/postgresql_schema.hpp"
#include "storage/watch_thread.hpp"

#include <soci/postgresql/soci-postgresql.h>

#include <array>
#include <chrono>
#include <sys/inotify.h>
#include <unistd.h>
#include <utility>

namespace penstock::storage {

namespace {

using namespace std::chrono_literals;

constexpr auto retry_every = 2s;

/// Each commit writes to the -wal; a checkpoint to the file.
class file_watch final : public change_watch, watch_thread {
public:
  file_watch(const std::filesystem::path& file, std::function<void()> on_change)
    : watch_thread(std::move(on_change)), file_(file.filename().string()),
      events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    ::inotify_add_watch(events_.get(), file.parent_path().c_str(), IN_MODIFY | IN_MOVED_TO | IN_CREATE);
    begin();
  }
  ~file_watch() override { end(); }

private:
  void run() override {
    alignas(inotify_event) std::array<char, 4'096> buffer{};
    while (!stopping()) {
      if (!wait_for(events_.get(), 60s))
        continue;
      bool ours = false;
      for (ssize_t bytes = 0; (bytes = ::read(events_.get(), buffer.data(), buffer.size())) > 0;)
        for (ssize_t at = 0; at < bytes;) {
          const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
          const std::string_view name = event->len > 0 ? event->name : "";
          ours = ours || name == file_ || name == file_ + "-wal";
          at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        }
      if (ours)
        tell();
    }
  }

  std::string file_;
  descriptor events_;
};

/// A pool between gives each of its clients a process id of its own making.
result<bool> is_pooled(PGconn* connection, postgresql::handle& server) {
  const auto process = server.run("SELECT pg_backend_pid()");
  if (!process)
    return process.error();
  return process->value(0, 0) != std::to_string(PQbackendPID(connection));
}

class listener final : public change_watch, watch_thread {
public:
  listener(config::database database, std::string table, std::function<void()> on_change, connection_board board)
    : watch_thread(std::move(on_change)), database_(std::move(database)), table_(std::move(table)),
      board_(std::move(board)) {
    begin();
  }
  ~listener() override { end(); }

private:
  void run() override {
    while (!stopping()) {
      auto session = postgresql::connect(database_, database_.address);
      if (session) {
        const auto counted = board_ ? board_->opened() : nullptr;
        auto* connection = static_cast<soci::postgresql_session_backend*>((*session)->get_backend())->conn_;
        postgresql::handle handle{connection, database_.statement_timeout};
        if (const auto pooled = is_pooled(connection, handle); pooled && *pooled)
          return; // the pool would listen, and go on with it for others: what is new is found by polling
        if (auto listens = handle.run("LISTEN penstock"); listens)
          listen(connection);
      }
      wait_for(-1, retry_every);
    }
  }

  /// Until the connection is lost.
  void listen(PGconn* connection) {
    tell(); // what changed before is not told any more
    while (!stopping()) {
      if (!wait_for(PQsocket(connection), 60s))
        continue;
      if (PQconsumeInput(connection) != 1)
        return;
      bool ours = false;
      while (auto* notification = PQnotifies(connection)) {
        const std::string_view name = notification->extra;
        ours = ours || name == table_ || name.ends_with("." + table_);
        PQfreemem(notification);
      }
      if (ours)
        tell();
    }
  }

  config::database database_;
  std::string table_;
  connection_board board_;
};

} // namespace

std::unique_ptr<change_watch> watch_changes(const config::database& database, const std::string& table,
                                            std::function<void()> on_change, const connection_board& board) {
  switch (database.kind) {
  case config::database_kind::sqlite: return std::make_unique<file_watch>(database.address.path, std::move(on_change));
  case config::database_kind::postgresql:
    return std::make_unique<listener>(database, table, std::move(on_change), board);
  case config::database_kind::mysql: return nullptr;
  }
  return nullptr;
}

std::string notify_sql(config::database_kind kind, const std::string& table) {
  if (kind != config::database_kind::postgresql)
    return {};
  // A statement's trigger, not a row's: one notification, however many rows; and the same one again within a
  // transaction is sent once.
  return "CREATE OR REPLACE FUNCTION penstock_notify() RETURNS trigger LANGUAGE plpgsql AS $$\n"
         "BEGIN\n"
         "  PERFORM pg_notify('penstock', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME);\n"
         "  RETURN NULL;\n"
         "END $$;\n"
         "CREATE OR REPLACE TRIGGER penstock_notify AFTER INSERT OR UPDATE ON " +
         postgresql::table_identifier(table) + "\n  FOR EACH STATEMENT EXECUTE FUNCTION penstock_notify();\n";
}

std::string unnotify_sql(config::database_kind kind, const std::string& table) {
  if (kind != config::database_kind::postgresql)
    return {};
  return "DROP TRIGGER IF EXISTS penstock_notify ON " + postgresql::table_identifier(table) + ";\n";
}

} // namespace penstock::storage
