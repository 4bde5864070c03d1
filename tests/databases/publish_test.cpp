// The publish direction's view of a database: a source table that is only read, and the tracking table.
#include "fixture.hpp"
#include "storage/source.hpp"
#include "storage/tracking.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <numeric>
#include <set>

namespace penstock::storage::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

config::publish pipeline_of_readings() {
  using kind = config::published_field::kind;
  config::publish pipeline;
  pipeline.name = "TableA";
  pipeline.database = "test";
  pipeline.table = "source_rows";
  pipeline.key = {"RecordId"};
  pipeline.order = "CreatedAt";
  pipeline.shard_by = "MonitorId";
  pipeline.shards = 2;
  pipeline.topic = "data/{MonitorId}/x";
  pipeline.fields = {{"id", kind::column, "RecordId"},
                     {"monitor", kind::column, "MonitorId"},
                     {"value", kind::column, "Reading"},
                     {"source", kind::table, ""}};
  return pipeline;
}

class publish_test : public database_test {
public:
  publish_test() {
    other().run("CREATE TABLE source_rows (" + quote("RecordId") + " BIGINT PRIMARY KEY, " + quote("MonitorId") +
                " VARCHAR(50), " + quote("Reading") +
                (kind() == database_kind::mysql ? " DOUBLE, " : " DOUBLE PRECISION, ") + quote("CreatedAt") + " " +
                time_type() + ")");
  }

  std::string quote(const std::string& name) const {
    return kind() == database_kind::mysql ? "`" + name + "`" : "\"" + name + "\"";
  }
  std::string time_type() const {
    switch (kind()) {
    case database_kind::sqlite: return "TEXT";
    case database_kind::postgresql: return "TIMESTAMPTZ";
    case database_kind::mysql: return "TIMESTAMP(6) NULL";
    }
    return "";
  }
  void insert(std::int64_t id, const std::string& monitor, const std::string& time, const std::string& value = "1.5") {
    other().run("INSERT INTO source_rows VALUES (" + std::to_string(id) + ", " + monitor + ", " + value + ", " +
                (time == "NULL" ? time : "'" + time + "'") + ")");
  }

  std::unique_ptr<source> source_of(const config::publish& pipeline) const {
    auto made = open_source(settings(), pipeline);
    EXPECT_TRUE(made) << made.error().to_string();
    return *std::move(made);
  }
  std::unique_ptr<tracking> tracking_of(const config::publish& pipeline) const {
    auto made = open_tracking(settings(), pipeline);
    EXPECT_TRUE(made) << made.error().to_string();
    auto ready = (*made)->prepare();
    EXPECT_TRUE(ready) << ready.error().to_string();
    EXPECT_FALSE(ready->empty());
    return *std::move(made);
  }
  static std::vector<source_row> rows(result<std::vector<source_row>> read) {
    EXPECT_TRUE(read) << read.error().to_string();
    return read ? *std::move(read) : std::vector<source_row>{};
  }
  static std::vector<std::string> ids(const std::vector<source_row>& rows) {
    std::vector<std::string> all;
    for (const auto& row : rows)
      all.push_back(row.record_id);
    return all;
  }
};

