// An ingest shard's session over a real broker.
#pragma once

#include "actors/session.hpp"
#include "config/config.hpp"
#include "mqtt/client.hpp"

#include <cstdint>
#include <string>

namespace penstock::actors {

/// "penstock-<installation>-<pipeline>-<generation>-<shard>": stable over restarts and nodes, so that the broker keeps
/// one session a shard; two installations on one broker never share one.
std::string client_id_of(const std::string& installation, const std::string& pipeline, std::uint32_t shard);

/// A persistent session that resumes under the same id, and is not read past the pipeline's in-flight limits.
mqtt::client_options client_options_of(const std::string& installation, const config::broker& broker,
                                       const config::ingest& pipeline, std::uint32_t shard);

/// Sessions of `pipeline`'s shard on `broker`, on `io`, which must outlive them. Several shards share one subscription.
/// `may_dial`: of mqtt::client_options.
session_factory mqtt_sessions(mqtt::io_thread& io, const config::broker& broker, const config::ingest& pipeline,
                              std::uint32_t shard, std::function<bool(bool, monotonic)> may_dial = {});

} // namespace penstock::actors
