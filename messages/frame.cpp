#include "messages/frame.hpp"

namespace penstock::record {

caf::error inspect(caf::serializer& sink, const frame& value) {
  const auto words = value.words();
  auto count = static_cast<std::uint32_t>(words.size());
  if (auto failure = sink(count))
    return failure;
  if (count == 0)
    return caf::none;
  return sink.apply_raw(value.bytes(), const_cast<capnp::word*>(words.begin()));
}

caf::error inspect(caf::deserializer& source, frame& value) {
  std::uint32_t count = 0;
  if (auto failure = source(count))
    return failure;
  const auto bytes = std::size_t{count} * sizeof(capnp::word);
  if (bytes > frame::bytes_max)
    return caf::make_error(caf::sec::invalid_argument, "frame too large");
  if (count == 0) {
    value = frame{};
    return caf::none;
  }
  auto words = kj::heapArray<capnp::word>(count);
  if (auto failure = source.apply_raw(bytes, words.begin()))
    return failure;
  value = frame{std::move(words)};
  return caf::none;
}

std::string to_string(const frame& value) { return "frame of " + std::to_string(value.bytes()) + " bytes"; }

} // namespace penstock::record
