// What is remembered of MQTT sessions.
#include "fixture.hpp"

#include <thread>

namespace penstock::storage::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

using session_test = database_test;

session_record wanted(std::vector<std::string> filters, const std::string& client_id = "penstock-x-p-1-0",
                      const std::string& broker = "main") {
  session_record made;
  made.client_id = client_id;
  made.broker = broker;
  made.pipeline = "p";
  made.shard = 3;
  made.table = "plant.readings";
  made.filters = std::move(filters);
  return made;
}

std::vector<session_record> all(store& of) {
  auto found = of.sessions();
  EXPECT_TRUE(found) << found.error().to_string();
  return found ? *found : std::vector<session_record>{};
}

} // namespace

TEST_F(session_test, nothing_is_remembered_where_no_penstock_has_worked) {
  auto store = opened();
  EXPECT_THAT(all(*store), IsEmpty());
}

TEST_F(session_test, what_is_enlisted_stays_until_it_is_settled) {
  auto store = prepared();
  auto first = store->enlist(wanted({"a/+", "b"}));
  ASSERT_TRUE(first) << first.error().to_string();
  EXPECT_EQ(first->epoch, 1u);
  auto second = store->enlist(wanted({"b", "c/#"}));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->epoch, 2u);
  EXPECT_THAT(second->filters, ElementsAre("b", "c/#", "a/+"));
  EXPECT_FALSE(second->settled);
  EXPECT_THAT(all(*store), ElementsAre(*second));

  auto confirmed = wanted({"b", "c/#"});
  confirmed.epoch = second->epoch;
  ASSERT_TRUE(store->settle(confirmed));
  confirmed.settled = true;
  EXPECT_THAT(all(*opened()), ElementsAre(confirmed));
}

TEST_F(session_test, who_opens_it_again_hears_that_the_broker_has_had_it) {
  auto store = prepared();
  auto first = store->enlist(wanted({"a"}));
  ASSERT_TRUE(first && store->settle(*first));
  auto second = store->enlist(wanted({"a"}));
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->settled);
  ASSERT_THAT(all(*store), SizeIs(1));
  EXPECT_FALSE(all(*store)[0].settled) << "not in this epoch";
}

TEST_F(session_test, one_that_was_enlisted_again_is_not_settled_by_who_had_it_before) {
  auto store = prepared();
  auto former = store->enlist(wanted({"a"}));
  auto next = store->enlist(wanted({"b"}));
  ASSERT_TRUE(former && next);
  ASSERT_TRUE(store->settle(*former));
  EXPECT_THAT(all(*store), ElementsAre(*next));
  former->filters.clear();
  ASSERT_TRUE(store->settle(*former));
  EXPECT_THAT(all(*store), ElementsAre(*next));
}

TEST_F(session_test, one_without_filters_goes) {
  auto store = prepared();
  auto ended = store->enlist(wanted({"a"}));
  auto other = store->enlist(wanted({"a"}, "penstock-x-p-1-0", "another broker"));
  ASSERT_TRUE(ended && other);
  ended->filters.clear();
  ASSERT_TRUE(store->settle(*ended));
  EXPECT_THAT(all(*store), ElementsAre(*other));
}

TEST_F(session_test, texts_are_kept_as_they_are) {
  auto store = prepared();
  const auto made = store->enlist(wanted({"o'neil/\\\"x\"/ü", "two\nlines", std::string(3'000, 'x')}, "P-ü'\\"));
  ASSERT_TRUE(made);
  EXPECT_THAT(all(*store), ElementsAre(*made));
}

// The former owner of a shard, and the next: what either may have subscribed to must be in the record.
TEST_F(session_test, of_two_that_enlist_at_the_same_time_neither_is_forgotten) {
  prepared();
  const auto enlist = [&](const std::string& prefix) {
    auto store = opened();
    for (int i = 0; i < 20; ++i) {
      auto made = store->enlist(wanted({prefix + std::to_string(i)}));
      EXPECT_TRUE(made) << made.error().to_string();
    }
  };
  std::thread other{enlist, "a"};
  enlist("b");
  other.join();
  auto store = opened();
  const auto found = all(*store);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].filters.size(), 40u);
  EXPECT_EQ(found[0].epoch, 40u);
}

TEST_F(session_test, a_database_of_before_gets_the_table) {
  prepared();
  other().run("DROP TABLE penstock_sessions");
  EXPECT_THAT(all(*opened(access::read_only)), IsEmpty());
  auto store = prepared();
  EXPECT_TRUE(store->enlist(wanted({"a"})));
  EXPECT_EQ(all(*opened(access::read_only)).size(), 1u);
}

} // namespace penstock::storage::test
