// How far a table with an integer key has been read: the highest id seen, and the gaps below it. A row may become
// visible long after rows with higher ids (its transaction took longer), so a plain high-water mark would lose it. Each
// gap is asked for again until it is filled or `late_for` is over; what comes later still is left to the sweep.
// Pure; time is an argument.
#pragma once

#include "core/id_ranges.hpp"
#include "core/types.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace penstock {

class id_frontier {
public:
  /// `gaps_max`: more gaps than that are not remembered; the lowest go first.
  id_frontier(std::chrono::milliseconds late_for, std::size_t gaps_max);

  /// Nothing up to this id is of interest.
  void begin(std::int64_t floor);
  /// The highest id seen, or what `begin` said; nothing: the table is to be read from its beginning.
  std::optional<std::int64_t> high() const { return high_; }

  /// Ids that were read above `high`, all of them that were visible up to the last one, rising.
  void read(std::span<const std::int64_t> ids, monotonic now);
  /// A row was found in a gap.
  void filled(std::int64_t id);
  /// Gaps to be asked for now, at most `count`. Where there are more: the newest, and as many of the others, another
  /// part each time. Those that are older than late_for are given up.
  std::vector<id_range> ask(std::size_t count, monotonic now);

  /// All ids up to here are done with; what a restart begins behind. nullopt: nothing was read yet.
  std::optional<std::int64_t> floor() const;
  std::size_t gaps() const { return gaps_.size(); }
  std::uint64_t gaps_given_up() const { return given_up_; } ///< ranges, so far, by time or by number

private:
  struct gap {
    id_range range;
    monotonic seen;
  };
  void add(id_range range, monotonic now);

  std::chrono::milliseconds late_for_;
  std::size_t gaps_max_;
  std::optional<std::int64_t> high_;
  std::deque<gap> gaps_; ///< rising; as they are found in rising order, those seen first are in front
  std::size_t asked_ = 0;
  std::uint64_t given_up_ = 0;
};

} // namespace penstock
