#include "config/check.hpp"
#include "config/topic_template.hpp"
#include "config/value.hpp"

#include <algorithm>
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
std::string place_of(const std::string& name, const database& database) {
  const database_address& at = database.address;
  std::string table = lower(name);
  // SQLite has no schemas.
  if (database.kind == database_kind::sqlite)
    return at.path.string() + '\0' + table.substr(table.find('.') + 1);
  const bool mysql = database.kind == database_kind::mysql;
  if (table.find('.') == std::string::npos)
    table = (mysql ? lower(at.database) : "public") + "." + table;
  // MySQL's schemas are its databases.
  return lower(at.host) + '\0' + std::to_string(at.port) + '\0' + (mysql ? "" : at.database) + '\0' + table;
}

/// The database `name` of the pipeline that is at `path`, where both are known and sound.
const database* sound_database(const configuration& c, const std::string& name, const std::string& path,
                               const findings& problems) {
  const auto found = c.databases.find(name);
  const bool sound = problems.sound(path) && problems.sound("databases." + name);
  return found != c.databases.end() && sound ? &found->second : nullptr;
}

void check_tables(const configuration& c, findings& problems) {
  std::map<std::string, std::pair<std::string, shape_of_table>> tables;
  for (const auto& [name, pipeline] : c.ingest) {
    const database* database = sound_database(c, pipeline.database, "ingest." + name, problems);
    if (database == nullptr)
      continue;
    const auto shape = shape_of(pipeline);
    const auto [table, is_new] = tables.try_emplace(place_of(pipeline.table, *database), name, shape);
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

/// Those to the database `name`: the poller's, the archiver's, and those that hear of changes: one that waits for
/// notifications, or two for the log.
std::size_t connections_of(const publish& pipeline, const std::string& name, database_kind kind) {
  const bool listens = kind == database_kind::postgresql && pipeline.detect.notify == notification::automatic;
  const bool logical = pipeline.detect.changes == change_source::logical;
  const std::size_t hearing = logical ? 2u : listens ? 1u : 0u;
  const std::size_t reading = 1u + (pipeline.archive.keep.count() > 0 ? 1u : 0u) + hearing;
  return (pipeline.database == name ? reading : 0u) + (tracking_database(pipeline) == name ? 2u : 0u);
}

void check_connections(const configuration& c, findings& problems) {
  for (const auto& [name, database] : c.databases) {
    std::size_t needed = 0;
    for (const auto& entry : c.ingest)
      if (entry.second.database == name)
        needed += connections_of(entry.second);
    for (const auto& entry : c.publish)
      needed += connections_of(entry.second, name, database.kind);
    if (c.cluster && c.cluster->state == name)
      ++needed;
    const std::string path = "databases." + name + ".connections_max";
    if (database.kind != database_kind::sqlite && needed > database.connections_max && problems.sound(path))
      problems.add(path, "is " + std::to_string(database.connections_max) + ", and the pipelines need " +
                           std::to_string(needed) +
                           ": the `writers` of each, and 1 more where rows or dead letters have a `retention`; of "
                           "each under `publish` 1 that reads, 2 for `tracking`, 1 that waits for notifications (of "
                           "PostgreSQL, unless `detect.notify` is off) or 2 with `changes: logical`, and 1 more where "
                           "`archive.keep` is set; 1 for the `state` of a cluster; raise it, or lower `writers`");
  }
}

/// The pipelines by the tables that they write and read.
struct used_tables {
  std::multimap<std::string, const ingest*> written;
  std::multimap<std::string, const publish*> read;
};

used_tables tables_of(const configuration& c, const findings& problems) {
  used_tables all;
  for (const auto& [name, pipeline] : c.ingest)
    if (const auto* database = sound_database(c, pipeline.database, "ingest." + name, problems))
      all.written.emplace(place_of(pipeline.table, *database), &pipeline);
  for (const auto& [name, pipeline] : c.publish)
    if (const auto* database = sound_database(c, pipeline.database, "publish." + name, problems))
      all.read.emplace(place_of(pipeline.table, *database), &pipeline);
  return all;
}

/// Penstock writes into the tracking table: it is nobody's data.
void check_tracking(const configuration& c, const used_tables& tables, findings& problems) {
  for (const auto& [name, pipeline] : c.publish) {
    const std::string path = "publish." + name;
    const auto* database = sound_database(c, tracking_database(pipeline), path, problems);
    if (database == nullptr)
      continue;
    std::string use;
    for (const auto& own : {pipeline.tracking.table, pipeline.tracking.table + "_archive"}) {
      const std::string place = place_of(own, *database);
      if (const auto writer = tables.written.find(place); writer != tables.written.end())
        use = "'" + writer->second->name + "' writes its records to";
      if (const auto reader = tables.read.find(place); reader != tables.read.end())
        use = "'" + reader->second->name + "' reads rows from";
    }
    if (!use.empty())
      problems.add(path + ".tracking.table", "is the table that pipeline " + use + "; choose another");
  }
}

bool is_same_broker(const configuration& c, const std::string& one, const std::string& other) {
  const auto first = c.brokers.find(one);
  const auto second = c.brokers.find(other);
  return one == other || (first != c.brokers.end() && second != c.brokers.end() && !first->second.url.empty() &&
                          first->second.url == second->second.url);
}

bool subscribes_to(const ingest& pipeline, const topic_template& topic) {
  return std::any_of(pipeline.topics.begin(), pipeline.topics.end(), [&](const std::string& text) {
    const auto pattern = topic_pattern::parse(text);
    return pattern && topic.may_match(*pattern);
  });
}

/// What is published must not come back as rows to publish.
void check_circles(const configuration& c, const used_tables& tables, findings& problems) {
  for (const auto& reader : tables.read) {
    const publish& source = *reader.second;
    const auto topic = topic_template::parse(source.topic);
    const auto [begin, end] = tables.written.equal_range(reader.first);
    const auto feeds = [&](const auto& writer) {
      return is_same_broker(c, source.broker, writer.second->broker) && topic && subscribes_to(*writer.second, *topic);
    };
    if (const auto found = std::find_if(begin, end, feeds); found != end)
      problems.warn("publish." + source.name + ".topic",
                    "pipeline '" + found->second->name +
                      "' subscribes to this topic, and writes what it gets to the table that is read here, so that "
                      "messages may go round for ever; choose another topic, or another table");
  }
}

void check_names(const configuration& c, findings& problems) {
  // Actors that the root supervisor has beside the pipelines; see nodes/pipeline.hpp.
  for (const std::string taken : {"root", "presence", "alerter", "membership", "agent"})
    for (const auto& [section, has] :
         {std::pair{"ingest", c.ingest.contains(taken)}, {"publish", c.publish.contains(taken)}})
      if (has)
        problems.add_at_key(below(section, taken), "is the name of an actor of every node; choose another");
  for (const auto& [name, unused] : c.publish)
    if (c.ingest.contains(name))
      problems.add_at_key("publish." + name, "is the name of a pipeline under `ingest` as well; choose another");
}

} // namespace

void check_sharing(const configuration& c, findings& problems) {
  check_tables(c, problems);
  check_files(c, problems);
  check_connections(c, problems);
  const auto tables = tables_of(c, problems);
  check_tracking(c, tables, problems);
  check_circles(c, tables, problems);
  check_names(c, problems);
}

} // namespace penstock::config
