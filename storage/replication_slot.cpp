#include "storage/replication_slot.hpp"

#include "config/topic_template.hpp"
#include "config/value.hpp"
#include "core/partition_hash.hpp"
#include "storage/connection.hpp"
#include "storage/key_text.hpp"
#include "storage/postgresql_handle.hpp"
#include "storage/postgresql_schema.hpp"
#include "storage/transaction.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace penstock::storage {

namespace {

using postgresql::identifier;
using postgresql::literal;
using postgresql::table_identifier;

constexpr std::size_t name_bytes_max = 63;
constexpr auto prefix = "penstock_";

/// Eight digits that differ for names which look alike once they are cut or in small letters.
std::string digest(const std::string& name) {
  partition_hash hash;
  hash.add(name);
  return fmt::format("{:08x}", static_cast<std::uint32_t>(hash.value()));
}

/// What PostgreSQL takes in the name of a slot.
std::string slot_letters(const std::string& text) {
  std::string made;
  for (const char letter : text)
    if (letter >= 'A' && letter <= 'Z')
      made += static_cast<char>(letter - 'A' + 'a');
    else if ((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9'))
      made += letter;
  return made;
}

constexpr auto no_identity = "has no primary key and no other REPLICA IDENTITY: PostgreSQL would refuse its updates";

/// Whether an update can say which row it is of.
std::string identified_sql(const std::string& table) {
  return "EXISTS (SELECT FROM pg_class c WHERE c.oid = to_regclass(" + literal(table) +
         ") AND (c.relreplident IN ('f', 'i') OR (c.relreplident = 'd' AND EXISTS (SELECT FROM pg_index i"
         " WHERE i.indrelid = c.oid AND i.indisprimary))))";
}

/// All that can be missing, in one row.
std::string facts_sql(const config::publish& pipeline) {
  const auto publication = literal(publication_name(pipeline.name));
  const auto table = "to_regclass(" + literal(table_identifier(pipeline.table)) + ")";
  return "SELECT current_setting('server_version_num'), current_setting('wal_level'), pg_is_in_recovery(), "
         "current_user,"
         " (SELECT r.rolreplication OR r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)"
         // a managed server's way to say it
         " OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'rds_replication' AND pg_has_role(r.oid, 'member')),"
         " EXISTS (SELECT FROM pg_publication p WHERE p.pubname = " +
         publication +
         "), EXISTS (SELECT FROM pg_publication_tables t JOIN pg_namespace n ON n.nspname = t.schemaname"
         " JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename WHERE t.pubname = " +
         publication + " AND c.oid = " + table +
         "), coalesce((SELECT p.pubinsert FROM pg_publication p WHERE p.pubname = " + publication +
         "), false), coalesce((SELECT p.pubupdate FROM pg_publication p WHERE p.pubname = " + publication +
         "), false), " + identified_sql(table_identifier(pipeline.table)) +
         ", coalesce((SELECT json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = " + table +
         " AND a.attgenerated <> '')::text, '[]'),"
         " NOT EXISTS (SELECT FROM pg_replication_slots WHERE right(slot_name::text, 9) = '_" +
         digest(pipeline.name) +
         "') AND (SELECT count(*) FROM pg_replication_slots) >= current_setting('max_replication_slots')::int";
}

struct server_facts {
  int version = 0;
  std::string log_level;
  bool standby = false;
  std::string user;
  bool replicates = false;
  bool publication = false;
  bool has_table = false;
  bool tells_inserts = false;
  bool tells_updates = false;
  bool tells_rows_apart = false;
  std::vector<std::string> generated; ///< columns, that no change tells of
  bool slots_are_used_up = false;
};

/// Whether the pipeline reads the column. `where` is SQL: a name in it is taken for the column's.
bool reads(const config::publish& pipeline, const std::string& column) {
  const auto& key = pipeline.key;
  if (std::find(key.begin(), key.end(), column) != key.end() || column == pipeline.order ||
      column == pipeline.shard_by || column == pipeline.version || column == pipeline.payload)
    return true;
  const auto topic = config::topic_template::parse(pipeline.topic);
  if (topic && std::any_of(topic->parts().begin(), topic->parts().end(),
                           [&](const auto& part) { return part.is_column && part.text == column; }))
    return true;
  const auto is_column = [](const auto& field) { return field.from == config::published_field::kind::column; };
  const auto& fields = pipeline.fields;
  if (pipeline.payload.empty() && std::none_of(fields.begin(), fields.end(), is_column))
    return true; // all columns are sent
  return config::lower(pipeline.where).find(config::lower(column)) != std::string::npos ||
         std::any_of(fields.begin(), fields.end(),
                     [&](const auto& field) { return is_column(field) && field.source == column; });
}

result<server_facts> facts_of(connection& database, const config::publish& pipeline) {
  server_facts facts;
  auto read = database.read(facts_sql(pipeline), [&](auto row) {
    const auto is = [&](std::size_t index) { return row[index].text == "true"; };
    facts = {number_of<int>(row[0].text),
             std::string{row[1].text},
             is(2),
             std::string{row[3].text},
             is(4),
             is(5),
             is(6),
             is(7),
             is(8),
             is(9),
             nlohmann::json::parse(row[10].text).template get<std::vector<std::string>>(),
             is(11)};
  });
  if (!read)
    return read.error();
  return facts;
}

std::vector<std::string> missing_of(const server_facts& facts, const config::publish& pipeline) {
  std::vector<std::string> missing;
  const auto remake = ": `penstock tables logical " + pipeline.name + " --apply` makes it, or prints the SQL";
  const bool updates = pipeline.on_update == config::update_rule::publish;
  const auto publication = "publication " + publication_name(pipeline.name);
  if (facts.version < 130'000)
    missing.emplace_back("logical decoding needs PostgreSQL 13 or later");
  if (facts.log_level != "logical")
    missing.push_back("wal_level is " + facts.log_level +
                      ": set `wal_level = logical` in postgresql.conf and restart the server");
  if (facts.standby)
    missing.emplace_back("the server is a standby: let `url` name the primary, and `read_url` the standby");
  if (!facts.replicates)
    missing.push_back("user " + facts.user + " may not replicate: ALTER ROLE " + identifier(facts.user) +
                      " REPLICATION, as a superuser");
  if (facts.slots_are_used_up)
    missing.emplace_back("all replication slots are in use: raise max_replication_slots, or drop one that nobody reads"
                         " (SELECT * FROM pg_replication_slots)");
  if (!facts.publication)
    missing.push_back("there is no " + publication + remake);
  else if (!facts.has_table)
    missing.push_back(publication + " does not have table " + pipeline.table + remake);
  else if (!facts.tells_inserts || (updates && !facts.tells_updates))
    missing.push_back(publication + " leaves out " + (facts.tells_inserts ? "updates" : "inserts") + remake);
  if ((updates || facts.tells_updates) && !facts.tells_rows_apart)
    missing.push_back("table " + pipeline.table + " " + no_identity);
  for (const auto& column : facts.generated)
    if (reads(pipeline, column))
      missing.push_back("column " + column + " is generated, and logical decoding does not tell of it: leave it out");
  return missing;
}

} // namespace

std::string slot_name(const std::string& installation, const std::string& pipeline) {
  auto name = prefix + slot_letters(installation) + "_";
  name += slot_letters(pipeline).substr(0, name_bytes_max - std::min(name_bytes_max, name.size() + 9));
  return name + "_" + digest(pipeline);
}

std::string publication_name(const std::string& pipeline) {
  const auto name = prefix + pipeline;
  return name.size() <= name_bytes_max ? name : name.substr(0, name_bytes_max - 9) + "_" + digest(pipeline);
}

result<void> check_logical(const config::database& database, const config::publish& pipeline) {
  auto opened = open_connection(database, access::read_write);
  if (!opened)
    return opened.error();
  auto facts = facts_of(**opened, pipeline);
  if (!facts)
    return facts.error();
  std::string all;
  for (const auto& one : missing_of(*facts, pipeline))
    all += (all.empty() ? "" : "; ") + one;
  if (!all.empty())
    return error{errc::unsupported, all};
  return {};
}

std::string logical_sql(const config::publish& pipeline) {
  const auto name = publication_name(pipeline.name);
  const bool updates = pipeline.on_update == config::update_rule::publish;
  const auto alter = "ALTER PUBLICATION " + identifier(name);
  std::string sql = "DO $$\nBEGIN\n";
  if (updates)
    sql += "  IF NOT " + identified_sql(table_identifier(pipeline.table)) + " THEN\n    RAISE EXCEPTION 'table % " +
           std::string{no_identity} + "', " + literal(pipeline.table) + ";\n  END IF;\n";
  sql += "  IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = " + literal(name) +
         ") THEN\n    CREATE PUBLICATION " + identifier(name) + ";\n  END IF;\nEND $$;\n" + alter + " SET TABLE " +
         table_identifier(pipeline.table) + ";\n" + alter + " SET (publish = '" +
         (updates ? "insert, update" : "insert") + "', publish_via_partition_root = true);\n";
  return sql;
}

std::string unlogical_sql(const config::publish& pipeline) {
  return "DROP PUBLICATION IF EXISTS " + identifier(publication_name(pipeline.name)) + ";\n";
}

namespace {

constexpr auto slots_sql = "SELECT slot_name, coalesce(pg_wal_lsn_diff(confirmed_flush_lsn, '0/0'), 0)::bigint,"
                           " coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN NULL ELSE"
                           " pg_current_wal_lsn() END, restart_lsn), 0)::bigint, coalesce(wal_status, '')"
                           " FROM pg_replication_slots WHERE database = current_database() AND ";

result<std::vector<slot_state>> read_slots(connection& database, const std::string& condition) {
  std::vector<slot_state> slots;
  auto read = database.read(slots_sql + condition + " ORDER BY slot_name", [&](auto row) {
    slots.push_back({std::string{row[0].text}, number_of<std::uint64_t>(row[1].text),
                     number_of<std::uint64_t>(row[2].text), std::string{row[3].text}});
  });
  if (!read)
    return read.error();
  return slots;
}

} // namespace

result<slot_state> slot_of(connection& database, const std::string& name) {
  auto slots = read_slots(database, "slot_name = " + literal(name));
  if (!slots)
    return slots.error();
  if (slots->empty())
    return error{errc::schema_mismatch, "there is no replication slot " + name};
  return slots->front();
}

result<std::vector<slot_state>> slots_of(connection& database) {
  return read_slots(database, std::string{"starts_with(slot_name::text, '"} + prefix + "')");
}

bool is_slot_of(const std::string& slot, const std::string& pipeline) { return slot.ends_with("_" + digest(pipeline)); }

result<void> drop_slot(connection& database, const std::string& name) {
  return database.read("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = " +
                         literal(name),
                       [](auto) {});
}

result<bool> make_slot(connection& database, const std::string& name) {
  auto there = read_slots(database, "slot_name = " + literal(name));
  if (!there)
    return there.error();
  if (!there->empty() && there->front().keeps != "lost")
    return false;
  if (!there->empty())
    if (auto dropped = drop_slot(database, name); !dropped)
      return dropped.error();
  auto made = transaction::begin(database);
  if (!made)
    return made.error();
  // It waits for transactions as if for their locks, and they may take longer than anybody waits for a lock.
  if (auto set = database.change("SET LOCAL lock_timeout = 0"); !set)
    return set.error();
  auto created =
    database.read("SELECT pg_create_logical_replication_slot(" + literal(name) + ", 'pgoutput')", [](auto) {});
  if (!created && created.error().code == errc::timed_out)
    return error{errc::timed_out,
                 "a slot is made once all transactions that run have ended: " + created.error().message};
  if (!created)
    return created.error();
  if (auto committed = made->commit(); !committed)
    return committed.error();
  return true;
}

} // namespace penstock::storage
