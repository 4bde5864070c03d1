// Which messages of a shard may be acknowledged: received in order, committed in any order, released in order of
// arrival [MQTT-4.6.0-2].
#pragma once

#include "core/types.hpp"

#include <cstdint>
#include <deque>
#include <optional>

namespace penstock {

/// Messages carry consecutive sequences. They are received, then cut into chunks from the oldest on. A chunk travels as
/// one frame or more (its parts); when all parts are committed, and all earlier chunks too, its messages are released.
class ack_ledger {
public:
  /// Messages up to `last`, of `bytes` in all, have arrived, from where the last call ended.
  void receive(sequence last, std::uint64_t bytes, wall_time arrived);

  /// The next chunk: everything not yet in a chunk up to `last`, which must have been received; `parts` > 0.
  /// Returns the chunk's number, rising by one from 1.
  std::uint64_t open_chunk(sequence last, std::uint32_t parts = 1);

  /// A part of `chunk`, of that many messages, is committed. Returns the last sequence that may now be acknowledged, if
  /// that changed. A chunk that is not open is a repeated commit, and changes nothing; that a part is not reported
  /// twice while its chunk is open is the caller's to see to.
  std::optional<sequence> commit_part(std::uint64_t chunk, std::uint64_t messages);

  sequence received() const { return received_; } ///< the last one; 0: none
  sequence chunked() const { return chunked_; }   ///< the last one that is in a chunk
  sequence released() const { return released_; } ///< the last one that may be acknowledged
  /// Messages that are not committed yet.
  std::uint64_t in_flight() const { return unreleased() - committed_ahead_; }
  /// Messages that may not be acknowledged yet: in flight, or committed before an earlier one is.
  std::uint64_t unreleased() const { return received_ - released_; }

  /// Of all arrivals that are not wholly released.
  std::uint64_t bytes() const { return bytes_; }
  /// When the oldest message in flight arrived.
  std::optional<wall_time> oldest() const;

private:
  struct chunk {
    sequence last;
    std::uint32_t parts;         ///< still to be committed
    std::uint64_t committed = 0; ///< messages of the other parts
  };
  struct arrival {
    sequence last;
    std::uint64_t bytes;
    wall_time at;
  };
  std::deque<chunk> chunks_; ///< front: number first_chunk_
  std::uint64_t first_chunk_ = 1;
  std::deque<arrival> arrivals_;
  std::uint64_t bytes_ = 0;
  sequence received_ = 0;
  sequence chunked_ = 0;
  sequence released_ = 0;
  std::uint64_t committed_ahead_ = 0; ///< messages that are committed and not released
};

} // namespace penstock
