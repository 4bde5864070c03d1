// `penstock tables add` and `remove`: published tables come and go in the file, and in the node that runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace penstock::nodes {

struct tables_edit_options {
  std::filesystem::path config;
  std::string node;
  std::string pipeline; ///< add: empty is the table's own name
  bool dry_run = false; ///< print the change to the file only
};

/// What is empty is proposed by a look at the table; on a terminal it is asked for.
struct tables_add_options : tables_edit_options {
  std::string database;
  std::string table;
  std::vector<std::string> key;
  std::string order;
  std::string shard_by;
  std::uint16_t shards = 0; ///< 0: not given
  std::string broker;
  std::string topic;
  std::vector<std::string> fields; ///< COLUMN or COLUMN=NAME; empty: all columns
  std::string start;               ///< all, now or a value of `order`
};

/// Where the answers to questions come from.
struct terminal {
  std::istream* in = nullptr; ///< null: nobody can be asked
};

/// Exit codes: done; usage where something is missing that nobody can be asked for; configuration with every problem
/// of the file as it would be, unavailable where the database cannot be reached: in both the file is as before.
int tables_add(const tables_add_options& options, terminal person, std::ostream& out, std::ostream& err);

/// Tracking records stay, so that nothing is sent twice when the table is added again.
int tables_remove(const tables_edit_options& options, std::ostream& out, std::ostream& err);

} // namespace penstock::nodes
