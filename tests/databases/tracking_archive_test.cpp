// Tracking records that grow old: in the table, the archive or the ranges, they are never sent again.
#include "fixture.hpp"
#include "storage/source.hpp"
#include "storage/tracking.hpp"
#include "storage/tracking_archive.hpp"
#include "storage/tracking_view.hpp"

#include <numeric>

namespace penstock::storage::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

class tracking_archive_test : public database_test {
public:
  tracking_archive_test() {
    other().run("CREATE TABLE source_rows (id BIGINT PRIMARY KEY, name VARCHAR(50), version BIGINT)");
    pipeline_.name = "p";
    pipeline_.database = "test";
    pipeline_.table = "source_rows";
    pipeline_.key = {"id"};
    pipeline_.order = "id";
    pipeline_.shards = 2;
    pipeline_.topic = "t";
  }

  /// Claims records one by one, by turns of the shards, and has them sent.
  void send(const std::vector<std::string>& ids, const std::string& version = "") {
    auto store = ready();
    for (const auto& id : ids) {
      const auto shard = static_cast<std::uint32_t>(claimed_ % 2);
      const auto seq = claimed_ / 2 + 1;
      claimed_record claim;
      claim.record_id = id;
      claim.version = version;
      claim.shard = shard;
      claim.seq = seq;
      claim.packet_id = static_cast<std::uint16_t>(seq);
      claim.topic = "t";
      claim.state = refused_ ? record_state::refused : record_state::claimed;
      const std::vector claims{claim};
      tracking_changes changes;
      changes.shards = {{shard, epoch_, seq, seq, seq, {{seq, seq}}}};
      changes.claims = claims;
      const auto written = store->commit(changes);
      ASSERT_TRUE(written && *written);
      changes.claims = {};
      ASSERT_TRUE(store->commit(changes));
      ++claimed_;
    }
  }

  std::unique_ptr<tracking> ready() {
    auto made = open_tracking(settings(), pipeline_);
    EXPECT_TRUE(made && (*made)->prepare());
    std::vector<std::uint32_t> shards(pipeline_.shards);
    std::iota(shards.begin(), shards.end(), 0u);
    const auto mine = (*made)->adopt(shards);
    EXPECT_TRUE(mine);
    epoch_ = mine->front().epoch;
    return *std::move(made);
  }
  std::unique_ptr<tracking_archive> archive() const {
    auto made = open_tracking_archive(settings(), pipeline_);
    EXPECT_TRUE(made) << made.error().to_string();
    return *std::move(made);
  }
  std::unique_ptr<source> rows() const {
    auto made = open_source(settings(), pipeline_);
    EXPECT_TRUE(made) << made.error().to_string();
    return *std::move(made);
  }
  static wall_time later() { return wall_now() + 1h; }

  /// What the poller would find to be new.
  std::vector<std::string> untracked(const std::vector<std::string>& ids, const std::string& version = "") {
    std::vector<record_key> keys;
    for (const auto& id : ids)
      keys.push_back({id, version});
    const auto found = ready()->untracked(keys);
    EXPECT_TRUE(found);
    std::vector<std::string> missing;
    for (const auto index : *found)
      missing.push_back(ids[index]);
    return missing;
  }
  std::map<std::string, std::uint64_t> counts() const {
    auto view = tracking_view::open(settings(), pipeline_);
    return *view->counts();
  }

  config::publish pipeline_;
  std::uint64_t claimed_ = 0;
  std::uint64_t epoch_ = 0;
  bool refused_ = false;
};

TEST_F(tracking_archive_test, what_was_sent_long_ago_moves_and_is_still_known) {
  send({"1", "2", "3", "4", "5"});
  const auto old = archive();
  EXPECT_EQ(*old->count(), 5u);
  const auto early = old->move_older(wall_now() - 1h, 100);
  ASSERT_TRUE(early) << early.error().to_string();
  EXPECT_EQ(early->rows, 0u);
  const auto moved = old->move_older(later(), 100);
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_EQ(moved->rows, 5u);
  EXPECT_FALSE(moved->more);
  EXPECT_EQ(*old->count(), 0u);
  EXPECT_THAT(counts(), ElementsAre(Pair("archived", 5)));
  EXPECT_EQ(other().ask("SELECT count(*) FROM mqtt_sent_records_archive WHERE sent_at > 0 AND topic = 't'"), "5");
  EXPECT_THAT(untracked({"1", "5", "6"}), ElementsAre("6"));
}

