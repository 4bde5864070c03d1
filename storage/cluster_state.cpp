#include "storage/cluster_state.hpp"

#include "storage/connection.hpp"
#include "storage/key_text.hpp"
#include "storage/own_tables.hpp"
#include "storage/transaction.hpp"

#include <algorithm>
#include <array>

namespace penstock::storage {

using std::chrono::milliseconds;

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words)
    text += (text.empty() ? "" : ",") + word;
  return text;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const auto comma = text.find(',');
    words.emplace_back(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
  }
  return words;
}

bool has_cluster_column(const actual_table& nodes) {
  return std::any_of(nodes.columns.begin(), nodes.columns.end(),
                     [](const auto& each) { return each.name == "cluster"; });
}

class sql_cluster_state final : public cluster_state {
public:
  explicit sql_cluster_state(std::unique_ptr<connection> database) : database_(std::move(database)), own_(*database_) {}

  result<void> prepare() override;
  result<cluster_snapshot> renew(const cluster_node& me, milliseconds lease) override;
  result<cluster_snapshot> read() override;
  result<std::optional<std::uint64_t>> acquire(const shard_owner& known, const cluster_node& me) override;
  result<bool> release(const shard_owner& mine) override;
  result<void> leave(const cluster_node& me) override;
  result<bool> drain(const std::string& node, bool draining) override;
  result<bool> pin(const shard_id& shard, const std::string& node) override;

private:
  const sql_words& words() const { return database_->words(); }
  std::string literal(const std::string& text) const { return words().text_literal(text); }
  std::string is_shard(const shard_id& id) const {
    return "pipeline = " + literal(id.pipeline) + " AND shard = " + std::to_string(id.shard);
  }
  std::string is_instance(const cluster_node& node) const {
    return "name = " + literal(node.name) + " AND instance = " + literal(node.instance);
  }
  result<bool> is_prepared();
  result<void> add_cluster_column();
  result<std::vector<cluster_node>> read_nodes();
  result<void> join(const cluster_node& me, milliseconds lease);
  result<void> add_if_new(const shard_id& id);
  /// One statement in a transaction of its own; whether it met a row.
  result<bool> change(const std::string& sql);

  std::unique_ptr<connection> database_;
  own_tables own_;
};

result<bool> sql_cluster_state::is_prepared() {
  const auto nodes = database_->read_table("penstock_nodes");
  if (!nodes)
    return nodes.error();
  const auto shards = database_->read_table("penstock_shards");
  if (!shards)
    return shards.error();
  return has_cluster_column(*nodes) && !shards->kind.empty();
}

result<void> sql_cluster_state::prepare() {
  if (const auto done = is_prepared(); !done || *done)
    return done ? result<void>{} : result<void>{done.error()};
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  if (auto locked = database_->lock_schema(); !locked)
    return locked.error();
  const auto key = words().key_type + " NOT NULL";
  const std::array tables{
    std::pair{"penstock_nodes", "name " + key + " PRIMARY KEY, instance " + key + ", address " + key + ", http " + key +
                                  ", roles " + key + ", version " + key +
                                  ", draining BIGINT NOT NULL, lease_until BIGINT NOT NULL"}, // and cluster, below
    std::pair{"penstock_shards", "pipeline " + key + ", shard BIGINT NOT NULL, node " + key + ", instance " + key +
                                   ", epoch BIGINT NOT NULL, pinned " + key + ", PRIMARY KEY (pipeline, shard)"},
  };
  for (const auto& [name, columns] : tables) {
    const auto there = database_->read_table(name);
    if (!there)
      return there.error();
    if (!there->kind.empty())
      continue;
    if (auto made =
          own_.change_schema(std::string{"CREATE TABLE "} + name + " (" + columns + ")" + words().own_table_end);
        !made)
      return made;
  }
  if (auto added = add_cluster_column(); !added)
    return added;
  return changes->commit();
}

/// Versions up to 0.1 made the table without it, and write rows without it.
result<void> sql_cluster_state::add_cluster_column() {
  const auto there = database_->read_table("penstock_nodes");
  if (!there)
    return there.error();
  if (has_cluster_column(*there))
    return {};
  return own_.change_schema("ALTER TABLE penstock_nodes ADD COLUMN cluster " + words().key_type +
                            " NOT NULL DEFAULT ''");
}

