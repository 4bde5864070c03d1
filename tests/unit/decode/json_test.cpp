#include "config/value.hpp"
#include "core/assert.hpp"
#include "core/time_text.hpp"
#include "decode/decoder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <optional>

namespace penstock::decode {
namespace {

using std::chrono::microseconds;
using testing::HasSubstr;
using namespace std::string_literals;

const wall_time arrival{microseconds{1'700'000'000'000'000}};

config::column column(std::string name, std::string_view from, column_type type, bool optional = false) {
  const auto source = config::parse_source(from);
  assert_that(static_cast<bool>(source), "the test's source can be read");
  return {std::move(name), *source, type, optional};
}

config::column constant(std::string name, std::string value, column_type type) {
  return {std::move(name), {config::source::kind::constant, {}, std::move(value)}, type, false};
}

config::ingest pipeline_of(std::vector<config::column> columns) {
  config::ingest made;
  made.topics = {"t/{level}/#"};
  made.columns = std::move(columns);
  return made;
}

/// What became of one message.
struct outcome {
  std::unique_ptr<record::frame_view> view;
  bool row() const { return view->rows() == 1; }
  const record::column_view& column(std::size_t index = 0) const { return view->column(index); }
  std::string text(std::size_t index = 0) const {
    if (!row())
      return "letter: " + std::string{view->letter(0).reason};
    return column(index).null(0) ? "NULL" : std::string{column(index).string(0)};
  }
  errc code() const { return row() ? errc::none : view->letter(0).code; }
  std::string reason() const { return row() ? "" : std::string{view->letter(0).reason}; }
};

outcome decode(const config::ingest& pipeline, std::string_view payload, std::string_view topic = "t/x") {
  const auto types = column_types(pipeline);
  record::frame_builder builder{types};
  make_decoder(pipeline)->decode(topic, payload, arrival, builder);
  EXPECT_EQ(builder.messages(), 1u);
  auto opened = record::frame_view::open(builder.seal("p", 0, 0, 0), types);
  EXPECT_TRUE(opened);
  outcome made{*std::move(opened)};
  const auto topic_kept = made.row() ? made.view->topic(0) : made.view->letter(0).topic;
  const auto payload_kept = made.row() ? made.view->payload(0) : made.view->letter(0).payload;
  EXPECT_EQ(topic_kept, topic);
  EXPECT_EQ(payload_kept, payload);
  return made;
}

/// The value of member "v", as a column of this type.
outcome convert(column_type type, std::string_view value) {
  return decode(pipeline_of({column("c", "payload.v", type)}), "{\"v\":" + std::string{value} + "}");
}

errc failure(column_type type, std::string_view value) { return convert(type, value).code(); }

// ---- conversions

TEST(json, text_takes_strings_numbers_and_booleans) {
  EXPECT_EQ(convert(column_type::text, R"("")").text(), "");
  EXPECT_EQ(convert(column_type::text, R"("a")").text(), "a");
  EXPECT_EQ(convert(column_type::text, R"("a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00")").text(), "a\"\\/\b\f\n\r\té😀");
  EXPECT_EQ(convert(column_type::text, R"("a\u0000b")").text(), "a\0b"s);
  EXPECT_EQ(convert(column_type::text, "1.50").text(), "1.50");
  EXPECT_EQ(convert(column_type::text, " -1e5 ").text(), "-1e5");
  EXPECT_EQ(convert(column_type::text, "true\n").text(), "true");
  EXPECT_EQ(failure(column_type::text, R"({"a":1})"), errc::field_type);
  EXPECT_EQ(failure(column_type::text, "[]"), errc::field_type);
}

TEST(json, bytes_are_those_of_the_text) {
  EXPECT_EQ(convert(column_type::bytes, R"("é")").text(), "é");
  EXPECT_EQ(convert(column_type::bytes, R"("\u0000")").text(), "\0"s);
  EXPECT_EQ(failure(column_type::bytes, "[1]"), errc::field_type);
}

TEST(json, integers_are_whole_numbers_of_64_bits) {
  const auto value = [](std::string_view text) {
    const auto made = convert(column_type::integer, text);
    EXPECT_TRUE(made.row()) << made.reason();
    return made.row() ? made.column().integer(0) : -77;
  };
  EXPECT_EQ(value("0"), 0);
  EXPECT_EQ(value("-0"), 0);
  EXPECT_EQ(value("-1"), -1);
  EXPECT_EQ(value("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(value("-9223372036854775808"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(value("1.0"), 1);
  EXPECT_EQ(value("-2.50e1"), -25);
  EXPECT_EQ(value("9007199254740992.0"), 9'007'199'254'740'992);
  for (const char* text : {"9223372036854775808", "18446744073709551615", "-9223372036854775809", "9007199254740994.0",
                           "1e19", "1e400", "123456789012345678901234567890"})
    EXPECT_EQ(failure(column_type::integer, text), errc::field_range) << text;
  for (const char* text : {"1.5", "0.1", R"("42")", "true", "[]", "{}", R"("")"})
    EXPECT_EQ(failure(column_type::integer, text), errc::field_type) << text;
}

TEST(json, reals_are_numbers) {
  const auto value = [](std::string_view text) { return convert(column_type::real, text).column().real(0); };
  EXPECT_EQ(value("0"), 0);
  EXPECT_EQ(value("21.5"), 21.5);
  EXPECT_EQ(value("-1e-7"), -1e-7);
  EXPECT_EQ(value("0.1"), 0.1);
  EXPECT_EQ(value("1.7976931348623157e308"), std::numeric_limits<double>::max());
  EXPECT_EQ(value("18446744073709551616"), 18446744073709551616.0);
  EXPECT_EQ(failure(column_type::real, "1e309"), errc::field_range);
  EXPECT_EQ(failure(column_type::real, "-1e309"), errc::field_range);
  for (const char* text : {R"("1.5")", "true", "[]", R"("NaN")"})
    EXPECT_EQ(failure(column_type::real, text), errc::field_type) << text;
}

TEST(json, booleans_are_true_and_false) {
  EXPECT_TRUE(convert(column_type::boolean, "true").column().boolean(0));
  EXPECT_FALSE(convert(column_type::boolean, "false").column().boolean(0));
  for (const char* text : {"0", "1", R"("true")", "[]", "{}"})
    EXPECT_EQ(failure(column_type::boolean, text), errc::field_type) << text;
}

TEST(json, timestamps_are_rfc3339_or_epochs) {
  const auto value = [](std::string_view text) {
    const auto made = convert(column_type::timestamp, text);
    EXPECT_TRUE(made.row()) << made.reason();
    return made.row() ? made.column().integer(0) : -77;
  };
  constexpr std::int64_t base = 1'700'000'000'000'000;
  EXPECT_EQ(value(R"("2023-11-14T22:13:20Z")"), base);
  EXPECT_EQ(value(R"("2023-11-15T03:43:20.000001+05:30")"), base + 1);
  EXPECT_EQ(value(R"("2023-11-14T22:13:20\u005a")"), base);
  EXPECT_EQ(value("1700000000"), base);
  EXPECT_EQ(value("1700000000.123456"), base + 123'456);
  EXPECT_EQ(value("1700000000.1234569"), base + 123'456);
  EXPECT_EQ(value("1700000000.000001"), base + 1);
  EXPECT_EQ(value("1.7e9"), base);
  EXPECT_EQ(value("1.700000000123456E+9"), base + 123'456);
  EXPECT_EQ(value("17000000000e-1"), base);
  EXPECT_EQ(value("1700000000000"), base);
  EXPECT_EQ(value("1700000000123"), base + 123'000);
  EXPECT_EQ(value("1700000000123.4567"), base + 123'456);
  EXPECT_EQ(value("1.7e12"), base);
  EXPECT_EQ(value("99999999999"), 99'999'999'999'000'000);
  EXPECT_EQ(value("100000000000"), 100'000'000'000'000);
  EXPECT_EQ(value("99999999999999"), 99'999'999'999'999'000);
  EXPECT_EQ(value("0"), 0);
  EXPECT_EQ(value("-0.0"), 0);
  EXPECT_EQ(value("0e999999999999999999999"), 0);
  EXPECT_EQ(value("1e-999999999999999999999"), 0);
  EXPECT_EQ(value("0.000001"), 1);
  EXPECT_EQ(value("0.0000019"), 1);
  EXPECT_EQ(value("0.0000001"), 0);
  EXPECT_EQ(value("-1"), -1'000'000);
  EXPECT_EQ(value("-0.0000001"), -1);
  EXPECT_EQ(value("-1.5"), -1'500'000);
  for (const char* text :
       {"100000000000000", "1700000000000000", "1e14", "1e999999999999999999999", "-100000000000000"})
    EXPECT_EQ(failure(column_type::timestamp, text), errc::field_range) << text;
  for (const char* text :
       {R"("yesterday")", R"("1700000000")", R"("2023-02-29T00:00:00Z")", "true", "{}", "[]", R"("")"})
    EXPECT_EQ(failure(column_type::timestamp, text), errc::field_type) << text;
}

TEST(json, json_takes_any_value_as_it_was_written) {
  for (const char* text :
       {"1.50", "true", R"("a\u0041")", R"({"b" : [1, {"c":null}]})", "[ ]", "123456789012345678901234567890"})
    EXPECT_EQ(convert(column_type::json, text).text(), text);
  EXPECT_EQ(convert(column_type::json, " [1 , 2] \n").text(), "[1 , 2]");
}

TEST(json, absent_and_null_are_null_where_that_is_allowed) {
  for (const auto type : {column_type::text, column_type::integer, column_type::real, column_type::boolean,
                          column_type::timestamp, column_type::bytes, column_type::json}) {
    const auto optional = pipeline_of({column("c", "payload.v", type, true)});
    EXPECT_EQ(decode(optional, "{}").text(), "NULL");
    EXPECT_EQ(decode(optional, R"({"v":null})").text(), "NULL");
    const auto required = pipeline_of({column("c", "payload.v", type)});
    EXPECT_EQ(decode(required, "{}").code(), errc::field_missing);
    EXPECT_EQ(decode(required, R"({"v": null })").code(), errc::field_missing);
  }
}

TEST(json, an_optional_value_that_does_not_fit_is_still_refused) {
  EXPECT_EQ(decode(pipeline_of({column("c", "payload.v", column_type::integer, true)}), R"({"v":"x"})").code(),
            errc::field_type);
}

// ---- sources

TEST(json, paths_lead_into_objects_and_arrays) {
  const auto pipeline = pipeline_of({column("deep", "payload.a.b[1].c", column_type::integer, true),
                                     column("whole", "payload.a", column_type::json, true),
                                     column("middle", "payload.a.b", column_type::json, true),
                                     column("first", "payload.a.b[0]", column_type::text, true),
                                     column("again", "payload.a.b[1].c", column_type::text, true)});
  const auto made = decode(pipeline, R"({"x":{"a":9},"a":{"b":["first", {"c":42, "d":1}, 3], "e":{"b":7}},"b":8})");
  ASSERT_TRUE(made.row()) << made.reason();
  EXPECT_EQ(made.column(0).integer(0), 42);
  EXPECT_EQ(made.text(1), R"({"b":["first", {"c":42, "d":1}, 3], "e":{"b":7}})");
  EXPECT_EQ(made.text(2), R"(["first", {"c":42, "d":1}, 3])");
  EXPECT_EQ(made.text(3), "first");
  EXPECT_EQ(made.text(4), "42");
  for (const char* payload : {R"({"a":{"b":[1]}})", R"({"a":{"b":{"1":{"c":1}}}})", R"({"a":[{"b":1}]})", R"({"a":5})"})
    EXPECT_TRUE(decode(pipeline, payload).column(0).null(0)) << payload;
}

TEST(json, values_of_the_last_message_are_forgotten) {
  const auto pipeline = pipeline_of({column("c", "payload.a.b", column_type::integer, true)});
  const auto types = column_types(pipeline);
  record::frame_builder builder{types};
  const auto decoder = make_decoder(pipeline);
  for (const char* payload : {R"({"a":{"b":1}})", R"({"a":{}})", R"({"a":3})", R"({"a":{"b":2}})", "{}", "{"})
    decoder->decode("t/x", payload, arrival, builder);
  const auto view = record::frame_view::open(builder.seal("p", 0, 0, 0), types);
  ASSERT_TRUE(view);
  ASSERT_EQ((*view)->rows(), 5u);
  const auto& values = (*view)->column(0);
  EXPECT_EQ(values.integer(0), 1);
  EXPECT_TRUE(values.null(1));
  EXPECT_TRUE(values.null(2));
  EXPECT_EQ(values.integer(3), 2);
  EXPECT_TRUE(values.null(4));
}

TEST(json, keys_with_escapes_are_found) {
  const auto pipeline =
    pipeline_of({column("c", "payload.temp", column_type::integer), column("rest", "payload.rest", column_type::json)});
  const auto made = decode(pipeline, R"({"t\u0065mp":1,"x\u0079":2})");
  ASSERT_TRUE(made.row()) << made.reason();
  EXPECT_EQ(made.column(0).integer(0), 1);
  EXPECT_EQ(made.text(1), R"({"x\u0079":2})");
}

TEST(json, rest_has_the_members_that_no_column_took) {
  const auto pipeline =
    pipeline_of({column("a", "payload.a", column_type::json, true), column("b", "payload.b.c", column_type::json, true),
                 column("rest", "payload.rest", column_type::json)});
  const auto rest = [&](std::string_view payload) { return decode(pipeline, payload).text(2); };
  EXPECT_EQ(rest("{}"), "{}");
  EXPECT_EQ(rest(R"({"a":1,"b":{"c":2,"d":3}})"), "{}");
  EXPECT_EQ(rest(R"({"x":1,"a":1,"y" : "\u00e9\n" , "b":0, "z":{ "a":[1, 2] } })"),
            R"({"x":1,"y":"\u00e9\n","z":{ "a":[1, 2] }})");
  EXPECT_EQ(rest(R"({"":null,"A":123456789012345678901234567890})"), R"({"":null,"A":123456789012345678901234567890})");
}

TEST(json, of_members_with_one_name_the_first_counts) {
  const auto pipeline = pipeline_of({column("a", "payload.a", column_type::integer, true),
                                     column("bc", "payload.b.c", column_type::integer, true),
                                     column("rest", "payload.rest", column_type::json)});
  auto made = decode(pipeline, R"({"a":1,"a":2,"x":1,"b":{"d":1},"b":{"c":5},"\u0078":2,"y":3})");
  ASSERT_TRUE(made.row()) << made.reason();
  EXPECT_EQ(made.column(0).integer(0), 1);
  EXPECT_TRUE(made.column(1).null(0));
  EXPECT_EQ(made.text(2), R"({"x":1,"y":3})");
  made = decode(pipeline, R"({"a":null,"a":2})");
  EXPECT_TRUE(made.column(0).null(0));
}

TEST(json, many_members_are_told_apart) {
  std::string payload = "{";
  std::string expected = "{";
  for (int round = 0; round < 2; ++round)
    for (int i = 0; i < 1'000; ++i) {
      const std::string member = "\"k" + std::to_string(i) + "\":" + std::to_string(round);
      payload += (payload.size() > 1 ? "," : "") + member;
      if (round == 0)
        expected += (expected.size() > 1 ? "," : "") + member;
    }
  const auto pipeline = pipeline_of({column("rest", "payload.rest", column_type::json)});
  EXPECT_EQ(decode(pipeline, payload + "}").text(), expected + "}");
}

TEST(json, raw_is_the_payload) {
  const auto pipeline =
    pipeline_of({column("text", "payload.raw", column_type::text), column("bytes", "payload.raw", column_type::bytes),
                 column("json", "payload.raw", column_type::json)});
  const auto made = decode(pipeline, " {\"a\" : 1}\n");
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(made.text(i), " {\"a\" : 1}\n");
}

TEST(json, topic_levels_become_values) {
  auto pipeline =
    pipeline_of({column("topic", "topic", column_type::text), column("text", "topic.a", column_type::text),
                 column("integer", "topic.b", column_type::integer), column("real", "topic.c", column_type::real)});
  pipeline.topics = {"x/{a}/{b}/{c}", "y/{c}/{b}/{a}"};
  auto made = decode(pipeline, "{}", "x/one/-2/3.5");
  ASSERT_TRUE(made.row()) << made.reason();
  EXPECT_EQ(made.text(0), "x/one/-2/3.5");
  EXPECT_EQ(made.text(1), "one");
  EXPECT_EQ(made.column(2).integer(0), -2);
  EXPECT_EQ(made.column(3).real(0), 3.5);
  made = decode(pipeline, "{}", "y/3.5/-2/one");
  ASSERT_TRUE(made.row()) << made.reason();
  EXPECT_EQ(made.text(1), "one");
  EXPECT_EQ(made.column(3).real(0), 3.5);
  EXPECT_EQ(decode(pipeline, "{}", "x/one/two/3.5").code(), errc::field_type);
  EXPECT_EQ(decode(pipeline, "{}", "x/one/99999999999999999999/3.5").code(), errc::field_range);
}

TEST(json, topic_levels_can_be_booleans_and_times) {
  auto pipeline =
    pipeline_of({column("flag", "topic.a", column_type::boolean), column("time", "topic.b", column_type::timestamp)});
  pipeline.topics = {"{a}/{b}"};
  for (const char* topic : {"true/1700000000", "true/1700000000000", "true/2023-11-14T22:13:20Z"}) {
    const auto made = decode(pipeline, "{}", topic);
    ASSERT_TRUE(made.row()) << made.reason();
    EXPECT_TRUE(made.column(0).boolean(0));
    EXPECT_EQ(made.column(1).integer(0), 1'700'000'000'000'000);
  }
  EXPECT_EQ(decode(pipeline, "{}", "yes/1700000000").code(), errc::field_type);
  EXPECT_EQ(decode(pipeline, "{}", "true/now").code(), errc::field_type);
}

TEST(json, constants_are_the_same_in_every_row) {
  const auto made =
    decode(pipeline_of({constant("a", "x y", column_type::text), constant("b", "-5", column_type::integer),
                        constant("c", "2.5", column_type::real), constant("d", "true", column_type::boolean),
                        constant("e", R"({"a":1})", column_type::json)}),
           "{}");
  ASSERT_TRUE(made.row()) << made.reason();
  EXPECT_EQ(made.text(0), "x y");
  EXPECT_EQ(made.column(1).integer(0), -5);
  EXPECT_EQ(made.column(2).real(0), 2.5);
  EXPECT_TRUE(made.column(3).boolean(0));
  EXPECT_EQ(made.text(4), R"({"a":1})");
}

TEST(json, received_is_the_time_of_arrival) {
  EXPECT_EQ(decode(pipeline_of({column("r", "$received", column_type::timestamp)}), "{}").column().integer(0),
            arrival.time_since_epoch().count());
}

TEST(json, latency_counts_from_the_first_timestamp_of_the_payload) {
  const auto pipeline = pipeline_of({column("whole", "$latency_ms", column_type::integer, true),
                                     column("part", "$latency_ms", column_type::real, true),
                                     column("first", "payload.a", column_type::timestamp, true),
                                     column("second", "payload.b", column_type::timestamp, true)});
  auto made = decode(pipeline, R"({"a":1699999999.9985,"b":1})");
  ASSERT_TRUE(made.row()) << made.reason();
  EXPECT_EQ(made.column(0).integer(0), 1);
  EXPECT_EQ(made.column(1).real(0), 1.5);
  made = decode(pipeline, R"({"a":1700000001})");
  EXPECT_EQ(made.column(0).integer(0), -1000);
  made = decode(pipeline, R"({"b":1})");
  EXPECT_TRUE(made.column(0).null(0));
  EXPECT_TRUE(made.column(1).null(0));
}

TEST(json, latency_without_a_timestamp_is_missing) {
  const auto pipeline = pipeline_of(
    {column("whole", "$latency_ms", column_type::integer), column("first", "payload.a", column_type::timestamp, true)});
  EXPECT_EQ(decode(pipeline, "{}").code(), errc::field_missing);
}

// ---- payloads and topics that are refused

TEST(json, a_topic_of_no_pattern_is_refused) {
  const auto pipeline = pipeline_of({column("c", "topic", column_type::text)});
  EXPECT_EQ(decode(pipeline, "{}", "other/x").code(), errc::topic_mismatch);
  EXPECT_EQ(decode(pipeline, "{}", "").code(), errc::topic_mismatch);
  EXPECT_EQ(decode(pipeline, "{}", "t/\xff").code(), errc::topic_mismatch);
}

TEST(json, a_payload_that_is_no_object_is_refused) {
  const auto pipeline = pipeline_of({column("c", "payload.v", column_type::text, true)});
  const std::string deep(1'000'000, '[');
  for (const std::string& payload : {""s,
                                     " "s,
                                     "\0"s,
                                     "{"s,
                                     "}"s,
                                     "[]"s,
                                     "[{}]"s,
                                     "1"s,
                                     "null"s,
                                     "true"s,
                                     "\"text\""s,
                                     "not json"s,
                                     "{}x"s,
                                     "{}{}"s,
                                     "{},"s,
                                     "{}]"s,
                                     "{} 1"s,
                                     "{\"v\"}"s,
                                     "{\"v\":}"s,
                                     "{\"v\":1,}"s,
                                     "{,}"s,
                                     "{\"v\" 1}"s,
                                     "{v:1}"s,
                                     "{'v':1}"s,
                                     "{\"v\":1 \"w\":2}"s,
                                     "{\"v\":\"x}"s,
                                     "{\"v\":01}"s,
                                     "{\"v\":1.}"s,
                                     "{\"v\":.5}"s,
                                     "{\"v\":+1}"s,
                                     "{\"v\":1e}"s,
                                     "{\"v\":-}"s,
                                     "{\"v\":NaN}"s,
                                     "{\"v\":truee}"s,
                                     "{\"v\":tru}"s,
                                     "{\"v\":nul}"s,
                                     "{\"v\":nulll}"s,
                                     "{\"v\":fals}"s,
                                     "{\"v\":\"\\x\"}"s,
                                     "{\"v\":\"\\ud800\"}"s,
                                     "{\"v\":\"\\u12g4\"}"s,
                                     "{\"v\":\"\n\"}"s,
                                     "{\"v\":\"\xff\"}"s,
                                     "{\"\xc3\":1}"s,
                                     "{\"v\":[1,]}"s,
                                     "{\"v\":[1 2]}"s,
                                     "{\"v\":[1}"s,
                                     "{\"v\":{]}}"s,
                                     "{\"v\":{\"a\":1]}}"s,
                                     "{\"w\":[tru]}"s,
                                     "{\"w\":{\"a\":\"\\q\"}}"s,
                                     "{\"w\\x\":1}"s,
                                     "{\"v\":\"b\":1}"s,
                                     "{\"v\"::1}"s,
                                     "{\"v\":1}\0"s,
                                     "\xef\xbb\xbf{}"s,
                                     "{\"v\":"s + deep + "}"s,
                                     deep,
                                     "{\"a\":{\"b\":{}"s}) {
    const auto made = decode(pipeline, payload);
    EXPECT_EQ(made.code(), errc::payload_malformed) << payload.substr(0, 80);
    EXPECT_THAT(made.reason(), HasSubstr("the payload is "));
  }
}

TEST(json, levels_are_limited) {
  const auto pipeline = pipeline_of({column("c", "payload.v", column_type::json, true)});
  const auto nested = [](std::size_t levels) {
    return "{\"v\":" + std::string(levels - 1, '[') + std::string(levels - 1, ']') + "}";
  };
  EXPECT_TRUE(decode(pipeline, nested(128)).row());
  EXPECT_EQ(decode(pipeline, nested(129)).code(), errc::payload_malformed);
}

TEST(json, an_array_at_the_top_needs_a_path_that_begins_with_an_index) {
  const auto pipeline = pipeline_of({column("c", "payload[1].v", column_type::integer)});
  EXPECT_EQ(decode(pipeline, R"([0,{"v":7}])").column().integer(0), 7);
  EXPECT_EQ(decode(pipeline, R"({"v":7})").code(), errc::field_missing);
  EXPECT_EQ(decode(pipeline, "[0,{\"v\":7}").code(), errc::payload_malformed);
  EXPECT_EQ(decode(pipeline, "[0,{\"v\":7}]]").code(), errc::payload_malformed);
}

TEST(json, a_huge_payload_is_read_and_small_ones_after_it) {
  const auto pipeline = pipeline_of({column("c", "payload.v", column_type::text)});
  const auto types = column_types(pipeline);
  record::frame_builder builder{types};
  const auto decoder = make_decoder(pipeline);
  const std::string huge(3u << 20, 'x');
  for (const std::string& text : {"a"s, huge, "b"s, std::string(100'000, 'y'), "c"s})
    decoder->decode("t/x", "{\"v\":\"" + text + "\"}", arrival, builder);
  const auto view = record::frame_view::open(builder.seal("p", 0, 0, 0), types);
  ASSERT_TRUE(view);
  ASSERT_EQ((*view)->rows(), 5u);
  EXPECT_EQ((*view)->column(0).string(1), huge);
  EXPECT_EQ((*view)->column(0).string(4), "c");
}

// ---- reasons

TEST(json, reasons_name_field_and_column_and_show_the_value) {
  const auto pipeline = pipeline_of({column("at", "payload.time", column_type::timestamp)});
  EXPECT_EQ(decode(pipeline, R"({"time":"yesterday"})").reason(),
            R"(field 'payload.time' of column 'at': not an RFC 3339 time: "yesterday")");
  EXPECT_EQ(decode(pipeline, "{}").reason(), "field 'payload.time' of column 'at': there is no value");
  std::string long_value = "é";
  for (int i = 0; i < 6; ++i)
    long_value += long_value;
  const auto reason = decode(pipeline, "{\"time\":\"" + long_value + "\"}").reason();
  EXPECT_THAT(reason, testing::EndsWith("é..."));
  EXPECT_EQ(reason.size(),
            std::string{"field 'payload.time' of column 'at': not an RFC 3339 time: \"..."}.size() + 59 * 2);
}

TEST(json, reasons_stay_on_one_line) {
  const auto pipeline = pipeline_of({column("c", "payload.v", column_type::integer)});
  EXPECT_EQ(decode(pipeline, "{\"v\":[1,\n2]}").reason(), "field 'payload.v' of column 'c': not an integer: [1, 2]");
}

TEST(json, reasons_of_malformed_payloads_say_where) {
  const auto pipeline = pipeline_of({column("c", "payload.v", column_type::integer)});
  EXPECT_THAT(decode(pipeline, "{\"v\" 1}").reason(), HasSubstr("(at byte 5)"));
}

TEST(json, configurations_that_were_not_checked_are_a_bug) {
  auto pipeline = pipeline_of({column("c", "topic.other", column_type::text)});
  EXPECT_THROW(make_decoder(pipeline), assertion_failed);
  pipeline.columns.clear();
  pipeline.format = "csv";
  EXPECT_THROW(make_decoder(pipeline), assertion_failed);
}

} // namespace
} // namespace penstock::decode
