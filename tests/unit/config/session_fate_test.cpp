#include "config/session_fate.hpp"
#include "tests/unit/config/support.hpp"

#include <gmock/gmock.h>

namespace penstock::config {
namespace {

using kind = session_fate::kind;

/// Of pipeline_lines: pipeline p, one shard, broker main, database db, table t.
session_record session(const std::string& pipeline, std::uint32_t shard = 0, const std::string& broker = "main") {
  session_record made;
  made.pipeline = pipeline;
  made.shard = shard;
  made.broker = broker;
  made.table = "t";
  made.filters = {"u/+/d/+"};
  return made;
}

const session_fate kept{kind::kept};
const session_fate ownerless{kind::ownerless};
session_fate retired_by(const std::string& pipeline) { return {kind::retired, pipeline}; }

class session_fate_test : public testing::Test {
protected:
  session_fate of(const session_record& session, const std::string& database = "db") const {
    return fate_of(configuration_, database, session);
  }
  configuration configuration_ = test::loaded(test::pipeline_with());
};

} // namespace

TEST_F(session_fate_test, a_shards_session_is_kept) { EXPECT_EQ(of(session("p")), kept); }

TEST_F(session_fate_test, one_of_a_shard_that_is_no_more_is_retired_by_its_pipeline) {
  EXPECT_EQ(of(session("p", 1)), retired_by("p"));
}

TEST_F(session_fate_test, one_at_a_former_broker_is_retired_while_that_is_configured) {
  EXPECT_EQ(of(session("p", 0, "other")), ownerless);
  configuration_.brokers["other"] = configuration_.brokers.at("main");
  EXPECT_EQ(of(session("p", 0, "other")), retired_by("p"));
}

TEST_F(session_fate_test, one_of_a_pipeline_that_was_renamed_is_retired_by_the_one_that_has_its_place) {
  EXPECT_EQ(of(session("former", 7)), retired_by("p"));
  auto shared = session("former");
  shared.filters = {"$share/penstock-4f2a-former/u/+/d/+"};
  EXPECT_EQ(of(shared), retired_by("p"));
}

TEST_F(session_fate_test, one_whose_messages_belong_elsewhere_is_nobodys) {
  auto topics = session("former");
  topics.filters = {"u/+/d/+", "other/#"};
  EXPECT_EQ(of(topics), ownerless);
  auto table = session("former");
  table.table = "t2";
  EXPECT_EQ(of(table), ownerless);
  EXPECT_EQ(of(session("former", 0, "other")), ownerless);
  EXPECT_EQ(of(session("former"), "another"), ownerless);
}

TEST_F(session_fate_test, a_pipeline_that_writes_elsewhere_now_does_not_have_what_its_former_database_remembers) {
  EXPECT_EQ(of(session("p"), "another"), ownerless);
}

// A publish pipeline's client ids are made the same way: to end such a session would end that pipeline's.
TEST_F(session_fate_test, one_whose_name_a_publish_pipeline_has_now_is_left_alone) {
  configuration_.publish["former"].name = "former";
  EXPECT_EQ(of(session("former")), ownerless);
}

} // namespace penstock::config
