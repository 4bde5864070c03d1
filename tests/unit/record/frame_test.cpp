#include "record/frame.capnp.h"
#include "record/frame.hpp"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>

namespace penstock::record {
namespace {

using std::chrono::microseconds;

const std::vector<column_type> every_type{column_type::text,    column_type::integer,   column_type::real,
                                          column_type::boolean, column_type::timestamp, column_type::bytes,
                                          column_type::json};

struct row {
  std::vector<bool> nulls;
  std::vector<std::int64_t> integers;
  std::vector<double> reals;
  std::vector<std::string> strings;
  std::string topic;
  std::string payload;
  wall_time arrived;
};

bool is_string(column_type type) {
  return type == column_type::text || type == column_type::bytes || type == column_type::json;
}

class rows_source {
public:
  explicit rows_source(unsigned seed) : random_(seed) {}

  row next(std::span<const column_type> types) {
    row made;
    for (std::size_t i = 0; i < types.size(); ++i) {
      made.nulls.push_back(chance(5));
      made.integers.push_back(static_cast<std::int64_t>(random_()));
      made.reals.push_back(static_cast<double>(random_()) / 7.0);
      made.strings.push_back(string());
    }
    made.topic = string();
    made.payload = string();
    made.arrived = wall_time{microseconds{static_cast<std::int64_t>(random_() >> 2)}};
    return made;
  }

  bool chance(unsigned one_in) { return random_() % one_in == 0; }
  std::size_t below(std::size_t bound) { return random_() % bound; }

  std::string string() {
    std::string made(below(40), '\0');
    for (auto& byte : made)
      byte = static_cast<char>(random_()); // zeros among them
    return made;
  }

private:
  std::mt19937_64 random_;
};

void set(frame_builder& builder, std::span<const column_type> types, const row& from, std::size_t columns) {
  for (std::size_t i = 0; i < columns; ++i) {
    if (from.nulls[i])
      builder.set_null(i);
    else if (is_string(types[i]))
      builder.set_string(i, from.strings[i]);
    else if (types[i] == column_type::real)
      builder.set_real(i, from.reals[i]);
    else if (types[i] == column_type::boolean)
      builder.set_boolean(i, from.integers[i] % 2 != 0);
    else
      builder.set_integer(i, from.integers[i]);
  }
}

void expect_row(const frame_view& view, std::span<const column_type> types, std::size_t at, const row& expected) {
  EXPECT_EQ(view.topic(at), expected.topic);
  EXPECT_EQ(view.payload(at), expected.payload);
  EXPECT_EQ(view.arrived(at), expected.arrived);
  for (std::size_t i = 0; i < types.size(); ++i) {
    const auto& column = view.column(i);
    ASSERT_EQ(column.null(at), expected.nulls[i]) << "row " << at << ", column " << i;
    const bool null = expected.nulls[i];
    if (is_string(types[i]))
      EXPECT_EQ(column.string(at), null ? "" : expected.strings[i]);
    else if (types[i] == column_type::real)
      EXPECT_EQ(column.real(at), null ? 0 : expected.reals[i]);
    else if (types[i] == column_type::boolean)
      EXPECT_EQ(column.boolean(at), !null && expected.integers[i] % 2 != 0);
    else
      EXPECT_EQ(column.integer(at), null ? 0 : expected.integers[i]);
  }
}

/// A copy of a frame's words, for tests that damage them.
kj::Array<capnp::word> copy_of(const frame& from) {
  auto words = kj::heapArray<capnp::word>(from.words().size());
  std::memcpy(words.begin(), from.words().begin(), from.bytes());
  return words;
}

/// Reads everything that a view hands out, so that a sanitizer sees each access.
std::size_t read_all(const frame_view& view, std::span<const column_type> types) {
  std::size_t sum = view.pipeline().size();
  const auto add = [&sum](std::string_view text) {
    for (const char byte : text)
      sum += static_cast<unsigned char>(byte);
  };
  for (std::size_t at = 0; at < view.rows(); ++at) {
    add(view.topic(at));
    add(view.payload(at));
    sum += static_cast<std::size_t>(view.arrived(at).time_since_epoch().count());
    for (std::size_t i = 0; i < types.size(); ++i) {
      const auto& column = view.column(i);
      sum += column.null(at) ? 1 : 0;
      if (is_string(types[i]))
        add(column.string(at));
      else if (types[i] == column_type::real)
        sum += column.real(at) > 0 ? 1 : 0;
      else if (types[i] == column_type::boolean)
        sum += column.boolean(at) ? 1 : 0;
      else
        sum += static_cast<std::size_t>(column.integer(at));
    }
  }
  for (std::size_t i = 0; i < view.letters(); ++i) {
    add(view.letter(i).topic);
    add(view.letter(i).payload);
    add(view.letter(i).reason);
  }
  return sum;
}

frame small_frame() {
  rows_source source{7};
  frame_builder builder{every_type};
  for (int i = 0; i < 9; ++i) {
    const row made = source.next(every_type);
    set(builder, every_type, made, every_type.size());
    builder.commit_row(made.topic, made.payload, made.arrived);
  }
  builder.add_letter("t", "p", {errc::field_type, "why"}, {});
  return builder.seal("telemetry", 1, 2, 3);
}

TEST(frame, gives_back_what_was_built) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    rows_source source{seed};
    std::vector<column_type> types;
    for (auto left = source.below(9); left > 0; --left)
      types.push_back(every_type[source.below(every_type.size())]);
    frame_builder builder{types};
    for (int reuse = 0; reuse < 3; ++reuse) {
      std::vector<row> rows;
      std::vector<row> letters;
      for (auto left = source.below(70); left > 0; --left) {
        row made = source.next(types);
        if (source.chance(4)) {
          set(builder, types, made, source.below(types.size() + 1));
          builder.discard_row();
          builder.add_letter(made.topic, made.payload, {errc::field_range, made.topic}, made.arrived);
          letters.push_back(std::move(made));
        } else {
          set(builder, types, made, types.size());
          builder.commit_row(made.topic, made.payload, made.arrived);
          rows.push_back(std::move(made));
        }
      }
      EXPECT_EQ(builder.messages(), rows.size() + letters.size());
      const std::size_t bytes = builder.bytes();
      const frame sealed = builder.seal("a pipeline", 7, 1ull << 40, 99);
      EXPECT_GE(sealed.bytes(), bytes);
      EXPECT_LE(sealed.bytes(), bytes + 16);
      EXPECT_EQ(builder.messages(), 0u);
      const auto opened = frame_view::open(sealed, types);
      ASSERT_TRUE(opened) << opened.error().to_string();
      const auto& view = **opened;
      EXPECT_EQ(view.pipeline(), "a pipeline");
      EXPECT_EQ(view.shard(), 7u);
      EXPECT_EQ(view.epoch(), 1ull << 40);
      EXPECT_EQ(view.chunk(), 99u);
      ASSERT_EQ(view.rows(), rows.size());
      for (std::size_t i = 0; i < rows.size(); ++i)
        expect_row(view, types, i, rows[i]);
      ASSERT_EQ(view.letters(), letters.size());
      for (std::size_t i = 0; i < letters.size(); ++i) {
        EXPECT_EQ(view.letter(i).topic, letters[i].topic);
        EXPECT_EQ(view.letter(i).payload, letters[i].payload);
        EXPECT_EQ(view.letter(i).reason, letters[i].topic);
        EXPECT_EQ(view.letter(i).code, errc::field_range);
        EXPECT_EQ(view.letter(i).arrived, letters[i].arrived);
      }
    }
  }
}

