#include "config/check.hpp"
#include "config/topic_pattern.hpp"
#include "config/value.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <set>

namespace penstock::config {

namespace {

class ingest_check {
public:
  ingest_check(const ingest& pipeline, findings& problems)
    : pipeline_(pipeline), problems_(problems), path_("ingest." + pipeline.name) {}

  void run() {
    check_topics();
    check_table();
    for (const column& c : pipeline_.columns)
      check_column(c);
    check_unique_columns();
    check_payload_shape();
    check_key();
    check_indexes();
  }

private:
  std::string at(std::string_view name) const { return below(path_, name); }
  std::string at_column(const column& c) const { return below(at("columns"), c.name); }

  void check_topics() {
    topics_known_ = problems_.sound(at("topics"));
    std::set<std::string> filters;
    for (std::size_t i = 0; i < pipeline_.topics.size() && topics_known_; ++i) {
      const std::string path = below(at("topics"), i);
      auto pattern = topic_pattern::parse(pipeline_.topics[i]);
      if (!pattern)
        problems_.add(path, pattern.error().message + "; it is " + problems_.written(path));
      else if (!filters.insert(pattern->filter()).second)
        problems_.add(path, "subscribes to the same as another topic of the list; remove one");
      else
        for (const std::string& name : pattern->names())
          ++levels_[name];
    }
    topics_known_ = problems_.sound(at("topics"));
  }

  void check_table() {
    const std::string path = at("table");
    if (!problems_.sound(path))
      return;
    if (const std::string wrong = own_table_conflict(pipeline_.table); !wrong.empty())
      problems_.add(path, wrong + "; it is " + problems_.written(path));
  }

  void check_column(const column& c) {
    const std::string path = at_column(c);
    if (!problems_.sound(path))
      return;
    const bool from = problems_.given(below(path, "from"));
    const bool value = problems_.given(below(path, "value"));
    if (from && value)
      return problems_.add(below(path, "value"), "stands beside `from`; keep one of them");
    if (!from && !value)
      return problems_.add(below(path, "from"),
                           "is missing; say where the value comes from, or give a constant with `value`");
    if (const std::string wrong = type_conflict(c); !wrong.empty())
      return problems_.add(below(path, "type"), wrong);
    if (c.source.from == source::kind::topic_level)
      check_topic_level(c, below(path, "from"));
    if (c.source.from == source::kind::latency_ms)
      check_latency(below(path, "from"));
  }

  /// Why the source cannot give values of the type; empty: it can.
  static std::string type_conflict(const column& c) {
    using kind = source::kind;
    const auto is = [&](std::initializer_list<column_type> types) {
      return std::find(types.begin(), types.end(), c.type) != types.end();
    };
    switch (c.source.from) {
    case kind::received: return is({column_type::timestamp}) ? "" : "must be timestamp for $received";
    case kind::latency_ms:
      return is({column_type::integer, column_type::real}) ? "" : "must be integer or real for $latency_ms";
    case kind::payload_rest: return is({column_type::json}) ? "" : "must be json for payload.rest";
    case kind::payload_raw:
      return is({column_type::text, column_type::bytes, column_type::json})
               ? ""
               : "must be text, bytes or json for payload.raw";
    case kind::topic: return is({column_type::text}) ? "" : "must be text for topic";
    case kind::topic_level:
      return is({column_type::json, column_type::bytes})
               ? "must be text, integer, real, boolean or timestamp for a topic level"
               : "";
    case kind::constant: return constant_conflict(c);
    case kind::payload_path: return "";
    }
    return "";
  }

  static std::string constant_conflict(const column& c) {
    const std::string& text = c.source.name;
    // A JSON number that the type can hold, as the decoder reads it.
    const auto number = [&](auto value) {
      const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
      return nlohmann::json::accept(text) && failure == std::errc{} && end == text.data() + text.size();
    };
    const std::string wrong = "does not fit `value`, which is no " + std::string{name_of(c.type)};
    switch (c.type) {
    case column_type::text: return "";
    case column_type::integer: return number(std::int64_t{}) ? "" : wrong;
    case column_type::real: return number(double{}) ? "" : wrong;
    case column_type::boolean: return text == "true" || text == "false" ? "" : wrong;
    case column_type::json: return nlohmann::json::accept(text) ? "" : wrong;
    case column_type::timestamp: return "cannot be timestamp for a constant; $received is the time of arrival";
    case column_type::bytes: return "cannot be bytes for a constant; use text";
    }
    return "";
  }

  void check_topic_level(const column& c, const std::string& path) {
    if (!topics_known_)
      return;
    const auto found = levels_.find(c.source.name);
    const std::size_t having = found == levels_.end() ? 0 : found->second;
    std::vector<std::string> known;
    known.reserve(levels_.size());
    for (const auto& level : levels_)
      known.push_back(level.first);
    const std::string level = problems_.written(path);
    if (having == 0)
      problems_.add(path, level + " names a level that no topic has" + did_you_mean(c.source.name, known) +
                            "; the topics have: " + list_of(known));
    else if (having < pipeline_.topics.size())
      problems_.add(path,
                    level + " names a level that not every topic has; name it in all of them, or make two pipelines");
  }

