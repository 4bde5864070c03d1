#include "storage/change_stream.hpp"

#include "storage/connection.hpp"
#include "storage/key_text.hpp"
#include "storage/pgoutput.hpp"
#include "storage/postgresql_connect.hpp"
#include "storage/postgresql_handle.hpp"
#include "storage/watch_thread.hpp"

#include <openssl/ssl.h>

#include <array>
#include <chrono>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <utility>

namespace penstock::storage {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr auto confirm_every = 1s; ///< while there is something new to confirm
constexpr auto greet_every = 2s;   ///< otherwise; well within any wal_sender_timeout

// The log has a header in front of each page and a longer one in front of each file: a record ends before it, and the
// next one is said to begin behind it.
constexpr log_place page_bytes = 8'192;
constexpr log_place header_bytes_max = 40;

log_place before_header(log_place place) {
  return place % page_bytes <= header_bytes_max ? place - place % page_bytes : place;
}

/// Waits for the socket once it is asked to, and tells that there is something.
class socket_alarm final : watch_thread {
public:
  socket_alarm(int socket, std::function<void()> on_more)
    : watch_thread(std::move(on_more)), socket_(::fcntl(socket, F_DUPFD_CLOEXEC, 0)),
      asked_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    begin();
  }
  ~socket_alarm() override { end(); }

  void arm() { ::eventfd_write(asked_.get(), 1); }

private:
  void run() override {
    while (!stopping()) {
      if (!wait_for(asked_.get(), 60s))
        continue;
      eventfd_t times = 0;
      ::eventfd_read(asked_.get(), &times);
      while (!stopping() && !wait_for(socket_.get(), 60s)) {
      }
      if (!stopping())
        tell();
    }
  }

  descriptor socket_; ///< a duplicate: whoever closes the other one need not wait for the thread
  descriptor asked_;
};

void append_number(std::string& to, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8)
    to += static_cast<char>(value >> shift);
}

