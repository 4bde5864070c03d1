#include "cluster/shards.hpp"

#include <algorithm>
#include <charconv>

namespace penstock::cluster {

namespace {
constexpr std::string_view lane_suffix = "/batch-writer"; // as their actors are named
} // namespace

std::string lanes_of(const std::string& pipeline) { return pipeline + std::string{lane_suffix}; }

bool is_lane(const storage::shard_id& shard) { return shard.pipeline.ends_with(lane_suffix); }

std::string pipeline_of(const storage::shard_id& shard) {
  return shard.pipeline.substr(0, shard.pipeline.size() - (is_lane(shard) ? lane_suffix.size() : 0));
}

std::vector<wanted_shard> shards_of(const config::configuration& configuration) {
  std::vector<wanted_shard> all;
  const auto add = [&all](const std::string& pipeline, std::uint32_t count, config::role role, bool together = false) {
    for (std::uint32_t shard = 0; shard < count; ++shard)
      all.push_back({{pipeline, shard}, std::string{name_of(role)}, together});
  };
  for (const auto& [name, pipeline] : configuration.ingest) {
    add(name, pipeline.shards, config::role::ingest);
    add(lanes_of(name), pipeline.writers, config::role::write);
  }
  for (const auto& [name, pipeline] : configuration.publish)
    add(name, pipeline.shards, config::role::publish, pipeline.detect.changes == config::change_source::logical);
  std::sort(all.begin(), all.end(), [](const auto& one, const auto& other) { return one.id < other.id; });
  return all;
}

std::set<storage::shard_id> shards_of_others(const storage::cluster_snapshot& seen, const std::string& instance) {
  std::set<std::string> alive;
  for (const auto& node : seen.nodes)
    if (node.instance != instance && node.is_alive())
      alive.insert(node.instance);
  std::set<storage::shard_id> all;
  for (const auto& shard : seen.shards)
    if (alive.contains(shard.instance))
      all.insert(shard.id);
  return all;
}

std::string to_text(const storage::shard_id& id) { return id.pipeline + "/" + std::to_string(id.shard); }

std::optional<storage::shard_id> parse_shard(std::string_view text) {
  const auto slash = text.rfind('/');
  if (slash == std::string_view::npos || slash == 0)
    return std::nullopt;
  storage::shard_id id{std::string{text.substr(0, slash)}, 0};
  const auto digits = text.substr(slash + 1);
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), id.shard);
  if (digits.empty() || failure != std::errc{} || end != digits.data() + digits.size())
    return std::nullopt;
  return id;
}

} // namespace penstock::cluster
