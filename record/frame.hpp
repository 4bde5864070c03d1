// The frame: an immutable Cap'n Proto buffer of records, shared by pointer inside a process, copied once between nodes.
// The layout is record/frame.capnp.
#pragma once

#include "core/error.hpp"
#include "core/result.hpp"
#include "core/types.hpp"

#include <capnp/common.h>
#include <kj/array.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::record {

/// Immutable shared bytes of one frame. Cheap to copy.
class frame {
public:
  /// What a reader accepts; a longer one is refused before anything is allocated.
  static constexpr std::size_t bytes_max = 64u << 20;

  frame() = default;
  explicit frame(kj::Array<capnp::word> words)
    : words_(std::make_shared<const kj::Array<capnp::word>>(std::move(words))) {}

  kj::ArrayPtr<const capnp::word> words() const { return words_ ? words_->asPtr() : kj::ArrayPtr<const capnp::word>{}; }
  std::size_t bytes() const { return words().size() * sizeof(capnp::word); }
  explicit operator bool() const { return words_ != nullptr; }

private:
  std::shared_ptr<const kj::Array<capnp::word>> words_;
};

/// Values of one text, json or bytes column: all in one buffer.
class strings_view {
public:
  strings_view() = default;
  /// `ends[i]` is where value i ends in `bytes`; it begins where i-1 ends.
  strings_view(const char* bytes, std::span<const std::uint32_t> ends) : bytes_(bytes), ends_(ends) {}
  std::size_t size() const { return ends_.size(); }
  std::string_view operator[](std::size_t row) const {
    const std::uint32_t begin = row == 0 ? 0 : ends_[row - 1];
    return {bytes_ + begin, ends_[row] - begin};
  }

private:
  const char* bytes_ = nullptr;
  std::span<const std::uint32_t> ends_;
};

/// One column of a frame. The accessor must be the one of the column's type; a NULL reads as 0, false or "".
class column_view {
public:
  bool null(std::size_t row) const { return nulls_ != nullptr && ((nulls_[row / 8] >> (row % 8)) & 1) != 0; }
  bool any_null() const { return nulls_ != nullptr; }                    ///< false: no row is NULL
  std::int64_t integer(std::size_t row) const { return integers_[row]; } ///< integer, timestamp
  double real(std::size_t row) const { return reals_[row]; }
  bool boolean(std::size_t row) const { return booleans_[row] != 0; }
  std::string_view string(std::size_t row) const { return strings_[row]; } ///< text, json, bytes

private:
  friend class frame_opener;
  const std::uint8_t* nulls_ = nullptr;
  const std::int64_t* integers_ = nullptr;
  const double* reals_ = nullptr;
  const std::uint8_t* booleans_ = nullptr;
  strings_view strings_;
};

struct letter_view {
  std::string_view topic;
  std::string_view payload;
  errc code = errc::none;
  std::string_view reason;
  wall_time arrived;
};

/// What is in a frame. Keeps the frame alive; the views it hands out live as long as it does.
/// A frame from another node is checked once, in `open`; afterwards access is unchecked: row < rows(), index <
/// letters().
class frame_view {
public:
  /// Fails with payload_malformed where the buffer is not a frame with these column types.
  static result<std::unique_ptr<frame_view>> open(frame source, std::span<const column_type> types);

  std::string_view pipeline() const { return pipeline_; }
  std::uint32_t shard() const { return shard_; }
  std::uint64_t epoch() const { return epoch_; }
  std::uint64_t chunk() const { return chunk_; }
  std::size_t bytes() const { return source_.bytes(); }
  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_.size(); }
  const column_view& column(std::size_t index) const { return columns_[index]; }
  /// Whether each row has the message that it came from (frame_builder::keep_messages).
  bool has_messages() const { return topics_.size() == rows_; }
  // With has_messages():
  std::string_view topic(std::size_t row) const { return topics_[row]; }
  std::string_view payload(std::size_t row) const { return payloads_[row]; }
  wall_time arrived(std::size_t row) const { return wall_time{std::chrono::microseconds{arrived_[row]}}; }
  std::size_t letters() const { return letters_.size(); }
  const letter_view& letter(std::size_t index) const { return letters_[index]; }

