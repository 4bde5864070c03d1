// The section `publish`: what it takes, every problem with its place, what is printed of it.
#include "config/diff.hpp"
#include "tests/unit/config/support.hpp"

#include <gmock/gmock.h>

namespace penstock::config {

using namespace std::chrono_literals;
using namespace test;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

namespace {

using field_kind = published_field::kind;

// The pipeline that the fourth issue promises, word for word.
constexpr auto promised = R"(publish:
  TableA:
    database: plant
    table: dbo.TableA            # schema optional
    key: RecordId                # or a list; text or integer
    order: CreatedAt             # what "oldest first" means
    shard_by: MonitorId
    shards: 5
    broker: main
    topic: "data/tableA/{MonitorId}"
    qos: 2                       # 2: exactly once; 1: at least once, with an id to deduplicate by
    retain: false
    fields: {RecordId: id, MonitorId: monitor, Value: value, Timestamp: timestamp}
    detect: {poll: 100ms, notify: auto, late_for: 10m}
    where: "Quality >= 0"        # optional
)";

std::string with_database(const std::string& url, const std::string& text) {
  return "brokers: {main: {url: 'mqtt://127.0.0.1:1883'}}\ndatabases: {plant: {url: '" + url + "'}}\n" + text;
}

publish promised_pipeline() {
  publish p;
  p.name = "TableA";
  p.database = "plant";
  p.table = "dbo.TableA";
  p.key = {"RecordId"};
  p.order = "CreatedAt";
  p.shard_by = "MonitorId";
  p.shards = 5;
  p.broker = "main";
  p.topic = "data/tableA/{MonitorId}";
  p.fields = {{"id", field_kind::column, "RecordId"},
              {"monitor", field_kind::column, "MonitorId"},
              {"value", field_kind::column, "Value"},
              {"timestamp", field_kind::column, "Timestamp"}};
  p.where = "Quality >= 0";
  p.in_flight_max = 800; // a fifth of 4,000
  return p;
}

/// A small pipeline, one setting a line, for tests that change one line of it.
const std::vector<std::string>& publish_lines() {
  static const std::vector<std::string> lines{
    R"(brokers: {main: {url: "mqtt://127.0.0.1:1883"}})",
    R"(databases: {db: {url: "postgresql://h/x"}, file: {url: "sqlite:x.db"}})",
    R"(publish:)",
    R"(  p:)",
    R"(    database: db)",
    R"(    table: s.t)",
    R"(    key: Id)",
    R"(    broker: main)",
    R"(    topic: "d/{Monitor}")",
  };
  return lines;
}
constexpr std::size_t added = 10; ///< the line after the last

std::string publish_with(std::size_t line = 0, const std::string& text = {}) {
  auto lines = publish_lines();
  if (line > lines.size())
    lines.push_back(text);
  else if (line > 0)
    lines[line - 1] = text;
  std::string whole;
  for (const std::string& l : lines)
    whole += l + "\n";
  return whole;
}

publish published(const std::string& more) { return loaded(publish_with(added, more)).publish.at("p"); }

void expect_only(const std::vector<problem>& problems, std::size_t line, const std::string& path,
                 const std::string& text) {
  ASSERT_EQ(problems.size(), 1u) << all_of(problems);
  EXPECT_EQ(problems[0].line, line);
  EXPECT_EQ(problems[0].path, path);
  EXPECT_THAT(problems[0].text, HasSubstr(text));
}

TEST(publish, takes_the_promised_pipeline_as_it_stands_on_every_database) {
  for (const char* url : {"sqlite:plant.db", "postgresql://h/plant", "mysql://h/plant"}) {
    const configuration c = loaded(with_database(url, promised));
    auto expected = promised_pipeline();
    if (std::string_view{url}.starts_with("sqlite"))
      expected.table = "TableA"; // a file has no schemas
    EXPECT_EQ(c.publish, (std::map<std::string, publish>{{"TableA", expected}}));
    EXPECT_TRUE(c.ingest.empty());
    EXPECT_THAT(warnings_of(with_database(url, promised)), IsEmpty());
  }
}

TEST(publish, has_defaults_for_what_is_not_said) {
  const publish p = published("");
  EXPECT_THAT(p.key, ElementsAre("Id"));
  EXPECT_EQ(p.shards, 1);
  EXPECT_EQ(p.qos, 2);
  EXPECT_THAT(p.fields, IsEmpty());
  EXPECT_EQ(p.detect, detection{});
  EXPECT_EQ(p.start, publish_start::all);
  EXPECT_EQ(p.tracking, (tracking{"", "mqtt_sent_records"}));
  EXPECT_EQ(p.on_lost_session, lost_session_rule::resend);
  EXPECT_EQ(p.archive, archive{});
}

TEST(publish, shares_what_a_broker_has_in_flight_among_its_shards) {
  EXPECT_EQ(published("    shards: 1").in_flight_max, 1'000);
  EXPECT_EQ(published("    shards: 100").in_flight_max, 40);
  EXPECT_EQ(published("    shards: 1000").in_flight_max, 20);
  EXPECT_EQ(published("    shards: 100\n    qos: 1").in_flight_max, 2'000);
  EXPECT_EQ(published("    shards: 100\n    in_flight_max: 500").in_flight_max, 500);
}

TEST(publish, archives_and_reads_the_log_without_a_warning) {
  EXPECT_THAT(warnings_of(publish_with(added, "    archive: {after: 7d}")), IsEmpty());
  EXPECT_THAT(warnings_of(publish_with(added, "    detect: {changes: logical}")), IsEmpty());
}

TEST(publish, goes_by_the_key_where_neither_order_nor_shard_by_is_said) {
  const publish one = published("");
  EXPECT_EQ(one.order, "Id");
  EXPECT_EQ(one.shard_by, "Id");
  const publish several = loaded(publish_with(7, "    key: [Site, Id]")).publish.at("p");
  EXPECT_THAT(several.key, ElementsAre("Site", "Id"));
  EXPECT_EQ(several.order, "Site");
  EXPECT_EQ(several.shard_by, "") << "all the columns of the key";
}

TEST(publish, takes_every_other_setting) {
  const publish p = published(R"(    order: At
    shard_by: "Monitor Id"
    shards: 2
    ranges: [{min: "0000", max: "1999"}, {min: 2000, max: "9999"}]
    qos: 1
    retain: true
    detect: {poll: 1s, notify: off, late_for: 0s, sweep: never, changes: logical}
    on_update: publish
    version: Version
    start: "2024-01-01 00:00:00"
    tracking: {database: file, table: sent}
    on_lost_session: hold
    in_flight_max: 65534
    retries_max: 0
    publish_timeout: 1m
    lag_warning: 1s
    archive: {after: 7d, keep: 90d})");
  EXPECT_EQ(p.order, "At");
  EXPECT_EQ(p.shard_by, "Monitor Id");
  EXPECT_THAT(p.ranges, ElementsAre(shard_range{"0000", "1999"}, shard_range{"2000", "9999"}));
  EXPECT_EQ(p.qos, 1);
  EXPECT_TRUE(p.retain);
  EXPECT_EQ(p.detect, (detection{1s, notification::off, 0ms, 0ms, change_source::logical}));
  EXPECT_EQ(p.on_update, update_rule::publish);
  EXPECT_EQ(p.version, "Version");
  EXPECT_EQ(p.start, publish_start::value);
  EXPECT_EQ(p.start_value, "2024-01-01 00:00:00");
  EXPECT_EQ(p.tracking, (tracking{"file", "sent"}));
  EXPECT_EQ(p.on_lost_session, lost_session_rule::hold);
  EXPECT_EQ(p.in_flight_max, 65'534);
  EXPECT_EQ(p.retries_max, 0u);
  EXPECT_EQ(p.publish_timeout, 1min);
  EXPECT_EQ(p.lag_warning, 1s);
  EXPECT_EQ(p.archive, (archive{7 * 24h, 90 * 24h}));
}

TEST(publish, starts_with_all_with_what_is_new_or_with_a_value) {
  EXPECT_EQ(published("    start: all").start, publish_start::all);
  EXPECT_EQ(published("    start: now").start, publish_start::now);
  EXPECT_EQ(published("    start: now").start_value, "");
  EXPECT_EQ(published("    order: Id\n    start: 1000").start_value, "1000");
}

TEST(publish, keeps_the_fields_in_the_order_of_the_file_and_puts_what_is_added_behind) {
  const publish p =
    published(R"(    add: {SourceTable: $table, ProcessedAt: $now, site: north, MessageId: $id, nothing: ""}
    fields: {Z: z, "a b.c": y, A: x})");
  EXPECT_THAT(
    p.fields,
    ElementsAre(
      published_field{"z", field_kind::column, "Z"}, published_field{"y", field_kind::column, "a b.c"},
      published_field{"x", field_kind::column, "A"}, published_field{"SourceTable", field_kind::table, ""},
      published_field{"ProcessedAt", field_kind::now, ""}, published_field{"site", field_kind::constant, "north"},
      published_field{"MessageId", field_kind::id, ""}, published_field{"nothing", field_kind::constant, ""}));
}

TEST(publish, takes_a_column_that_holds_the_payload) { EXPECT_EQ(published("    payload: Body").payload, "Body"); }

TEST(publish, takes_names_as_the_source_has_them) {
  std::string text = publish_with(7, R"(    key: ["Größe; \"x\"", "1", "a.b"])");
  text.replace(text.find("s.t"), 3, "\"Order Items\"");
  const publish p = loaded(text).publish.at("p");
  EXPECT_EQ(p.table, "Order Items");
  EXPECT_THAT(p.key, ElementsAre("Größe; \"x\"", "1", "a.b"));
}

TEST(publish, pipelines_may_share_a_table_and_a_tracking_table) {
  const std::string second = "  q: {database: db, table: s.t, key: Id, broker: main, topic: e}";
  EXPECT_EQ(loaded(publish_with(added, second)).publish.size(), 2u);
}

struct publish_case {
  std::size_t replaced;
  std::string text;
  std::size_t line;
  std::string path; ///< below publish.p
  std::string says;
};

void PrintTo(const publish_case& c, std::ostream* out) { *out << c.text; }

class publish_pipeline : public ::testing::TestWithParam<publish_case> {};

TEST_P(publish_pipeline, has_this_one_problem) {
  const auto& c = GetParam();
  SCOPED_TRACE(c.text);
  expect_only(problems_of(publish_with(c.replaced, c.text)), c.line, "publish.p." + c.path, c.says);
}

INSTANTIATE_TEST_SUITE_P(
  settings, publish_pipeline,
  ::testing::Values(
    publish_case{5, "", 4, "database", "is missing: Where the rows are"}, publish_case{6, "", 4, "table", "is missing"},
    publish_case{7, "", 4, "key", "is missing"}, publish_case{8, "", 4, "broker", "is missing"},
    publish_case{9, "", 4, "topic", "is missing"},
    publish_case{9, "    topics: d", 9, "topics", "did you mean 'topic'"},
    publish_case{5, "    database: bd", 5, "database", "'bd' is not in `databases`; did you mean 'db'"},
    publish_case{8, "    broker: mian", 8, "broker", "'mian' is not in `brokers`; did you mean 'main'"},
    publish_case{added, "    tracking: {database: fil}", 10, "tracking.database", "did you mean 'file'"},
    publish_case{added, "    shards: 0", 10, "shards", "from 1 to 1024, not '0'"},
    publish_case{added, "    qos: 0", 10, "qos", "from 1 to 2, not '0': with 0 the broker confirms nothing"},
    publish_case{added, "    qos: 3", 10, "qos", "from 1 to 2, not '3'"},
    publish_case{added, "    retain: no", 10, "retain", "must be true or false"},
    publish_case{added, "    in_flight_max: 65535", 10, "in_flight_max", "from 1 to 65534"},
    publish_case{added, "    retries_max: 1000001", 10, "retries_max", "from 0 to 1000000"},
    publish_case{added, "    publish_timeout: 99ms", 10, "publish_timeout", "from 100ms to 1h"},
    publish_case{added, "    lag_warning: 0s", 10, "lag_warning", "from 1ms to 1d"},
    publish_case{added, "    on_lost_session: retry", 10, "on_lost_session", "one of resend, hold"},
    publish_case{added, "    on_update: send", 10, "on_update", "one of ignore, publish"},
    publish_case{added, "    start: ''", 10, "start", "must be all, now or a value of `order`"},
    publish_case{added, "    start: [all]", 10, "start", "must be a single value"},
    publish_case{added, "    detect: 100ms", 10, "detect", "must be a section"},
    publish_case{added, "    detect: {poll: 0s}", 10, "detect.poll", "from 1ms to 1h"},
    publish_case{added, "    detect: {late_for: 8d}", 10, "detect.late_for", "from 0s to 7d"},
    publish_case{added, "    detect: {sweep: 0s}", 10, "detect.sweep", "from 10ms to 1d, or never"},
    publish_case{added, "    detect: {notify: on}", 10, "detect.notify", "one of auto, off"},
    publish_case{added, "    detect: {changes: wal}", 10, "detect.changes", "one of query, logical"},
    publish_case{added, "    archive: {after: 1s}", 10, "archive.after", "from 1m to 36500d, or never"},
    publish_case{added, "    archive: {after: 1d, keep: 1s}", 10, "archive.keep", "from 1m to 36500d, or never"}));

const std::string long_name(256, 'x');

INSTANTIATE_TEST_SUITE_P(
  names, publish_pipeline,
  ::testing::Values(publish_case{6, "    table: ''", 6, "table", "must not be empty"},
                    publish_case{6, "    table: s.", 6, "table", "must be TABLE or SCHEMA.TABLE; it is 's.'"},
                    publish_case{6, "    table: .t", 6, "table", "TABLE or SCHEMA.TABLE"},
                    publish_case{6, "    table: a.b.c", 6, "table", "TABLE or SCHEMA.TABLE"},
                    publish_case{6, "    table: \"a\\0b\"", 6, "table", "the character 0"},
                    publish_case{7, "    key: ''", 7, "key", "must not be empty: Columns that identify"},
                    publish_case{7, "    key: []", 7, "key", "must not be empty: Columns that identify"},
                    publish_case{7, "    key: {Id: x}", 7, "key",
                                 "must be a name, or a list such as [a, b], but is a section"},
                    publish_case{7, "    key:", 7, "key", "has no value; give it a name, or a list"},
                    publish_case{7, "    key: [Id, '']", 7, "key[1]", "must not be empty; name a column"},
                    publish_case{7, "    key: [Id, [x]]", 7, "key[1]", "must be text, but is a list"},
                    publish_case{7, "    key: [Id, Id]", 7, "key[1]", "'Id' stands twice in the key"},
                    publish_case{7, "    key: " + long_name, 7, "key", "names a column with more than 255 bytes"},
                    publish_case{added, "    order: ''", 10, "order", "must not be empty; name a column"},
                    publish_case{added, "    shard_by: ''", 10, "shard_by", "must not be empty"},
                    publish_case{added, "    shard_by: " + long_name, 10, "shard_by", "more than 255 bytes"},
                    publish_case{added, "    payload: ''", 10, "payload", "must not be empty"}));

INSTANTIATE_TEST_SUITE_P(
  topics, publish_pipeline,
  ::testing::Values(publish_case{9, "    topic: ''", 9, "topic", "must not be empty"},
                    publish_case{9, "    topic: $SYS/{Id}", 9, "topic",
                                 "the broker's own; begin with something else; it is '$SYS/{Id}'"},
                    publish_case{9, "    topic: 'd/+'", 9, "topic", "+ and # are for subscriptions"},
                    publish_case{9, "    topic: 'd/{}'", 9, "topic", "the name of a column"},
                    publish_case{9, "    topic: 'd/{Id'", 9, "topic", "every { needs its }"},
                    publish_case{9, "    topic: \"d\\0\"", 9, "topic", "the character 0"},
                    publish_case{9, "    topic: 'd/{" + long_name + "}'", 9, "topic",
                                 "names a column with more than 255 bytes"}));

INSTANTIATE_TEST_SUITE_P(
  shards, publish_pipeline,
  ::testing::Values(
    publish_case{added, "    ranges: {min: a, max: b}", 10, "ranges", "must be a list"},
    publish_case{added, "    ranges: [a]", 10, "ranges[0]", "must be a section"},
    publish_case{added, "    ranges: [{min: a}]", 10, "ranges[0].max", "is missing"},
    publish_case{added, "    ranges: [{min: '', max: b}]", 10, "ranges[0].min", "must not be empty"},
    publish_case{added, "    ranges: [{min: a, max: b, mx: c}]", 10, "ranges[0].mx", "did you mean 'max'"},
    publish_case{added, "    ranges: []", 10, "ranges", "has 0, and `shards` is 1"},
    publish_case{added, "    ranges: [{min: a, max: b}, {min: c, max: d}]", 10, "ranges",
                 "has 2, and `shards` is 1; give every shard one"},
    publish_case{added, "    ranges: [{min: '9', max: '10'}]", 10, "ranges[0]", "they are compared as text"},
    publish_case{added, "    shards: 2\n    ranges: [{min: b, max: d}, {min: a, max: b}]", 11, "ranges[1]",
                 "has values that ranges[0] has too"},
    publish_case{added,
                 "    shards: 3\n    ranges:\n    - {min: a, max: z}\n    - {min: b, max: c}\n    - {min: zz, max: zz}",
                 13, "ranges[1]", "has values that ranges[0] has too"}));

INSTANTIATE_TEST_SUITE_P(
  payloads, publish_pipeline,
  ::testing::Values(
    publish_case{added, "    fields: [Id]", 10, "fields", "must be a section of `name: value`, but is a list"},
    publish_case{added, "    fields: {}", 10, "fields", "must not be empty; name something, or remove it"},
    publish_case{added, "    fields: {Id: [x]}", 10, "fields.Id", "must be text, but is a list"},
    publish_case{added, "    fields: {Id: ''}", 10, "fields.Id", "must have a name in the payload"},
    publish_case{added, "    fields: {Id: " + long_name + "}", 10, "fields.Id", "names a member with more than 255"},
    publish_case{added, "    fields: {'': id}", 10, "fields[0]", "must not be empty; name a column"},
    publish_case{added, "    fields: {Id: id, \"a\\0b\": x}", 10, "fields[1]", "names a column with more than 255"},
    publish_case{added, "    fields: {Id: id, A B: id}", 10, "fields[1]", "two members of one name; choose another"},
    publish_case{added, "    fields: {Id: id, Id: x}", 10, "fields.Id", "stands here twice"},
    publish_case{added, "    fields: {Id: id}\n    add: {id: $id}", 11, "add.id", "two members of one name"},
    publish_case{added, "    fields: {Id: id}\n    add: {'': $id}", 11, "add[0]", "must have a name in the payload"},
    publish_case{added, "    fields: {Id: id}\n    add: {\"\\0\": $id}", 11, "add[0]", "or a character 0"},
    publish_case{added, "    fields: {Id: id}\n    add: {t: $tabel}", 11, "add.t",
                 "must be $table, $now, $id or a constant that does not begin with $; it is '$tabel'"},
    publish_case{added, "    add: {t: $table}", 10, "add", "needs `fields` beside it"},
    publish_case{added, "    payload: Body\n    fields: {Id: id}", 11, "fields", "does not go with `payload`"},
    publish_case{added, "    payload: Body\n    add: {t: $table}", 11, "add", "does not go with `payload`"}));

INSTANTIATE_TEST_SUITE_P(
  rules, publish_pipeline,
  ::testing::Values(
    publish_case{added, "    where: ''", 10, "where", "must not be empty; remove it to send all rows"},
    publish_case{added, "    where: \" \\t\\n\"", 10, "where", "must not be empty"},
    publish_case{added, "    where: \"a = 1; DROP TABLE t\"", 10, "where", "without ';'"},
    publish_case{added, "    on_update: publish", 4, "version", "is missing: `on_update: publish` needs a column"},
    publish_case{added, "    version: V", 10, "version", "is for `on_update: publish`"},
    publish_case{added, "    on_update: publish\n    version: Id", 11, "version", "'Id' is in the key"},
    publish_case{added, "    start: 1000", 10, "start", "is a value of `order`, which is missing"},
    publish_case{added, "    archive: {keep: 1d}", 10, "archive.keep", "is for `after`, which is not set"},
    publish_case{added, "    tracking: {table: a-b}", 10, "tracking.table", "letters, digits and _"},
    publish_case{added, "    tracking: {table: ''}", 10, "tracking.table", "letters, digits and _"},
    publish_case{added, "    tracking: {table: penstock_sent}", 10, "tracking.table", "are reserved"},
    publish_case{added, "    tracking: {database: file, table: s.sent}", 10, "tracking.table", "SQLite has none"},
    publish_case{5, "    database: file\n    detect: {changes: logical}", 6, "detect.changes",
                 "can be logical for PostgreSQL only"},
    publish_case{added, "    tracking: {table: s.T}", 10, "tracking.table", "pipeline 'p' reads rows from"}));

TEST(publish, a_name_has_letters_digits_and_dashes) {
  expect_only(problems_of(publish_with(4, "  p q:")), 4, "publish.p...", "letters, digits, - and _");
}

TEST(publish, tells_all_problems_at_once_in_the_order_of_the_file) {
  const auto problems = problems_of(R"(publish:
  p:
    table: a.b.c
    broker: main
    topic: "d/{"
    qos: 0
    ranges: [{min: b, max: a}]
    where: ";"
    archive: {keep: 1d}
    tracking: {table: 1}
)");
  std::vector<std::pair<std::size_t, std::string>> found;
  for (const problem& p : problems)
    found.emplace_back(p.line, p.path);
  const std::vector<std::pair<std::size_t, std::string>> expected{
    {2, "publish.p.database"},       {2, "publish.p.key"},   {3, "publish.p.table"},
    {4, "publish.p.broker"},         {5, "publish.p.topic"}, {6, "publish.p.qos"},
    {7, "publish.p.ranges[0]"},      {8, "publish.p.where"}, {9, "publish.p.archive.keep"},
    {10, "publish.p.tracking.table"}};
  EXPECT_EQ(found, expected) << all_of(problems);
}

TEST(publish, a_problem_names_file_line_column_and_path) {
  const auto problems = problems_of(publish_with(added, "    fields: {Id: id, Value: id}"));
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].to_string(),
            "/etc/penstock/p.yaml:10:29: publish.p.fields.Value: gives the payload two members "
            "of one name; choose another");
}

TEST(publish, an_index_stands_for_a_column_whose_name_fits_no_path) {
  const auto problems = problems_of(publish_with(added, "    fields:\n      A b: ''\n      A c: ''"));
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_EQ(problems[0].line, 11u);
  EXPECT_EQ(problems[0].path, "publish.p.fields[0]");
  EXPECT_EQ(problems[1].line, 12u);
  EXPECT_EQ(problems[1].path, "publish.p.fields[1]");
}

TEST(publish, logical_decoding_is_postgresqls) {
  EXPECT_EQ(published("    detect: {changes: logical}").detect.changes, change_source::logical);
  const std::string mysql = publish_with(2, "databases: {db: {url: 'mysql://h/x'}}");
  expect_only(problems_of(mysql + "    detect: {changes: logical}"), 10, "publish.p.detect.changes", "PostgreSQL only");
}

TEST(publish, the_log_says_which_version_a_row_has_where_no_column_does) {
  const std::string updates = "    on_update: publish\n    detect: {changes: ";
  EXPECT_EQ(published(updates + "logical}").version, "");
  EXPECT_EQ(published(updates + "logical}\n    version: V").version, "V");
  expect_only(problems_of(publish_with(added, updates + "query}")), 4, "publish.p.version", "is missing");
  expect_only(problems_of(publish_with(added, updates + "wal}")), 11, "publish.p.detect.changes", "one of");
}

/// An ingest pipeline and a publish pipeline; the databases `db` and `other`.
std::string both(const std::string& databases, const std::string& ingest_more, const std::string& publish_more) {
  return "brokers: {main: {url: 'mqtt://h'}, same: {url: 'mqtt://h:1883'}, far: {url: 'mqtt://f'}, own: {embedded: "
         "true}, own2: {embedded: true}}\n" +
         databases + "\ningest:\n  i: {key: [k], columns: {k: {from: topic.k, type: text}}, " + ingest_more +
         "}\npublish:\n  p: {key: k, " + publish_more + "}\n";
}

const std::string one_server = "databases: {db: {url: 'postgresql://h/x'}, other: {url: 'postgresql://h/x'}}";

TEST(publish, a_pipeline_is_not_named_as_an_actor_of_the_node) {
  for (const std::string name : {"root", "presence", "alerter"}) {
    std::string text = both(one_server, "broker: main, database: db, table: t, topics: ['a/{k}']",
                            "broker: main, database: db, table: u, topic: b");
    text.replace(text.find("  p: {"), 3, "  " + name);
    expect_only(problems_of(text), 6, "publish." + name, "is the name of an actor");
  }
}

TEST(publish, a_name_belongs_to_one_pipeline) {
  std::string text = both(one_server, "broker: main, database: db, table: t, topics: ['a/{k}']",
                          "broker: main, database: db, table: u, topic: b");
  text.replace(text.find("  p: {"), 3, "  i");
  expect_only(problems_of(text), 6, "publish.i", "is the name of a pipeline under `ingest` as well");
}

TEST(publish, a_tracking_table_is_nobodys_data) {
  const auto with_tracking = [](const std::string& tracking) {
    return problems_of(both(one_server, "broker: main, database: db, table: t, topics: ['a/{k}']",
                            "broker: main, database: other, table: u, topic: b, tracking: {table: " + tracking + "}"));
  };
  expect_only(with_tracking("T"), 6, "publish.p.tracking.table", "pipeline 'i' writes its records to; choose another");
  expect_only(with_tracking("public.u"), 6, "publish.p.tracking.table", "pipeline 'p' reads rows from; choose another");
  EXPECT_THAT(with_tracking("sent"), IsEmpty());
  EXPECT_THAT(with_tracking("s.t"), IsEmpty());
}

TEST(publish, a_table_of_sqlite_is_the_same_with_and_without_a_schema) {
  const std::string text = with_database("sqlite:plant.db", promised);
  expect_only(problems_of(text + "    tracking: {table: tablea}\n"), 18, "publish.TableA.tracking.table",
              "pipeline 'TableA' reads rows from");
}

TEST(publish, needs_connections_for_all_that_its_actors_do) {
  const auto with_max = [](const std::string& max, const std::string& more) {
    return problems_of(both("databases:\n  db: {url: 'postgresql://h/x', connections_max: " + max +
                              "}\n  other: {url: 'sqlite:x', busy_timeout: 1s}",
                            "broker: main, database: db, table: t, topics: ['a/{k}']",
                            "broker: main, database: db, table: u, topic: b" + more));
  };
  expect_only(with_max("4", ""), 3, "databases.db.connections_max", "is 4, and the pipelines need 5: the `writers`");
  EXPECT_THAT(with_max("5", ""), IsEmpty());
  expect_only(with_max("5", ", archive: {after: 1d, keep: 1d}"), 3, "databases.db.connections_max", "need 6");
  EXPECT_THAT(with_max("4", ", detect: {notify: off}"), IsEmpty());
  expect_only(with_max("2", ", tracking: {database: other}"), 3, "databases.db.connections_max", "need 3");
  EXPECT_THAT(with_max("3", ", tracking: {database: other}"), IsEmpty());
  expect_only(with_max("5", ", detect: {changes: logical}"), 3, "databases.db.connections_max", "need 6");
}

TEST(publish, warns_of_messages_that_come_back_as_rows) {
  const auto warned = [](const std::string& ingest_more, const std::string& publish_more) {
    return warnings_of(both(one_server, ingest_more, publish_more));
  };
  const std::string in = "broker: main, database: db, table: t, topics: ['x/{k}', 'a/{k}']";
  const std::string out = "database: other, table: T, topic: 'a/{Id}', broker: ";
  expect_only(warned(in, out + "main"), 6, "publish.p.topic", "pipeline 'i' subscribes to this topic, and writes");
  expect_only(warned(in, out + "same"), 6, "publish.p.topic", "messages may go round for ever");
  EXPECT_THAT(warned(in, out + "far"), IsEmpty());
  EXPECT_THAT(warned(in, "database: db, table: u, topic: 'a/{Id}', broker: main"), IsEmpty());
  EXPECT_THAT(warned(in, "database: db, table: t, topic: 'b/{Id}', broker: main"), IsEmpty());
  EXPECT_THAT(warned("broker: own, database: db, table: t, topics: ['a/{k}']", out + "own2"), IsEmpty());
}

TEST(publish, a_broken_section_causes_no_problems_elsewhere) {
  expect_only(problems_of(publish_with(1, "brokers: [main]")), 1, "brokers", "must be a section");
  expect_only(problems_of(publish_with(2, "databases: {db: {url: 'x:y'}}") + "    detect: {changes: logical}"), 2,
              "databases.db.url", "must begin with sqlite");
}

std::string rich() {
  return publish_with(added, R"(    order: At
    where: "\"a\" <> '$${X}'"
    shards: 2
    ranges: [{min: "0000", max: "1999"}, {min: "2: {", max: "9999"}]
    fields: {Id: id, "Größe, a: b": "x {y}", "true": "$${Z}", "1": "-", A.b: "no"}
    add: {"Source: Table": $table, at: $now, id2: $id, five: 5, "null": "", "#x": "~"}
    start: "2024-01-01 00:00:00"
    tracking: {database: file, table: sent}
    archive: {after: 7d}
    detect: {notify: off, sweep: never})");
}

TEST(publish, is_printed_as_it_loads) {
  for (const std::string& text :
       {rich(), publish_with(), publish_with(7, "    key: [A, 'b, c']\n    payload: Body\n    start: now"),
        publish_with(added, "    on_update: publish\n    version: V"), with_database("sqlite:x", promised)}) {
    configuration c = loaded(text);
    for (auto& entry : c.publish)
      entry.second.in_flight_given = true; // by what is printed
    EXPECT_EQ(loaded(show(c, false)), c) << show(c, false);
    EXPECT_EQ(loaded(show(c, true)), c) << show(c, true);
    EXPECT_THAT(diff(c, loaded(show(c, false))), IsEmpty());
  }
}

TEST(publish, is_printed_with_every_default) {
  const std::string whole = show(loaded(publish_with()), false);
  const std::string text = whole.substr(whole.find("publish:\n"));
  for (const char* line : {"key: [Id]\n",
                           "order: Id\n",
                           "shard_by: Id\n",
                           "shards: 1\n",
                           "qos: 2\n",
                           "retain: false\n",
                           "poll: 100ms\n",
                           "notify: auto\n",
                           "late_for: 10m\n",
                           "sweep: 1s\n",
                           "changes: query\n",
                           "on_update: ignore\n",
                           "start: all\n",
                           "table: mqtt_sent_records\n",
                           "after: never\n",
                           "keep: never\n",
                           "on_lost_session: resend\n",
                           "in_flight_max: 1000\n", // 4,000 over all shards of the broker, at most 1,000
                           "retries_max: 10\n",
                           "publish_timeout: 30s\n",
                           "lag_warning: 5s\n"})
    EXPECT_THAT(text, HasSubstr(line));
  for (const char* name : {"fields", "add", "ranges", "where", "version", "payload"})
    EXPECT_THAT(text, Not(HasSubstr(std::string{" "} + name + ":")));
}

TEST(publish, digits_are_printed_so_that_nobody_takes_them_for_a_number) {
  EXPECT_THAT(show(loaded(rich()), false), HasSubstr(R"(ranges: [{min: "0000", max: "1999"},)"));
}

TEST(publish, a_difference_names_the_setting_that_changed) {
  const auto changes_to = [](const std::string& more) {
    std::vector<std::string> found;
    for (const change& c : diff(loaded(publish_with()), loaded(publish_with(added, more))))
      found.push_back(c.path + ": " + c.before + " -> " + c.after);
    return found;
  };
  EXPECT_THAT(changes_to(""), IsEmpty());
  EXPECT_THAT(changes_to("    fields: {Id: id, A b: 'x y'}"),
              ElementsAre(R"(publish.p.fields:  -> {Id: id, "A b": "x y"})"));
  EXPECT_THAT(changes_to("    lag_warning: 1s\n    shards: 1\n    ranges: [{min: a, max: b}]"),
              ElementsAre("publish.p.lag_warning: 5s -> 1s", "publish.p.ranges:  -> [{min: a, max: b}]"));
  EXPECT_THAT(changes_to("    detect: {poll: 1s}\n    start: now"),
              ElementsAre("publish.p.detect.poll: 100ms -> 1s", "publish.p.start: all -> now"));
}

TEST(publish, no_secret_of_a_variable_gets_into_a_problem) {
  const std::vector<std::pair<std::size_t, std::string>> lines{
    {5, "    database: ${SECRET}"},
    {6, "    table: a.b.${SECRET}"},
    {7, "    key: ['${SECRET}', '${SECRET}']"},
    {8, "    broker: ${SECRET}"},
    {9, "    topic: '${SECRET}/#'"},
    {9, "    topic: '${SECRET}/{${SECRET}'"},
    {added, "    fields: {A: '${SECRET}', B: '${SECRET}'}"},
    {added, "    fields: {A: a}\n    add: {b: '$x${SECRET}'}"},
    {added, "    where: '${SECRET};'"},
    {added, "    start: ${SECRET}"},
    {added, "    version: ${SECRET}"},
    {added, "    ranges: [{min: '${SECRET}', max: '0'}]"},
    {added, "    tracking: {database: '${SECRET}', table: '${SECRET}-'}"},
    {added, "    detect: {poll: '${SECRET}', notify: '${SECRET}'}"},
  };
  for (const auto& [line, text] : lines) {
    const auto problems = problems_of(publish_with(line, text), with({{"SECRET", "hunter2"}}));
    EXPECT_FALSE(problems.empty()) << text;
    EXPECT_THAT(all_of(problems), Not(HasSubstr("hunter2")));
  }
}

} // namespace

} // namespace penstock::config
