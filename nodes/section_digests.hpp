// Whether two nodes have the same configuration, told without showing it.
#pragma once

#include "config/config.hpp"

#include <map>
#include <string>

namespace penstock::nodes {

/// A digest (16 hexadecimal digits) of each section that all nodes of a cluster must have alike, by its path: the
/// pipelines ("ingest.telemetry") and "cluster". Of settings in effect, without what is each node's own: its files.
std::map<std::string, std::string> section_digests(config::configuration configuration);

} // namespace penstock::nodes
