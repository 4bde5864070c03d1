#include "actors/pipeline_actors.hpp"

#include "messages/messages.hpp"

#include <caf/send.hpp>

#include <charconv>
#include <string_view>
#include <vector>

namespace penstock::actors {

using namespace messages;

namespace {

constexpr std::string_view writer_infix = "/batch-writer/";
constexpr std::string_view ingestor_infix = "/ingestor/";

/// What is before and behind the infix.
std::optional<std::pair<std::string, std::string>> split_at(const std::string& name, std::string_view infix) {
  const auto at = name.find(infix);
  if (at == std::string::npos)
    return std::nullopt;
  return std::pair{name.substr(0, at), name.substr(at + infix.size())};
}

} // namespace

std::string writer_name(const std::string& pipeline, std::uint32_t lane) {
  return pipeline + std::string{writer_infix} + std::to_string(lane);
}

std::string ingestor_name(const std::string& pipeline, std::uint32_t shard) {
  return pipeline + std::string{ingestor_infix} + std::to_string(shard);
}

std::string retiring_name(const std::string& pipeline) { return pipeline + std::string{ingestor_infix} + "retiring"; }

std::string poller_name(const std::string& pipeline) { return pipeline + "/poller"; }

std::string publisher_name(const std::string& pipeline, std::uint32_t shard) {
  return pipeline + "/publisher/" + std::to_string(shard);
}

std::optional<std::pair<std::string, std::uint32_t>> lane_of_writer(const std::string& name) {
  const auto parts = split_at(name, writer_infix);
  if (!parts)
    return std::nullopt;
  const auto& digits = parts->second;
  std::uint32_t lane = 0;
  if (const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), lane);
      failure != std::errc{} || end != digits.data() + digits.size())
    return std::nullopt;
  return std::pair{parts->first, lane};
}

std::optional<std::string> pipeline_of_ingestor(const std::string& name) {
  auto parts = split_at(name, ingestor_infix);
  return parts ? std::optional{std::move(parts->first)} : std::nullopt;
}

supervisor_config::start_handler announce_writers(const std::string& pipeline, std::uint32_t shards,
                                                  std::uint32_t lanes, const actor_directory& directory) {
  std::vector<std::string> writers;
  for (std::uint32_t lane = 0; lane < lanes; ++lane)
    writers.push_back(writer_name(pipeline, lane));
  std::vector<std::string> ingestors;
  for (std::uint32_t shard = 0; shard < shards; ++shard)
    ingestors.push_back(ingestor_name(pipeline, shard));
  ingestors.push_back(retiring_name(pipeline));
  return [writers = std::move(writers), ingestors = std::move(ingestors), &directory](const std::string& child,
                                                                                      const auto& find) {
    for (std::uint32_t lane = 0; lane < writers.size(); ++lane)
      for (const auto& ingestor : ingestors)
        if (child == writers[lane] || child == ingestor)
          if (const auto writer = find(writers[lane]), target = find(ingestor); writer && target)
            caf::anon_send(target, writer_atom_v, lane, caf::actor_cast<caf::strong_actor_ptr>(writer), link_version);
    if (const auto agent = directory.find("agent"))
      caf::anon_send(agent, started_atom_v, child, caf::actor_cast<caf::strong_actor_ptr>(find(child)));
  };
}

supervisor_config::start_handler announce_poller(const std::string& pipeline, std::uint32_t shards) {
  std::vector<std::string> publishers;
  for (std::uint32_t shard = 0; shard < shards; ++shard)
    publishers.push_back(publisher_name(pipeline, shard));
  return
    [poller = poller_name(pipeline), publishers = std::move(publishers)](const std::string& child, const auto& find) {
      const auto source = find(poller);
      for (const auto& publisher : publishers)
        if (child == poller || child == publisher)
          if (const auto target = find(publisher); source && target)
            caf::anon_send(target, poller_atom_v, caf::actor_cast<caf::strong_actor_ptr>(source));
    };
}

} // namespace penstock::actors
