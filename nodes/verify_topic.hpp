// `penstock verify --topic`: a row ledger held against the messages of a publish pipeline.
#pragma once

#include <chrono>
#include <filesystem>
#include <iosfwd>
#include <string>

namespace penstock::nodes {

struct verify_topic_options {
  std::filesystem::path config;
  std::string node;
  std::string pipeline;              ///< empty: the only one
  std::filesystem::path ledger;      ///< empty with `subscribe`
  std::chrono::milliseconds wait{0}; ///< how long nothing may come while something is missing
  std::string client_id;             ///< empty: penstock-verify-PIPELINE
  bool subscribe = false;            ///< only make the session, anew
  bool json = false;
};

/// Takes and acknowledges what comes over a persistent session at QoS 2, until each row of the ledger has come and then
/// nothing for 1 s, or nothing has come for `wait` (at least 1 s). The ledger is read again when it changes: load may
/// still run. The session stays at the broker. Exit code: done where nothing is missing and nothing came twice (at QoS
/// 2) or out of order; verdict_bad otherwise; unavailable, configuration.
///
/// --json prints one object:
///   verdict           "good" or "bad"
///   pipeline, ledger, client_id, filter   what was held against what
///   finished          false: the load had not ended, which is bad
///   rows              versions of rows in the ledger
///   messages          that came
///   received          of the rows
///   missing           rows that did not come
///   superseded        versions that did not come, of rows of which the ledger has a later one
///   repeated          messages of rows that had come already
///   redelivered       the same, where the broker said that it sends them again: its own connection had broken
///   reordered         rows that came behind a later one of their monitor, or behind a later version of themselves
///   late              the same of rows that were committed late
///   foreign           messages of rows that the ledger does not know
///   unreadable        messages of which neither payload nor message id says which row they are
///   lag_ms            {samples, p50, p90, p99, max}: from commit to receipt
///   session_present   the session was there before
///   waited_s          how long it took
///   offenders         up to 10 of each: {what: missing | repeated | reordered, line: of the ledger, key}
int verify_topic(const verify_topic_options& options, std::ostream& out, std::ostream& err);

} // namespace penstock::nodes
