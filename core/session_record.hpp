// What is remembered of an MQTT session that an ingest pipeline has at a broker, so that it can be ended when the
// configuration has it no more.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace penstock {

struct session_record {
  std::string client_id;
  std::string broker; ///< its name in the configuration; with the client id the record's key
  std::string pipeline;
  std::uint32_t shard = 0;
  std::string table;                ///< that the pipeline writes
  std::vector<std::string> filters; ///< that it may be subscribed to, as sent ($share/... included)
  std::uint64_t epoch = 0;          ///< rises each time that somebody is to open the session
  bool settled = false; ///< the broker has confirmed: it is subscribed to these and no others; in the answer
                        ///< to who is to open it: it had, before this epoch

  friend bool operator==(const session_record&, const session_record&) = default;
};

} // namespace penstock
