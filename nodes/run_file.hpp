// run.json in the folder of a node (config::node_folder): what a running node tells scripts and the other commands: its
// pid and actual ports.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace penstock::nodes {

struct run_file {
  std::int64_t pid = 0;
  std::string node;
  std::string version;
  std::string http;                    ///< "127.0.0.1:8080"; empty: off
  std::filesystem::path configuration; ///< absolute
  struct broker {
    std::string host;
    std::uint16_t port = 0;
    std::int64_t pid = 0; ///< 0: not embedded
  };
  std::map<std::string, broker> brokers;
};

/// Replaces the file as a whole.
result<void> write_run_file(const std::filesystem::path& folder, const run_file& content);
/// connection_refused where no node runs there: no file, or its process does not hold the folder's lock (any more).
result<run_file> read_run_file(const std::filesystem::path& folder);
void remove_run_file(const std::filesystem::path& folder);

/// The nodes that run on this machine with the configuration: of a cluster without a selected node all of them, by
/// name, else at most one.
std::vector<run_file> running_nodes(const config::configuration& configuration);
/// One of them, if possible one that serves HTTP; connection_refused where there is none.
result<run_file> running_node(const config::configuration& configuration);

/// A random name of the node that works in this folder, made once and kept there.
std::string node_id(const std::filesystem::path& folder);

/// The only node that works in this folder holds it; the kernel lets go of it with the process.
class data_lock {
public:
  /// Fails where another process has it, and names its pid.
  static result<data_lock> acquire(const std::filesystem::path& folder);
  data_lock(data_lock&& other) noexcept;
  data_lock& operator=(data_lock&&) = delete;
  ~data_lock();

private:
  explicit data_lock(int file) : file_(file) {}
  int file_;
};

} // namespace penstock::nodes
