#include "storage/mariadb_bulk.hpp"

#include "core/assert.hpp"
#include "core/hex.hpp"
#include "storage/key_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>

namespace penstock::storage::mariadb {

namespace {

// What a packet holds beside its rows, and a reserve.
constexpr std::size_t packet_overhead = 4096;

std::chrono::year_month_day date_of(std::int64_t microseconds) {
  return std::chrono::year_month_day{
    std::chrono::floor<std::chrono::days>(wall_time{std::chrono::microseconds{microseconds}})};
}

MYSQL_TIME time_of(std::int64_t microseconds) {
  const wall_time time{std::chrono::microseconds{microseconds}};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const auto of_day = static_cast<std::uint64_t>((time - day).count());
  const auto seconds = static_cast<unsigned>(of_day / 1'000'000);
  MYSQL_TIME made{};
  made.year = static_cast<unsigned>(static_cast<int>(date.year()));
  made.month = static_cast<unsigned>(date.month());
  made.day = static_cast<unsigned>(date.day());
  made.hour = seconds / 3600;
  made.minute = seconds / 60 % 60;
  made.second = seconds % 60;
  made.second_part = static_cast<unsigned long>(of_day % 1'000'000);
  made.time_type = MYSQL_TIMESTAMP_DATETIME;
  return made;
}

int number(std::string_view text, std::size_t at, std::size_t digits) {
  int value = 0;
  if (at + digits <= text.size())
    std::from_chars(text.data() + at, text.data() + at + digits, value);
  return value;
}

/// "... at row 3" counts from 1.
std::optional<std::size_t> row_of(std::string_view text) {
  constexpr std::string_view mark = "at row ";
  const auto at = text.rfind(mark);
  if (at == std::string_view::npos)
    return std::nullopt;
  std::size_t row = 0;
  const auto* begin = text.data() + at + mark.size();
  if (std::from_chars(begin, text.data() + text.size(), row).ec != std::errc{} || row == 0)
    return std::nullopt;
  return row - 1;
}

/// "Records: 4  Duplicates: 1  Warnings: 0": rows that were replaced by other values. They count twice among the
/// affected rows, rows that stay as they are not at all. After a single row there is no such text.
std::uint32_t stored_rows(std::uint64_t affected, const char* info) {
  if (info == nullptr)
    return affected > 0 ? 1 : 0;
  constexpr std::string_view mark = "Duplicates: ";
  const std::string_view text{info};
  const auto at = text.find(mark);
  assert_that(at != std::string_view::npos, "a server counts what an INSERT of several rows did");
  std::uint64_t replaced = 0;
  std::from_chars(text.data() + at + mark.size(), text.data() + text.size(), replaced);
  return static_cast<std::uint32_t>(affected - replaced);
}

} // namespace

bool is_date(std::int64_t microseconds) {
  const auto year = static_cast<int>(date_of(microseconds).year());
  return year >= 1 && year <= 9999;
}

std::int64_t microseconds_of(std::string_view text) {
  using namespace std::chrono;
  const year_month_day date{year{number(text, 0, 4)}, month{static_cast<unsigned>(number(text, 5, 2))},
                            day{static_cast<unsigned>(number(text, 8, 2))}};
  auto fraction = text.size() > 20 ? std::string{text.substr(20)} : std::string{};
  fraction.resize(6, '0');
  const auto time = sys_days{date} + hours{number(text, 11, 2)} + minutes{number(text, 14, 2)} +
                    seconds{number(text, 17, 2)} + microseconds{number(fraction, 0, 6)};
  return wall_time{time}.time_since_epoch().count();
}

std::string date_text(std::int64_t microseconds) {
  const auto time = time_of(microseconds);
  char text[64];
  std::snprintf(text, sizeof text, "%04u-%02u-%02u %02u:%02u:%02u.%06lu", time.year, time.month, time.day, time.hour,
                time.minute, time.second, time.second_part);
  return text;
}

void parameter::clear() {
  indicators_.clear();
  integers_.clear();
  reals_.clear();
  booleans_.clear();
  times_.clear();
  strings_.clear();
  lengths_.clear();
}

void parameter::add_null() {
  switch (kind_) {
  case kind::integer: add_integer(0); break;
  case kind::real: add_real(0); break;
  case kind::boolean: add_boolean(false); break;
  case kind::timestamp: add_timestamp(0); break;
  case kind::text:
  case kind::bytes: add_string({}); break;
  }
  indicators_.back() = STMT_INDICATOR_NULL;
}

void parameter::add_integer(std::int64_t value) {
  add_value();
  integers_.push_back(value);
}

void parameter::add_real(double value) {
  add_value();
  reals_.push_back(value);
}

void parameter::add_boolean(bool value) {
  add_value();
  booleans_.push_back(value ? 1 : 0);
}

void parameter::add_timestamp(std::int64_t microseconds) {
  add_value();
  times_.push_back(time_of(microseconds));
}

void parameter::add_string(std::string_view value) {
  add_value();
  strings_.push_back(value.data() ? value.data() : "");
  lengths_.push_back(value.size());
}

std::size_t parameter::packet_bytes(std::size_t row, bool as_text) const {
  switch (kind_) {
  case kind::integer:
  case kind::real: return as_text ? 33 : 9;
  case kind::boolean: return 2;
  case kind::timestamp: return as_text ? 33 : 13;
  case kind::text:
  case kind::bytes: return (as_text ? 2 * lengths_[row] : lengths_[row]) + 10;
  }
  return 0;
}

void parameter::append_literal(MYSQL* handle, std::size_t row, std::string& sql) const {
  if (indicators_[row] == STMT_INDICATOR_NULL) {
    sql += "NULL";
    return;
  }
  switch (kind_) {
  case kind::integer: append_key_text(sql, integers_[row]); break;
  case kind::real: {
    std::array<char, 40> digits{};
    const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), reals_[row], std::chars_format::scientific).ptr;
    sql.append(digits.data(), end);
    break;
  }
  case kind::boolean: sql += booleans_[row] ? '1' : '0'; break;
  case kind::timestamp: {
    const auto& time = times_[row];
    char text[64];
    std::snprintf(text, sizeof text, "'%04u-%02u-%02u %02u:%02u:%02u.%06lu'", time.year, time.month, time.day,
                  time.hour, time.minute, time.second, time.second_part);
    sql += text;
    break;
  }
  case kind::text: sql += literal(handle, {strings_[row], lengths_[row]}); break;
  case kind::bytes: sql += "X'" + to_hex({strings_[row], lengths_[row]}) + "'"; break;
  }
}

