#include "config/session_fate.hpp"

#include "config/topic_pattern.hpp"
#include "core/assert.hpp"

#include <algorithm>
#include <string_view>

namespace penstock::config {

namespace {

using kind = session_fate::kind;

/// $share/GROUP/FILTER is FILTER.
std::string_view without_share(std::string_view filter) {
  constexpr std::string_view share = "$share/";
  if (!filter.starts_with(share))
    return filter;
  const auto end = filter.find('/', share.size());
  return end == std::string_view::npos ? filter : filter.substr(end + 1);
}

/// Whether what comes by it belongs into the pipeline's table.
bool continues(const ingest& pipeline, const session_record& session) {
  const auto filters = filters_of(pipeline);
  return pipeline.broker == session.broker && pipeline.table == session.table &&
         std::all_of(session.filters.begin(), session.filters.end(), [&](const auto& filter) {
           return std::find(filters.begin(), filters.end(), without_share(filter)) != filters.end();
         });
}

} // namespace

std::vector<std::string> filters_of(const ingest& pipeline) {
  std::vector<std::string> filters;
  for (const auto& topic : pipeline.topics) {
    const auto pattern = topic_pattern::parse(topic);
    assert_that(static_cast<bool>(pattern), "topics of a checked configuration are patterns");
    filters.push_back(pattern->filter());
  }
  return filters;
}

session_fate fate_of(const configuration& configuration, const std::string& database, const session_record& session) {
  const auto own = configuration.ingest.find(session.pipeline);
  if (own != configuration.ingest.end() && own->second.database == database) {
    if (session.shard < own->second.shards && session.broker == own->second.broker)
      return {kind::kept};
    return configuration.brokers.contains(session.broker) ? session_fate{kind::retired, own->first}
                                                          : session_fate{kind::ownerless};
  }
  // Of a publish pipeline's name: the client id is that one's now.
  if (own != configuration.ingest.end() || configuration.publish.contains(session.pipeline))
    return {kind::ownerless};
  for (const auto& [name, pipeline] : configuration.ingest)
    if (pipeline.database == database && continues(pipeline, session))
      return {kind::retired, name};
  return {kind::ownerless};
}

} // namespace penstock::config
