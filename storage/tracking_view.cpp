#include "storage/tracking_view.hpp"

#include "storage/connection.hpp"
#include "storage/key_text.hpp"
#include "storage/tracking.hpp"
#include "storage/transaction.hpp"

namespace penstock::storage {

namespace {

constexpr const char* is_unsent = " AND state IN ('refused', 'held')";

} // namespace

tracking_view::tracking_view(std::unique_ptr<connection> database, const config::publish& pipeline)
  : database_(std::move(database)), table_(quoted_table(database_->words(), pipeline.tracking.table)),
    archive_(quoted_table(database_->words(), archive_table_of(pipeline))),
    pipeline_is_("pipeline = " + database_->words().text_literal(pipeline.name)) {}

tracking_view::~tracking_view() = default;
tracking_view::tracking_view(tracking_view&&) noexcept = default;

result<tracking_view> tracking_view::open(const config::database& database, const config::publish& pipeline) {
  auto opened = open_connection(database, access::read_write);
  if (!opened)
    return opened.error();
  auto table = (*opened)->read_table(pipeline.tracking.table);
  if (!table)
    return table.error();
  if (table->kind.empty())
    return error{errc::schema_mismatch,
                 "there is no table " + pipeline.tracking.table + ": pipeline '" + pipeline.name + "' has not run yet"};
  return tracking_view{*std::move(opened), pipeline};
}

result<std::map<std::string, std::uint64_t>> tracking_view::counts() {
  std::map<std::string, std::uint64_t> counts;
  auto read =
    database_->read("SELECT state, count(*) FROM " + table_ + " WHERE " + pipeline_is_ + " GROUP BY state",
                    [&](auto row) { counts[std::string{row[0].text}] = number_of<std::uint64_t>(row[1].text); });
  if (!read)
    return read.error();
  const auto add = [&](const char* state, const std::string& number_sql) {
    return database_->read("SELECT " + number_sql + " WHERE " + pipeline_is_, [&](auto row) {
      if (const auto number = number_of<std::uint64_t>(row[0].text); number > 0)
        counts[state] = number;
    });
  };
  if (read = add("archived", "count(*) FROM " + archive_); !read)
    return read.error();
  if (read = add("deleted", "coalesce(sum(last_id - first_id + 1), 0) FROM penstock_sent_ranges"); !read)
    return read.error();
  return counts;
}

result<bool> tracking_view::paused() {
  auto table = database_->read_table("penstock_pauses");
  if (!table)
    return table.error();
  bool found = false;
  if (table->kind.empty())
    return found;
  auto read =
    database_->read("SELECT paused_at FROM penstock_pauses WHERE " + pipeline_is_, [&](auto) { found = true; });
  if (!read)
    return read.error();
  return found;
}

result<std::vector<unsent_record>> tracking_view::unsent(std::size_t limit) {
  std::vector<unsent_record> records;
  auto read =
    database_->read("SELECT record_id, record_version, state, topic, reason, claimed_at FROM " + table_ + " WHERE " +
                      pipeline_is_ + is_unsent + " ORDER BY claimed_at DESC LIMIT " + std::to_string(limit),
                    [&](auto row) {
                      records.push_back({std::string{row[0].text}, std::string{row[1].text}, std::string{row[2].text},
                                         std::string{row[3].text}, std::string{row[4].text},
                                         wall_time{std::chrono::microseconds{number_of<std::int64_t>(row[5].text)}}});
                    });
  if (!read)
    return read.error();
  return records;
}

result<std::uint64_t> tracking_view::retry(const std::string& record_id) {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  const auto which =
    " FROM " + table_ + " WHERE " + pipeline_is_ + is_unsent +
    (record_id.empty() ? std::string{} : " AND record_id = " + database_->words().text_literal(record_id));
  auto asked = database_->change("DELETE FROM penstock_retries WHERE " + pipeline_is_ +
                                 " AND record_id IN (SELECT record_id" + which + ")");
  if (asked)
    asked = database_->change("INSERT INTO penstock_retries (pipeline, record_id) SELECT DISTINCT pipeline, record_id" +
                              which + " AND record_id NOT LIKE 'sha256:%'");
  if (!asked)
    return asked;
  auto forgotten = database_->change("DELETE" + which);
  if (!forgotten)
    return forgotten;
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return forgotten;
}

} // namespace penstock::storage