TEST_F(publish_test, a_row_becomes_a_message) {
  insert(7, "'m1'", "2026-11-25 10:00:00.500000", "2.25");
  const auto source = source_of(pipeline_of_readings());
  ASSERT_EQ(source->newest(), source::path::id);
  const auto read = rows(source->read(source::path::id, "", 10));
  ASSERT_THAT(read, SizeIs(1));
  const auto& row = read.front();
  EXPECT_EQ(row.record_id, "7");
  EXPECT_EQ(row.id, 7);
  EXPECT_EQ(row.topic, "data/m1/x");
  const auto payload = nlohmann::json::parse(row.payload);
  EXPECT_EQ(payload, (nlohmann::json{{"id", 7}, {"monitor", "m1"}, {"value", 2.25}, {"source", "source_rows"}}));
  EXPECT_EQ(row.position, position_of(7));
  ASSERT_TRUE(row.since);
  EXPECT_EQ(row.since->time_since_epoch().count(), 1'795'600'800'500'000);
  EXPECT_TRUE(row.wanted);
  EXPECT_EQ(row.refusal, "");
}

TEST_F(publish_test, without_fields_all_columns_are_published) {
  insert(7, "'m\"\xe2\x82\xac'", "2026-11-25 10:00:00", "NULL");
  auto pipeline = pipeline_of_readings();
  pipeline.fields.clear();
  const auto read = rows(source_of(pipeline)->read(source::path::id, "", 10));
  ASSERT_THAT(read, SizeIs(1));
  const auto payload = nlohmann::json::parse(read.front().payload);
  EXPECT_EQ(payload.at("RecordId"), 7);
  EXPECT_EQ(payload.at("MonitorId"), "m\"\xe2\x82\xac");
  EXPECT_EQ(payload.at("Reading"), nullptr);
  EXPECT_THAT(payload.at("CreatedAt").get<std::string>(), HasSubstr("2026-11-25"));
}

TEST_F(publish_test, a_topic_takes_unknown_for_null_and_refuses_what_no_level_can_be) {
  insert(1, "NULL", "2026-11-25 10:00:00");
  insert(2, "'a/b'", "2026-11-25 10:00:00");
  insert(3, "'a+'", "2026-11-25 10:00:00");
  insert(4, "''", "2026-11-25 10:00:00");
  const auto read = rows(source_of(pipeline_of_readings())->read(source::path::id, "", 10));
  ASSERT_THAT(read, SizeIs(4));
  EXPECT_EQ(read[0].topic, "data/unknown/x");
  EXPECT_EQ(read[0].refusal, "");
  for (std::size_t index = 1; index < 4; ++index)
    EXPECT_THAT(read[index].refusal, HasSubstr("MonitorId"));
}

TEST_F(publish_test, reads_on_along_each_path) {
  insert(1, "'m1'", "2026-11-25 10:00:03");
  insert(2, "'m1'", "2026-11-25 10:00:01");
  insert(3, "'m1'", "2026-11-25 10:00:02");
  insert(4, "'m1'", "NULL");
  insert(5, "'m1'", "2026-11-25 10:00:01");
  const auto source = source_of(pipeline_of_readings());
  const auto by_id = rows(source->read(source::path::id, "", 2));
  EXPECT_THAT(ids(by_id), ElementsAre("1", "2"));
  EXPECT_THAT(ids(rows(source->read(source::path::id, by_id.back().position, 10))), ElementsAre("3", "4", "5"));
  const auto by_order = rows(source->read(source::path::order, "", 2));
  EXPECT_THAT(ids(by_order), ElementsAre("2", "5"));
  const auto rest = rows(source->read(source::path::order, by_order.back().position, 10));
  EXPECT_THAT(ids(rest), ElementsAre("3", "1"));
  EXPECT_THAT(rows(source->read(source::path::order, rest.back().position, 10)), IsEmpty());
  EXPECT_EQ(*source->end(source::path::order), rest.back().position);
  EXPECT_EQ(*source->end(source::path::id), position_of(5));
}

TEST_F(publish_test, finds_rows_in_gaps_and_rows_by_their_ids) {
  for (const std::int64_t id : {1, 2, 5, 6, 9})
    insert(id, "'m1'", "2026-11-25 10:00:00");
  const auto source = source_of(pipeline_of_readings());
  const std::vector<id_range> gaps{{2, 2}, {4, 8}};
  EXPECT_THAT(ids(rows(source->read_ids(gaps, 10))), ElementsAre("2", "5", "6"));
  EXPECT_THAT(rows(source->read_ids({}, 10)), IsEmpty());
  const std::vector<std::string> records{"9", "1", "77"};
  EXPECT_THAT(ids(rows(source->read_records(records))), ElementsAre("1", "9"));
}

TEST_F(publish_test, a_time_before_the_newest_row_is_a_position) {
  insert(1, "'m1'", "2026-11-25 09:49:59");
  insert(2, "'m1'", "2026-11-25 09:50:01");
  insert(3, "'m1'", "2026-11-25 10:00:00");
  const auto source = source_of(pipeline_of_readings());
  const auto from = source->earlier(*source->end(source::path::order), 10min);
  EXPECT_THAT(ids(rows(source->read(source::path::order, from, 10))), ElementsAre("2", "3"));
}

TEST_F(publish_test, where_and_start_mark_what_is_not_wanted) {
  insert(1, "'m1'", "2026-11-25 10:00:00", "-1");
  insert(2, "'m1'", "2026-11-25 10:00:00", "1");
  insert(3, "'m1'", "2026-11-25 11:00:00", "1");
  insert(4, "'m1'", "2026-11-25 12:00:00", "1");
  auto pipeline = pipeline_of_readings();
  pipeline.where = quote("Reading") + " >= 0";
  pipeline.start = config::publish_start::value;
  pipeline.start_value = "2026-11-25 10:30:00";
  const auto source = source_of(pipeline);
  source->begin_behind(position_of(3));
  std::vector<bool> wanted;
  for (const auto& row : rows(source->read(source::path::id, "", 10)))
    wanted.push_back(row.wanted);
  EXPECT_THAT(wanted, ElementsAre(false, false, false, true));
}

TEST_F(publish_test, a_key_of_several_columns_has_one_text) {
  other().run("CREATE TABLE composite (" + quote("Plant") + " VARCHAR(20), " + quote("No") + " BIGINT, PRIMARY KEY (" +
              quote("Plant") + ", " + quote("No") + "))");
  other().run("INSERT INTO composite VALUES ('b', 1), ('a', 2), ('a', 10)");
  auto pipeline = pipeline_of_readings();
  pipeline.table = "composite";
  pipeline.key = {"Plant", "No"};
  pipeline.order = "Plant";
  pipeline.shard_by = "";
  pipeline.topic = "t";
  pipeline.fields.clear();
  const auto source = source_of(pipeline);
  ASSERT_EQ(source->newest(), source::path::order);
  const auto first = rows(source->read(source::path::order, "", 2));
  EXPECT_THAT(ids(first), ElementsAre(R"(["a","2"])", R"(["a","10"])"));
  EXPECT_THAT(ids(rows(source->read(source::path::order, first.back().position, 2))), ElementsAre(R"(["b","1"])"));
  const std::vector<std::string> wanted{R"(["a","10"])"};
  EXPECT_THAT(ids(rows(source->read_records(wanted))), ElementsAre(R"(["a","10"])"));
}

TEST_F(publish_test, a_version_that_no_key_holds_is_told_by_its_digest) {
  other().run("ALTER TABLE source_rows ADD COLUMN note TEXT");
  for (int id = 1; id <= 3; ++id)
    other().run("INSERT INTO source_rows VALUES (" + std::to_string(id) + ", 'm', 1.5, NULL, '" +
                (id == 3 ? "short" : std::string(300, 'x') + std::to_string(id)) + "')");
  auto pipeline = pipeline_of_readings();
  pipeline.order = "RecordId";
  pipeline.version = "note";
  const auto read = rows(source_of(pipeline)->read(source::path::id, "", 10));
  ASSERT_THAT(read, SizeIs(3));
  std::set<std::string> versions;
  for (const auto& row : read) {
    versions.insert(row.version);
    EXPECT_LE(row.version.size(), 200u);
  }
  EXPECT_THAT(versions, SizeIs(3));
  EXPECT_THAT(versions, testing::Contains("short"));
}

TEST_F(publish_test, a_version_makes_a_changed_row_a_new_one) {
  insert(1, "'m1'", "2026-11-25 10:00:00");
  auto pipeline = pipeline_of_readings();
  pipeline.on_update = config::update_rule::publish;
  pipeline.version = "CreatedAt";
  const auto source = source_of(pipeline);
  ASSERT_EQ(source->newest(), source::path::order);
  const auto before = rows(source->read(source::path::order, "", 10));
  ASSERT_THAT(before, SizeIs(1));
  EXPECT_NE(before.front().version, "");
  other().run("UPDATE source_rows SET " + quote("CreatedAt") + " = '2026-11-25 10:00:01'");
  const auto after = rows(source->read(source::path::order, before.front().position, 10));
  ASSERT_THAT(after, SizeIs(1));
  EXPECT_EQ(after.front().record_id, "1");
  EXPECT_NE(after.front().version, before.front().version);
}

TEST_F(publish_test, says_which_columns_are_missing) {
  auto pipeline = pipeline_of_readings();
  pipeline.order = "Nonsense";
  auto made = open_source(settings(), pipeline);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::schema_mismatch);
  EXPECT_THAT(made.error().message, HasSubstr("Nonsense"));
  pipeline.table = "no_such_table";
  made = open_source(settings(), pipeline);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("no_such_table"));
}