void parameter::bind(MYSQL_BIND& to, std::size_t row) {
  to = {};
  to.u.indicator = indicators_.data() + row;
  switch (kind_) {
  case kind::integer:
    to.buffer_type = MYSQL_TYPE_LONGLONG;
    to.buffer = integers_.data() + row;
    break;
  case kind::real:
    to.buffer_type = MYSQL_TYPE_DOUBLE;
    to.buffer = reals_.data() + row;
    break;
  case kind::boolean:
    to.buffer_type = MYSQL_TYPE_TINY;
    to.buffer = booleans_.data() + row;
    break;
  case kind::timestamp:
    time_addresses_.resize(times_.size());
    for (std::size_t index = row; index < times_.size(); ++index)
      time_addresses_[index] = &times_[index];
    to.buffer_type = MYSQL_TYPE_DATETIME;
    to.buffer = time_addresses_.data() + row;
    break;
  case kind::text:
  case kind::bytes:
    to.buffer_type = kind_ == kind::text ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
    to.buffer = strings_.data() + row;
    to.length = lengths_.data() + row;
    break;
  }
}

bulk_insert::bulk_insert(const server& on, insert_sql sql) : on_(on), sql_(std::move(sql)) {
  for (const auto kind : sql_.parameters)
    parameters_.emplace_back(kind);
  binds_.resize(parameters_.size());
}

result<std::unique_ptr<bulk_insert>> bulk_insert::make(const server& on, insert_sql sql) {
  auto made = std::make_unique<bulk_insert>(on, std::move(sql));
  if (on.binds_arrays)
    if (auto prepared = made->prepare(); !prepared)
      return prepared.error();
  return made;
}

result<void> bulk_insert::prepare() {
  statement_.reset(mysql_stmt_init(on_.handle.get()));
  auto* statement = statement_.get();
  assert_that(statement != nullptr, "libmariadb has memory for a statement");
  const auto sql = sql_.head + " VALUES (" + sql_.values + ") " + sql_.tail;
  if (mysql_stmt_prepare(statement, sql.data(), sql.size()) != 0)
    return failure_of({mysql_stmt_errno(statement), mysql_stmt_sqlstate(statement), mysql_stmt_error(statement)},
                      "cannot prepare to insert into " + sql_.table);
  return {};
}

