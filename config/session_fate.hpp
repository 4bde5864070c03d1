// What becomes of a recorded MQTT session under a configuration: whether a shard still has it, and if none does, which
// pipeline drains and ends it.
//
//   session of                                            | is
//   ------------------------------------------------------+--------------------------------------------------------------
//   a shard that the configuration has                    | kept
//   a pipeline that has fewer shards, or another broker   | retired by that pipeline, if its broker is still configured
//   a pipeline that is gone, of another's table, topics,  | retired by that one: the pipeline was renamed
//   broker and database                                   |
//   any other                                             | ownerless: nobody could store what the broker has for it
#pragma once

#include "config/config.hpp"
#include "core/session_record.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace penstock::config {

/// What a pipeline subscribes to, without $share.
std::vector<std::string> filters_of(const ingest& pipeline);

struct session_fate {
  enum class kind : std::uint8_t { kept, retired, ownerless };
  kind what = kind::kept;
  std::string pipeline = {}; ///< that retires it
  friend bool operator==(const session_fate&, const session_fate&) = default;
};

/// `database`: the one in which the record is.
session_fate fate_of(const configuration& configuration, const std::string& database, const session_record& session);

} // namespace penstock::config