TEST_F(publish_test, the_source_cannot_be_written_through_its_connection) {
  auto made = open_connection(settings(), access::read_only);
  ASSERT_TRUE(made);
  insert(1, "'m1'", "2026-11-25 10:00:00");
  EXPECT_FALSE((*made)->read("DELETE FROM source_rows WHERE 1 = 1", [](auto) {}));
  EXPECT_EQ(other().ask("SELECT count(*) FROM source_rows"), "1");
}

// --- the tracking table
// -------------------------------------------------------------------------------------------------

claimed_record claim(std::uint32_t shard, std::uint64_t seq, const std::string& id) {
  claimed_record made;
  made.record_id = id;
  made.shard = shard;
  made.seq = seq;
  made.packet_id = static_cast<std::uint16_t>(seq);
  made.topic = "t/" + id;
  made.payload = std::string{"payload \0 of ", 13} + id;
  made.correlation = "c-" + id;
  return made;
}

std::vector<std::uint32_t> shards(std::uint32_t count) {
  std::vector<std::uint32_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0u);
  return numbers;
}

std::vector<std::uint64_t> seqs(const result<std::vector<claimed_record>>& claims) {
  EXPECT_TRUE(claims) << claims.error().to_string();
  std::vector<std::uint64_t> all;
  for (const auto& each : *claims)
    all.push_back(each.seq);
  return all;
}

