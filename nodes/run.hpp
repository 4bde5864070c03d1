// `penstock run`: one node, from its configuration to its end.
#pragma once

#include "config/load.hpp"

#include <filesystem>
#include <string>

namespace penstock::nodes {

struct run_options {
  std::filesystem::path config;
  std::string node;           ///< empty: the only one of the file
  config::joining_node joins; ///< where the file does not list it
};

/// Runs until a signal or until the supervision tree gives up; the exit code (nodes/exit_codes.hpp; 128+n on a second
/// signal). The calling thread must be the only one of the process.
int run(const run_options& options);

} // namespace penstock::nodes