private:
  friend class frame_opener;
  frame_view() = default;
  frame source_;
  std::string_view pipeline_;
  std::uint32_t shard_ = 0;
  std::uint64_t epoch_ = 0;
  std::uint64_t chunk_ = 0;
  std::size_t rows_ = 0;
  std::vector<column_view> columns_;
  strings_view topics_;
  strings_view payloads_;
  const std::int64_t* arrived_ = nullptr;
  std::vector<letter_view> letters_;
};

/// Collects records by column, then seals them into a frame. One row at a time: set every column once, in any order,
/// then `commit_row`; or `discard_row` and add a letter. Reused for the next frame after `seal`. A column set twice or
/// not at all, or by the setter of another type, is a bug and throws assertion_failed.
class frame_builder {
public:
  explicit frame_builder(const std::vector<column_type>& types);

  /// Whether rows keep the topic and payload that they came from, as they do at first; a link need not carry them,
  /// which are more than half of a frame. Only while it is empty.
  void keep_messages(bool keep);

  void set_null(std::size_t column);
  void set_integer(std::size_t column, std::int64_t value); ///< integer, timestamp
  void set_real(std::size_t column, double value);
  void set_boolean(std::size_t column, bool value);
  void set_string(std::size_t column, std::string_view value); ///< text, json, bytes

  void commit_row(std::string_view topic, std::string_view payload, wall_time arrived);
  /// Forgets what was set since the last commit_row.
  void discard_row();
  /// No row may be open. `reason.code` is a dead-letter code.
  void add_letter(std::string_view topic, std::string_view payload, const error& reason, wall_time arrived);

  std::size_t rows() const { return arrived_.size(); }
  std::size_t letters() const { return letters_.size(); }
  std::size_t messages() const { return rows() + letters(); } ///< rows and letters
  /// What a frame sealed now would take, but for its pipeline, had it the messages of all rows.
  std::size_t bytes() const;

  /// Deals all rows and letters to `lanes`, builders of the same columns, and is empty again afterwards. Rows that are
  /// the same in the columns `key` go to the same lane (core/partition_hash.hpp), letters of the same topic and payload
  /// too. A lane that keeps messages gets them only from a builder that does.
  void deal(std::span<const std::size_t> key, std::span<const std::unique_ptr<frame_builder>> lanes);

  /// The frame; the builder is empty again afterwards. What was collected must fit frame::bytes_max.
  frame seal(std::string_view pipeline, std::uint32_t shard, std::uint64_t epoch, std::uint64_t chunk);

private:
  friend class frame_sealer;
  struct strings {
    std::string bytes;
    std::vector<std::uint32_t> ends;
    std::string_view at(std::size_t row) const;
    void append(std::string_view value);
    void truncate(std::size_t rows);
    void clear();
  };
  struct column {
    column_type type;
    std::vector<std::uint8_t> nulls; // bits, only as far as the last NULL
    std::vector<std::int64_t> integers;
    std::vector<double> reals;
    std::vector<std::uint8_t> booleans;
    strings values;
    std::size_t size() const;
    bool null(std::size_t row) const { return row / 8 < nulls.size() && ((nulls[row / 8] >> (row % 8)) & 1) != 0; }
  };
  struct letter {
    std::string topic;
    std::string payload;
    errc code;
    std::string reason;
    wall_time arrived;
  };
  void clear();
  std::uint64_t hash_of(std::span<const std::size_t> key, std::size_t row) const;
  void copy_row(std::size_t row, frame_builder& to) const;

  std::vector<column> columns_;
  bool keeps_messages_ = true;
  std::size_t left_out_ = 0; // bytes of messages that were not kept
  strings topics_;
  strings payloads_;
  std::vector<std::int64_t> arrived_;
  std::vector<letter> letters_;
  std::size_t letters_words_ = 0; // of their strings in a frame
};

} // namespace penstock::record