TEST_F(tracking_archive_test, moves_in_small_pieces_and_leaves_what_is_not_sent) {
  send({"1", "2"});
  refused_ = true;
  send({"3", "4"});
  refused_ = false;
  send({"5", "6"});
  auto store = ready();
  claimed_record open;
  open.record_id = "7";
  open.seq = 4;
  open.packet_id = 4;
  const std::vector claims{open};
  tracking_changes changes;
  changes.shards = {{0, epoch_, 4, 3, 3, {}}};
  changes.claims = claims;
  ASSERT_TRUE(*store->commit(changes));
  const auto old = archive();
  std::uint64_t moved = 0;
  for (int step = 0; step < 10; ++step) {
    const auto done = old->move_older(later(), 1);
    ASSERT_TRUE(done) << done.error().to_string();
    EXPECT_LE(done->rows, 2u);
    moved += done->rows;
  }
  EXPECT_EQ(moved, 4u);
  EXPECT_THAT(counts(), UnorderedElementsAre(Pair("archived", 4), Pair("claimed", 1), Pair("refused", 2)));
  EXPECT_THAT(untracked({"1", "2", "3", "4", "5", "6", "7"}), IsEmpty());
}

TEST_F(tracking_archive_test, integer_ids_go_into_ranges_and_are_never_sent_again) {
  send({"1", "2", "3", "7", "8", "10", "-4"});
  const auto old = archive();
  ASSERT_TRUE(old->move_older(later(), 100));
  // In pieces, so that ranges grow together.
  const auto table = rows();
  std::uint64_t gone = 0;
  for (int step = 0; step < 10; ++step) {
    const auto done = old->delete_older(later(), *table, 2);
    ASSERT_TRUE(done) << done.error().to_string();
    gone += done->rows;
  }
  EXPECT_EQ(gone, 7u);
  EXPECT_EQ(other().ask("SELECT count(*) FROM mqtt_sent_records_archive"), "0");
  EXPECT_EQ(other().ask("SELECT count(*) FROM penstock_sent_ranges"), "4");
  EXPECT_EQ(other().ask("SELECT last_id FROM penstock_sent_ranges WHERE first_id = 1"), "3");
  EXPECT_THAT(counts(), ElementsAre(Pair("deleted", 7)));
  EXPECT_THAT(untracked({"-5", "-4", "1", "2", "3", "4", "7", "8", "9", "10", "11", "x"}),
              ElementsAre("-5", "4", "9", "11", "x"));
  EXPECT_THAT(untracked({"1"}, "v2"), ElementsAre("1"));
  send({"9", "4", "6", "5"});
  ASSERT_TRUE(old->move_older(later(), 100));
  ASSERT_TRUE(old->delete_older(later(), *table, 100));
  EXPECT_EQ(other().ask("SELECT count(*) FROM penstock_sent_ranges"), "2");
  EXPECT_EQ(other().ask("SELECT last_id FROM penstock_sent_ranges WHERE first_id = 1"), "10");
}

TEST_F(tracking_archive_test, an_id_of_which_any_version_has_gone_is_no_new_row) {
  send({"5"}, "00000000016B3748");
  const auto old = archive();
  const auto table = rows();
  ASSERT_TRUE(old->move_older(later(), 100));
  ASSERT_EQ(old->delete_older(later(), *table, 100)->rows, 1u);
  send({"4", "5", "6"});
  send({"5"}, "00000000016B3750");
  ASSERT_TRUE(old->move_older(later(), 100));
  ASSERT_EQ(old->delete_older(later(), *table, 100)->rows, 4u);
  EXPECT_EQ(other().ask("SELECT count(*) FROM penstock_sent_ranges"), "1");
  EXPECT_THAT(counts(), ElementsAre(Pair("deleted", 3)));
  const std::vector<record_key> keys{{"5", "00000000016B3760"}, {"7", ""}};
  EXPECT_THAT(*ready()->untracked(keys), ElementsAre(0, 1)); // a version of its own
  EXPECT_THAT(*ready()->untracked(keys, tracking::known_by::record), ElementsAre(1));
}

