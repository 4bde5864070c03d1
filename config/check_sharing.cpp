#include "config/check.hpp"
#include "config/value.hpp"

#include <tuple>

namespace penstock::config {

namespace {

using shape_of_table = std::tuple<std::vector<std::string>, std::map<std::string, std::pair<column_type, bool>>,
                                  conflict_rule, std::string, std::optional<hypertable>>;

/// The key and the columns, whatever order the file gives them in, and how rows are written.
shape_of_table shape_of(const ingest& pipeline) {
  std::map<std::string, std::pair<column_type, bool>> columns;
  for (const column& c : pipeline.columns)
    columns[lower(c.name)] = {c.type, c.optional};
  return {pipeline.key, columns, pipeline.on_conflict, pipeline.order, pipeline.hypertable};
}

/// The same text for the same table, however it is written.
std::string place_of(const ingest& pipeline, const database& database) {
  const database_address& at = database.address;
  if (database.kind == database_kind::sqlite)
    return at.path.string() + '\0' + lower(pipeline.table);
  const bool mysql = database.kind == database_kind::mysql;
  std::string table = lower(pipeline.table);
  if (table.find('.') == std::string::npos)
    table = (mysql ? lower(at.database) : "public") + "." + table;
  // MySQL's schemas are its databases.
  return lower(at.host) + '\0' + std::to_string(at.port) + '\0' + (mysql ? "" : at.database) + '\0' + table;
}

/// The database of a pipeline where both are known and sound.
const database* sound_database(const configuration& c, const ingest& pipeline, const findings& problems) {
  const auto found = c.databases.find(pipeline.database);
  const bool sound = problems.sound("ingest." + pipeline.name) && problems.sound("databases." + pipeline.database);
  return found != c.databases.end() && sound ? &found->second : nullptr;
}

void check_tables(const configuration& c, findings& problems) {
  std::map<std::string, std::pair<std::string, shape_of_table>> tables;
  for (const auto& [name, pipeline] : c.ingest) {
    const database* database = sound_database(c, pipeline, problems);
    if (database == nullptr)
      continue;
    const auto shape = shape_of(pipeline);
    const auto [table, is_new] = tables.try_emplace(place_of(pipeline, *database), name, shape);
    if (is_new)
      continue;
    const std::string& other = table->second.first;
    if (table->second.second != shape)
      problems.add("ingest." + name + ".table",
                   "pipeline '" + other +
                     "' writes this table with another key, other columns, or another on_conflict, order or "
                     "hypertable; make them alike, or choose another table");
    else if (pipeline.on_conflict == conflict_rule::update && pipeline.order.empty())
      problems.add("ingest." + name + ".order", "is missing: pipeline '" + other +
                                                  "' updates this table too, and two pipelines have no common order "
                                                  "of arrival");
  }
}

/// A file belongs to one.
void check_files(const configuration& c, findings& problems) {
  std::map<std::filesystem::path, std::string> owners;
  for (const auto& [name, database] : c.databases)
    if (!database.address.path.empty())
      owners.emplace(database.address.path, "database '" + name + "'");
  for (const auto& [name, pipeline] : c.ingest) {
    const std::string path = "ingest." + name + ".dead_letters.file";
    if (pipeline.dead_letters.file.empty() || !problems.sound(path))
      continue;
    const auto [owner, is_new] = owners.try_emplace(pipeline.dead_letters.file, "pipeline '" + name + "'");
    if (!is_new)
      problems.add(path, "is the file of " + owner->second + " as well; choose another");
  }
}

std::size_t connections_of(const ingest& pipeline) {
  const bool deletes = pipeline.retention.count() > 0 || pipeline.dead_letters.retention.count() > 0;
  return pipeline.writers + (deletes ? 1u : 0u);
}

void check_connections(const configuration& c, findings& problems) {
  for (const auto& [name, database] : c.databases) {
    std::size_t needed = 0;
    for (const auto& entry : c.ingest)
      if (entry.second.database == name)
        needed += connections_of(entry.second);
    const std::string path = "databases." + name + ".connections_max";
    if (database.kind != database_kind::sqlite && needed > database.connections_max && problems.sound(path))
      problems.add(path, "is " + std::to_string(database.connections_max) + ", and the pipelines need " +
                           std::to_string(needed) +
                           ": the `writers` of each, and 1 more where rows or dead letters have a `retention`; raise "
                           "it, or lower `writers`");
  }
}

} // namespace

void check_sharing(const configuration& c, findings& problems) {
  check_tables(c, problems);
  check_files(c, problems);
  check_connections(c, problems);
}

} // namespace penstock::config