TEST_F(publish_test, an_owner_raises_the_epoch) {
  const auto first = tracking_of(pipeline_of_readings());
  auto mine = first->adopt(shards(2));
  ASSERT_TRUE(mine) << mine.error().to_string();
  ASSERT_THAT(*mine, SizeIs(2));
  EXPECT_EQ((*mine)[1].shard, 1u);
  EXPECT_EQ((*mine)[1].epoch, 1u);
  const auto second = tracking_of(pipeline_of_readings());
  auto theirs = second->adopt(shards(2));
  ASSERT_TRUE(theirs);
  EXPECT_EQ((*theirs)[0].epoch, 2u);
}

TEST_F(publish_test, claims_of_when_rows_were_dealt_in_another_way_are_told_until_they_are_at_their_end) {
  const auto store = tracking_of(pipeline_of_readings());
  ASSERT_TRUE(store->adopt(shards(2)));
  const std::vector claims{claim(1, 1, "a"), claim(1, 2, "b")};
  tracking_changes changes;
  changes.shards = {{0, 1, 0, 0, 0, {}}, {1, 1, 2, 0, 0, {}}};
  changes.claims = claims;
  changes.cursor = source_cursor{"floor", "high", "begin", "sweep"};
  ASSERT_TRUE(*store->commit(changes));
  EXPECT_THAT(*store->former(), IsEmpty());
  auto of_one = pipeline_of_readings();
  of_one.shards = 1;
  const auto fewer = tracking_of(of_one);
  auto open = fewer->former();
  ASSERT_TRUE(open) << open.error().to_string();
  ASSERT_THAT(*open, SizeIs(1));
  EXPECT_EQ(open->front().shard, 1u);
  EXPECT_EQ(open->front().first_seq, 1u);
  EXPECT_EQ(open->front().claimed_seq, 2u);
  const std::vector<std::uint32_t> second{1};
  auto mine = fewer->adopt(second, tracking::adoption::claims);
  ASSERT_TRUE(mine) << mine.error().to_string();
  EXPECT_EQ((*mine)[0].epoch, 2u);
  EXPECT_THAT(seqs(fewer->open_claims(1, 0)), ElementsAre(1, 2));
  changes = {};
  changes.shards = {{1, 2, 2, 1, 1, {{1, 1}}, true}};
  changes.cursor = source_cursor{"other", "other", "other", "other"};
  ASSERT_TRUE(*fewer->commit(changes));
  open = fewer->former();
  ASSERT_THAT(*open, SizeIs(1));
  EXPECT_EQ(open->front().first_seq, 2u);
  changes.shards = {{1, 2, 2, 2, 1, {{2, 2}}, true}}; // sent, though the watermark is not there yet
  ASSERT_TRUE(*fewer->commit(changes));
  EXPECT_THAT(*fewer->former(), IsEmpty());
  mine = fewer->adopt(shards(1));
  ASSERT_TRUE(mine);
  ASSERT_THAT((*mine)[0].cursors, SizeIs(1));
  EXPECT_EQ((*mine)[0].cursors[0].floor, "floor");
}

