#include "storage/replication_slot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace penstock::storage {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

namespace {

const std::string installation = "0c9b7c0e-6f2e-4f2c-8f0a-3f6d2f1f7a10";

} // namespace

TEST(replication_slot, a_name_is_one_that_postgresql_takes_and_differs_for_all_pipelines) {
  const std::string longest(64, 'A');
  std::set<std::string> names;
  for (const auto& pipeline : {std::string{"TableA"}, std::string{"tablea"}, std::string{"table-a"},
                               std::string{"table_a"}, longest, longest.substr(1) + "B"}) {
    const auto name = slot_name(installation, pipeline);
    EXPECT_THAT(name, MatchesRegex("[a-z0-9_]{1,63}"));
    EXPECT_TRUE(is_slot_of(name, pipeline));
    EXPECT_FALSE(is_slot_of(name, pipeline + "x"));
    names.insert(name);
    names.insert(publication_name(pipeline));
    EXPECT_LE(publication_name(pipeline).size(), 63u);
  }
  EXPECT_EQ(names.size(), 12u);
}

TEST(replication_slot, updates_are_told_only_where_they_are_published) {
  config::publish pipeline;
  pipeline.name = "TableA";
  pipeline.table = "dbo.TableA";
  EXPECT_THAT(logical_sql(pipeline), HasSubstr("SET (publish = 'insert', "));
  EXPECT_THAT(logical_sql(pipeline), HasSubstr("SET TABLE \"dbo\".\"TableA\""));
  EXPECT_THAT(logical_sql(pipeline), Not(HasSubstr("REPLICA IDENTITY")));
  pipeline.on_update = config::update_rule::publish;
  EXPECT_THAT(logical_sql(pipeline), HasSubstr("SET (publish = 'insert, update', "));
  EXPECT_THAT(logical_sql(pipeline), HasSubstr("REPLICA IDENTITY"));
}

} // namespace penstock::storage
