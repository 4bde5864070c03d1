#include "decode/decoder.hpp"

#include "core/assert.hpp"
#include "decode/json.hpp"

namespace penstock::decode {

std::unique_ptr<decoder> make_decoder(const config::ingest& pipeline) {
  assert_that(pipeline.format == "json", "a pipeline's format was checked");
  return make_json_decoder(pipeline);
}

std::vector<column_type> column_types(const config::ingest& pipeline) {
  std::vector<column_type> types;
  types.reserve(pipeline.columns.size());
  for (const auto& column : pipeline.columns)
    types.push_back(column.type);
  return types;
}

} // namespace penstock::decode