/// A row of that name is ours, is dead and becomes ours, or is another's.
result<void> sql_cluster_state::join(const cluster_node& me, milliseconds lease) {
  const auto nodes = read_nodes();
  if (!nodes)
    return nodes.error();
  if (auto others = strangers(*nodes, me.cluster); !others.empty())
    return error{errc::fenced, others};
  // Written before the database's clock went back: a dead node would count as alive until the clock is there again.
  if (std::any_of(nodes->begin(), nodes->end(), [](const auto& node) { return node.lease_left > config::lease_max; })) {
    const auto latest = words().now + " + " + std::to_string(std::chrono::microseconds{config::lease_max}.count());
    if (auto cut =
          database_->change("UPDATE penstock_nodes SET lease_until = " + latest + " WHERE lease_until > " + latest);
        !cut)
      return cut.error();
  }
  const auto until = words().now + " + " + std::to_string(std::chrono::microseconds{lease}.count());
  const auto met = database_->change(
    "UPDATE penstock_nodes SET instance = " + literal(me.instance) + ", address = " + literal(me.address) +
    ", http = " + literal(me.http) + ", roles = " + literal(joined(me.roles)) + ", version = " + literal(me.version) +
    ", cluster = " + literal(me.cluster) + ", lease_until = " + until + " WHERE name = " + literal(me.name) +
    " AND (instance = " + literal(me.instance) + " OR lease_until <= " + words().now + ")");
  if (!met)
    return met.error();
  if (*met > 0)
    return {};
  std::string owner;
  auto found = database_->read("SELECT instance FROM penstock_nodes WHERE name = " + literal(me.name),
                               [&](auto row) { owner = row[0].text; });
  if (!found)
    return found;
  if (!owner.empty() && owner != me.instance)
    return error{errc::fenced, "another process runs as node '" + me.name + "'"};
  if (!owner.empty())
    return {}; // MariaDB counts no row that is as it was
  // Groups that scale by themselves make a new name for each node: those that were killed would pile up.
  if (auto forgotten =
        database_->change("DELETE FROM penstock_nodes WHERE draining = 0 AND lease_until < " + words().now + " - " +
                          std::to_string(std::chrono::microseconds{dead_nodes_kept}.count()));
      !forgotten)
    return forgotten.error();
  const auto made = database_->change("INSERT INTO penstock_nodes (name, instance, address, http, roles, version,"
                                      " draining, lease_until, cluster) VALUES (" +
                                      literal(me.name) + ", " + literal(me.instance) + ", " + literal(me.address) +
                                      ", " + literal(me.http) + ", " + literal(joined(me.roles)) + ", " +
                                      literal(me.version) + ", 0, " + until + ", " + literal(me.cluster) + ")");
  return made ? result<void>{} : result<void>{made.error()};
}

result<cluster_snapshot> sql_cluster_state::renew(const cluster_node& me, milliseconds lease) {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  if (auto joined = join(me, lease); !joined)
    return joined.error();
  auto seen = read(); // before the commit: a transaction for each question would take twice the round trips
  if (!seen)
    return seen;
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return seen;
}

result<std::vector<cluster_node>> sql_cluster_state::read_nodes() {
  std::vector<cluster_node> nodes;
  auto found = database_->read(
    "SELECT name, instance, address, http, roles, version, draining, lease_until - " + words().now +
      ", cluster FROM penstock_nodes ORDER BY name",
    [&](auto row) {
      nodes.push_back(
        {std::string{row[0].text}, std::string{row[1].text}, std::string{row[2].text}, std::string{row[3].text},
         words_of(row[4].text), std::string{row[5].text}, row[6].text != "0",
         std::chrono::floor<milliseconds>(std::chrono::microseconds{number_of<std::int64_t>(row[7].text)}),
         std::string{row[8].text}});
    });
  if (!found)
    return found.error();
  return nodes;
}

result<cluster_snapshot> sql_cluster_state::read() {
  cluster_snapshot all;
  auto nodes = read_nodes();
  if (!nodes)
    return nodes.error();
  all.nodes = *std::move(nodes);
  auto found =
    database_->read("SELECT pipeline, shard, node, instance, epoch, pinned FROM penstock_shards"
                    " ORDER BY pipeline, shard",
                    [&](auto row) {
                      all.shards.push_back({{std::string{row[0].text}, number_of<std::uint32_t>(row[1].text)},
                                            std::string{row[2].text},
                                            std::string{row[3].text},
                                            number_of<std::uint64_t>(row[4].text),
                                            std::string{row[5].text}});
                    });
  if (!found)
    return found.error();
  return all;
}

