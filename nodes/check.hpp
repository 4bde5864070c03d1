// `penstock check` and `penstock config show`: what a configuration says, and whether it would work.
#pragma once

#include "core/result.hpp"

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace penstock::config {
struct configuration;
struct load_options;
struct problem;
struct publish;
} // namespace penstock::config

namespace penstock::nodes {

/// Loads, and prints every problem to `err`. False: there were some.
bool load_or_report(const std::filesystem::path& file, const config::load_options& how,
                    config::configuration& configuration, std::ostream& err);
/// The same for a command, which runs no node. `warnings` takes what is worth a look, if it is not null.
bool load_or_report(const std::filesystem::path& file, const std::string& node, config::configuration& configuration,
                    std::ostream& err, std::vector<config::problem>* warnings = nullptr);

/// Opens the table of a publish pipeline, and looks at what it needs of the server.
result<void> try_source(const config::configuration& configuration, const config::publish& pipeline);

struct check_options {
  std::filesystem::path config;
  std::string node;
  bool connect = false; ///< also try each broker and database
};

/// Exit code: done, configuration (with connect also: a table does not fit), or (with connect) unavailable.
int check(const check_options& options, std::ostream& out, std::ostream& err);

struct config_show_options {
  std::filesystem::path config;
  std::string node;
  bool json = false;
};

int config_show(const config_show_options& options, std::ostream& out, std::ostream& err);

} // namespace penstock::nodes
