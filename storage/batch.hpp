// The rows of several frames as one range, so that one bulk statement takes them all.
#pragma once

#include "record/frame.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace penstock::storage {

/// Frames of one pipeline, one after the other. They must outlive it.
class batch_view {
public:
  explicit batch_view(std::span<const record::frame_view* const> frames) : frames_(frames.begin(), frames.end()) {
    ends_.reserve(frames.size());
    for (const auto* frame : frames_)
      ends_.push_back(rows() + frame->rows());
  }

  std::size_t rows() const { return ends_.empty() ? 0 : ends_.back(); }
  std::size_t frames() const { return frames_.size(); }
  const record::frame_view& frame(std::size_t index) const { return *frames_[index]; }
  /// The number of the first row behind a frame.
  std::size_t end_of(std::size_t frame_index) const { return ends_[frame_index]; }

  /// The frame that row is in; row < rows().
  std::size_t frame_of(std::size_t row) const {
    return static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), row) - ends_.begin());
  }
  /// Where a frame begins.
  std::size_t begin_of(std::size_t frame_index) const { return frame_index == 0 ? 0 : ends_[frame_index - 1]; }

  /// Calls `visit(frame, first, last)` with what each frame has of the rows [first, last), in order.
  template <class Visit>
  void for_each_part(std::size_t first, std::size_t last, const Visit& visit) const {
    for (auto index = first < last ? frame_of(first) : frames_.size(); first < last; ++index) {
      const auto begin = begin_of(index);
      const auto end = std::min(last, ends_[index]);
      if (first < end)
        visit(*frames_[index], first - begin, end - begin);
      first = std::max(first, end);
    }
  }

private:
  std::vector<const record::frame_view*> frames_;
  std::vector<std::size_t> ends_; ///< of each frame's rows
};

} // namespace penstock::storage
