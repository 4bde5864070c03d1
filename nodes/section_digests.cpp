#include "nodes/section_digests.hpp"

#include "config/diff.hpp"
#include "config/findings.hpp"
#include "nodes/fingerprint.hpp"

#include <fmt/format.h>

#include <vector>

namespace penstock::nodes {

namespace {

/// What differs though the file is the same.
void forget_own(config::configuration& c) {
  if (c.cluster)
    c.cluster->tls = {};
  for (auto& [unused, pipeline] : c.ingest)
    pipeline.dead_letters.file = pipeline.dead_letters.file.filename(); // in the folder of the node
  for (auto& [unused, pipeline] : c.publish)
    if (!pipeline.in_flight_given) // a share, which a reload leaves as it is
      pipeline.in_flight_max = {};
}

} // namespace

std::map<std::string, std::string> section_digests(config::configuration configuration) {
  forget_own(configuration);
  const auto settings = config::diff({}, configuration);
  std::map<std::string, std::string> digests;
  const auto add = [&](const std::string& section) {
    std::vector<std::string> texts;
    for (const auto& setting : settings)
      if (setting.path.starts_with(section + "."))
        texts.insert(texts.end(), {setting.path, setting.after});
    digests[section] = fmt::format("{:016x}", fingerprint_of(texts).high);
  };
  if (configuration.cluster)
    add("cluster");
  for (const auto& [name, unused] : configuration.ingest)
    add(config::below("ingest", name));
  for (const auto& [name, unused] : configuration.publish)
    add(config::below("publish", name));
  return digests;
}

} // namespace penstock::nodes