TEST_F(publish_test, claims_of_shards_that_are_no_more_are_told_whoever_has_dealt_rows_anew) {
  const auto store = tracking_of(pipeline_of_readings());
  ASSERT_TRUE(store->adopt(shards(2)));
  const std::vector claims{claim(1, 1, "a")};
  tracking_changes changes;
  changes.shards = {{1, 1, 1, 0, 0, {}}};
  changes.claims = claims;
  changes.cursor = source_cursor{"floor", "high", "begin", "sweep"};
  ASSERT_TRUE(*store->commit(changes));
  auto of_one = pipeline_of_readings();
  of_one.shards = 1;
  const auto fewer = tracking_of(of_one);
  ASSERT_TRUE(fewer->adopt(shards(1)));
  const auto open = fewer->former();
  ASSERT_TRUE(open) << open.error().to_string();
  ASSERT_THAT(*open, SizeIs(1));
  EXPECT_EQ(open->front().shard, 1u);
}

TEST_F(publish_test, a_former_owner_writes_nothing) {
  const auto former = tracking_of(pipeline_of_readings());
  ASSERT_TRUE(former->adopt(shards(2)));
  const auto owner = tracking_of(pipeline_of_readings());
  ASSERT_TRUE(owner->adopt(shards(2)));
  const std::vector claims{claim(0, 1, "a")};
  tracking_changes changes;
  changes.shards = {{0, 1, 1, 0, 0, {}}};
  changes.claims = claims;
  auto written = former->commit(changes);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, errc::fenced);
  EXPECT_EQ(former->check(changes.shards).error().code, errc::fenced);
  EXPECT_THAT(seqs(owner->open_claims(0, 0)), IsEmpty());
  EXPECT_EQ(other().ask("SELECT count(*) FROM mqtt_sent_records"), "0");
}

TEST_F(publish_test, claims_that_the_database_does_not_take_are_named) {
  if (kind() == database_kind::sqlite)
    GTEST_SKIP() << "it takes any text";
  const auto store = tracking_of(pipeline_of_readings());
  ASSERT_TRUE(store->adopt(shards(1)));
  std::vector claims{claim(0, 1, "a"), claim(0, 2, "b"), claim(0, 3, "c"), claim(0, 4, "d")};
  claims[1].topic = claims[3].topic = "t/\xff"; // what is not UTF-8
  tracking_changes changes;
  changes.shards = {{0, 1, 4, 0, 0, {}}};
  changes.claims = claims;
  const auto written = store->commit(changes);
  ASSERT_FALSE(written);
  EXPECT_EQ(disposition_of(written.error().code), disposition::dead_letter) << written.error().to_string();
  const auto refused = store->refused(claims);
  ASSERT_TRUE(refused) << refused.error().to_string();
  ASSERT_THAT(*refused, SizeIs(2));
  EXPECT_EQ((*refused)[0].index, 1u);
  EXPECT_EQ((*refused)[1].index, 3u);
  EXPECT_EQ((*refused)[0].why.code, errc::row_refused) << (*refused)[0].why.to_string();
  EXPECT_EQ(other().ask("SELECT count(*) FROM mqtt_sent_records"), "0");
  claims[1].topic = claims[3].topic = "";
  EXPECT_TRUE(*store->commit(changes));
}

