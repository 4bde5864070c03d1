#include "nodes/message_row.hpp"

#include "config/topic_template.hpp"
#include "nodes/received_rows.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace penstock::nodes {

namespace {

/// The member that has the column's value; nothing where none has it.
std::optional<std::string> member_of(const config::publish& pipeline, const std::string& column) {
  if (pipeline.fields.empty())
    return column;
  const auto found = std::find_if(pipeline.fields.begin(), pipeline.fields.end(), [&](const auto& field) {
    return field.from == config::published_field::kind::column && field.source == column;
  });
  return found == pipeline.fields.end() ? std::nullopt : std::optional{found->name};
}

bool parse_version(std::string_view text, std::int64_t& version) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), version);
  return code == std::errc{} && end == text.data() + text.size();
}

} // namespace

std::string filter_of(const config::publish& pipeline) {
  const auto topic = config::topic_template::parse(pipeline.topic);
  if (!topic)
    return pipeline.topic;
  std::string filter;
  std::string level;
  bool any = false; // a column is part of the level
  const auto end_level = [&] {
    filter += any ? "+" : level;
    level.clear();
    any = false;
  };
  for (const auto& part : topic->parts()) {
    any = any || part.is_column;
    if (part.is_column)
      continue;
    for (const char letter : part.text) {
      if (letter != '/') {
        level += letter;
        continue;
      }
      end_level();
      filter += '/';
    }
  }
  end_level();
  return filter;
}

message_row::message_row(const config::publish& pipeline)
  : pipeline_(pipeline.name), key_size_(pipeline.key.size()),
    versions_(pipeline.on_update == config::update_rule::publish && !pipeline.version.empty()),
    id_first_(!pipeline.payload.empty()) {
  std::vector<std::string> columns = pipeline.key;
  if (versions_)
    columns.push_back(pipeline.version);
  for (const auto& column : columns) {
    const auto member = member_of(pipeline, column);
    if (!member) {
      members_.clear();
      return;
    }
    members_.push_back(*member);
  }
}

std::optional<fingerprint> message_row::of(const mqtt::inbound& message) const {
  const auto first = id_first_ ? of_id(message.message_id) : of_payload(message.payload);
  if (first)
    return first;
  return id_first_ ? of_payload(message.payload) : of_id(message.message_id);
}

std::optional<fingerprint> message_row::of_payload(std::string_view payload) const {
  if (members_.empty())
    return std::nullopt;
  const auto tree = nlohmann::json::parse(payload, nullptr, false);
  if (!tree.is_object())
    return std::nullopt;
  std::vector<std::string> values;
  for (const std::string& member : members_) {
    const auto found = tree.find(member);
    if (found == tree.end() || found->is_null() || found->is_structured())
      return std::nullopt;
    values.push_back(found->is_string() ? found->get<std::string>() : found->dump());
  }
  std::int64_t version = 0;
  if (versions_) {
    if (!parse_version(values.back(), version))
      return std::nullopt;
    values.pop_back();
  }
  return row_fingerprint(std::move(values), version);
}

std::optional<fingerprint> message_row::of_id(std::string_view id) const {
  if (!id.starts_with(pipeline_ + "/"))
    return std::nullopt;
  id.remove_prefix(pipeline_.size() + 1);
  std::int64_t version = 0;
  if (versions_) {
    const auto slash = id.rfind('/');
    if (slash == std::string_view::npos || !parse_version(id.substr(slash + 1), version))
      return std::nullopt;
    id.remove_suffix(id.size() - slash);
  }
  if (key_size_ == 1)
    return row_fingerprint({std::string{id}}, version);
  const auto tree = nlohmann::json::parse(id, nullptr, false);
  if (!tree.is_array() || tree.size() != key_size_ ||
      !std::all_of(tree.begin(), tree.end(), [](const auto& value) { return value.is_string(); }))
    return std::nullopt;
  return row_fingerprint(tree.get<std::vector<std::string>>(), version);
}

} // namespace penstock::nodes
