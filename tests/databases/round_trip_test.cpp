// Whatever a column can be given comes back as it was, or the row is a dead letter: nothing is ever changed in silence.
#include "core/hex.hpp"
#include "fixture.hpp"

#include <nlohmann/json.hpp>

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <random>

namespace penstock::storage::test {
namespace {

/// A row of the table below; nothing is NULL.
struct values {
  std::optional<std::string> text = std::nullopt;
  std::optional<std::int64_t> integer = std::nullopt;
  std::optional<double> real = std::nullopt;
  std::optional<bool> boolean = std::nullopt;
  std::optional<std::int64_t> timestamp = std::nullopt;
  std::optional<std::string> bytes = std::nullopt;
  std::optional<std::string> json = std::nullopt;
};

table every_type() {
  return {.pipeline = "telemetry",
          .name = "every_type",
          .columns = {{"id", column_type::integer, false},
                      {"a_text", column_type::text, true},
                      {"an_integer", column_type::integer, true},
                      {"a_real", column_type::real, true},
                      {"a_boolean", column_type::boolean, true},
                      {"a_timestamp", column_type::timestamp, true},
                      {"some_bytes", column_type::bytes, true},
                      {"some_json", column_type::json, true}},
          .key = {"id"},
          .indexes = {}};
}

constexpr std::int64_t year_1 = -62'135'596'800'000'000;
constexpr std::int64_t year_9999_end = 253'402'300'799'999'999;
using integer_limits = std::numeric_limits<std::int64_t>;
using real_limits = std::numeric_limits<double>;

class generator {
public:
  explicit generator(std::uint64_t seed) : random_(seed) {}

  values row() {
    return {.text = maybe([&] { return text(true); }),
            .integer = maybe([&] { return integer(); }),
            .real = maybe([&] { return real(); }),
            .boolean = maybe([&] { return below(2) == 1; }),
            .timestamp = maybe([&] { return timestamp(); }),
            .bytes = maybe([&] { return bytes(); }),
            .json = maybe([&] { return json(3).dump(); })};
  }
  std::size_t below(std::size_t end) { return random_() % end; }

private:
  template <class Make>
  auto maybe(const Make& make) -> std::optional<decltype(make())> {
    return below(6) == 0 ? std::nullopt : std::optional{make()};
  }

