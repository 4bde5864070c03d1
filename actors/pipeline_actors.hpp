// The actors of a pipeline: how they are named, and who is announced to whom. What each is started with, the node
// says (nodes/pipeline.hpp).
#pragma once

#include "actors/directory.hpp"
#include "actors/supervisor.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace penstock::actors {

std::string writer_name(const std::string& pipeline, std::uint32_t lane);     ///< "telemetry/batch-writer/0"
std::string ingestor_name(const std::string& pipeline, std::uint32_t shard);  ///< "telemetry/ingestor/0"
std::string retiring_name(const std::string& pipeline);                       ///< "telemetry/ingestor/retiring"
std::string poller_name(const std::string& pipeline);                         ///< "TableA/poller"
std::string publisher_name(const std::string& pipeline, std::uint32_t shard); ///< "TableA/publisher/0"

/// The pipeline and the lane of a batch-writer by its name; of another actor nothing.
std::optional<std::pair<std::string, std::uint32_t>> lane_of_writer(const std::string& name);
/// The pipeline of an ingestor by its name, the retiring one's too; of another actor nothing.
std::optional<std::string> pipeline_of_ingestor(const std::string& name);

/// For the supervisor of an ingest pipeline: each batch-writer is announced to each ingestor, whichever of both is new.
/// The agent, where the directory has one, hears of every newcomer: it announces batch-writers from node to node.
supervisor_config::start_handler announce_writers(const std::string& pipeline, std::uint32_t shards,
                                                  std::uint32_t lanes, const actor_directory& directory);

/// For the supervisor of a publish pipeline: the poller is announced to each publisher, whichever of both is new.
supervisor_config::start_handler announce_poller(const std::string& pipeline, std::uint32_t shards);

} // namespace penstock::actors