TEST(frame, holds_extreme_values) {
  const std::vector<column_type> types{column_type::integer, column_type::real};
  frame_builder builder{types};
  builder.set_integer(0, std::numeric_limits<std::int64_t>::min());
  builder.set_real(1, std::numeric_limits<double>::denorm_min());
  builder.commit_row("", "", wall_time::min());
  const auto opened = frame_view::open(builder.seal("", 0, 0, 0), types);
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->column(0).integer(0), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ((*opened)->column(1).real(0), std::numeric_limits<double>::denorm_min());
  EXPECT_EQ((*opened)->arrived(0), wall_time::min());
  EXPECT_FALSE((*opened)->column(0).any_null());
}

TEST(frame, of_letters_only_can_be_read) {
  frame_builder builder{every_type};
  builder.add_letter("a/b", std::string_view{"\0x", 2}, {errc::payload_malformed, "no JSON"}, {});
  const auto opened = frame_view::open(builder.seal("p", 0, 0, 0), every_type);
  ASSERT_TRUE(opened) << opened.error().to_string();
  EXPECT_EQ((*opened)->rows(), 0u);
  ASSERT_EQ((*opened)->letters(), 1u);
  EXPECT_EQ((*opened)->letter(0).payload, (std::string_view{"\0x", 2}));
}

