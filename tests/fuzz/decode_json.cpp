// Arbitrary topics and payloads: exactly one row or one letter comes of each message, and the frame of it can be
// opened. The input's first byte is the length of the topic.
#include "config/value.hpp"
#include "core/assert.hpp"
#include "decode/decoder.hpp"

#include <algorithm>
#include <cstdint>
#include <string>

namespace {

using namespace penstock;

config::ingest every_source() {
  config::ingest pipeline;
  pipeline.topics = {"t/{level}/#", "{level}"};
  const auto add = [&pipeline](std::string_view from, column_type type, bool optional) {
    const auto source = config::parse_source(from);
    assert_that(static_cast<bool>(source), "the source can be read");
    pipeline.columns.push_back({"c" + std::to_string(pipeline.columns.size()), *source, type, optional});
  };
  add("payload.t", column_type::timestamp, true);
  add("payload.i", column_type::integer, true);
  add("payload.r", column_type::real, true);
  add("payload.b", column_type::boolean, true);
  add("payload.s", column_type::text, true);
  add("payload.y", column_type::bytes, true);
  add("payload.j", column_type::json, true);
  add("payload.a", column_type::json, true);
  add("payload.a.b[0].c", column_type::text, true);
  add("payload[0].v", column_type::integer, true);
  add("payload.raw", column_type::bytes, false);
  add("payload.rest", column_type::json, false);
  add("topic", column_type::text, false);
  add("topic.level", column_type::text, false);
  add("$received", column_type::timestamp, false);
  add("$latency_ms", column_type::real, true);
  return pipeline;
}

/// The rest is a payload again, and its own rest.
void check_rest(decode::decoder& decoder, record::frame_builder& builder, std::string_view rest,
                const std::vector<column_type>& types) {
  decoder.decode("t/x", rest, {}, builder);
  const auto again = record::frame_view::open(builder.seal("p", 0, 0, 0), types);
  assert_that(again && (*again)->rows() == 1, "what is left of an object is an object");
  assert_that((*again)->column(11).string(0) == rest, "what is left of an object is left once more");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto pipeline = every_source();
  static const auto types = decode::column_types(pipeline);
  static const auto decoder = decode::make_decoder(pipeline);
  static record::frame_builder builder{types};
  if (size == 0)
    return 0;
  const std::string_view input{reinterpret_cast<const char*>(data) + 1, size - 1};
  const std::size_t split = std::min<std::size_t>(data[0], input.size());
  const std::string topic{input.substr(0, split)};
  const std::string payload{input.substr(split)};
  // A message whose topic matches reaches the payload's part.
  const std::string_view level = size % 2 == 0 ? std::string_view{"t/x"} : topic;
  decoder->decode(level, payload, {}, builder);
  assert_that(builder.messages() == 1, "a message becomes one row or one letter");
  const auto view = record::frame_view::open(builder.seal("p", 0, 0, 0), types);
  assert_that(static_cast<bool>(view), "a frame that was built can be opened");
  if ((*view)->rows() == 1) {
    assert_that((*view)->payload(0) == payload && (*view)->column(10).string(0) == payload, "a row keeps its payload");
    const std::string rest{(*view)->column(11).string(0)};
    check_rest(*decoder, builder, rest, types);
  } else {
    assert_that((*view)->letter(0).payload == payload, "a letter keeps its payload");
    assert_that(!(*view)->letter(0).reason.empty(), "a letter has a reason");
  }
  return 0;
}
