// The document holds against a second JSON parser over random damage, for On Demand parsing checks only what is read.
#include "decode/json_document.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <random>

namespace penstock::decode {
namespace {

using nlohmann::json;

const std::array seeds{
  R"({"time":"2026-01-31T12:00:00.5Z","sequence_id":17,"temperature":-21.5e0,"battery":null,"ok":true,"no":false})",
  R"({"a":{"b":[1,{"c":"x\n\u00e9\ud83d\ude00"},[[],{}]],"b":2},"time":[0,1.5],"rest":"","":{"":[""]}})",
  R"( { "sequence_id" : [ 1 , 2 ] , "x" : { "y" : -0.1E+2 } , "z\"" : "\\" } )",
  R"({"sequence_id":1,"sequence_id":2,"x":3,"a":{"b":[0,{"c":"1","c":"2"}]},"x":4,"a":{}})",
};

std::string damaged(std::mt19937& random) {
  static constexpr std::string_view alphabet = "{}[]:,\"\\ \n01.-+eEtrufalsn/\xc3\xa9";
  std::string text = seeds[random() % seeds.size()];
  for (auto changes = random() % 4; changes > 0 && !text.empty(); --changes) {
    const auto at = random() % text.size();
    const char other = alphabet[random() % alphabet.size()];
    switch (random() % 4) {
    case 0: text[at] = other; break;
    case 1: text.erase(at, 1 + random() % 3); break;
    case 2: text.insert(at, 1, other); break;
    default: text.insert(at, text.substr(random() % text.size(), random() % 9)); break;
    }
  }
  return text;
}

/// The document's members by name, the first of each: nlohmann keeps the last.
json first_members(const std::string& text) {
  json made = json::object();
  std::vector<std::string> seen;
  const auto keep_first = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth != 1 || event != json::parse_event_t::key)
      return true;
    const auto name = parsed.get<std::string>();
    const bool first = std::find(seen.begin(), seen.end(), name) == seen.end();
    seen.push_back(name);
    return first;
  };
  return json::parse(text, keep_first);
}

TEST(json_document, agrees_with_another_parser_on_damaged_text) {
  using step = config::source::step;
  json_document document;
  const std::vector<step> sequence{{"sequence_id", 0}};
  const std::vector<step> deep{{"a", 0}, {"b", 0}, {"", 1}, {"c", 0}};
  const auto sequence_path = document.add_path(sequence);
  const auto deep_path = document.add_path(deep);
  document.collect_rest();
  std::mt19937 random{1};
  int accepted = 0;
  int refused = 0;
  for (int round = 0; round < 30'000; ++round) {
    const std::string text = damaged(random);
    const json other = json::parse(text, nullptr, false);
    const bool valid = other.is_object();
    const auto parsed = document.parse(text);
    ASSERT_EQ(static_cast<bool>(parsed), valid) << text << "\n" << (parsed ? "" : parsed.error().to_string());
    ++(valid ? accepted : refused);
    if (!valid)
      continue;
    auto members = first_members(text);
    const auto& value = document.value(sequence_path);
    ASSERT_EQ(value.what != json_value::kind::absent, members.contains("sequence_id")) << text;
    if (value.what != json_value::kind::absent) {
      ASSERT_EQ(json::parse(value.raw), members["sequence_id"]) << text;
    }
    const auto& found = document.value(deep_path);
    if (found.what == json_value::kind::string) {
      ASSERT_EQ(json::parse(found.raw), std::string{found.text}) << text;
    }
    members.erase("sequence_id");
    members.erase("a");
    ASSERT_EQ(json::parse(document.rest()), members) << text;
  }
  EXPECT_GT(accepted, 3'000);
  EXPECT_GT(refused, 3'000);
}

} // namespace
} // namespace penstock::decode
