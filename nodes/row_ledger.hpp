// The ledger of rows: what `penstock load --table` committed, for `penstock verify --topic` to hold against the
// messages of a publish pipeline. The file is as nodes/ledger_file.hpp says, with
//
//   line   = kind "," timing "," committed_us "," order "," version "," monitor *( "," value )
//   kind   = "inserted" | "updated"
//   timing = "on_time"
//          | "late"       its transaction was open for long: rows with higher ids and orders were committed before
//
// In the order of the commits. committed_us: when the commit had returned, microseconds since 1970 (where the
// connection broke meanwhile: when it broke). order: the value of the order column, as a number; times in microseconds
// since 1970. version: of the version column; empty where the pipeline has none. monitor: the value of the shard_by
// column; empty where that is the key. The values are those of the key columns, as text. Rows that were rolled back are
// not in it.
#pragma once

#include "core/result.hpp"
#include "nodes/ledger_file.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace penstock::nodes {

struct row_line {
  bool updated = false;
  bool late = false;
  std::int64_t committed_us = 0;
  std::int64_t order = 0;
  std::int64_t version = 0; ///< 0: none
  std::string monitor;
  std::vector<std::string> key;
};

/// What has been committed so far, in memory: about 40 bytes a row and its values. Not thread-safe.
class row_ledger {
public:
  explicit row_ledger(ledger_header header) : header_(std::move(header)) {}

  void add(const row_line& row);
  std::size_t size() const { return entries_.size(); }
  /// `finished`: no row will follow.
  result<void> write(const std::filesystem::path& file, bool finished) const;

private:
  struct entry {
    std::int64_t committed_us;
    std::int64_t order;
    std::int64_t version;
    std::uint64_t text_end; ///< in text_
    bool updated;
    bool late;
  };
  ledger_header header_;
  std::vector<entry> entries_;
  std::string text_; ///< monitors and keys, as they stand in the file
};

/// See read_ledger_file: `visit` gets every line until it returns false.
result<ledger_header> read_row_ledger(const std::filesystem::path& file,
                                      const std::function<bool(std::size_t number, const row_line&)>& visit);

} // namespace penstock::nodes
