// What settings mean together: references, URLs, and combinations that cannot work.
#pragma once

#include "config/findings.hpp"
#include "config/settings.hpp"

#include <string>

namespace penstock::config {

/// Fills in what follows from other settings (host and port from a URL, paths below `data`, passwords from files, the
/// node that was selected) and reports what does not fit. Leaves alone what is reported already.
void resolve(configuration& configuration, const load_options& options, findings& problems);
void check(const configuration& configuration, findings& problems);

// Their parts.

void resolve_database(database& database, const std::filesystem::path& data, findings& problems);
/// Which node this is, and the default of `cluster.state`.
void resolve_node(configuration& configuration, const load_options& options, findings& problems);
/// What a cluster asks of its nodes, and of all else; after the databases are resolved. Not whether `state` exists.
void check_cluster(const configuration& configuration, findings& problems);
/// What one pipeline can be checked for by itself.
void check_pipeline(const ingest& pipeline, findings& problems);
/// What it asks of its database; null where that is not known.
void check_storage(const ingest& pipeline, const database* database, findings& problems);
/// What a pipeline to a broker can be checked for by itself; null where a database is not known.
void check_publish(const publish& pipeline, const database* source, const database* tracking, findings& problems);
/// The alert rules and their topic; not `broker`.
void check_alerts(const configuration& configuration, findings& problems);
/// What pipelines have in common: names, tables, files, connections.
void check_sharing(const configuration& configuration, findings& problems);

template <class T>
std::vector<std::string> names_of(const std::map<std::string, T>& entries) {
  std::vector<std::string> names;
  names.reserve(entries.size());
  for (const auto& entry : entries)
    names.push_back(entry.first);
  return names;
}
/// The column of this name, or null.
const column* find_column(const ingest& pipeline, const std::string& name);
std::vector<std::string> column_names(const ingest& pipeline);
/// Why a table that Penstock makes cannot have this name; empty: it can.
std::string own_table_conflict(std::string_view table);
/// The name of the database where a pipeline keeps what it has sent.
const std::string& tracking_database(const publish& pipeline);

} // namespace penstock::config
