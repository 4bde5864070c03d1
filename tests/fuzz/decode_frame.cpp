// A frame from another node, of arbitrary bytes or with arbitrary damage: refused, or every value of it can be read.
// The input's first byte chooses: even, what follows is the frame; odd, it is the damage to a sound one, three bytes a
// place.
#include "record/frame.hpp"

#include <cstdint>
#include <cstring>

namespace {

using namespace penstock;

const std::vector<column_type> types{column_type::text,    column_type::integer,   column_type::real,
                                     column_type::boolean, column_type::timestamp, column_type::bytes,
                                     column_type::json};

std::size_t sum(std::string_view text) {
  std::size_t total = text.size();
  for (const char byte : text)
    total += static_cast<unsigned char>(byte);
  return total;
}

std::size_t read_all(const record::frame_view& view) {
  std::size_t total = sum(view.pipeline());
  for (std::size_t row = 0; row < view.rows(); ++row) {
    total += sum(view.topic(row)) + sum(view.payload(row));
    total += static_cast<std::size_t>(view.arrived(row).time_since_epoch().count());
    for (std::size_t i = 0; i < types.size(); ++i)
      total += view.column(i).null(row) ? 1 : 0;
    total += sum(view.column(0).string(row)) + sum(view.column(5).string(row)) + sum(view.column(6).string(row));
    total +=
      static_cast<std::size_t>(view.column(1).integer(row)) + static_cast<std::size_t>(view.column(4).integer(row));
    total += view.column(2).real(row) > 0 ? 1 : 0;
    total += view.column(3).boolean(row) ? 1 : 0;
  }
  for (std::size_t i = 0; i < view.letters(); ++i)
    total += sum(view.letter(i).topic) + sum(view.letter(i).payload) + sum(view.letter(i).reason);
  return total;
}

record::frame sound_frame() {
  record::frame_builder builder{types};
  for (int row = 0; row < 3; ++row) {
    for (const std::size_t column : {0u, 5u, 6u})
      builder.set_string(column, "some text");
    builder.set_integer(1, row);
    builder.set_integer(4, row);
    builder.set_real(2, 0.5);
    builder.set_null(3);
    builder.commit_row("topic", "payload", {});
  }
  builder.add_letter("topic", "payload", {errc::field_type, "reason"}, {});
  return builder.seal("pipeline", 1, 2, 3);
}

kj::Array<capnp::word> damaged(const record::frame& sound, const std::uint8_t* data, std::size_t size) {
  auto words = kj::heapArray<capnp::word>(sound.words().size());
  std::memcpy(words.begin(), sound.words().begin(), sound.bytes());
  auto* const bytes = reinterpret_cast<std::uint8_t*>(words.begin());
  for (std::size_t i = 0; i + 3 <= size; i += 3)
    bytes[(data[i] | data[i + 1] << 8) % sound.bytes()] = data[i + 2];
  return words;
}

kj::Array<capnp::word> arbitrary(const std::uint8_t* data, std::size_t size) {
  auto words = kj::heapArray<capnp::word>(size / sizeof(capnp::word));
  if (words.size() != 0)
    std::memcpy(words.begin(), data, words.size() * sizeof(capnp::word));
  return words;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const record::frame sound = sound_frame();
  [[maybe_unused]] static volatile std::size_t total = 0;
  if (size == 0)
    return 0;
  auto words = data[0] % 2 == 0 ? arbitrary(data + 1, size - 1) : damaged(sound, data + 1, size - 1);
  const auto opened = record::frame_view::open(record::frame{std::move(words)}, types);
  if (opened)
    total = read_all(**opened);
  return 0;
}