TEST_F(publish_test, a_claim_that_no_packet_holds_is_named) {
  if (kind() != database_kind::mysql)
    GTEST_SKIP() << "packets have no limit, or none that a row comes near";
  const auto store = tracking_of(pipeline_of_readings());
  ASSERT_TRUE(store->adopt(shards(1)));
  std::vector claims{claim(0, 1, "a"), claim(0, 2, "b")};
  claims[1].payload = std::string(std::stoul(other().ask("SELECT @@max_allowed_packet")) + 1, 'x');
  const auto refused = store->refused(claims);
  ASSERT_TRUE(refused) << refused.error().to_string();
  ASSERT_THAT(*refused, SizeIs(1));
  EXPECT_EQ((*refused)[0].index, 1u);
  EXPECT_EQ((*refused)[0].why.code, errc::payload_too_large);
}

TEST_F(publish_test, claims_go_through_their_states) {
  const auto store = tracking_of(pipeline_of_readings());
  ASSERT_TRUE(store->adopt(shards(2)));
  const std::vector claims{claim(0, 1, "a"), claim(0, 2, "b"), claim(1, 1, "c")};
  tracking_changes changes;
  changes.shards = {{0, 1, 2, 0, 0, {}}, {1, 1, 1, 0, 0, {}}};
  changes.claims = claims;
  changes.cursor = source_cursor{"floor'\\", "high", "begin", "sweep"};
  auto written = store->commit(changes);
  ASSERT_TRUE(written) << written.error().to_string();
  EXPECT_TRUE(*written);
  auto open = store->open_claims(0, 0);
  ASSERT_THAT(seqs(open), ElementsAre(1, 2));
  EXPECT_EQ(open->front().record_id, "a");
  EXPECT_EQ(open->front().payload, claims.front().payload);
  EXPECT_EQ(open->front().topic, "t/a");
  EXPECT_EQ(open->front().correlation, "c-a");
  EXPECT_EQ(open->front().packet_id, 1);
  EXPECT_EQ(open->front().attempts, 1u);

  tracking_changes ends;
  ends.shards = {{0, 1, 2, 2, 2, {{1, 2}}}, {1, 1, 2, 0, 0, {{1, 1}}}};
  claim_end refused;
  refused.shard = 0;
  refused.seq = 2;
  refused.reason_code = 0x87;
  refused.reason = "it's not allowed";
  claim_end again;
  again.outcome = claim_end::kind::reclaim;
  again.shard = 1;
  again.seq = 1;
  again.new_seq = 2;
  again.new_packet_id = 9;
  ends.ends = {refused, again};
  written = store->commit(ends);
  ASSERT_TRUE(written) << written.error().to_string();
  EXPECT_THAT(seqs(store->open_claims(0, 0)), IsEmpty());
  open = store->open_claims(1, 1);
  ASSERT_THAT(seqs(open), ElementsAre(2));
  EXPECT_EQ(open->front().packet_id, 9);
  EXPECT_EQ(open->front().attempts, 2u);
  EXPECT_EQ(other().ask("SELECT state FROM mqtt_sent_records WHERE record_id = 'a'"), "sent");
  EXPECT_EQ(
    other().ask("SELECT count(*) FROM mqtt_sent_records WHERE record_id = 'a' AND payload IS NULL AND sent_at > 0"),
    "1");
  EXPECT_EQ(other().ask("SELECT state FROM mqtt_sent_records WHERE record_id = 'b'"), "refused");
  EXPECT_EQ(other().ask("SELECT reason FROM mqtt_sent_records WHERE record_id = 'b'"), "it's not allowed");

  auto mine = store->adopt(shards(2));
  ASSERT_TRUE(mine);
  EXPECT_EQ((*mine)[0].released_seq, 2u);
  EXPECT_EQ((*mine)[0].claimed_seq, 2u);
  EXPECT_EQ((*mine)[0].settled_seq, 2u);
}