result<void> sql_cluster_state::add_if_new(const shard_id& id) {
  const auto made = database_->change("INSERT INTO penstock_shards (pipeline, shard, node, instance, epoch, pinned)"
                                      " VALUES (" +
                                      literal(id.pipeline) + ", " + std::to_string(id.shard) + ", '', '', 0, '')" +
                                      words().if_new("epoch"));
  return made ? result<void>{} : result<void>{made.error()};
}

result<std::optional<std::uint64_t>> sql_cluster_state::acquire(const shard_owner& known, const cluster_node& me) {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  if (known.epoch == 0)
    if (auto added = add_if_new(known.id); !added)
      return added.error();
  const auto met = database_->change(
    "UPDATE penstock_shards SET node = " + literal(me.name) + ", instance = " + literal(me.instance) +
    ", epoch = epoch + 1 WHERE " + is_shard(known.id) + " AND epoch = " + std::to_string(known.epoch) +
    " AND instance = " + literal(known.instance) + " AND (instance = '' OR NOT EXISTS (SELECT 1 FROM penstock_nodes" +
    " WHERE penstock_nodes.instance = penstock_shards.instance AND lease_until > " + words().now +
    ")) AND EXISTS (SELECT 1 FROM penstock_nodes WHERE " + "penstock_nodes.name = " + literal(me.name) +
    " AND penstock_nodes.instance = " + literal(me.instance) + " AND lease_until > " + words().now + ")");
  if (!met)
    return met.error();
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return *met > 0 ? std::optional{known.epoch + 1} : std::nullopt;
}

result<bool> sql_cluster_state::change(const std::string& sql) {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  const auto met = database_->change(sql);
  if (!met)
    return met.error();
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return *met > 0;
}

result<bool> sql_cluster_state::release(const shard_owner& mine) {
  return change("UPDATE penstock_shards SET node = '', instance = '' WHERE " + is_shard(mine.id) +
                " AND instance = " + literal(mine.instance) + " AND epoch = " + std::to_string(mine.epoch));
}

result<void> sql_cluster_state::leave(const cluster_node& me) {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  for (const auto& sql :
       {"UPDATE penstock_shards SET node = '', instance = '' WHERE instance = " + literal(me.instance),
        "DELETE FROM penstock_nodes WHERE " + is_instance(me)})
    if (auto done = database_->change(sql); !done)
      return done.error();
  return changes->commit();
}

result<bool> sql_cluster_state::drain(const std::string& node, bool draining) {
  bool there = false;
  auto found =
    database_->read("SELECT 1 FROM penstock_nodes WHERE name = " + literal(node), [&](auto) { there = true; });
  if (!found)
    return found.error();
  if (auto changed = change("UPDATE penstock_nodes SET draining = " + std::string{draining ? "1" : "0"} +
                            " WHERE name = " + literal(node));
      !changed)
    return changed;
  return there;
}

result<bool> sql_cluster_state::pin(const shard_id& shard, const std::string& node) {
  bool there = false;
  auto found = database_->read("SELECT 1 FROM penstock_shards WHERE " + is_shard(shard), [&](auto) { there = true; });
  if (!found)
    return found.error();
  if (auto changed = change("UPDATE penstock_shards SET pinned = " + literal(node) + " WHERE " + is_shard(shard));
      !changed)
    return changed;
  return there;
}

} // namespace

std::string strangers(const std::vector<cluster_node>& nodes, const std::string& cluster) {
  const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const auto& node) {
    return node.is_alive() && !node.cluster.empty() && node.cluster != cluster;
  });
  if (found == nodes.end())
    return {};
  return "it is the state database of another cluster, '" + found->cluster + "', whose node '" + found->name +
         "' is alive: give cluster '" + cluster + "' one of its own (`cluster.state`)";
}

result<std::unique_ptr<cluster_state>> open_cluster_state(const config::database& database) {
  auto opened = open_connection(database, access::read_write);
  if (!opened)
    return opened.error();
  return std::unique_ptr<cluster_state>{std::make_unique<sql_cluster_state>(*std::move(opened))};
}

} // namespace penstock::storage