std::uint64_t number_at(std::string_view bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (const char byte : bytes.substr(at, 8))
    value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

/// START_REPLICATION's messages: 'w' int64 place, int64 end, int64 time, a message of the plugin; 'k' int64 end, int64
/// time, int8 an answer is wanted. Ours: 'r' int64 written, int64 flushed, int64 applied, int64 time, int8 the same.
class postgresql_stream final : public change_stream {
public:
  postgresql_stream(std::unique_ptr<connection> side, postgresql::raw_connection log,
                    std::shared_ptr<const void> counted, const slot_state& slot, bool is_new,
                    const config::publish& pipeline, std::function<void()> on_more)
    : side_(std::move(side)), log_(std::move(log)), counted_(std::move(counted)), slot_(slot.name), is_new_(is_new),
      decoder_(pipeline.table, pipeline.key), confirmed_(slot.confirmed), told_(slot.confirmed), on_more_(on_more),
      alarm_(PQsocket(log_.get()), std::move(on_more)) {}

  bool is_new() const override { return is_new_; }
  result<std::vector<event>> read(std::size_t rows_max, std::size_t bytes_max) override;
  result<void> confirm(log_place place) override;
  result<void> ask() override { return answer(true); }
  result<log_end> end() override;
  result<slot_state> slot() override { return slot_of(*side_, slot_); }

private:
  struct free_message {
    void operator()(char* message) const { PQfreemem(message); }
  };
  result<std::optional<event>> take(std::string_view message);
  result<void> answer(bool wanted);
  error lost() const;
  bool has_more() const;

  std::unique_ptr<connection> side_; ///< for questions, since the other one is in the middle of its stream
  postgresql::raw_connection log_;
  std::shared_ptr<const void> counted_; ///< `log_`, on the board
  std::string slot_;
  bool is_new_;
  postgresql::pgoutput decoder_;
  log_place confirmed_; ///< the server begins to look further back, and would go back with us
  log_place told_;      ///< of it, the server
  clock::time_point told_at_;
  bool answer_now_ = false;
  std::function<void()> on_more_;
  socket_alarm alarm_;
};

error postgresql_stream::lost() const {
  return {errc::connection_lost, postgresql::failure_text("replication slot " + slot_, PQerrorMessage(log_.get()))};
}

bool postgresql_stream::has_more() const {
  // TLS may hold what the socket no longer has.
  auto* const tls = static_cast<SSL*>(PQsslStruct(log_.get(), "OpenSSL"));
  if (tls != nullptr && SSL_pending(tls) > 0)
    return true;
  pollfd socket{.fd = PQsocket(log_.get()), .events = POLLIN, .revents = 0};
  return ::poll(&socket, 1, 0) > 0;
}

result<std::optional<change_stream::event>> postgresql_stream::take(std::string_view message) {
  if (message.size() >= 18 && message.front() == 'k') {
    answer_now_ = answer_now_ || message[17] != 0;
    event reached;
    reached.place = number_at(message, 1);
    return std::optional{std::move(reached)};
  }
  constexpr std::size_t header = 25;
  if (message.size() < header || message.front() != 'w')
    return std::optional<event>{};
  auto said = decoder_.read(message.substr(header), number_at(message, 1));
  if (!said)
    return said.error();
  if (!*said)
    return std::optional<event>{};
  event made;
  const bool commits = (*said)->what == postgresql::pgoutput::event::kind::commit;
  made.what = commits ? event::kind::commit : event::kind::change;
  made.place = (*said)->end;
  made.row = std::move((*said)->row);
  return std::optional{std::move(made)};
}

result<std::vector<change_stream::event>> postgresql_stream::read(std::size_t rows_max, std::size_t bytes_max) {
  std::vector<event> events;
  std::size_t rows = 0;
  std::size_t bytes = 0;
  while (rows < rows_max && bytes < bytes_max) {
    char* raw = nullptr;
    const int size = PQgetCopyData(log_.get(), &raw, 1);
    const std::unique_ptr<char, free_message> message{raw};
    if (size < 0) // the server ends, or has thrown us out
      return lost();
    if (size == 0) {
      if (!has_more())
        break;
      if (PQconsumeInput(log_.get()) != 1)
        return lost();
      continue;
    }
    bytes += static_cast<std::size_t>(size);
    auto taken = take({message.get(), static_cast<std::size_t>(size)});
    if (!taken)
      return taken.error();
    if (!*taken)
      continue;
    rows += (*taken)->what == event::kind::change ? 1 : 0;
    events.push_back(*std::move(*taken));
  }
  if (rows < rows_max && bytes < bytes_max)
    alarm_.arm();
  else
    on_more_(); // libpq may have it already, and the socket nothing
  return events;
}

result<void> postgresql_stream::answer(bool wanted) {
  std::string message = "r";
  for (int each = 0; each < 3; ++each)
    append_number(message, confirmed_);
  const auto now = wall_now().time_since_epoch().count() - postgresql::epoch_microseconds;
  append_number(message, static_cast<std::uint64_t>(now));
  message += wanted ? '\1' : '\0';
  if (PQputCopyData(log_.get(), message.data(), static_cast<int>(message.size())) < 0 || PQflush(log_.get()) < 0)
    return lost();
  told_ = confirmed_;
  told_at_ = clock::now();
  answer_now_ = false;
  return {};
}

result<void> postgresql_stream::confirm(log_place place) {
  confirmed_ = std::max(confirmed_, place);
  const auto since = clock::now() - told_at_;
  if (!answer_now_ && since < (confirmed_ > told_ ? confirm_every : greet_every))
    return {};
  return answer(false);
}

result<log_end> postgresql_stream::end() {
  log_end now;
  auto read = side_->read("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint,"
                          " pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint",
                          [&](auto row) {
                            now.written = before_header(number_of<log_place>(row[0].text));
                            now.flushed = before_header(number_of<log_place>(row[1].text));
                          });
  if (!read)
    return read.error();
  return now;
}

/// Begins to stream from the confirmed position on.
result<postgresql::raw_connection> start_stream(const config::database& database, const std::string& slot,
                                                const std::string& publication) {
  auto log = postgresql::connect_to_log(database);
  if (!log)
    return log;
  postgresql::handle commands{log->get(), database.statement_timeout};
  auto started = commands.start_copy("START_REPLICATION SLOT " + postgresql::identifier(slot) +
                                     " LOGICAL 0/0 (proto_version '1', publication_names " +
                                     postgresql::literal(postgresql::identifier(publication)) + ")");
  if (!started)
    return started.error();
  PQsetnonblocking(log->get(), 1);
  return log;
}

} // namespace

result<std::unique_ptr<change_stream>> open_changes(const config::database& database, const config::publish& pipeline,
                                                    const std::string& installation, std::function<void()> on_more,
                                                    const connection_board& board) {
  if (auto ready = check_logical(database, pipeline); !ready)
    return ready.error();
  auto side = open_connection(database, access::read_write, board);
  if (!side)
    return side.error();
  const auto slot = slot_name(installation, pipeline.name);
  auto is_new = make_slot(**side, slot);
  if (!is_new)
    return is_new.error();
  // A process that was fenced off may not know it yet. Where it cannot be ended, the slot stays in use for now.
  static_cast<void>((*side)->read(
    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = " + postgresql::literal(slot) +
      " AND active_pid IS NOT NULL",
    [](auto) {}));
  auto log = start_stream(database, slot, publication_name(pipeline.name));
  if (!log)
    return log.error();
  auto state = slot_of(**side, slot);
  if (!state)
    return state.error();
  return std::unique_ptr<change_stream>{std::make_unique<postgresql_stream>(*std::move(side), *std::move(log),
                                                                            board ? board->opened() : nullptr, *state,
                                                                            *is_new, pipeline, std::move(on_more))};
}

} // namespace penstock::storage
