// The configuration of a small cluster.
#pragma once

#include "config/config.hpp"

namespace penstock::nodes::test {

inline config::configuration plant() {
  config::configuration c;
  c.cluster = config::cluster{"plant-7", "state", std::chrono::seconds{3}, {}};
  c.ingest["telemetry"].shards = 2;
  c.publish["T"].shards = 1;
  return c;
}

} // namespace penstock::nodes::test
