// `penstock tables`: the source tables of the publish pipelines.
#pragma once

#include <cstddef>
#include <filesystem>
#include <iosfwd>
#include <string>

namespace penstock::nodes {

struct tables_options {
  std::filesystem::path config;
  std::string node;
  std::string pipeline; ///< empty: the only one
  bool json = false;
};

/// Every publish pipeline: its table, where it goes, and how many records are in which state; and the replication slots
/// that no pipeline reads. --json: an array of
/// {pipeline, database, table, topic, shards, qos, paused, states: {STATE: count}, error}.
int tables_list(const tables_options& options, std::ostream& out, std::ostream& err);

/// Keeps the pipeline from claiming rows, or lets it again: wherever it runs, until the contrary is asked for.
int tables_pause(const tables_options& options, bool pause, std::ostream& out, std::ostream& err);

enum class sql_action : unsigned char { print, apply, remove };
/// The SQL that makes a table tell of its changes; run it, or take it back.
int tables_notify(const tables_options& options, sql_action action, std::ostream& out, std::ostream& err);
/// The SQL that makes a table's changes readable from the log; run it, or take it back with the slot.
int tables_logical(const tables_options& options, sql_action action, std::ostream& out, std::ostream& err);

/// The rows that were refused or are held, newest first. --json: an array of {record, version, state, topic, reason,
/// claimed_at}.
int tables_unsent(const tables_options& options, std::size_t limit, std::ostream& out, std::ostream& err);

/// Has one of them, or all (empty), claimed anew.
int tables_retry(const tables_options& options, const std::string& record, std::ostream& out, std::ostream& err);

} // namespace penstock::nodes
