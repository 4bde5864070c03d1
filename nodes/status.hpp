// `penstock status`: what a running node says of itself.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>

namespace penstock::nodes {

struct status_options {
  std::filesystem::path config; ///< either this: the node that runs with it
  std::string node;
  std::string url; ///< or this: http://host:port
  bool json = false;
};

/// Exit code: done, unavailable, configuration.
int status(const status_options& options, std::ostream& out, std::ostream& err);

} // namespace penstock::nodes