TEST_F(tracking_archive_test, ranges_are_of_one_pipeline) {
  send({"1", "2"});
  const auto old = archive();
  ASSERT_TRUE(old->move_older(later(), 100));
  ASSERT_TRUE(old->delete_older(later(), *rows(), 100));
  pipeline_.name = "q";
  EXPECT_THAT(untracked({"1", "2"}), ElementsAre("1", "2"));
}

TEST_F(tracking_archive_test, where_the_key_is_no_integer_a_record_goes_with_its_row) {
  other().run("INSERT INTO source_rows VALUES (1, 'a', 1), (2, 'b', 1), (3, 'c', 1)");
  pipeline_.key = {"name"};
  pipeline_.order = "name";
  const std::string digest = "sha256:" + std::string(64, 'a');
  send({"a", "b", "c", "x", digest});
  const auto old = archive();
  ASSERT_TRUE(old->move_older(later(), 100));
  other().run("DELETE FROM source_rows WHERE id = 2");
  const auto table = rows();
  EXPECT_EQ(old->delete_older(wall_now() - 1h, *table, 100)->rows, 0u);
  // The walk goes on behind what stays, and begins anew.
  std::uint64_t gone = 0;
  for (int step = 0; step < 6; ++step)
    gone += old->delete_older(later(), *table, 2)->rows;
  EXPECT_EQ(gone, 2u);
  EXPECT_THAT(untracked({"a", "b", "c", "x", digest}), ElementsAre("b", "x"));
  other().run("DELETE FROM source_rows WHERE id = 3");
  for (int step = 0; step < 6; ++step)
    gone += old->delete_older(later(), *table, 2)->rows;
  EXPECT_EQ(gone, 3u);
}

TEST_F(tracking_archive_test, a_record_of_a_former_version_goes) {
  other().run("INSERT INTO source_rows VALUES (1, 'a', 2)");
  pipeline_.on_update = config::update_rule::publish;
  pipeline_.version = "version";
  send({"1"}, "1");
  send({"1"}, "2");
  const auto old = archive();
  ASSERT_TRUE(old->move_older(later(), 100));
  EXPECT_EQ(old->delete_older(later(), *rows(), 100)->rows, 1u);
  EXPECT_THAT(untracked({"1"}, "2"), IsEmpty());
}

TEST_F(tracking_archive_test, what_a_person_wants_to_be_sent_again_is_asked_for) {
  refused_ = true;
  send({"1", "2", "sha256:" + std::string(64, 'a')});
  refused_ = false;
  send({"3"});
  auto view = tracking_view::open(settings(), pipeline_);
  ASSERT_TRUE(view) << view.error().to_string();
  EXPECT_EQ(*view->retry("2"), 1u);
  EXPECT_EQ(*view->retry("3"), 0u);
  auto store = ready();
  EXPECT_THAT(*store->retries(10), ElementsAre("2"));
  EXPECT_THAT(untracked({"1", "2", "3"}), ElementsAre("2"));
  EXPECT_EQ(*view->retry(""), 2u);
  store = ready();
  EXPECT_THAT(*store->retries(10), ElementsAre("1", "2"));
  EXPECT_THAT(*store->retries(1), ElementsAre("1"));
  const std::vector<std::string> retried{"1"};
  tracking_changes changes;
  changes.shards = {{0, epoch_, 9, 9, 9, {}}};
  changes.retried = retried;
  ASSERT_TRUE(*store->commit(changes));
  EXPECT_THAT(*store->retries(10), ElementsAre("2"));
}

TEST_F(tracking_archive_test, the_work_of_an_archiver_moves_deletes_and_counts) {
  send({"1", "2", "3"});
  record_retention kept;
  kept.after = 1ms;
  kept.keep = 1ms;
  kept.open_source = [this] { return open_source(settings(), pipeline_); };
  std::vector<std::uint64_t> counted;
  kept.on_count = [&](std::uint64_t records) { counted.push_back(records); };
  const auto task = make_record_retention(archive(), kept);
  const auto is_done = [&] { return counts() == std::map<std::string, std::uint64_t>{{"deleted", 3}}; };
  // Two steps at least: what has just moved is younger than a millisecond, or older.
  for (int step = 0; step < 1'000 && !is_done(); ++step)
    ASSERT_TRUE(task->step());
  EXPECT_TRUE(is_done());
  EXPECT_THAT(counted, ElementsAre(3)); // the next count is a minute away
}

} // namespace
} // namespace penstock::storage::test
