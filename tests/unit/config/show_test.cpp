// What is printed from the declarations: the effective configuration, differences, the reference table.
#include "config/diff.hpp"
#include "tests/unit/config/support.hpp"

#include <gmock/gmock.h>

namespace penstock::config {

using namespace test;
using ::testing::HasSubstr;

namespace {

const std::filesystem::path source_root = PENSTOCK_SOURCE_DIR;

std::string rich() {
  return pipeline_with(99, R"(      deep: {from: "payload.a[0].b", type: real, optional: true}
      at: {from: $received, type: timestamp}
      note2: {value: "true: [x] $${Y} \" é", type: text}
      nothing: {value: "", type: text}
      five: {value: 5, type: integer}
    indexes: [[user, time desc], [note]]
    in_flight: {messages_max: 10, bytes_max: 1000001B}
    lag_warning: 90s
control: {broker: main, control_topic: c/d}
log: {level: error, format: json}
node: {name: n1, http: off}
data: "/srv/a b: c")") +
         "\n";
}

TEST(show, prints_what_loads_to_the_same_configuration) {
  const std::string extra =
    "  own: {embedded: true}\n  tls: {url: 'mqtts://h', user: u, version: 3.1.1, tls: {ca: ca.pem}}\n";
  std::string text = rich();
  text.replace(0, text.find('\n'), "brokers:\n  main: {url: 'mqtt://h'}\n" + extra);
  const configuration c = loaded(text);
  EXPECT_EQ(loaded(show(c, false)), c) << show(c, false);
  EXPECT_EQ(loaded(show(c, true)), c) << show(c, true);
}

TEST(show, prints_databases_as_they_load) {
  const std::string tls = ", tls: {ca: ca.pem, certificate: c.pem, key: c.key";
  const std::string urls[]{
    "url: 'postgresql://u@h/x'",
    "url: 'postgresql://h/x', tls: {verify: true}",
    "url: 'mysql://h/x', read_url: 'mysql://r/y', user: v, connections_max: 3, alarm_after: 1h" + tls + "}",
    "url: 'mysql://h/x', read_url: 'mysql://r/y'" + tls + ", verify: false}",
    "url: 'mysql://h/x?sslmode=require', read_url: 'mysql://r/y?sslmode=verify-ca'" + tls + "}",
    "url: 'mysql:///x?socket=/run/s', read_url: 'mysql://r/y'" + tls + "}",
    "url: 'postgresql://:5433/a%2Fb%24%7Bc%7D%20%25?host=/run/a%26b', synchronous: off",
    "url: 'mariadb://[::1]:3307/x?sslmode=disable', statement_timeout: 10s",
  };
  for (const std::string& url : urls) {
    const configuration c = loaded("databases: {d: {" + url + "}}");
    EXPECT_EQ(loaded(show(c, false)), c) << show(c, false);
    EXPECT_EQ(loaded(show(c, true)), c) << show(c, true);
  }
}

TEST(show, prints_what_a_pipeline_asks_of_its_database_as_it_loads) {
  const std::string all = R"(      seq: {from: payload.seq, type: integer}
    writers: 4
    on_conflict: update
    order: seq
    hypertable: {time_column: time}
    retention: 90d
    retention_column: time
    dead_letters: {retention: 30d, file: letters.log}
)";
  for (const std::string& more : {std::string{}, all}) {
    const configuration c = loaded(pipeline_with(2, postgresql_line) + more);
    EXPECT_EQ(loaded(show(c, false)), c) << show(c, false);
    EXPECT_EQ(loaded(show(c, true)), c) << show(c, true);
  }
}

TEST(show, prints_only_what_a_database_takes) {
  const std::string text = show(loaded(pipeline_with()), false);
  for (const char* line : {"connect_timeout: 10s\n    statement", "statement_timeout", "connections_max", "ca:"})
    EXPECT_THAT(text, ::testing::Not(HasSubstr(line)));
}

TEST(show, names_the_file_of_a_password_and_not_the_password_too) {
  const temporary_directory folder;
  const auto file = folder.write("secret.txt", "hunter2");
  const auto c = loaded("brokers: {b: {url: 'mqtt://u@h', password_file: '" + file.string() + "'}}");
  for (const bool json : {false, true})
    EXPECT_EQ(loaded(show(c, json)), c) << show(c, json);
}

TEST(show, prints_every_default) {
  const std::string text = show(loaded(pipeline_with()), false);
  for (const char* line :
       {"keep_alive: 30s\n", "bytes_max: 16MiB\n", "lag_warning: 5s\n", "restarts_max: 10\n", "level: info\n",
        "synchronous: full\n", "retention: never\n", "on_conflict: ignore\n", "writers: 1\n", "alarm_after: 1m\n",
        "busy_timeout: 5s\n", "http: 127.0.0.1:8080\n", "data: /etc/penstock/data\n"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(diff, finds_nothing_where_nothing_changed) { EXPECT_TRUE(diff(loaded(rich()), loaded(rich())).empty()); }

TEST(diff, names_what_changed) {
  const auto before = loaded(pipeline_with(99, "    lag_warning: 1s\nlog: {level: info}"));
  const auto after =
    loaded(pipeline_with(99, "    lag_warning: 2s\n    shards: 2\nlog: {level: debug}\ncontrol: {broker: main}"));
  std::vector<std::string> found;
  for (const change& c : diff(before, after))
    found.push_back(c.path + ": " + c.before + " -> " + c.after);
  EXPECT_THAT(found, ::testing::ElementsAre(
                       "control.broker:  -> main", "control.status_topic:  -> \"penstock/{node}/status\"",
                       "ingest.p.lag_warning: 1s -> 2s", "ingest.p.shards: 1 -> 2", "log.level: info -> debug"));
}

TEST(diff, says_never_where_nothing_is_deleted) {
  const auto changes = diff(loaded(pipeline_with()), loaded(pipeline_with(14, "    retention: 90d")));
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].before, "never");
  EXPECT_EQ(changes[0].after, "90d");
}

TEST(diff, names_what_came_and_went) {
  const auto one = loaded("brokers: {a: {embedded: true}}");
  const auto none = loaded("log: {level: info}");
  EXPECT_EQ(diff(one, none).front().path, "brokers.a.connect_timeout");
  EXPECT_EQ(diff(one, none).front().after, "");
  EXPECT_EQ(diff(none, one).front().before, "");
}

TEST(reference, in_the_document_is_the_one_of_the_declarations) {
  const std::string text = read(source_root / "docs/configuration.md");
  const std::string begin = "<!-- settings: begin (generated) -->\n";
  const auto from = text.find(begin);
  const auto to = text.find("<!-- settings: end -->");
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  EXPECT_EQ(text.substr(from + begin.size(), to - from - begin.size()), reference_markdown())
    << "put the table as it should be between the two markers";
}

TEST(reference, has_a_row_a_setting) {
  const std::string table = reference_markdown();
  for (const char* path :
       {"`data`", "`nodes.NAME.http`", "`brokers.NAME.tls.ca`", "`databases.NAME.synchronous`",
        "`databases.NAME.tls.verify`", "`ingest.NAME.hypertable.chunk`", "`ingest.NAME.dead_letters.file`",
        "`ingest.NAME.columns.NAME.from`", "`publish.NAME.detect.poll`", "`publish.NAME.ranges[].min`",
        "`publish.NAME.fields`", "`ingest.NAME.in_flight.bytes_max`", "`control.status_topic`"})
    EXPECT_THAT(table, HasSubstr(std::string{"\n| "} + path + " | "));
}

} // namespace

} // namespace penstock::config
