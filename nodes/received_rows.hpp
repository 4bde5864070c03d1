// The rows of a row ledger held against the messages that came of them. Pure: no file is read and no clock asked.
#pragma once

#include "core/histogram.hpp"
#include "nodes/fingerprint.hpp"
#include "nodes/row_ledger.hpp"
#include "nodes/verdict.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace penstock::nodes {

/// Of a row: its key and, where rows are published again when they change, its version. A value that is a time counts
/// in whichever form it is written.
fingerprint row_fingerprint(std::vector<std::string> key, std::int64_t version);

struct row_counts {
  std::uint64_t rows = 0;     ///< versions of rows in the ledger
  std::uint64_t messages = 0; ///< all that came
  std::uint64_t received = 0; ///< of the rows
  std::uint64_t missing = 0;
  std::uint64_t superseded = 0; ///< did not come, and a later version of the same row is in the ledger
  std::uint64_t repeated = 0;   ///< messages of a row that had come already
  std::uint64_t redelivered =
    0;                          ///< of these, those that the broker said it sends again: a matter of our own connection
  std::uint64_t reordered = 0;  ///< came behind a later row of its monitor, or a later version of itself
  std::uint64_t late = 0;       ///< the same of rows that were committed late
  std::uint64_t foreign = 0;    ///< messages of rows that the ledger does not know
  std::uint64_t unreadable = 0; ///< messages of which nothing says which row they are
};

/// About 80 bytes of memory a row of the ledger, and 24 a message.
class received_rows {
public:
  /// A message of a row came, after those of the calls before. `again`: the broker had sent it before.
  void add(const fingerprint& row, std::int64_t received_us, bool again);
  void add_unreadable() { ++unreadable_; }

  /// Another ledger begins, in place of the one before: expect() its lines, then seal().
  void begin();
  void expect(std::size_t number, const row_line& line);
  /// From here on counts and offenders are right. All that came so far is held against the ledger.
  void seal();

  bool complete() const { return sealed_ && lasts_received_ == lasts_; }
  row_counts counts() const;
  /// Up to 10 of each: missing, repeated, reordered.
  std::vector<offender> offenders() const;
  const histogram& lags() const { return lags_; } ///< microseconds

private:
  struct arrival {
    fingerprint row;
    std::uint64_t received_us : 63;
    std::uint64_t again : 1;
  };
  struct expected {
    fingerprint row;
    std::int64_t committed_us;
    std::int64_t order;
    std::int64_t version; ///< 0: none
    std::uint32_t line;
    std::uint32_t monitor; ///< 0: none
    std::uint32_t history; ///< in histories_
    std::uint32_t updated : 1;
    std::uint32_t late : 1;
    std::uint32_t last : 1; ///< no later version is in the ledger
    std::uint32_t received : 1;
  };
  /// To find the versions of one row.
  struct versioned {
    fingerprint key;
    std::int64_t version;
    std::uint32_t index; ///< in expected_
  };
  void hold(const arrival& message);
  bool out_of_order(expected& row);
  void find_histories();
  void offend(const char* what, std::uint64_t count, const expected& row);

  std::vector<arrival> arrivals_;
  std::uint64_t unreadable_ = 0;
  std::vector<expected> expected_; ///< sealed: sorted by row
  std::vector<versioned> versions_;
  std::unordered_map<std::string, std::uint32_t> monitors_;
  std::vector<std::int64_t> newest_;    ///< by monitor: the highest order that came
  std::vector<std::int64_t> histories_; ///< by row: the highest version that came
  bool sealed_ = false;
  std::uint64_t lasts_ = 0;
  std::uint64_t lasts_received_ = 0;
  row_counts counts_;
  std::vector<offender> offenders_;
  histogram lags_;
};

} // namespace penstock::nodes