TEST_F(publish_test, a_shard_is_adopted_alone_and_has_a_cursor_of_its_own) {
  const auto one = tracking_of(pipeline_of_readings());
  const auto other = tracking_of(pipeline_of_readings());
  const std::vector<std::uint32_t> first{0};
  const std::vector<std::uint32_t> second{1};
  auto mine = one->adopt(first);
  ASSERT_TRUE(mine) << mine.error().to_string();
  ASSERT_THAT(*mine, SizeIs(1));
  EXPECT_THAT(mine->front().cursors, IsEmpty());
  ASSERT_TRUE(other->adopt(second));
  tracking_changes changes;
  changes.shards = {{0, 1, 0, 0, 0, {}}};
  changes.cursor = source_cursor{"floor'\\", "high", "begin", "sweep"};
  ASSERT_TRUE(*one->commit(changes)); // still its owner
  const auto stored = *changes.cursor;
  changes.cursor->floor = "elsewhere";
  changes.shards.front().keeps_cursor = true;
  ASSERT_TRUE(*one->commit(changes));
  mine = other->adopt(shards(2));
  ASSERT_TRUE(mine);
  ASSERT_THAT(*mine, SizeIs(2));
  EXPECT_EQ((*mine)[0].epoch, 2u);
  EXPECT_THAT((*mine)[0].cursors, ElementsAre(stored));
  EXPECT_THAT((*mine)[1].cursors, IsEmpty());
}

TEST_F(publish_test, where_rows_are_dealt_in_another_way_each_shard_begins_with_the_cursors_of_all) {
  const auto former = tracking_of(pipeline_of_readings());
  auto mine = former->adopt(shards(2));
  ASSERT_TRUE(mine);
  const source_cursor low{"1", "2", "3", "4"};
  const source_cursor high{"5", "6", "", "8"};
  for (const std::uint32_t shard : {0u, 1u}) {
    tracking_changes changes;
    changes.shards = {{shard, 1, 0, 0, 0, {}}};
    changes.cursor = shard == 0 ? low : high;
    ASSERT_TRUE(*former->commit(changes));
  }
  auto more = pipeline_of_readings();
  more.shards = 3;
  const auto owner = tracking_of(more);
  const std::vector<std::uint32_t> first{0};
  mine = owner->adopt(first);
  ASSERT_TRUE(mine) << mine.error().to_string();
  EXPECT_THAT(mine->front().cursors, ElementsAre(low, high));
  tracking_changes changes;
  changes.shards = {{0, mine->front().epoch, 0, 0, 0, {}}};
  changes.cursor = source_cursor{"9", "9", "9", "9"};
  ASSERT_TRUE(*owner->commit(changes));
  mine = owner->adopt(shards(3));
  ASSERT_TRUE(mine);
  EXPECT_THAT((*mine)[0].cursors, ElementsAre(*changes.cursor));
  EXPECT_THAT((*mine)[1].cursors, ElementsAre(low, high));
  EXPECT_THAT((*mine)[2].cursors, ElementsAre(low, high));
}

TEST_F(publish_test, positions_are_compared_along_the_path_of_what_is_new) {
  auto by_time = pipeline_of_readings();
  by_time.key = {"MonitorId", "RecordId"};
  for (const auto& pipeline : {pipeline_of_readings(), by_time}) {
    other().run("DELETE FROM source_rows");
    insert(1, "'a'", "2026-11-01 00:00:01");
    insert(2, "'b'", "2026-11-01 00:00:01");
    insert(10, "'a'", "2026-11-01 00:00:02");
    const auto source = source_of(pipeline);
    const auto all = rows(source->read(source->newest(), {}, 10));
    ASSERT_THAT(all, SizeIs(3));
    for (std::size_t left = 0; left < 3; ++left)
      for (std::size_t right = 0; right < 3; ++right)
        EXPECT_EQ(*source->is_before(all[left].position, all[right].position), left < right) << left << " " << right;
    EXPECT_TRUE(*source->is_before({}, all[0].position));
    EXPECT_FALSE(*source->is_before(all[0].position, {}));
    EXPECT_FALSE(*source->is_before({}, {}));
  }
}

TEST_F(publish_test, a_record_is_claimed_once) {
  const auto store = tracking_of(pipeline_of_readings());
  ASSERT_TRUE(store->adopt(shards(1)));
  const std::vector first{claim(0, 1, "a")};
  tracking_changes changes;
  changes.shards = {{0, 1, 1, 0, 0, {}}};
  changes.claims = first;
  ASSERT_TRUE(*store->commit(changes));
  const std::vector second{claim(0, 2, "a"), claim(0, 3, "b")};
  changes.shards = {{0, 1, 3, 0, 0, {}}};
  changes.claims = second;
  auto written = store->commit(changes);
  ASSERT_TRUE(written) << written.error().to_string();
  EXPECT_FALSE(*written);
  EXPECT_EQ(other().ask("SELECT count(*) FROM mqtt_sent_records"), "1");
  const std::vector<record_key> keys{{"a", ""}, {"b", ""}, {"a", "2"}};
  auto missing = store->untracked(keys);
  ASSERT_TRUE(missing);
  EXPECT_THAT(*missing, ElementsAre(1, 2));
}

