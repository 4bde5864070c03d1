#include "storage/session_table.hpp"

#include "storage/key_text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace penstock::storage {

namespace {

using nlohmann::json;

std::string to_text(const std::vector<std::string>& filters) {
  return json(filters).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::vector<std::string> filters_of(std::string_view text) {
  const auto parsed = json::parse(text, nullptr, false);
  return parsed.is_array() ? parsed.get<std::vector<std::string>>() : std::vector<std::string>{};
}

} // namespace

std::string session_table::columns(const sql_words& words) {
  const auto key = words.key_type + " NOT NULL";
  return "client_id " + key + ", broker " + key + ", pipeline " + key + ", shard BIGINT NOT NULL, target " + key +
         ", filters " + words.text_type +
         " NOT NULL, epoch BIGINT NOT NULL, settled BIGINT NOT NULL, PRIMARY KEY (client_id, broker)";
}

std::string session_table::is_key(const session_record& record) const {
  return "client_id = " + literal(record.client_id) + " AND broker = " + literal(record.broker);
}

result<std::vector<session_record>> session_table::read(const std::string& condition) {
  std::vector<session_record> found;
  auto read = database_.read("SELECT client_id, broker, pipeline, shard, target, filters, epoch, settled FROM " +
                               std::string{name} + condition + " ORDER BY client_id, broker",
                             [&](auto row) {
                               found.push_back({std::string{row[0].text}, std::string{row[1].text},
                                                std::string{row[2].text}, number_of<std::uint32_t>(row[3].text),
                                                std::string{row[4].text}, filters_of(row[5].text),
                                                number_of<std::uint64_t>(row[6].text), row[7].text != "0"});
                             });
  if (!read)
    return read.error();
  return found;
}

/// Two owners of a shard, the former and the next, may enlist it at the same time: raising the epoch makes one of them
/// wait for the other.
result<session_record> session_table::enlist(session_record wanted) {
  const auto table = std::string{name};
  auto changed = database_.change(
    "INSERT INTO " + table + " (client_id, broker, pipeline, shard, target, filters, epoch, settled) VALUES (" +
    literal(wanted.client_id) + ", " + literal(wanted.broker) + ", " + literal(wanted.pipeline) + ", " +
    std::to_string(wanted.shard) + ", " + literal(wanted.table) + ", '[]', 0, 0)" + database_.words().if_new("epoch"));
  if (changed)
    changed = database_.change("UPDATE " + table + " SET epoch = epoch + 1 WHERE " + is_key(wanted));
  if (!changed)
    return changed.error();
  const auto known = read(" WHERE " + is_key(wanted));
  if (!known)
    return known.error();
  if (known->empty()) // its former owner has settled it meanwhile
    return error{errc::database_busy, "the record of session " + wanted.client_id + " is just being deleted"};
  for (const auto& each : known->front().filters)
    if (std::find(wanted.filters.begin(), wanted.filters.end(), each) == wanted.filters.end())
      wanted.filters.push_back(each);
  wanted.epoch = known->front().epoch;
  wanted.settled = known->front().settled;
  changed =
    database_.change("UPDATE " + table + " SET pipeline = " + literal(wanted.pipeline) +
                     ", shard = " + std::to_string(wanted.shard) + ", target = " + literal(wanted.table) +
                     ", filters = " + literal(to_text(wanted.filters)) + ", settled = 0 WHERE " + is_key(wanted));
  if (!changed)
    return changed.error();
  return wanted;
}

result<void> session_table::settle(const session_record& confirmed) {
  const auto condition = " WHERE " + is_key(confirmed) + " AND epoch = " + std::to_string(confirmed.epoch);
  const auto changed =
    database_.change(confirmed.filters.empty() ? "DELETE FROM " + std::string{name} + condition
                                               : "UPDATE " + std::string{name} + " SET filters = " +
                                                   literal(to_text(confirmed.filters)) + ", settled = 1" + condition);
  return changed ? result<void>{} : result<void>{changed.error()};
}

result<std::vector<session_record>> session_table::all() {
  const auto there = database_.read_table(name);
  if (!there)
    return there.error();
  return there->kind.empty() ? std::vector<session_record>{} : read("");
}

} // namespace penstock::storage
