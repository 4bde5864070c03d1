#include "nodes/payload_generator.hpp"

#include "config/load.hpp"
#include "config/topic_pattern.hpp"
#include "core/time_text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>

namespace penstock::nodes {

using source_kind = config::source::kind;

namespace {

constexpr std::uint64_t devices_per_group = 10;

std::string json_text(std::string_view text) { return nlohmann::json(text).dump(); }

std::string path_text(const config::source& source) {
  std::string out;
  for (const auto& step : source.path)
    out += step.name.empty() ? "[" + std::to_string(step.index) + "]" : "." + step.name;
  return out;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

error refuse(const std::string& what) { return {errc::configuration, what}; }

} // namespace

/// The payload as a tree, before it is cut into pieces. Where a column takes a whole object and others take its
/// members, the members make it.
struct payload_generator::node {
  struct named;
  std::vector<named> members;
  std::vector<node> elements;
  std::optional<std::size_t> leaf;
  std::string text; ///< fixed JSON, where not empty

  node& member(const std::string& name);
  node& at(const config::source::step& step);
};

struct payload_generator::node::named {
  std::string name;
  node value;
};

payload_generator::node& payload_generator::node::member(const std::string& name) {
  const auto found = std::find_if(members.begin(), members.end(), [&](const named& m) { return m.name == name; });
  return found != members.end() ? found->value : members.emplace_back(named{name, {}}).value;
}

payload_generator::node& payload_generator::node::at(const config::source::step& step) {
  if (!step.name.empty())
    return member(step.name);
  if (elements.size() <= step.index)
    elements.resize(step.index + 1);
  return elements[step.index];
}

result<payload_generator> payload_generator::make(const config::ingest& pipeline, generator_options options) {
  payload_generator made;
  made.options_ = options;
  made.options_.devices = std::max<std::uint64_t>(options.devices, 1);
  made.random_ = options.seed;
  for (const std::string& text : pipeline.topics) {
    const auto parsed = config::topic_pattern::parse(text);
    if (!parsed)
      return parsed.error();
    pattern topic;
    using level_kind = config::topic_pattern::level::kind;
    std::size_t variable = 0;
    for (const auto& level : parsed->levels())
      variable += level.what == level_kind::name || level.what == level_kind::one ? 1 : 0;
    std::size_t seen = 0;
    for (const auto& level : parsed->levels()) {
      const bool fixed = level.what == level_kind::text || level.what == level_kind::rest;
      std::string word = level.what == level_kind::rest ? "load" : level.what == level_kind::one ? "level" : level.text;
      if (level.what == level_kind::name) {
        topic.level_of[level.text] = topic.levels.size();
        if (word.size() > 3 && word.ends_with("_id"))
          word.resize(word.size() - 3);
      }
      seen += fixed ? 0 : 1;
      topic.levels.push_back(word);
      topic.kinds.push_back(fixed              ? pattern::kind::text
                            : variable == 1    ? pattern::kind::all_devices
                            : seen == variable ? pattern::kind::device
                                               : pattern::kind::group);
    }
    made.topics_.push_back(std::move(topic));
  }
  if (const auto added = made.add_columns(pipeline); !added)
    return added.error();
  if (const auto added = made.add_key(pipeline); !added)
    return added.error();
  const bool key_has_time = std::any_of(made.leaves_.begin(), made.leaves_.end(), [](const leaf& place) {
    return place.in_key && place.type == column_type::timestamp;
  });
  if (!key_has_time)
    made.sequence_base_ = std::chrono::floor<std::chrono::milliseconds>(options.started).time_since_epoch().count();
  if (options.malformed_percent > 0 && made.leaves_.empty())
    return refuse("pipeline " + pipeline.name + " takes any payload, so none is malformed: leave out --malformed");
  return made;
}

result<void> payload_generator::add_columns(const config::ingest& pipeline) {
  node root;
  for (const auto& column : pipeline.columns) {
    if (column.source.from != source_kind::payload_path)
      continue;
    const std::string path = path_text(column.source);
    const bool in_key = std::find(pipeline.key.begin(), pipeline.key.end(), column.name) != pipeline.key.end();
    const auto known =
      std::find_if(leaf_paths_.begin(), leaf_paths_.end(), [&](const auto& p) { return p.first == path; });
    if (known != leaf_paths_.end()) {
      leaf& first = leaves_[known->second];
      if (first.type != column.type && (in_key || first.in_key))
        return refuse("columns " + first.name + " and " + column.name + " read the same key value as different types");
      first.in_key = first.in_key || in_key;
      first.optional = first.optional && column.optional;
      continue;
    }
    node* place = &root;
    for (const auto& step : column.source.path)
      place = &place->at(step);
    place->leaf = leaves_.size();
    leaf_paths_.emplace_back(path, leaves_.size());
    leaves_.push_back({column.name, column.type, column.optional, in_key});
    any_required_ = any_required_ || !column.optional;
  }
  if (root.elements.empty()) {
    for (const auto& [name, text] : {std::pair{"rssi", "-71"}, {"firmware", R"("2.4.1")"}}) {
      node& extra = root.member(name);
      if (!extra.leaf && extra.members.empty() && extra.elements.empty())
        extra.text = text;
    }
  }
  pieces_.emplace_back();
  write_node(root);
  return {};
}

void payload_generator::write_node(const node& from) {
  if (!from.members.empty()) {
    std::string before = "{";
    for (const auto& [name, below] : from.members) {
      add_piece(before + json_text(name) + ":");
      write_node(below);
      before = ",";
    }
    add_piece("}");
  } else if (!from.elements.empty()) {
    std::string before = "[";
    for (const auto& below : from.elements) {
      add_piece(before);
      write_node(below);
      before = ",";
    }
    add_piece("]");
  } else if (from.leaf) {
    order_.push_back(*from.leaf);
    pieces_.emplace_back();
  } else {
    add_piece(from.text.empty() ? "null" : from.text);
  }
}

void payload_generator::add_piece(const std::string& text) { pieces_.back() += text; }

result<void> payload_generator::add_key(const config::ingest& pipeline) {
  for (const std::string& name : pipeline.key) {
    const auto column =
      std::find_if(pipeline.columns.begin(), pipeline.columns.end(), [&](const auto& c) { return c.name == name; });
    assert_that(column != pipeline.columns.end(), "a key column is a column");
    if (column->type != column_type::text && column->type != column_type::integer &&
        column->type != column_type::timestamp)
      return refuse("key column " + name + ": load knows keys of text, integer and timestamp only");
    key_part part;
    part.kind = column->source.from;
    switch (column->source.from) {
    case source_kind::payload_path: {
      const auto path = path_text(column->source);
      const auto found =
        std::find_if(leaf_paths_.begin(), leaf_paths_.end(), [&](const auto& p) { return p.first == path; });
      if (std::find(order_.begin(), order_.end(), found->second) == order_.end())
        return refuse("key column " + name + " takes an object whose members other columns take");
      part.from = found->second;
      break;
    }
    case source_kind::topic_level:
    case source_kind::constant: part.from = column->source.name; break;
    case source_kind::topic:
    case source_kind::payload_raw: break;
    default:
      return refuse("key column " + name + ": its value is not known when a message is sent, so load cannot verify it");
    }
    key_.push_back(std::move(part));
  }
  return {};
}

std::uint64_t payload_generator::random() { // splitmix64
  random_ += 0x9e3779b97f4a7c15u;
  std::uint64_t mixed = random_;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  return mixed ^ (mixed >> 31);
}

std::string payload_generator::level(const pattern& topic, std::size_t index, std::uint64_t device) const {
  std::string text = topic.levels[index];
  char number[24];
  switch (topic.kinds[index]) {
  case pattern::kind::text: return text;
  case pattern::kind::group:
    std::snprintf(number, sizeof number, "_%llu", static_cast<unsigned long long>(device / devices_per_group));
    break;
  case pattern::kind::device: device %= devices_per_group; [[fallthrough]];
  case pattern::kind::all_devices:
    std::snprintf(number, sizeof number, "_%03llu", static_cast<unsigned long long>(device) + 1);
    break;
  }
  return text + number;
}

std::string payload_generator::value_of(const leaf& place, std::uint64_t device_sequence, wall_time time,
                                        std::string& key_value) {
  if (place.optional && !place.in_key && random(16) == 0)
    return "null";
  const std::string number = std::to_string(sequence_base_ + static_cast<std::int64_t>(device_sequence));
  char text[32];
  switch (place.type) {
  case column_type::timestamp:
    key_value = std::to_string(time.time_since_epoch().count());
    return '"' + format_rfc3339(time) + '"';
  case column_type::integer:
    if (place.in_key)
      return key_value = number;
    return std::to_string(contains(place.name, "battery") ? 10 + random(90) : random(1'000));
  case column_type::real:
    std::snprintf(text, sizeof text, "%.2f",
                  contains(place.name, "temp") ? 20.0 + static_cast<double>(random(2'501)) / 100.0
                                               : static_cast<double>(random(10'000)) / 100.0);
    return text;
  case column_type::boolean: return random(2) == 0 ? "false" : "true";
  case column_type::text:
    key_value = place.in_key ? number : "value_" + std::to_string(random(100));
    return '"' + key_value + '"';
  case column_type::bytes: return "\"cGVuc3RvY2sh\"";
  case column_type::json: return R"({"level":)" + std::to_string(random(10)) + "}";
  }
  return "null";
}

std::string payload_generator::break_payload(const std::string& payload) {
  const std::string number = std::to_string(messages_);
  switch (random(any_required_ ? 3 : 2)) {
  case 0: return payload.substr(0, payload.size() / 2);
  case 1: return "malformed message " + number + " of seed " + std::to_string(options_.seed);
  default: return R"({"malformed":)" + number + R"(,"seed":)" + std::to_string(options_.seed) + "}";
  }
}

generated_message payload_generator::next(wall_time now) {
  const std::uint64_t device = messages_ % options_.devices;
  const std::uint64_t device_sequence = messages_ / options_.devices;
  ++messages_;
  const pattern& topic = topics_[device % topics_.size()];
  last_time_ = std::max(now, last_time_ + std::chrono::microseconds(1));

  generated_message made;
  std::vector<std::string> levels(topic.levels.size());
  for (std::size_t i = 0; i < levels.size(); ++i) {
    levels[i] = level(topic, i, device);
    made.topic += (i == 0 ? "" : "/") + levels[i];
  }
  std::vector<std::string> values(leaves_.size());
  for (std::size_t i = 0; i < order_.size(); ++i)
    made.payload += pieces_[i] + value_of(leaves_[order_[i]], device_sequence, last_time_, values[order_[i]]);
  made.payload += pieces_.back();

  made.malformed = static_cast<double>(random(1'000'000)) < options_.malformed_percent * 10'000;
  if (made.malformed) {
    made.payload = break_payload(made.payload);
    return made;
  }
  for (const key_part& part : key_) {
    switch (part.kind) {
    case source_kind::payload_path: made.key.push_back(values[std::get<std::size_t>(part.from)]); break;
    case source_kind::topic_level: {
      const auto found = topic.level_of.find(std::get<std::string>(part.from));
      made.key.push_back(found == topic.level_of.end() ? std::string{} : levels[found->second]);
      break;
    }
    case source_kind::constant: made.key.push_back(std::get<std::string>(part.from)); break;
    case source_kind::topic: made.key.push_back(made.topic); break;
    default: made.key.push_back(made.payload); break;
    }
  }
  return made;
}

result<config::configuration> telemetry_configuration(const std::string& broker_url, const std::string& topic) {
  const auto pattern = config::topic_pattern::parse(topic);
  if (!pattern)
    return refuse("--topic: " + pattern.error().message);
  using nlohmann::ordered_json;
  ordered_json columns;
  ordered_json key = {"time"};
  columns["time"] = {{"from", "payload.time"}, {"type", "timestamp"}};
  for (const std::string& name : pattern->names()) {
    columns[name] = {{"from", "topic." + name}, {"type", "text"}};
    key.push_back(name);
  }
  columns["sequence_id"] = {{"from", "payload.sequence_id"}, {"type", "integer"}};
  key.push_back("sequence_id");
  columns["temperature"] = {{"from", "payload.temperature"}, {"type", "real"}, {"optional", true}};
  columns["battery"] = {{"from", "payload.battery"}, {"type", "integer"}, {"optional", true}};
  columns["extra_data"] = {{"from", "payload.rest"}, {"type", "json"}};
  const ordered_json tree = {{"data", "."},
                             {"brokers", {{"main", {{"url", broker_url}}}}},
                             {"databases", {{"telemetry", {{"url", "sqlite:unused.db"}}}}},
                             {"ingest",
                              {{"telemetry",
                                {{"broker", "main"},
                                 {"topics", ordered_json::array({topic})},
                                 {"format", "json"},
                                 {"database", "telemetry"},
                                 {"table", "raw_telemetry"},
                                 {"key", key},
                                 {"columns", columns}}}}}};
  config::load_options options;
  options.variable = [](const std::string&) { return std::nullopt; };
  auto loaded = config::load_text(tree.dump(2), "--broker and --topic", options);
  if (auto* problems = std::get_if<std::vector<config::problem>>(&loaded))
    return refuse(problems->front().path + ": " + problems->front().text);
  return std::get<config::configuration>(std::move(loaded));
}

} // namespace penstock::nodes
