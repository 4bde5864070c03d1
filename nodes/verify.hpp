// `penstock verify`: a ledger held against the database.
#pragma once

#include <chrono>
#include <filesystem>
#include <iosfwd>
#include <string>

namespace penstock::nodes {

struct verify_options {
  std::filesystem::path config;
  std::string node;
  std::string pipeline; ///< empty: that of the ledger
  std::filesystem::path ledger;
  std::chrono::milliseconds wait{0}; ///< how long to wait for what is missing
  bool json = false;
};

/// Exit code: done where nothing that the broker confirmed is missing, nothing is there twice, and every malformed
/// message is in the dead letters; verdict_bad otherwise; unavailable, configuration. About 50 bytes of memory a
/// message.
///
/// --json prints one object:
///   verdict            "good" or "bad"
///   pipeline, ledger   what was held against what
///   sent               messages in the ledger, without the malformed ones
///   confirmed          of them, acknowledged by the broker
///   stored             of them, rows in the table
///   missing            confirmed, and neither stored nor in the dead letters
///   repeated           stored more than once
///   unconfirmed_stored stored, though the broker's acknowledgement did not arrive
///   unrouted           not stored: the broker had no subscriber when it came, and said so (PUBACK reason 0x10)
///   foreign            rows in the table that the ledger does not know (other loads', say)
///   dead_letters       {malformed: sent malformed and confirmed, expected: of all malformed ones in the dead letters,
///                       missing: malformed, confirmed, and not there,
///                       refused: good messages of the ledger that are there, unexpected: others}
///   latency_ms         {samples, p50, p90, p99, max}: from publish until the row was visible
///   waited_s           how long --wait waited
///   offenders          up to 10 of each: {what: missing | repeated | dead_letter_missing, line: of the ledger, key or
///   id}
int verify(const verify_options& options, std::ostream& out, std::ostream& err);

} // namespace penstock::nodes
