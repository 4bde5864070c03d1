// The frame: an immutable Cap'n Proto buffer of records, shared by pointer inside a process, copied once between nodes.
// The layout is record/frame.capnp.
#pragma once

#include "core/error.hpp"
#include "core/result.hpp"
#include "core/types.hpp"
#include "record/frame.capnp.h"

#include <capnp/serialize.h>

#include <cstddef>
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

  kj::ArrayPtr<const capnp::word> words() const {
    return words_ ? words_->asPtr() : kj::ArrayPtr<const capnp::word>{};
  }
  std::size_t bytes() const { return words().size() * sizeof(capnp::word); }
  explicit operator bool() const { return words_ != nullptr; }

private:
  std::shared_ptr<const kj::Array<capnp::word>> words_;
};

/// Values of one text, json or bytes column: all in one buffer.
class strings_view {
public:
  strings_view() = default;
  strings_view(capnp::Data::Reader bytes, capnp::List<std::uint32_t>::Reader ends) : bytes_(bytes), ends_(ends) {}
  std::size_t size() const { return ends_.size(); }
  std::string_view operator[](std::size_t row) const;

private:
  capnp::Data::Reader bytes_;
  capnp::List<std::uint32_t>::Reader ends_;
};

/// One column of a frame.
class column_view {
public:
  explicit column_view(schema::Column::Reader column);
  bool null(std::size_t row) const;
  std::int64_t integer(std::size_t row) const { return integers_[static_cast<unsigned>(row)]; } ///< integer, timestamp
  double real(std::size_t row) const { return reals_[static_cast<unsigned>(row)]; }
  bool boolean(std::size_t row) const { return booleans_[row] != 0; }
  std::string_view string(std::size_t row) const { return strings_[row]; } ///< text, json, bytes

private:
  capnp::Data::Reader nulls_;
  capnp::List<std::int64_t>::Reader integers_;
  capnp::List<double>::Reader reals_;
  capnp::Data::Reader booleans_;
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
/// A frame from another node is checked once, in `open`; afterwards access is unchecked by row < rows().
class frame_view {
public:
  /// Fails with payload_malformed where the buffer is not a frame with these column types.
  static result<std::unique_ptr<frame_view>> open(frame source, std::span<const column_type> types);

  std::string_view pipeline() const;
  std::uint32_t shard() const;
  std::uint64_t epoch() const;
  std::uint64_t chunk() const;
  std::size_t rows() const;
  const column_view& column(std::size_t index) const { return columns_[index]; }
  std::string_view topic(std::size_t row) const { return topics_[row]; }
  std::string_view payload(std::size_t row) const { return payloads_[row]; }
  wall_time arrived(std::size_t row) const;
  std::size_t letters() const;
  letter_view letter(std::size_t index) const;

private:
  frame_view(frame source, capnp::ReaderOptions options);
  frame source_;
  capnp::FlatArrayMessageReader reader_;
  schema::Frame::Reader root_;
  std::vector<column_view> columns_;
  strings_view topics_;
  strings_view payloads_;
};

/// Collects records by column, then seals them into a frame. One row at a time: set every column once, in any order, then
/// `commit_row`; or `discard_row` and add a letter. Reused for the next frame after `seal`.
class frame_builder {
public:
  explicit frame_builder(std::vector<column_type> types);

  void set_null(std::size_t column);
  void set_integer(std::size_t column, std::int64_t value); ///< integer, timestamp
  void set_real(std::size_t column, double value);
  void set_boolean(std::size_t column, bool value);
  void set_string(std::size_t column, std::string_view value); ///< text, json, bytes

  void commit_row(std::string_view topic, std::string_view payload, wall_time arrived);
  /// Forgets what was set since the last commit_row.
  void discard_row();
  void add_letter(std::string_view topic, std::string_view payload, const error& reason, wall_time arrived);

  std::size_t rows() const { return rows_; }
  std::size_t messages() const; ///< rows and letters
  std::size_t bytes() const;    ///< about what a frame sealed now would take

  /// The frame; the builder is empty again afterwards.
  frame seal(std::string_view pipeline, std::uint32_t shard, std::uint64_t epoch, std::uint64_t chunk);

private:
  struct strings {
    std::string bytes;
    std::vector<std::uint32_t> ends;
  };
  struct column {
    column_type type;
    std::vector<bool> nulls; // of the rows so far, and of the open one
    bool any_null = false;
    std::vector<std::int64_t> integers;
    std::vector<double> reals;
    std::vector<std::uint8_t> booleans;
    strings values;
  };
  struct letter {
    std::string topic;
    std::string payload;
    errc code;
    std::string reason;
    wall_time arrived;
  };
  std::vector<column> columns_;
  strings topics_;
  strings payloads_;
  std::vector<std::int64_t> arrived_;
  std::vector<letter> letters_;
  std::size_t rows_ = 0;
};

} // namespace penstock::record
