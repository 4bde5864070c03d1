// From a file (YAML, or the same tree as JSON) to a checked configuration.
#pragma once

#include "config/config.hpp"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace penstock::config {

/// One thing that is wrong, where, and what to do about it.
struct problem {
  std::string file;
  std::size_t line = 0; ///< from 1; 0: the file as a whole
  std::size_t column = 0;
  std::string path; ///< "ingest.telemetry.columns.time.type"
  std::string text; ///< "unknown type 'timestmp'; use one of text, integer, ..."

  /// "penstock.yaml:12:7: ingest.telemetry.key: ..."
  std::string to_string() const;
  friend bool operator==(const problem&, const problem&) = default;
};

/// How a node joins a cluster whose file does not list it: texts of the command line, empty where not given.
struct joining_node {
  std::string address; ///< --address, HOST:PORT
  std::string http;    ///< --http, HOST:PORT or off; empty: off
  std::string roles;   ///< --roles, a list with commas; empty: all
  bool is_given() const { return !address.empty() || !http.empty() || !roles.empty(); }
};

struct load_options {
  std::string node; ///< --node; empty: that of `node:`; of `nodes` the only one where it runs, else none
  /// Looks up ${VAR}; default: the environment of the process.
  std::function<std::optional<std::string>(const std::string&)> variable;
  /// Takes what is no problem, but worth a look, of a configuration that loads; null: nobody looks.
  std::vector<problem>* warnings = nullptr;
  joining_node joins = {};
  bool runs = false; ///< a node is to run, so it must be clear which one
};

using load_result = std::variant<configuration, std::vector<problem>>;

/// All problems at once, ordered by line. Never throws; never prints a secret.
load_result load_file(const std::filesystem::path& file, const load_options& options = {});
load_result load_text(std::string_view text, const std::filesystem::path& file, const load_options& options = {});

/// The effective configuration with every default, as YAML (or JSON); secrets are "***".
std::string show(const configuration& configuration, bool json = false);

/// docs/configuration.md's table of settings, from the declarations.
std::string reference_markdown();

} // namespace penstock::config
