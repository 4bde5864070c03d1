#include "nodes/table_proposal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::nodes {

namespace {

using storage::actual_column;
using storage::actual_index;
using storage::actual_table;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

actual_column column(const std::string& name, const std::string& type, bool not_null = false) {
  return {.name = name, .type = type, .holds = {}, .not_null = not_null};
}

actual_index index(std::vector<std::string> names, bool unique = false, bool partial = false) {
  actual_index made{.name = "i", .unique = unique, .partial = partial, .columns = {}};
  for (auto& name : names)
    made.columns.push_back({std::move(name), false});
  return made;
}

actual_table plant_table() {
  actual_table table;
  table.kind = "table";
  table.columns = {column("RecordId", "bigint", true), column("MonitorId", "varchar(50)"), column("Value", "double"),
                   column("CreatedAt", "timestamp with time zone"), column("UpdatedAt", "timestamp with time zone")};
  table.indexes = {index({"RecordId"}, true)};
  return table;
}

TEST(table_proposal, a_plants_table_needs_no_questions) {
  const auto made = propose("dbo.TableA", plant_table());
  EXPECT_THAT(made.key, ElementsAre("RecordId"));
  EXPECT_EQ(made.order, "CreatedAt");
  EXPECT_EQ(made.shard_by, "MonitorId");
  EXPECT_EQ(made.topic, "data/TableA/{MonitorId}");
}

TEST(table_proposal, a_unique_index_is_a_key_where_nothing_in_it_is_null) {
  auto table = plant_table();
  table.indexes = {index({"MonitorId"}, true), index({"RecordId", "MonitorId"}, true), index({"RecordId"}, true, true),
                   index({"RecordId"}), index({""}, true)};
  EXPECT_THAT(propose("t", table).key, IsEmpty());
  EXPECT_EQ(propose("t", table).topic, "data/t/{MonitorId}");
  table.columns[1].not_null = true;
  EXPECT_THAT(propose("t", table).key, ElementsAre("MonitorId")) << "the smallest";
  table.indexes.erase(table.indexes.begin());
  EXPECT_THAT(propose("t", table).key, ElementsAre("RecordId", "MonitorId"));
}

TEST(table_proposal, a_time_with_an_index_goes_before_one_with_a_name) {
  auto table = plant_table();
  table.columns.push_back(column("MeasuredAt", "datetime(6)"));
  EXPECT_EQ(propose("t", table).order, "CreatedAt");
  table.indexes.push_back(index({"MeasuredAt", "MonitorId"}));
  EXPECT_EQ(propose("t", table).order, "MeasuredAt");
}

TEST(table_proposal, a_time_may_be_text_or_a_number_by_its_name) {
  actual_table table;
  table.columns = {column("id", "INTEGER", true), column("value", "REAL"), column("created_at", "TEXT")};
  EXPECT_EQ(propose("t", table).order, "created_at");
  table.columns.back() = column("modified_time", "TEXT");
  EXPECT_EQ(propose("t", table).order, "");
}

TEST(table_proposal, without_a_device_the_key_makes_the_topic) {
  actual_table table;
  table.columns = {column("id", "INTEGER", true)};
  table.indexes = {index({"id"}, true)};
  EXPECT_EQ(propose("my table", table).topic, "data/my-table/{id}");
  EXPECT_EQ(propose("my table", table).shard_by, "");
  table.indexes.clear();
  EXPECT_EQ(propose("t", table).topic, "") << "nothing is clear here";
}

} // namespace

} // namespace penstock::nodes