  void check_latency(const std::string& path) {
    const auto from_payload = [](const column& c) {
      return c.type == column_type::timestamp && c.source.from == source::kind::payload_path;
    };
    if (problems_.sound(at("columns")) &&
        std::none_of(pipeline_.columns.begin(), pipeline_.columns.end(), from_payload))
      problems_.add(path, "$latency_ms is arrival minus the first timestamp of the payload, and no column is one");
  }

  void check_unique_columns() {
    std::set<std::string> names;
    const column* rest = nullptr;
    for (const column& c : pipeline_.columns) {
      if (!names.insert(lower(c.name)).second)
        problems_.add(at_column(c),
                      "another column has this name in other letter case, which databases take for the same");
      if (c.source.from != source::kind::payload_rest)
        continue;
      if (rest != nullptr)
        problems_.add(below(at_column(c), "from"),
                      "column '" + rest->name + "' takes payload.rest already; remove one");
      rest = &c;
    }
  }

  /// A payload is an object or an array: where columns need both, no message could ever be stored.
  void check_payload_shape() {
    const column* element = nullptr;
    const column* member = nullptr;
    for (const column& c : pipeline_.columns) {
      if (c.source.from == source::kind::payload_rest)
        member = &c;
      else if (c.source.from == source::kind::payload_path && !c.source.path.empty())
        (c.source.path.front().name.empty() ? element : member) = &c;
    }
    if (element != nullptr && member != nullptr && problems_.sound(at_column(*element)))
      problems_.add(below(at_column(*element), "from"), "takes the payload for an array, and column '" + member->name +
                                                          "' takes it for an object; keep one kind");
  }

  void check_key() {
    if (!problems_.sound(at("key")) || !columns_known())
      return;
    std::set<std::string> seen;
    for (std::size_t i = 0; i < pipeline_.key.size(); ++i) {
      const std::string path = below(at("key"), i);
      if (const std::string wrong = key_conflict(pipeline_.key[i], seen); !wrong.empty())
        problems_.add(path, problems_.written(path) + " " + wrong);
    }
  }

  std::string key_conflict(const std::string& name, std::set<std::string>& seen) const {
    const column* c = find_column(pipeline_, name);
    if (c == nullptr)
      return "is not among the columns" + did_you_mean(name, column_names(pipeline_));
    if (!seen.insert(name).second)
      return "stands twice in the key; remove one";
    if (c->optional)
      return "is optional, and a key cannot be NULL; remove `optional`, or the column from the key";
    if (c->source.from == source::kind::received || c->source.from == source::kind::latency_ms)
      return "differs each time a message is delivered, so a repeated record would be stored again; choose what the "
             "device sends";
    return {};
  }

  void check_indexes() {
    if (!problems_.sound(at("indexes")) || !columns_known())
      return;
    std::set<std::string> all;
    for (std::size_t i = 0; i < pipeline_.indexes.size(); ++i) {
      const std::string path = below(at("indexes"), i);
      std::set<std::string> seen;
      std::string whole;
      for (std::size_t k = 0; k < pipeline_.indexes[i].size(); ++k) {
        const index_column& column = pipeline_.indexes[i][k];
        const std::string place = below(path, k);
        whole += column.name + (column.descending ? " desc, " : ", ");
        if (find_column(pipeline_, column.name) == nullptr)
          problems_.add(place, problems_.written(place) + " is not among the columns" +
                                 did_you_mean(column.name, column_names(pipeline_)));
        else if (!seen.insert(column.name).second)
          problems_.add(place, problems_.written(place) + " stands twice in the index; remove one");
      }
      if (!all.insert(whole).second)
        problems_.add(path, "repeats an index that stands before it; remove one");
    }
  }

  /// Every column's name is known, whatever else is wrong with it.
  bool columns_known() const { return !pipeline_.columns.empty(); }

  const ingest& pipeline_;
  findings& problems_;
  std::string path_;
  bool topics_known_ = false;
  std::map<std::string, std::size_t> levels_; ///< {NAME}: in how many topics
};

} // namespace

const column* find_column(const ingest& pipeline, const std::string& name) {
  const auto& all = pipeline.columns;
  const auto found = std::find_if(all.begin(), all.end(), [&](const column& c) { return c.name == name; });
  return found == all.end() ? nullptr : &*found;
}

std::vector<std::string> column_names(const ingest& pipeline) {
  std::vector<std::string> names;
  names.reserve(pipeline.columns.size());
  for (const column& c : pipeline.columns)
    names.push_back(c.name);
  return names;
}

std::string own_table_conflict(std::string_view table) {
  const auto dot = table.find('.');
  const bool has_schema = dot != std::string_view::npos;
  const std::string_view name = has_schema ? table.substr(dot + 1) : table;
  if (!is_identifier(name) || (has_schema && !is_identifier(table.substr(0, dot))))
    return "must be TABLE or SCHEMA.TABLE, names that have letters, digits and _, begin with no digit, and have at "
           "most 63";
  if (const std::string folded = lower(name); folded.starts_with("penstock_") || folded.starts_with("sqlite_"))
    return "names that begin with penstock_ or sqlite_ are reserved; choose another";
  return {};
}

void check_pipeline(const ingest& pipeline, findings& problems) { ingest_check{pipeline, problems}.run(); }

} // namespace penstock::config
