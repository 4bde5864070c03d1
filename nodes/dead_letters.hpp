// `penstock dead-letters list|show|replay`: messages that could not become rows. With a configuration they work on the
// database itself, whether a node runs or not; with a URL they ask a node. What is asked and answered is the same:
// nodes/dead_letter_routes.hpp.
#pragma once

#include <cstddef>
#include <filesystem>
#include <iosfwd>
#include <string>

namespace penstock::nodes {

/// What all three take.
struct dead_letters_options {
  std::filesystem::path config; ///< either this
  std::string node;
  std::string url;      ///< or this: http://host:port
  std::string pipeline; ///< empty: all of the configuration
  bool json = false;
};

/// All three exit with verdict_bad where no letter is meant, or several; unavailable where the database or the node
/// cannot be reached; configuration where there is no such pipeline, or the node does not allow it.

/// A table, or with --json {"dead_letters": [...], "total": N}; each has id, pipeline, topic, code (name), reason,
/// first_seen, last_seen (RFC 3339), seen, attempts, payload_bytes. `limit` per pipeline, 0: all.
int dead_letters_list(const dead_letters_options& options, std::size_t limit, std::ostream& out, std::ostream& err);

/// One letter with its payload, as text where it is printable and as hex otherwise; in JSON as payload or payload_hex.
/// The beginning of an id is enough where only one letter begins so.
int dead_letters_show(const dead_letters_options& options, const std::string& id, std::ostream& out, std::ostream& err);

struct replay_options {
  std::string id; ///< or its beginning
  bool all = false;
  std::filesystem::path payload; ///< with an id: a repaired payload, which takes the place of the stored one
};

/// Decodes letters again and stores their rows; a letter goes in the transaction that stores its row (or finds it
/// there), and stays where it fails again, with one attempt more. verdict_bad where any failed. A lock is waited for.
/// With --json {"replayed": N, "failed": [{id, code, reason}]}.
int dead_letters_replay(const dead_letters_options& options, const replay_options& what, std::ostream& out,
                        std::ostream& err);

} // namespace penstock::nodes