void bulk_insert::clear() {
  for (auto& each : parameters_)
    each.clear();
}

std::size_t bulk_insert::row_bytes(std::size_t row) const {
  std::size_t bytes = on_.binds_arrays ? 0 : sql_.values.size() + 3;
  for (const auto& each : parameters_)
    bytes += each.packet_bytes(row, !on_.binds_arrays);
  return bytes;
}

attempt bulk_insert::cut(std::size_t rows, std::vector<std::size_t>& ends) const {
  const auto room =
    on_.packet_bytes - std::min(on_.packet_bytes, packet_overhead + sql_.head.size() + sql_.tail.size());
  std::size_t bytes = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    const auto more = row_bytes(row);
    if (more > room)
      return {.refused = refusal{error{errc::payload_too_large, "a row of " + std::to_string(more) +
                                                                  " bytes is more than the server's max_allowed_packet"
                                                                  " takes (" +
                                                                  std::to_string(on_.packet_bytes) + ")"},
                                 row}};
    if (bytes + more > room) {
      ends.push_back(row);
      bytes = 0;
    }
    bytes += more;
  }
  ends.push_back(rows);
  return {};
}

attempt bulk_insert::run(std::size_t rows) {
  const call_limit limit{*on_.watch, on_.answer_limit};
  std::vector<std::size_t> ends;
  if (auto refused = cut(rows, ends); refused.refused)
    return refused;
  const bool several = ends.size() > 1;
  if (several)
    if (auto marked = execute(on_.handle.get(), "SAVEPOINT penstock_rows"); !marked)
      return {.refused = refusal{told(on_, marked.error())}};
  std::uint32_t stored = 0;
  std::size_t first = 0;
  for (const auto end : ends) {
    auto part = run_packet(first, end);
    if (part.refused) {
      // After a deadlock the savepoint is gone with the transaction; it is the deadlock that is reported.
      if (several)
        static_cast<void>(execute(on_.handle.get(), "ROLLBACK TO SAVEPOINT penstock_rows"));
      return part;
    }
    stored += part.stored;
    first = end;
  }
  return {.stored = stored};
}

attempt bulk_insert::run_packet(std::size_t first, std::size_t last) {
  const call_limit limit{*on_.watch, on_.answer_limit};
  return statement_ ? run_arrays(first, last) : run_text(first, last);
}

attempt bulk_insert::run_arrays(std::size_t first, std::size_t last) {
  for (std::size_t index = 0; index < parameters_.size(); ++index)
    parameters_[index].bind(binds_[index], first);
  auto* statement = statement_.get();
  const auto rows = static_cast<unsigned>(last - first);
  if (mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &rows) != 0 ||
      mysql_stmt_bind_param(statement, binds_.data()) != 0 || mysql_stmt_execute(statement) != 0)
    return refused({mysql_stmt_errno(statement), mysql_stmt_sqlstate(statement), mysql_stmt_error(statement)}, first);
  return {.stored = stored_rows(mysql_stmt_affected_rows(statement), mysql_info(on_.handle.get()))};
}

attempt bulk_insert::run_text(std::size_t first, std::size_t last) {
  auto* handle = on_.handle.get();
  std::string sql = sql_.head + " VALUES ";
  for (auto row = first; row < last; ++row) {
    sql += row == first ? "(" : ",(";
    auto next = parameters_.begin();
    for (const char letter : sql_.values)
      if (letter == '?')
        (next++)->append_literal(handle, row, sql);
      else
        sql += letter;
    sql += ')';
  }
  sql += ' ' + sql_.tail;
  if (mysql_real_query(handle, sql.data(), sql.size()) != 0)
    return refused({mysql_errno(handle), mysql_sqlstate(handle), mysql_error(handle)}, first);
  return {.stored = stored_rows(mysql_affected_rows(handle), mysql_info(handle))};
}

attempt bulk_insert::refused(const fault& fault, std::size_t first) const {
  auto row = row_of(fault.text);
  if (row)
    *row += first;
  return {.refused = refusal{told(on_, failure_of(fault, "cannot insert into " + sql_.table)), row}};
}

} // namespace penstock::storage::mariadb
