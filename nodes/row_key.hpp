// The key of a row that is still in a frame.
#pragma once

#include "config/config.hpp"
#include "core/types.hpp"
#include "decode/decoder.hpp"
#include "record/frame.hpp"
#include "storage/store.hpp"

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace penstock::nodes {

/// Decodes single messages as the pipeline would, outside it. Belongs to one thread.
class single_decoder {
public:
  explicit single_decoder(const config::ingest& pipeline);

  /// A frame with one row, or with one letter where the message cannot be a row.
  std::unique_ptr<record::frame_view> decode(std::string_view topic, std::string_view payload, wall_time arrived);

  /// The key of the message's row; nothing where it cannot be a row.
  std::optional<storage::key_text> key(std::string_view topic, std::string_view payload, wall_time arrived);

private:
  std::string pipeline_;
  std::vector<column_type> types_;
  std::vector<std::size_t> key_columns_;
  std::unique_ptr<decode::decoder> decoder_;
  record::frame_builder builder_;
};

} // namespace penstock::nodes