TEST_F(publish_test, many_shards_and_ranges_fit_into_statements) {
  auto pipeline = pipeline_of_readings();
  pipeline.shards = 500;
  const auto store = tracking_of(pipeline);
  ASSERT_TRUE(store->adopt(shards(500)));
  std::vector<claimed_record> claims;
  tracking_changes changes;
  for (std::uint32_t shard = 0; shard < 500; ++shard) {
    for (std::uint64_t seq = 1; seq <= 3; ++seq)
      claims.push_back(claim(shard, seq, std::to_string(shard) + "-" + std::to_string(seq)));
    changes.shards.push_back({shard, 1, 3, 0, 0, {}});
  }
  changes.claims = claims;
  auto written = store->commit(changes);
  ASSERT_TRUE(written) << written.error().to_string();
  EXPECT_TRUE(*written);
  changes.claims = {};
  for (auto& shard : changes.shards) {
    shard.released_seq = 3;
    shard.sent = {{1, 1}, {3, 3}};
  }
  written = store->commit(changes);
  ASSERT_TRUE(written) << written.error().to_string();
  EXPECT_EQ(other().ask("SELECT count(*) FROM mqtt_sent_records WHERE state = 'sent'"), "1000");
  EXPECT_THAT(seqs(store->open_claims(499, 0)), ElementsAre(2));
}

TEST_F(publish_test, a_row_that_can_never_be_published_is_kept_as_refused) {
  const auto store = tracking_of(pipeline_of_readings());
  ASSERT_TRUE(store->adopt(shards(1)));
  auto bad = claim(0, 1, "a");
  bad.state = record_state::refused;
  bad.reason = "its topic is empty";
  const std::vector claims{bad};
  tracking_changes changes;
  changes.shards = {{0, 1, 1, 1, 1, {{1, 1}}}};
  changes.claims = claims;
  ASSERT_TRUE(*store->commit(changes));
  EXPECT_EQ(other().ask("SELECT state FROM mqtt_sent_records"), "refused");
  EXPECT_THAT(seqs(store->open_claims(0, 0)), IsEmpty());
}

TEST_F(publish_test, a_pause_holds_for_every_connection_and_its_own_pipeline) {
  const auto pipeline = pipeline_of_readings();
  auto other_pipeline = pipeline;
  other_pipeline.name = "TableB";
  auto one = tracking_of(pipeline);
  EXPECT_FALSE(*one->paused());
  for (const bool paused : {true, true, false, false, true}) {
    EXPECT_TRUE(one->pause(paused));
    EXPECT_EQ(*tracking_of(pipeline)->paused(), paused);
    EXPECT_FALSE(*tracking_of(other_pipeline)->paused());
  }
}

TEST_F(publish_test, the_heartbeat_rises_with_everything_an_owner_does) {
  const auto store = tracking_of(pipeline_of_readings());
  ASSERT_TRUE(store->adopt(shards(1)));
  const auto before = *store->heartbeat();
  const std::vector<shard_progress> shards{{0, 1, 0, 0, 0, {}}};
  ASSERT_TRUE(store->check(shards));
  EXPECT_GT(*store->heartbeat(), before);
}

TEST(record_id, is_short_enough_for_every_tracking_table) {
  const std::vector<std::string> single{"abc"};
  EXPECT_EQ(record_id_of(single), "abc");
  const std::vector<std::string> several{"a\"", "b"};
  EXPECT_EQ(record_id_of(several), R"(["a\"","b"])");
  const std::vector<std::string> longer{std::string(5'000, 'x')};
  EXPECT_EQ(record_id_of(longer).size(), 7u + 64u);
  EXPECT_NE(record_id_of(longer), record_id_of(std::vector{std::string(5'001, 'x')}));
}

} // namespace
} // namespace penstock::storage::test
