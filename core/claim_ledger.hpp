// The open claims of one publish shard: which packet ids are in use, how far each handshake is, and what the next
// transaction of the tracking table has to write. Pure: the poller tells it what the session answered and what was
// committed.
//
// A claim goes: claimed -> received (PUBREC) -> released (commit; then PUBREL) -> done (PUBCOMP) -> gone (commit).
// With QoS 1: claimed -> done (PUBACK) -> gone (commit). Its packet id is free again only when it is gone.
//
// `released` is a watermark over claim_seq: one number a shard, not a write a row. So a claim is released only when
// all before it are released or done; a broker answers in order [MQTT-4.6.0-3], so that nothing waits for long.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace penstock {

class claim_ledger {
public:
  /// `ids_max`: packet ids 1 to ids_max are used; at most 65,534.
  explicit claim_ledger(std::uint16_t ids_max);

  struct claim {
    std::uint64_t seq = 0; ///< rises by one with each claim of the shard
    std::uint16_t packet_id = 0;
  };

  /// Starts where a former owner of the shard left off. What it had open behind `settled_seq` is not known before
  /// `resume_from`, and until then nothing counts as settled.
  void begin(std::uint64_t claimed_seq, std::uint64_t released_seq, std::uint64_t settled_seq);
  /// The open claims of the former owner, all of them, by seq; released or not by the watermark. Before `next`.
  void resume_from(std::span<const claim> open);

  /// What the broker lets be in flight; 0: there is no session.
  void window(std::size_t messages) { window_ = messages; }
  /// How many claims may be made now: the shard's demand.
  std::size_t room() const;
  std::size_t open() const { return open_; }
  /// A new claim. Needs room(). It counts at once; where its transaction fails, `forget_from` takes it back.
  claim next();
  /// The claims from `seq` on never were: new ones, whose transaction did not take place.
  void forget_from(std::uint64_t seq);
  /// An open claim ends without having been sent, and its record is claimed again, under the same packet id: the broker
  /// has ended the handshake, or has lost the session.
  claim reclaim(std::uint64_t seq);

  /// PUBREC. True where the release is committed already: PUBREL may go out at once.
  bool received(std::uint64_t seq);
  /// PUBACK, PUBCOMP, or the end by another way.
  void done(std::uint64_t seq);

  /// What the next transaction is to write.
  struct progress {
    std::uint64_t claimed_seq = 0;
    std::uint64_t released_seq = 0;
    std::uint64_t settled_seq = 0;                                  ///< all up to here are done
    std::vector<std::pair<std::uint64_t, std::uint64_t>> done_seqs; ///< ranges, both ends included
    bool empty = true;                                              ///< nothing has happened since the last commit
  };
  progress pending() const;
  /// `written` is committed: packet ids of done claims are free. Returns the packet ids that may be released (PUBREL),
  /// in order.
  std::vector<std::uint16_t> committed(const progress& written);

  /// The packet id of an open claim; 0: there is none.
  std::uint16_t packet_id(std::uint64_t seq) const;
  std::uint64_t claimed_seq() const { return first_ + entries_.size() - 1; }
  std::uint64_t released_seq() const { return released_; }

private:
  enum class state : std::uint8_t { claimed, received, released, done, gone };
  struct entry {
    std::uint16_t packet_id;
    claim_ledger::state state;
  };
  entry* find(std::uint64_t seq);
  void resume(claim which);
  void fill_up();

  std::deque<std::uint16_t> free_; ///< the one that has been free for longest first
  std::deque<entry> entries_;      ///< from first_ on; the first one is not gone
  std::uint64_t first_ = 1;
  std::uint64_t released_ = 0;           ///< committed
  std::uint64_t claimed_ = 0;            ///< committed
  std::optional<std::uint64_t> settled_; ///< until the open claims are known
  std::size_t window_ = 0;
  std::size_t open_ = 0;            ///< entries that are not gone
  std::vector<std::uint64_t> done_; ///< and not committed; in the order of the answers
};

} // namespace penstock
