// The ledger of messages: what `penstock load` published, for `penstock verify` to hold against the database. The file
// is as nodes/ledger_file.hpp says, with
//
//   line   = kind "," state "," published_us "," copies "," visible_us *( "," value )
//   kind   = "sent" | "malformed"
//   state  = "acknowledged"       the broker took it (PUBACK or PUBCOMP)
//          | "unrouted"           the broker took it and had no subscriber for it (reason 0x10): it was thrown away
//          | "unconfirmed"        it may have been lost: QoS 0, refused, or load ended before the acknowledgement
//
// published_us: when it was first handed to the client; visible_us: when its row was seen in the database, empty where
// nobody looked; both microseconds since 1970. copies: how often it was published. The values are those of the key
// columns as storage::key_text; of a malformed message, the dead letter's id.
#pragma once

#include "core/result.hpp"
#include "core/types.hpp"
#include "nodes/ledger_file.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace penstock::nodes {

struct ledger_line {
  bool malformed = false;
  bool acknowledged = false;
  bool unrouted = false; ///< of no copy more is known than that nobody was subscribed
  std::int64_t published_us = 0;
  std::uint32_t copies = 0;
  std::int64_t visible_us = 0;     ///< 0: not known
  std::vector<std::string> values; ///< the key; of a malformed message one value: the dead letter's id
};

/// What has been published so far, in memory: about 40 bytes a message and its values. Not thread-safe.
class ledger {
public:
  explicit ledger(ledger_header header) : header_(std::move(header)) {}

  /// Returns the message's number: 0, 1, 2, ...
  std::uint64_t add(bool malformed, wall_time published, const std::vector<std::string>& values);
  void add_copy(std::uint64_t message) { ++entries_.at(message).copies; }
  void acknowledge(std::uint64_t message) { entries_.at(message).acknowledged = true; }
  void unrouted(std::uint64_t message) { entries_.at(message).unrouted = true; }
  void visible(std::uint64_t message, wall_time when) {
    entries_.at(message).visible_us = when.time_since_epoch().count();
  }
  std::size_t size() const { return entries_.size(); }

  result<void> write(const std::filesystem::path& file) const;

private:
  struct entry {
    std::int64_t published_us;
    std::int64_t visible_us;
    std::uint64_t values_end; ///< in values_
    std::uint32_t copies;
    bool malformed;
    bool acknowledged = false;
    bool unrouted = false;
  };
  ledger_header header_;
  std::vector<entry> entries_;
  std::string values_; ///< of all messages, as they stand in the file
};

/// See read_ledger_file: `visit` gets every line until it returns false.
result<ledger_header> read_ledger(const std::filesystem::path& file,
                                  const std::function<bool(std::size_t number, const ledger_line&)>& visit);

} // namespace penstock::nodes