  std::string text(bool with_zeros) {
    static const std::vector<std::string> pieces{"a",
                                                 "Z",
                                                 " ",
                                                 "'",
                                                 "\"",
                                                 "\\",
                                                 "\\0",
                                                 "%",
                                                 ":x",
                                                 "{",
                                                 "}",
                                                 ",",
                                                 "\n",
                                                 "\t",
                                                 "\r",
                                                 "\xc3\xa4",
                                                 "\xc5\xbf",
                                                 "\xe2\x82\xac",
                                                 "\xf0\x9f\x9a\xb0",
                                                 "\x7f",
                                                 "NULL",
                                                 "$1",
                                                 "?"};
    std::string made;
    for (auto length = below(20) == 0 ? below(3'000) : below(12); length > 0; --length)
      made += pieces[below(pieces.size())];
    if (with_zeros && below(40) == 0) // between two characters
      made += std::string{"\0after", 6};
    return made;
  }
  std::int64_t integer() {
    static const std::vector<std::int64_t> special{integer_limits::min(), integer_limits::max(), 0,  -1, 1L << 31,
                                                   -(1L << 31) - 1,       (1L << 53) + 1,        255};
    return below(2) == 0 ? special[below(special.size())] : std::bit_cast<std::int64_t>(random_());
  }
  double real() {
    static const std::vector<double> special{0.0,
                                             -0.0,
                                             0.1,
                                             1e-310,
                                             real_limits::denorm_min(),
                                             real_limits::min(),
                                             real_limits::max(),
                                             -real_limits::max(),
                                             9007199254740993.0,
                                             real_limits::infinity(),
                                             -real_limits::infinity(),
                                             real_limits::quiet_NaN()};
    if (below(3) == 0)
      return special[below(special.size())];
    const auto any = std::bit_cast<double>(random_());
    return std::isfinite(any) ? any : 1.5;
  }
  std::int64_t timestamp() {
    static const std::vector<std::int64_t> special{
      0, -1, 1, year_1, year_9999_end, 951'782'400'000'000, 1'767'225'600'123'456, 4'102'444'800'000'001};
    if (below(100) == 0)
      return below(2) == 0 ? integer_limits::min() : integer_limits::max();
    return below(2) == 0 ? special[below(special.size())]
                         : std::uniform_int_distribution<std::int64_t>{year_1, year_9999_end}(random_);
  }
  std::string bytes() {
    std::string made(below(20) == 0 ? below(5'000) : below(10), '\0');
    for (auto& byte : made)
      byte = static_cast<char>(random_());
    return made;
  }
  nlohmann::json json(int depth) {
    auto made = nlohmann::json::object();
    for (auto members = below(5); members > 0; --members) {
      auto& member = made[text(false)];
      switch (below(depth > 0 ? 7 : 5)) {
      case 0: member = integer(); break;
      case 1: member = text(below(10) == 0); break;
      case 2: member = static_cast<double>(below(1'000'000)) / 64; break;
      case 3: member = below(2) == 1; break;
      case 4: member = nullptr; break;
      case 5: member = json(depth - 1); break;
      default: member = nlohmann::json::array({1, "two", json(depth - 1)});
      }
    }
    return made;
  }

  std::mt19937_64 random_;
};

bool has_zero(const values& row) {
  const bool in_json = row.json && row.json->find("\\u0000") != std::string::npos;
  return in_json || (row.text && row.text->find('\0') != std::string::npos);
}

/// Whether the database says that it keeps such a row.
bool must_be_stored(const values& row, const abilities& can) {
  const bool far = row.timestamp && (*row.timestamp < year_1 || *row.timestamp > year_9999_end);
  const auto real = row.real.value_or(0);
  return !far && (can.zero_in_text || !has_zero(row)) && (can.infinity || !std::isinf(real)) &&
         (can.not_a_number || !std::isnan(real));
}

class round_trip_test : public database_test, public testing::WithParamInterface<std::uint64_t> {
public:
  static std::unique_ptr<record::frame_view> frame_of_values(const std::map<std::int64_t, values>& rows) {
    record::frame_builder builder{types_of(every_type())};
    for (const auto& [id, row] : rows) {
      builder.set_integer(0, id);
      row.text ? builder.set_string(1, *row.text) : builder.set_null(1);
      row.integer ? builder.set_integer(2, *row.integer) : builder.set_null(2);
      row.real ? builder.set_real(3, *row.real) : builder.set_null(3);
      row.boolean ? builder.set_boolean(4, *row.boolean) : builder.set_null(4);
      row.timestamp ? builder.set_integer(5, *row.timestamp) : builder.set_null(5);
      row.bytes ? builder.set_string(6, *row.bytes) : builder.set_null(6);
      row.json ? builder.set_string(7, *row.json) : builder.set_null(7);
      builder.commit_row("every/type", std::to_string(id), wall_time{});
    }
    return view(builder.seal("telemetry", 0, 1, 1), every_type());
  }

  /// What the other program finds; nothing: no such row.
  std::optional<values> stored(std::int64_t id) {
    std::string text, bytes, json;
    long long integer = 0, boolean = 0, timestamp = 0;
    double real = 0;
    soci::indicator is[7] = {};
    auto& hand = other();
    hand.session() << "SELECT " << hand.hex("a_text", column_type::text) << ", an_integer, a_real,"
                   << " CASE WHEN a_boolean IS NULL THEN NULL WHEN a_boolean THEN 1 ELSE 0 END, "
                   << hand.microseconds("a_timestamp") << ", " << hand.hex("some_bytes", column_type::bytes) << ", "
                   << hand.hex("some_json", column_type::json) << " FROM every_type WHERE id = " << id,
      soci::into(text, is[0]), soci::into(integer, is[1]), soci::into(real, is[2]), soci::into(boolean, is[3]),
      soci::into(timestamp, is[4]), soci::into(bytes, is[5]), soci::into(json, is[6]);
    if (!hand.session().got_data())
      return std::nullopt;
    values found;
    const auto there = [&](int column) { return is[column] == soci::i_ok; };
    if (there(0))
      found.text = from_hex(text);
    if (there(1))
      found.integer = integer;
    if (there(2))
      found.real = real;
    if (there(3))
      found.boolean = boolean != 0;
    if (there(4))
      found.timestamp = timestamp;
    if (there(5))
      found.bytes = from_hex(bytes);
    if (there(6))
      found.json = from_hex(json);
    return found;
  }

  void expect_same(const values& found, const values& sent) {
    EXPECT_EQ(found.text, sent.text);
    EXPECT_EQ(found.integer, sent.integer);
    EXPECT_EQ(found.boolean, sent.boolean);
    EXPECT_EQ(found.timestamp, sent.timestamp);
    EXPECT_EQ(found.bytes, sent.bytes);
    const auto json = [](const auto& text) {
      return text ? std::optional{nlohmann::json::parse(*text)} : std::nullopt;
    };
    EXPECT_EQ(json(found.json), json(sent.json));
    ASSERT_EQ(found.real.has_value(), sent.real.has_value());
    if (sent.real)
      expect_same_real(*found.real, *sent.real);
  }

  void expect_same_real(double found, double sent) {
    const bool zero_may_lose_its_sign = !abilities_of(kind()).negative_zero && sent == 0.0;
    const bool same = (std::isnan(sent) && std::isnan(found)) || (zero_may_lose_its_sign && found == 0.0) ||
                      std::bit_cast<std::uint64_t>(found) == std::bit_cast<std::uint64_t>(sent);
    EXPECT_TRUE(same) << found << " for " << sent;
  }
};

TEST_P(round_trip_test, values_come_back_as_they_were_or_the_row_is_a_dead_letter) {
  generator random{GetParam()};
  auto target = prepared(every_type());
  std::map<std::int64_t, values> sent;
  for (std::int64_t id = 0; id < 240;) {
    std::map<std::int64_t, values> part;
    for (auto count = 1 + random.below(90); count > 0; --count)
      part[id++] = random.row();
    const auto outcome = write_one(*target, *frame_of_values(part));
    EXPECT_EQ(outcome.stored + outcome.dead_lettered, part.size());
    sent.merge(part);
  }
  std::map<std::string, dead_letter> refused;
  for (auto& letter : letters(*target))
    refused[letter.payload] = letter;
  for (const auto& [id, row] : sent) {
    SCOPED_TRACE("row " + std::to_string(id));
    const auto found = stored(id);
    const auto letter = refused.find(std::to_string(id));
    ASSERT_NE(found.has_value(), letter != refused.end());
    if (found)
      expect_same(*found, row);
    else
      EXPECT_FALSE(must_be_stored(row, abilities_of(kind()))) << letter->second.reason;
  }
}

INSTANTIATE_TEST_SUITE_P(seeds, round_trip_test, testing::Values(1u, 2u, 3u, 4u));

TEST_F(round_trip_test, every_value_of_a_row_may_be_null) {
  auto target = prepared(every_type());
  write_one(*target, *frame_of_values({{1, {}}}));
  const auto found = stored(1);
  ASSERT_TRUE(found);
  expect_same(*found, {});
}

TEST_F(round_trip_test, a_value_that_is_missing_is_a_dead_letter_that_names_the_column) {
  auto needed = every_type();
  needed.columns[1].optional = false;
  auto target = prepared(needed);
  EXPECT_EQ(write_one(*target, *frame_of_values({{1, {}}, {2, {.text = "here"}}})), (frame_outcome{1, 0, 1}));
  const auto refused = letters(*target);
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].code, errc::field_missing);
  EXPECT_THAT(refused[0].reason, testing::HasSubstr("a_text"));
}

TEST_F(round_trip_test, what_the_database_cannot_keep_is_a_dead_letter_that_names_the_column) {
  const auto can = abilities_of(kind());
  std::map<std::int64_t, values> rows;
  std::map<std::string, std::string> expected;
  const auto add = [&](bool kept, const values& row, const char* column) {
    const auto id = static_cast<std::int64_t>(rows.size());
    rows[id] = row;
    if (!kept)
      expected[std::to_string(id)] = column;
  };
  add(can.not_a_number, {.real = real_limits::quiet_NaN()}, "a_real");
  add(can.infinity, {.real = real_limits::infinity()}, "a_real");
  add(can.zero_in_text, {.text = std::string{"a\0b", 3}}, "a_text");
  auto target = prepared(every_type());
  write_one(*target, *frame_of_values(rows));
  const auto refused = letters(*target);
  EXPECT_EQ(refused.size(), expected.size());
  for (const auto& letter : refused) {
    EXPECT_EQ(letter.code, errc::field_range) << letter.reason;
    EXPECT_THAT(letter.reason, testing::HasSubstr(expected[letter.payload]));
  }
}

} // namespace
} // namespace penstock::storage::test
