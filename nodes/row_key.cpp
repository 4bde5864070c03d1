#include "nodes/row_key.hpp"

#include <algorithm>

namespace penstock::nodes {

namespace {

std::string key_text_of(const record::column_view& column, column_type type, std::size_t row) {
  switch (type) {
  case column_type::integer:
  case column_type::timestamp: return std::to_string(column.integer(row));
  case column_type::real: return std::to_string(column.real(row));
  case column_type::boolean: return column.boolean(row) ? "1" : "0";
  default: return std::string{column.string(row)};
  }
}

} // namespace

single_decoder::single_decoder(const config::ingest& pipeline)
  : pipeline_(pipeline.name), types_(decode::column_types(pipeline)), decoder_(decode::make_decoder(pipeline)),
    builder_(types_) {
  for (const std::string& name : pipeline.key) {
    const auto found = std::find_if(pipeline.columns.begin(), pipeline.columns.end(),
                                    [&](const auto& column) { return column.name == name; });
    key_columns_.push_back(static_cast<std::size_t>(found - pipeline.columns.begin()));
  }
}

std::unique_ptr<record::frame_view> single_decoder::decode(std::string_view topic, std::string_view payload,
                                                           wall_time arrived) {
  decoder_->decode(topic, payload, arrived, builder_);
  auto opened = record::frame_view::open(builder_.seal(pipeline_, 0, 0, 0), types_);
  assert_that(static_cast<bool>(opened), "a frame of one's own can be opened");
  return *std::move(opened);
}

std::optional<storage::key_text> single_decoder::key(std::string_view topic, std::string_view payload,
                                                     wall_time arrived) {
  const auto frame = decode(topic, payload, arrived);
  if (frame->rows() != 1)
    return std::nullopt;
  storage::key_text key;
  for (const std::size_t column : key_columns_)
    key.push_back(key_text_of(frame->column(column), types_[column], 0));
  return key;
}

} // namespace penstock::nodes
