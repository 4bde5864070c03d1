#include "nodes/message_row.hpp"
#include "nodes/received_rows.hpp"

#include <gtest/gtest.h>

namespace penstock::nodes::test {
namespace {

config::publish pipeline() {
  config::publish made;
  made.name = "TableA";
  made.key = {"RecordId"};
  made.topic = "data/tableA/{MonitorId}";
  return made;
}

std::optional<fingerprint> row_of(const config::publish& pipeline, const std::string& payload,
                                  const std::string& id = "") {
  mqtt::inbound message;
  message.payload = payload;
  message.message_id = id;
  return message_row{pipeline}.of(message);
}

TEST(message_row, the_filter_has_a_plus_for_each_level_with_a_column) {
  auto from = pipeline();
  EXPECT_EQ(filter_of(from), "data/tableA/+");
  from.topic = "{Site}/x-{MonitorId}/{A}{B}/end";
  EXPECT_EQ(filter_of(from), "+/+/+/end");
  from.topic = "a/{with/slash}";
  EXPECT_EQ(filter_of(from), "a/+");
  from.topic = "/fixed/";
  EXPECT_EQ(filter_of(from), "/fixed/");
}

TEST(message_row, the_payload_says_the_key_under_the_name_of_its_field) {
  auto from = pipeline();
  const auto row = row_fingerprint({"17"}, 0);
  EXPECT_EQ(row_of(from, R"({"RecordId": 17, "x": 1})"), row);
  EXPECT_EQ(row_of(from, R"({"RecordId": "17"})"), row);
  from.fields = {{"id", config::published_field::kind::column, "RecordId"}};
  EXPECT_EQ(row_of(from, R"({"id": 17})"), row);
  EXPECT_EQ(row_of(from, R"({"RecordId": 17})"), std::nullopt);
  EXPECT_EQ(row_of(from, R"({"id": null})"), std::nullopt);
  EXPECT_EQ(row_of(from, "no json"), std::nullopt);
}

TEST(message_row, where_the_payload_lacks_the_key_the_message_id_says_it) {
  auto from = pipeline();
  from.fields = {{"value", config::published_field::kind::column, "Value"}};
  EXPECT_EQ(row_of(from, R"({"value": 1})", "TableA/17"), row_fingerprint({"17"}, 0));
  EXPECT_EQ(row_of(from, R"({"value": 1})", "TableA/a/b"), row_fingerprint({"a/b"}, 0));
  EXPECT_EQ(row_of(from, R"({"value": 1})", "TableB/17"), std::nullopt);
  from.key = {"Site", "RecordId"};
  EXPECT_EQ(row_of(from, "", R"(TableA/["s","17"])"), row_fingerprint({"s", "17"}, 0));
  EXPECT_EQ(row_of(from, "", R"(TableA/["s"])"), std::nullopt);
  EXPECT_EQ(row_of(from, "", "TableA/17"), std::nullopt);
}

TEST(message_row, a_version_is_part_of_the_row_where_updates_are_published) {
  auto from = pipeline();
  from.on_update = config::update_rule::publish;
  from.version = "Version";
  EXPECT_EQ(row_of(from, R"({"RecordId": 17, "Version": 3})"), row_fingerprint({"17"}, 3));
  from.fields = {{"id", config::published_field::kind::column, "RecordId"}};
  EXPECT_EQ(row_of(from, R"({"id": 17})", "TableA/17/3"), row_fingerprint({"17"}, 3));
  EXPECT_EQ(row_of(from, R"({"id": 17})", "TableA/17"), std::nullopt);
}

TEST(message_row, where_a_column_holds_the_payload_the_message_id_comes_first) {
  auto from = pipeline();
  from.payload = "Body";
  EXPECT_EQ(row_of(from, R"({"RecordId": 99})", "TableA/17"), row_fingerprint({"17"}, 0));
  EXPECT_EQ(row_of(from, R"({"RecordId": 99})"), row_fingerprint({"99"}, 0));
}

} // namespace
} // namespace penstock::nodes::test
