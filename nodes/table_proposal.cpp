#include "nodes/table_proposal.hpp"

#include "config/value.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

namespace penstock::nodes {

namespace {

using storage::actual_column;
using storage::actual_index;
using storage::actual_table;

bool has_any(const std::string& text, std::initializer_list<const char*> words) {
  const auto small = config::lower(text);
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return small.find(word) != std::string::npos; });
}

const actual_column* find(const actual_table& table, const std::string& name) {
  const auto found =
    std::find_if(table.columns.begin(), table.columns.end(), [&](const auto& each) { return each.name == name; });
  return found == table.columns.end() ? nullptr : &*found;
}

bool is_fit_for_key(const actual_table& table, const actual_index& index) {
  return index.unique && !index.partial &&
         std::all_of(index.columns.begin(), index.columns.end(), [&](const auto& each) {
           const auto* column = find(table, each.name);
           return column != nullptr && column->not_null;
         });
}

std::vector<std::string> key_of(const actual_table& table) {
  const actual_index* best = nullptr;
  for (const auto& index : table.indexes)
    if (is_fit_for_key(table, index) && (best == nullptr || index.columns.size() < best->columns.size()))
      best = &index;
  std::vector<std::string> key;
  if (best != nullptr)
    for (const auto& column : best->columns)
      key.push_back(column.name);
  return key;
}

/// How much a column looks like the time at which its row was made; 0: not at all.
int looks_like_creation(const actual_table& table, const actual_column& column) {
  const bool is_time = has_any(column.type, {"timestamp", "datetime"});
  if (!is_time && !has_any(column.name, {"created", "inserted", "timestamp", "time"}))
    return 0;
  if (has_any(column.name, {"updated", "modified", "changed", "deleted"}))
    return 0;
  const bool indexed = std::any_of(table.indexes.begin(), table.indexes.end(), [&](const auto& index) {
    return !index.partial && !index.columns.empty() && index.columns.front().name == column.name;
  });
  return (indexed ? 8 : 0) + (has_any(column.name, {"created", "inserted"}) ? 4 : 0) + (is_time ? 2 : 0) + 1;
}

std::string order_of(const actual_table& table) {
  std::string best;
  int most = 0;
  for (const auto& column : table.columns)
    if (const int points = looks_like_creation(table, column); points > most) {
      most = points;
      best = column.name;
    }
  return best;
}

std::string shard_by_of(const actual_table& table) {
  for (const char* word : {"monitor", "device", "meter", "sensor", "station", "machine"})
    for (const auto& column : table.columns)
      if (has_any(column.name, {word}))
        return column.name;
  return {};
}

std::string without_schema(const std::string& table) { return table.substr(table.find('.') + 1); }

} // namespace

std::string pipeline_name_of(const std::string& table) {
  auto name = without_schema(table);
  std::replace_if(
    name.begin(), name.end(), [](char c) { return !config::is_name(std::string(1, c)); }, '-');
  return name;
}

table_proposal propose(const std::string& table, const storage::actual_table& actual) {
  table_proposal made;
  made.key = key_of(actual);
  made.order = order_of(actual);
  made.shard_by = shard_by_of(actual);
  const auto& last = made.shard_by.empty() && !made.key.empty() ? made.key.front() : made.shard_by;
  if (!last.empty())
    made.topic = "data/" + pipeline_name_of(table) + "/{" + last + "}";
  return made;
}

} // namespace penstock::nodes
