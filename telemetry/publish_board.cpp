#include "telemetry/publish_board.hpp"

#include <algorithm>

namespace penstock::telemetry {

publish_account& publish_account::operator+=(const publish_account& other) {
  claimed += other.claimed;
  sent += other.sent;
  refused += other.refused;
  held += other.held;
  in_flight += other.in_flight;
  return *this;
}

publish_shard_board::publish_shard_board(std::uint32_t shard) { status_.shard = shard; }

std::uint64_t publish_shard_board::begin(std::uint64_t incarnation) {
  std::lock_guard lock{mutex_};
  if (incarnation == 0)
    incarnation = ++incarnation_;
  else if (incarnation != incarnation_)
    return incarnation;
  // What was in flight is claimed anew by whoever resumes it.
  status_.account.claimed -= status_.account.in_flight;
  status_.account.in_flight = 0;
  status_.backlog = 0;
  return incarnation;
}

void publish_shard_board::apply(const publish_delta& delta, monotonic now) {
  std::lock_guard lock{mutex_};
  if (delta.incarnation != 0 && delta.incarnation != incarnation_)
    return;
  status_.account.claimed += delta.claimed;
  status_.account.sent += delta.sent;
  status_.account.refused += delta.refused;
  status_.account.held += delta.held;
  status_.account.in_flight = delta.in_flight;
  status_.reclaimed += delta.reclaimed;
  if (delta.sent > 0)
    sent_.add(delta.sent, now);
}

void publish_shard_board::backlog(std::uint64_t rows) {
  std::lock_guard lock{mutex_};
  status_.backlog = rows;
}

void publish_shard_board::lag(std::chrono::microseconds row_to_acknowledgement) {
  std::lock_guard lock{mutex_};
  status_.lag.record(static_cast<std::uint64_t>(std::max<std::int64_t>(0, row_to_acknowledgement.count())), 1);
}

void publish_shard_board::window(std::uint32_t messages) {
  std::lock_guard lock{mutex_};
  status_.window = messages;
}

void publish_shard_board::connected(bool session_present, std::uint8_t protocol) {
  std::lock_guard lock{mutex_};
  auto& connection = status_.connection;
  connection.connected = true;
  connection.session_present = session_present;
  connection.protocol = protocol;
  connection.reason.clear();
  ++connection.connects;
}

void publish_shard_board::session_lost() {
  std::lock_guard lock{mutex_};
  ++status_.connection.sessions_lost;
}

void publish_shard_board::disconnected(std::string_view reason) {
  std::lock_guard lock{mutex_};
  status_.connection.connected = false;
  status_.connection.reason = reason.empty() ? "disconnected" : reason;
  status_.window = 0;
}

publish_shard_status publish_shard_board::status(monotonic now) const {
  std::lock_guard lock{mutex_};
  auto status = status_;
  status.sent_rate = sent_.per_second(now);
  return status;
}

void publish_board::polled(std::uint64_t gaps, std::uint64_t gaps_given_up) {
  std::lock_guard lock{mutex_};
  ++status_.polls;
  status_.gaps = gaps;
  status_.gaps_given_up = gaps_given_up;
}

void publish_board::committed() {
  std::lock_guard lock{mutex_};
  ++status_.commits;
}

void publish_board::repeats_avoided(std::uint64_t rows) {
  std::lock_guard lock{mutex_};
  status_.repeats_avoided += rows;
}

void publish_board::found_late(std::uint64_t rows) {
  std::lock_guard lock{mutex_};
  status_.found_late += rows;
}

void publish_board::slot(std::string_view name, std::uint64_t lag_bytes) {
  std::lock_guard lock{mutex_};
  status_.slot = name;
  status_.slot_lag_bytes = lag_bytes;
}

void publish_board::slot_lost() {
  std::lock_guard lock{mutex_};
  ++status_.slots_lost;
}

void publish_board::paused(bool paused) {
  std::lock_guard lock{mutex_};
  paused_ = paused;
}

bool publish_board::paused() const {
  std::lock_guard lock{mutex_};
  return paused_;
}

void publish_board::paused_lastingly(bool paused) {
  std::lock_guard lock{mutex_};
  paused_lastingly_ = paused;
}

void publish_board::oldest(std::optional<wall_time> since) {
  std::lock_guard lock{mutex_};
  oldest_ = since;
}

void publish_board::tracking_rows(std::uint64_t count) {
  std::lock_guard lock{mutex_};
  status_.tracking_rows = count;
}

publish_status publish_board::status(wall_time now) const {
  std::lock_guard lock{mutex_};
  auto status = status_;
  // The clock of the database, which wrote the time, may be ahead.
  if (oldest_ && *oldest_ < now)
    status.oldest = std::chrono::duration_cast<std::chrono::milliseconds>(now - *oldest_);
  status.paused = paused_ || paused_lastingly_;
  return status;
}

} // namespace penstock::telemetry
