// Storing all rows of a range but those that the database refuses, with a bulk statement that names no row when it
// fails.
#pragma once

#include "core/result.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace penstock::storage {

/// Why a bulk statement stored nothing. `row`: which row failed, where the database lets us know.
struct refusal {
  error why;
  std::optional<std::size_t> row = std::nullopt;
};

/// What one bulk statement over a range of rows did: it stored `stored` of them (the others are there already), or,
/// with a refusal, none.
struct attempt {
  std::uint32_t stored = 0;
  std::optional<refusal> refused = std::nullopt;
};

/// Inserts the rows [first, last). `insert(first, last) -> attempt` is all or nothing. A range that is refused because
/// of its data is split, at the row that failed or else in the middle, down to the single row, for which `refuse(row,
/// error) -> result<void>` is called. Other errors end it. Returns the number of rows stored.
template <class Insert, class Refuse>
result<std::uint32_t> insert_around_bad_rows(std::size_t first, std::size_t last, const Insert& insert,
                                             const Refuse& refuse) {
  std::uint32_t stored = 0;
  while (first < last) {
    const attempt whole = insert(first, last);
    if (!whole.refused)
      return stored + whole.stored;
    const auto& [why, row] = *whole.refused;
    if (disposition_of(why.code) != disposition::dead_letter)
      return why;
    if (last - first == 1) {
      if (auto kept = refuse(first, why); !kept)
        return kept.error();
      return stored;
    }
    const bool known = row && *row >= first && *row < last;
    const std::size_t middle = known ? *row : first + (last - first) / 2;
    const std::size_t rest = known ? middle + 1 : middle;
    for (const auto& [from, to] : {std::pair{first, middle}, std::pair{middle, rest}}) {
      auto part = insert_around_bad_rows(from, to, insert, refuse);
      if (!part)
        return part.error();
      stored += *part;
    }
    first = rest;
  }
  return stored;
}

} // namespace penstock::storage
