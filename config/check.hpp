// What settings mean together: references, URLs, and combinations that cannot work.
#pragma once

#include "config/findings.hpp"
#include "config/settings.hpp"

#include <string>

namespace penstock::config {

/// Fills in what follows from other settings (host and port from a URL, database paths, passwords from files, the node
/// that was selected) and reports what does not fit. Leaves alone what is reported already.
void resolve(document& document, const std::string& selected_node, findings& problems);
void check(const configuration& configuration, findings& problems);
/// What one pipeline can be checked for by itself; part of `check`.
void check_pipeline(const ingest& pipeline, findings& problems);

} // namespace penstock::config