TEST(frame, may_leave_out_the_messages_of_its_rows) {
  const std::vector<column_type> types{column_type::text};
  frame_builder builder{types};
  const auto fill = [&builder] {
    for (int row = 0; row < 20'000; ++row) {
      builder.set_string(0, std::to_string(row));
      builder.commit_row("topic", "payload", wall_time{std::chrono::microseconds{row}});
    }
    builder.add_letter("a/b", "x", {errc::payload_malformed, "no JSON"}, {});
  };
  fill();
  const auto bytes = builder.bytes();
  const auto whole = builder.seal("p", 1, 2, 3);
  builder.keep_messages(false);
  fill();
  EXPECT_NEAR(static_cast<double>(builder.bytes()), static_cast<double>(bytes), 100); // of what it would be with them
  const auto part = builder.seal("p", 1, 2, 3);
  EXPECT_LT(part.bytes() + 20'000 * 12, whole.bytes());
  const auto opened = frame_view::open(part, types);
  ASSERT_TRUE(opened) << opened.error().to_string();
  EXPECT_FALSE((*opened)->has_messages());
  EXPECT_EQ((*opened)->rows(), 20'000u);
  EXPECT_EQ((*opened)->chunk(), 3u);
  EXPECT_EQ((*opened)->column(0).string(19'999), "19999");
  EXPECT_EQ((*opened)->arrived(19'999), wall_time{std::chrono::microseconds{19'999}});
  ASSERT_EQ((*opened)->letters(), 1u);
  EXPECT_EQ((*opened)->letter(0).payload, "x");
  const auto all = frame_view::open(whole, types);
  ASSERT_TRUE(all) << all.error().to_string();
  EXPECT_TRUE((*all)->has_messages());
  EXPECT_EQ((*all)->payload(19'999), "payload");
}

TEST(frame, of_nothing_can_be_read) {
  frame_builder builder{every_type};
  const auto opened = frame_view::open(builder.seal("p", 0, 0, 0), every_type);
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->rows(), 0u);
  EXPECT_EQ((*opened)->letters(), 0u);
}

TEST(frame, near_the_largest_size_can_be_read) {
  const std::vector<column_type> types{column_type::bytes};
  frame_builder builder{types};
  const std::string megabyte(1u << 20, 'x');
  for (int i = 0; i < 31; ++i) {
    builder.set_string(0, megabyte);
    builder.commit_row("t", megabyte, {});
  }
  const frame sealed = builder.seal("p", 0, 0, 0);
  EXPECT_GT(sealed.bytes(), std::size_t{62} << 20);
  const auto opened = frame_view::open(sealed, types);
  ASSERT_TRUE(opened) << opened.error().to_string();
  EXPECT_EQ((*opened)->column(0).string(30), megabyte);
}

TEST(frame, refuses_what_is_larger_than_the_limit) {
  auto words = kj::heapArray<capnp::word>(frame::bytes_max / sizeof(capnp::word) + 1);
  std::memset(words.begin(), 0, words.size() * sizeof(capnp::word));
  const auto opened = frame_view::open(frame{std::move(words)}, every_type);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, errc::payload_malformed);
}

TEST(frame, refuses_no_bytes_at_all) {
  EXPECT_FALSE(frame_view::open(frame{}, every_type));
  EXPECT_FALSE(frame_view::open(frame{kj::heapArray<capnp::word>(0)}, every_type));
}

TEST(frame, refuses_other_column_types) {
  const frame sealed = small_frame();
  ASSERT_TRUE(frame_view::open(sealed, every_type));
  for (std::size_t i = 0; i < every_type.size(); ++i) {
    auto types = every_type;
    types[i] = types[i] == column_type::real ? column_type::integer : column_type::real;
    EXPECT_FALSE(frame_view::open(sealed, types)) << "column " << i;
  }
  EXPECT_FALSE(frame_view::open(sealed, std::span{every_type}.first(6)));
}

TEST(frame, cut_anywhere_is_refused) {
  const frame sealed = small_frame();
  for (std::size_t size = 0; size < sealed.words().size(); ++size) {
    auto words = kj::heapArray<capnp::word>(size);
    std::memcpy(words.begin(), sealed.words().begin(), size * sizeof(capnp::word));
    EXPECT_FALSE(frame_view::open(frame{std::move(words)}, every_type)) << "at word " << size;
  }
}

TEST(frame, with_flipped_bytes_never_reads_outside) {
  const frame sealed = small_frame();
  std::mt19937 random{1};
  std::size_t read = 0;
  std::size_t refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    auto words = copy_of(sealed);
    auto* bytes = reinterpret_cast<unsigned char*>(words.begin());
    // The structs and pointers stand in front: damage there is the dangerous kind.
    const std::size_t reach = round % 2 == 0 ? 600 : sealed.bytes();
    for (auto flips = 1 + random() % 4; flips > 0; --flips)
      bytes[random() % reach] = static_cast<unsigned char>(random());
    const auto opened = frame_view::open(frame{std::move(words)}, every_type);
    if (opened)
      read += read_all(**opened, every_type) != 0 ? 1 : 0;
    else
      refused += opened.error().code == errc::payload_malformed ? 1 : 0;
  }
  EXPECT_GT(read, 0u);
  EXPECT_GT(refused, 0u);
}

/// A frame with one row and one text column, as a foreign writer might build it.
template <class Change>
bool foreign_frame_opens(Change change) {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<schema::Frame>();
  root.setRows(1);
  auto column = root.initColumns(1)[0].initStrings();
  for (auto strings : {column, root.initTopics(), root.initPayloads()}) {
    strings.initBytes(3);
    strings.initEnds(1).set(0, 3);
  }
  root.initArrived(1);
  change(root);
  const std::vector<column_type> types{column_type::text};
  return static_cast<bool>(frame_view::open(frame{capnp::messageToFlatArray(message)}, types));
}

TEST(frame, of_a_foreign_writer_is_checked) {
  EXPECT_TRUE(foreign_frame_opens([](schema::Frame::Builder) {}));
  EXPECT_FALSE(foreign_frame_opens([](schema::Frame::Builder root) { root.setVersion(2); }));
  EXPECT_FALSE(foreign_frame_opens([](schema::Frame::Builder root) { root.setRows(2); }));
  EXPECT_FALSE(foreign_frame_opens([](schema::Frame::Builder root) { root.setRows(0xffffffff); }));
  EXPECT_FALSE(foreign_frame_opens([](schema::Frame::Builder root) { root.getTopics().getEnds().set(0, 4); }));
  EXPECT_FALSE(foreign_frame_opens([](schema::Frame::Builder root) { root.getPayloads().getEnds().set(0, 2); }));
  EXPECT_FALSE(foreign_frame_opens([](schema::Frame::Builder root) { root.initArrived(2); }));
  EXPECT_FALSE(foreign_frame_opens([](schema::Frame::Builder root) { root.initLetters(1)[0].setCode(100); }));
  EXPECT_TRUE(foreign_frame_opens([](schema::Frame::Builder root) { root.initLetters(1)[0].setCode(200); }));
  EXPECT_TRUE(foreign_frame_opens([](schema::Frame::Builder root) { root.getColumns()[0].initNulls(1); }));
}

TEST(frame, whose_null_bitmap_is_short_is_refused) {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<schema::Frame>();
  root.setRows(9);
  root.initArrived(9);
  root.initTopics().initEnds(9);
  root.initPayloads().initEnds(9);
  auto column = root.initColumns(1)[0];
  column.initIntegers(9);
  const std::vector<column_type> types{column_type::integer};
  column.initNulls(1);
  EXPECT_FALSE(frame_view::open(frame{capnp::messageToFlatArray(message)}, types));
  column.initNulls(2);
  EXPECT_TRUE(frame_view::open(frame{capnp::messageToFlatArray(message)}, types));
}

TEST(frame, whose_ends_go_back_is_refused) {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<schema::Frame>();
  root.setRows(2);
  root.initArrived(2);
  root.initPayloads().initEnds(2);
  root.initColumns(0);
  auto topics = root.initTopics();
  topics.initBytes(3);
  auto ends = topics.initEnds(2);
  ends.set(0, 4);
  ends.set(1, 3);
  EXPECT_FALSE(frame_view::open(frame{capnp::messageToFlatArray(message)}, {}));
  ends.set(0, 1);
  EXPECT_TRUE(frame_view::open(frame{capnp::messageToFlatArray(message)}, {}));
}

TEST(frame_builder, notices_misuse) {
  frame_builder builder{{column_type::integer, column_type::text}};
  EXPECT_THROW(builder.set_string(0, "x"), assertion_failed);
  EXPECT_THROW(builder.set_integer(1, 1), assertion_failed);
  EXPECT_THROW(builder.set_real(0, 1), assertion_failed);
  EXPECT_THROW(builder.set_boolean(0, true), assertion_failed);
  builder.set_integer(0, 1);
  EXPECT_THROW(builder.commit_row("", "", {}), assertion_failed);
  EXPECT_THROW(builder.add_letter("", "", {errc::field_type, ""}, {}), assertion_failed);
  EXPECT_THROW(builder.seal("", 0, 0, 0), assertion_failed);
  builder.discard_row();
  EXPECT_THROW(builder.add_letter("", "", {errc::timed_out, ""}, {}), assertion_failed);
  builder.add_letter("", "", {errc::field_type, ""}, {});
  EXPECT_EQ(builder.messages(), 1u);
}

} // namespace
} // namespace penstock::record
