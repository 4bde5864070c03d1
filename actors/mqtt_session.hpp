// An ingest shard's session over a real broker.
#pragma once

#include "actors/session.hpp"
#include "config/config.hpp"
#include "mqtt/client.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace penstock::actors {

/// "penstock-<installation>-<pipeline>-<generation>-<shard>": stable over restarts and nodes, so that the broker keeps
/// one session a shard; two installations on one broker never share one.
std::string client_id_of(const std::string& installation, const std::string& pipeline, std::uint32_t shard);

/// The session that a shard is to have. `installation` is the id of this installation in the database (docs: delivery,
/// identity). Several shards share one subscription.
session_record session_record_of(const std::string& installation, const config::ingest& pipeline, std::uint32_t shard);

/// A persistent session that resumes under the same id, and is not read past the pipeline's in-flight limits.
mqtt::client_options client_options_of(const session_request& request, const config::broker& broker,
                                       const config::ingest& pipeline);

/// Whether a session may be dialled; see mqtt::client_options.
using dial_rule = std::function<bool(const session_record& session, bool taken_over, monotonic since)>;

/// Sessions whose messages are `pipeline`'s, on `io`, which must outlive them. `broker_of`: by the name in the request.
/// Without a rule anything may be dialled.
session_factory mqtt_sessions(mqtt::io_thread& io, std::function<config::broker(const std::string& name)> broker_of,
                              const config::ingest& pipeline, dial_rule may_dial = {});

} // namespace penstock::actors
