#include "config/check.hpp"
#include "config/topic_template.hpp"
#include "config/value.hpp"

#include <algorithm>
#include <numeric>
#include <set>

namespace penstock::config {

namespace {

constexpr std::size_t name_bytes_max = 255;

/// Such names would have no room in a message, and no database has them.
bool is_no_name(const std::string& name) {
  return name.size() > name_bytes_max || name.find('\0') != std::string::npos;
}
std::string as_no_name() { return " with more than " + std::to_string(name_bytes_max) + " bytes or a character 0"; }

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

class publish_check {
public:
  publish_check(const publish& pipeline, const database* source, const database* tracking, findings& problems)
    : pipeline_(pipeline), source_(source), tracking_(tracking), problems_(problems),
      path_("publish." + pipeline.name) {}

  void run() {
    check_table();
    check_key();
    check_column(at("order"), pipeline_.order);
    check_column(at("shard_by"), pipeline_.shard_by);
    check_column(at("payload"), pipeline_.payload);
    check_column(at("version"), pipeline_.version);
    check_topic();
    check_ranges();
    check_payload();
    check_where();
    check_version();
    check_start();
    check_changes();
    check_tracking();
    check_archive();
  }

private:
  std::string at(std::string_view name) const { return below(path_, name); }

  void check_table() {
    const std::string path = at("table");
    if (!problems_.sound(path))
      return;
    const std::string& whole = pipeline_.table;
    const auto dot = whole.find('.');
    if (dot == 0 || dot == whole.size() - 1 || dot != whole.rfind('.'))
      problems_.add(path, "must be TABLE or SCHEMA.TABLE; it is " + problems_.written(path));
  }

  /// What can be the name of a column: the table says which there are.
  void check_column(const std::string& path, const std::string& name) {
    if (!problems_.given(path) || !problems_.sound(path))
      return;
    if (name.empty())
      problems_.add(path, "must not be empty; name a column, or remove it");
    else if (is_no_name(name))
      problems_.add(path, "names a column" + as_no_name());
  }

  void check_key() {
    if (!problems_.sound(at("key")))
      return;
    if (pipeline_.key.size() == 1 && !problems_.given(below(at("key"), 0)))
      return check_column(at("key"), pipeline_.key.front());
    std::set<std::string> seen;
    for (std::size_t i = 0; i < pipeline_.key.size(); ++i) {
      const std::string path = below(at("key"), i);
      check_column(path, pipeline_.key[i]);
      if (!seen.insert(pipeline_.key[i]).second)
        problems_.add(path, problems_.written(path) + " stands twice in the key; remove one");
    }
  }

  void check_topic() {
    const std::string path = at("topic");
    if (!problems_.sound(path))
      return;
    const auto topic = topic_template::parse(pipeline_.topic);
    if (!topic)
      return problems_.add(path, topic.error().message + "; it is " + problems_.written(path));
    for (const auto& part : topic->parts())
      if (part.is_column && is_no_name(part.text))
        problems_.add(path, "names a column" + as_no_name());
  }

  void check_ranges() {
    const std::string path = at("ranges");
    const auto& ranges = pipeline_.ranges;
    if (!problems_.given(path) || !problems_.sound(path))
      return;
    if (problems_.sound(at("shards")) && ranges.size() != pipeline_.shards)
      problems_.add(path, "has " + std::to_string(ranges.size()) + ", and `shards` is " +
                            std::to_string(pipeline_.shards) + "; give every shard one, in their order");
    std::vector<std::size_t> by_min(ranges.size());
    std::iota(by_min.begin(), by_min.end(), std::size_t{0});
    std::stable_sort(by_min.begin(), by_min.end(),
                     [&](std::size_t a, std::size_t b) { return ranges[a].min < ranges[b].min; });
    const std::size_t* widest = nullptr; // of those before: the one that reaches furthest
    for (const std::size_t& i : by_min) {
      if (ranges[i].min > ranges[i].max) {
        problems_.add(below(path, i), "has a `min` that is greater than its `max`; they are compared as text");
        continue;
      }
      if (widest != nullptr && ranges[i].min <= ranges[*widest].max)
        problems_.add(below(path, std::max(i, *widest)), "has values that " + below("ranges", std::min(i, *widest)) +
                                                           " has too; a value goes to one shard");
      if (widest == nullptr || ranges[i].max > ranges[*widest].max)
        widest = &i;
    }
  }

