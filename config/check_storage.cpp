#include "config/check.hpp"
#include "config/value.hpp"

#include <algorithm>
#include <initializer_list>

namespace penstock::config {

namespace {

/// What one pipeline asks of its database.
class storage_check {
public:
  storage_check(const ingest& pipeline, const database* database, findings& problems)
    : pipeline_(pipeline), database_(database), problems_(problems), path_("ingest." + pipeline.name) {}

  void run() {
    check_sqlite();
    check_json_keys();
    if (problems_.sound(at("on_conflict")))
      pipeline_.on_conflict == conflict_rule::update ? check_update() : check_ignore();
    if (pipeline_.hypertable)
      check_hypertable();
    check_retention();
  }

private:
  std::string at(std::string_view name) const { return below(path_, name); }
  bool is(database_kind kind) const { return database_ != nullptr && database_->kind == kind; }
  bool in_key(const std::string& name) const {
    return std::find(pipeline_.key.begin(), pipeline_.key.end(), name) != pipeline_.key.end();
  }
  bool columns_sound() const { return problems_.sound(at("columns")) && problems_.sound(at("key")); }

  void check_sqlite() {
    if (!is(database_kind::sqlite))
      return;
    if (problems_.sound(at("table")) && pipeline_.table.find('.') != std::string::npos)
      problems_.add(at("table"), "names a schema, and SQLite has none: a file is one; write the table alone");
    if (problems_.sound(at("writers")) && pipeline_.writers > 1)
      problems_.add(at("writers"), "must be 1 for SQLite, which lets one write at a time");
  }

  void check_json_keys() {
    if (!is(database_kind::mysql))
      return;
    const auto check = [&](const std::string& name, const std::string& path) {
      const column* c = find_column(pipeline_, name);
      if (c != nullptr && c->type == column_type::json && problems_.sound(path))
        problems_.add(path, problems_.written(path) + " is json, which MySQL and MariaDB do not index");
    };
    for (std::size_t i = 0; i < pipeline_.key.size(); ++i)
      check(pipeline_.key[i], below(at("key"), i));
    for (std::size_t i = 0; i < pipeline_.indexes.size(); ++i)
      for (std::size_t k = 0; k < pipeline_.indexes[i].size(); ++k)
        check(pipeline_.indexes[i][k].name, below(below(at("indexes"), i), k));
  }

  void check_ignore() {
    if (!pipeline_.order.empty() && problems_.sound(at("order")))
      problems_.add(at("order"), "is for `on_conflict: update`; with ignore the row that is there stays");
  }

  void check_update() {
    if (!columns_sound())
      return;
    if (std::all_of(pipeline_.columns.begin(), pipeline_.columns.end(),
                    [&](const column& c) { return in_key(c.name); }))
      return problems_.add(at("on_conflict"), "has nothing to update: every column is in the key");
    if (!problems_.sound(at("order")))
      return;
    if (!pipeline_.order.empty())
      check_column("order", pipeline_.order, order_conflict(find_column(pipeline_, pipeline_.order)));
    else if (pipeline_.shards > 1 && problems_.sound(at("shards")))
      problems_.add(at("order"), "is missing: several shards have no common order of arrival, so a column must say "
                                 "which record is newer");
    else
      problems_.warn(at("on_conflict"), "without `order` the last to arrive wins, and a dead letter that is replayed "
                                        "arrives late: it may replace a newer row; name a column in `order`");
  }

  /// Why the column cannot say which of two records is newer; empty: it can. Whether it exists is asked elsewhere.
  std::string order_conflict(const column* c) const {
    if (c == nullptr)
      return {};
    if (in_key(c->name))
      return "is in the key, so it is the same in both rows; choose another column";
    if (c->optional)
      return "is optional, and NULL is neither newer nor older; remove `optional`, or choose another column";
    if (c->source.from == source::kind::constant || c->source.from == source::kind::latency_ms)
      return "does not say which record is newer; choose a time or a counter";
    if (!has_type(*c, {column_type::integer, column_type::real, column_type::timestamp, column_type::text}))
      return "is " + std::string{name_of(c->type)} + ", which has no order; it takes integer, real, timestamp or text";
    return {};
  }

  void check_hypertable() {
    if (database_ != nullptr && !is(database_kind::postgresql))
      return problems_.add(at("hypertable"), "is TimescaleDB's, and needs a database with postgresql://; remove it");
    const std::string& name = pipeline_.hypertable->time_column;
    const column* c = find_column(pipeline_, name);
    std::string wrong = timestamp_conflict(c);
    if (wrong.empty() && c != nullptr && !in_key(name))
      wrong = "is not in the key, and TimescaleDB wants it in every unique index; add it to the key";
    if (!name.empty())
      check_column("hypertable.time_column", name, wrong);
  }

  void check_retention() {
    const std::string path = at("retention_column");
    const std::string& name = pipeline_.retention_column;
    if (!problems_.sound(at("retention")) || !problems_.sound(path))
      return;
    const bool kept = pipeline_.retention.count() == 0;
    if (kept && !name.empty())
      problems_.add(path, "is for `retention`, which is not set");
    else if (!name.empty())
      check_column("retention_column", name, timestamp_conflict(find_column(pipeline_, name)));
    else if (!kept && columns_sound() && std::none_of(pipeline_.key.begin(), pipeline_.key.end(), [&](const auto& k) {
               const column* c = find_column(pipeline_, k);
               return c != nullptr && c->type == column_type::timestamp;
             }))
      problems_.add(path, "is missing: `retention` needs a timestamp, and the key has none");
  }

  static std::string timestamp_conflict(const column* c) {
    return c == nullptr || c->type == column_type::timestamp
             ? std::string{}
             : "is " + std::string{name_of(c->type)} + ", and must be a timestamp";
  }

  static bool has_type(const column& c, std::initializer_list<column_type> types) {
    return std::find(types.begin(), types.end(), c.type) != types.end();
  }

  /// The setting `setting` names column `name`; `wrong` says why that does not do.
  void check_column(std::string_view setting, const std::string& name, const std::string& wrong) {
    const std::string path = at(setting);
    if (!problems_.sound(path) || !columns_sound())
      return;
    if (find_column(pipeline_, name) == nullptr)
      problems_.add(path, problems_.written(path) + " is not among the columns" +
                            did_you_mean(name, column_names(pipeline_)));
    else if (!wrong.empty())
      problems_.add(path, problems_.written(path) + " " + wrong);
  }

  const ingest& pipeline_;
  const database* database_;
  findings& problems_;
  std::string path_;
};

} // namespace

void check_storage(const ingest& pipeline, const database* database, findings& problems) {
  storage_check{pipeline, database, problems}.run();
}

} // namespace penstock::config