  void check_payload() {
    if (problems_.given(at("payload")))
      for (const char* other : {"fields", "add"})
        if (problems_.given(at(other)))
          problems_.add(at(other), "does not go with `payload`, a column that is sent as it is; remove one of them");
    if (problems_.given(at("add")) && !problems_.given(at("fields")) && !problems_.given(at("payload")))
      problems_.add(at("add"), "needs `fields` beside it; name there the columns to send");
    std::set<std::string> names;
    check_members("fields", false, names);
    check_members("add", true, names);
  }

  void check_members(const std::string& setting, bool added, std::set<std::string>& names) {
    if (!problems_.sound(at(setting)))
      return;
    std::size_t index = 0;
    for (const published_field& f : pipeline_.fields) {
      const bool is_column = f.from == published_field::kind::column;
      if (is_column == added)
        continue;
      const std::string path = path_of_member(at(setting), is_column ? f.source : f.name, index++);
      if (is_column)
        check_column(path, f.source);
      if (f.name.empty())
        problems_.add(path, "must have a name in the payload; it is empty");
      else if (is_no_name(f.name))
        problems_.add(path, "names a member" + as_no_name());
      else if (!names.insert(f.name).second)
        problems_.add(path, "gives the payload two members of one name; choose another");
    }
  }

  void check_where() {
    const std::string path = at("where");
    if (!problems_.given(path) || !problems_.sound(path))
      return;
    if (is_blank(pipeline_.where))
      problems_.add(path, "must not be empty; remove it to send all rows");
    else if (pipeline_.where.find(';') != std::string::npos)
      problems_.add(path, "must be one condition, without ';', not even in quotes");
  }

  void check_version() {
    const std::string path = at("version");
    if (!problems_.sound(path) || !problems_.sound(at("on_update")))
      return;
    const bool publishes = pipeline_.on_update == update_rule::publish;
    const bool logical =
      pipeline_.detect.changes == change_source::logical || !problems_.sound(below(at("detect"), "changes"));
    const auto& key = pipeline_.key;
    if (publishes && pipeline_.version.empty() && !logical)
      problems_.add(path, "is missing: `on_update: publish` needs a column that rises with each change of a row, or "
                          "PostgreSQL's log: `detect: {changes: logical}`");
    else if (!publishes && !pipeline_.version.empty())
      problems_.add(path, "is for `on_update: publish`; with ignore a row is sent once, whatever its version");
    else if (publishes && std::find(key.begin(), key.end(), pipeline_.version) != key.end())
      problems_.add(path, problems_.written(path) + " is in the key, so it never changes; choose another column");
  }

  void check_start() {
    if (pipeline_.start == publish_start::value && problems_.sound(at("start")) && !problems_.given(at("order")))
      problems_.add(at("start"), "is a value of `order`, which is missing; name the column there, or start with all "
                                 "or now");
  }

  void check_changes() {
    const std::string path = below(at("detect"), "changes");
    if (pipeline_.detect.changes == change_source::logical && source_ != nullptr &&
        source_->kind != database_kind::postgresql && problems_.sound(path))
      problems_.add(path, "can be logical for PostgreSQL only; remove it, and queries find the rows");
  }

  void check_tracking() {
    const std::string path = below(at("tracking"), "table");
    if (!problems_.sound(path))
      return;
    if (const std::string wrong = own_table_conflict(pipeline_.tracking.table); !wrong.empty())
      problems_.add(path, wrong + "; it is " + problems_.written(path));
    else if (tracking_ != nullptr && tracking_->kind == database_kind::sqlite &&
             pipeline_.tracking.table.find('.') != std::string::npos)
      problems_.add(path, "names a schema, and SQLite has none: a file is one; write the table alone");
  }

  void check_archive() {
    if (pipeline_.archive.keep.count() > 0 && pipeline_.archive.after.count() == 0 && problems_.sound(at("archive")))
      problems_.add(below(at("archive"), "keep"), "is for `after`, which is not set, so that nothing is archived");
  }

  const publish& pipeline_;
  const database* source_;
  const database* tracking_;
  findings& problems_;
  std::string path_;
};

} // namespace

const std::string& tracking_database(const publish& pipeline) {
  return pipeline.tracking.database.empty() ? pipeline.database : pipeline.tracking.database;
}

void check_publish(const publish& pipeline, const database* source, const database* tracking, findings& problems) {
  publish_check{pipeline, source, tracking, problems}.run();
}

} // namespace penstock::config
