// Every kind of error: exactly one problem, with its line, its path and what to do.
#include "tests/unit/config/support.hpp"

#include <gmock/gmock.h>

namespace penstock::config {

using namespace test;
using ::testing::HasSubstr;

namespace {

void expect_only(const std::vector<problem>& problems, std::size_t line, const std::string& path,
                 const std::string& text) {
  ASSERT_EQ(problems.size(), 1u) << all_of(problems);
  EXPECT_EQ(problems[0].line, line);
  EXPECT_EQ(problems[0].path, path);
  EXPECT_THAT(problems[0].text, HasSubstr(text));
  EXPECT_EQ(problems[0].file, "/etc/penstock/p.yaml");
  EXPECT_GE(problems[0].column, 1u);
}

struct whole_case {
  std::string text;
  std::size_t line;
  std::string path;
  std::string says;
};

void PrintTo(const whole_case& c, std::ostream* out) { *out << c.text; }

class whole_file : public ::testing::TestWithParam<whole_case> {};

TEST_P(whole_file, has_this_one_problem) {
  const auto& c = GetParam();
  SCOPED_TRACE(c.text);
  expect_only(problems_of(c.text), c.line, c.path, c.says);
}

INSTANTIATE_TEST_SUITE_P(
  unknown_and_missing, whole_file,
  ::testing::Values(whole_case{"log: {level: info}\nbrokrs: {}\n", 2, "brokrs", "did you mean 'brokers'"},
                    whole_case{"log:\n  colour: true\n", 2, "log.colour", "known here: level, format"},
                    whole_case{"log:\n  \"password hunter2\": 1\n", 2, "log.password...", "is not a setting"},
                    whole_case{"databases:\n  d: {synchronous: full}\n", 2, "databases.d.url", "is missing"},
                    whole_case{"brokers:\n  b: {user: x}\n", 2, "brokers.b.url", "embedded: true"},
                    whole_case{"log: {level: info}\nlog: {level: debug}\n", 2, "log", "twice, first in line 1"},
                    whole_case{"log:\n  level: info\n  format: json\n  level: debug\n", 4, "log.level",
                               "twice, first in line 2"},
                    whole_case{"", 1, "", "no settings"}, whole_case{"# nothing\n", 1, "", "no settings"},
                    whole_case{"- a\n", 1, "", "no settings"}, whole_case{"log:\n", 1, "log", "but is empty"}));

INSTANTIATE_TEST_SUITE_P(
  types_and_bounds, whole_file,
  ::testing::Values(
    whole_case{"log: [a]\n", 1, "log", "must be a section of `name: value`, but is a list"},
    whole_case{"log:\n  level: {a: b}\n", 2, "log.level", "but is a section"},
    whole_case{"log:\n  level:\n", 2, "log.level", "has no value"},
    whole_case{"log: {level: warn}\n", 1, "log.level", "one of trace, debug, info, warning, error"},
    whole_case{"log: {level: debgu}\n", 1, "log.level", "did you mean 'debug'"},
    whole_case{"node: {admin: yes}\n", 1, "node.admin", "must be true or false, not 'yes'"},
    whole_case{"node: {admin: 'true'}\n", 1, "node.admin", "remove the quotes"},
    whole_case{"node:\n  http: 8080\n", 2, "node.http", "HOST:PORT"},
    whole_case{"node:\n  http: 127.0.0.1:65536\n", 2, "node.http", "HOST:PORT"},
    whole_case{"node:\n  http: '::1:80'\n", 2, "node.http", "[::1]:8080"},
    whole_case{"node: {name: a b}\n", 1, "node.name", "letters, digits"},
    whole_case{"supervision: {restarts_max: '3'}\n", 1, "supervision.restarts_max", "remove the quotes"},
    whole_case{"supervision: {restarts_max: -3}\n", 1, "supervision.restarts_max", "whole number"},
    whole_case{"supervision: {restarts_max: 3.5}\n", 1, "supervision.restarts_max", "whole number"},
    whole_case{"supervision: {restarts_max: 10001}\n", 1, "supervision.restarts_max", "from 0 to 10000, not '10001'"},
    whole_case{"supervision: {restarts_max: 99999999999999999999}\n", 1, "supervision.restarts_max", "whole number"},
    whole_case{"supervision:\n  window: 60\n", 2, "supervision.window", "a whole number and ms, s, m, h or d"},
    whole_case{"supervision:\n  window: 1w\n", 2, "supervision.window", "a whole number and ms, s, m, h or d"},
    whole_case{"supervision:\n  window: 10ms\n", 2, "supervision.window", "from 1s to 1d, not '10ms'"},
    whole_case{"supervision:\n  window: 99999999999999999d\n", 2, "supervision.window", "must be a duration"},
    whole_case{"data: [x]\n", 1, "data", "must be a path, but is a list"},
    whole_case{"data: \"a\\0b\"\n", 1, "data", "the character 0"}));

INSTANTIATE_TEST_SUITE_P(
  brokers, whole_file,
  ::testing::Values(
    whole_case{"brokers: {b: {url: 'tcp://h'}}\n", 1, "brokers.b.url", "must begin with mqtt://"},
    whole_case{"brokers: {b: {url: 'mqtt://h:0'}}\n", 1, "brokers.b.url", "from 1 to 65535"},
    whole_case{"brokers: {b: {url: 'mqtt://'}}\n", 1, "brokers.b.url", "must name a host"},
    whole_case{"brokers: {b: {url: 'mqtt://h/topic'}}\n", 1, "brokers.b.url", "must end after the port"},
    whole_case{"brokers: {b: {url: 'mqtt://u%zz@h'}}\n", 1, "brokers.b.url", "write % as %25"},
    whole_case{"brokers: {b: {url: ''}}\n", 1, "brokers.b.url", "must begin with mqtt://"},
    whole_case{"brokers:\n  b:\n    url: mqtt://h\n    embedded: true\n", 3, "brokers.b.url",
               "does not go with `embedded: true`"},
    whole_case{"brokers:\n  b:\n    embedded: true\n    tls: {verify: true}\n", 4, "brokers.b.tls", "does not go with"},
    whole_case{"brokers:\n  b:\n    embedded: true\n    user: u\n", 4, "brokers.b.user", "does not go with"},
    whole_case{"brokers:\n  b:\n    url: mqtt://h\n    port: 1884\n", 4, "brokers.b.port", "stands in the url"},
    whole_case{"brokers:\n  b:\n    url: mqtt://h\n    tls: {verify: true}\n", 4, "brokers.b.tls",
               "needs an mqtts:// url"},
    whole_case{"brokers:\n  b:\n    url: mqtts://h\n    tls: {key: k}\n", 4, "brokers.b.tls", "together"},
    whole_case{"brokers:\n  b:\n    url: mqtt://u@h\n    user: v\n", 4, "brokers.b.user", "in the url as well"},
    whole_case{"brokers:\n  b:\n    url: 'mqtt://u:p@h'\n    password: v\n", 3, "brokers.b.url", "keep one"},
    whole_case{"brokers:\n  b:\n    url: mqtt://h\n    password: v\n", 2, "brokers.b.user", "is missing"},
    whole_case{"brokers:\n  b:\n    url: mqtt://u@h\n    password: v\n    password_file: w\n", 5,
               "brokers.b.password_file", "keep one"},
    whole_case{"brokers:\n  b:\n    url: mqtt://u@h\n    password_file: /nowhere/w\n", 4, "brokers.b.password_file",
               "cannot be read"},
    whole_case{"brokers:\n  b:\n    url: mqtt://u@h\n    password_file: /tmp\n", 4, "brokers.b.password_file",
               "cannot be read"},
    whole_case{"brokers:\n  b:\n    url: mqtt://h\n    reconnect_min: 20s\n", 4, "brokers.b.reconnect_min",
               "longer than reconnect_max (10s)"},
    whole_case{"brokers:\n  b:\n    url: mqtt://h\n    version: 4\n", 4, "brokers.b.version", "one of 5, 3.1.1"},
    whole_case{"brokers:\n  a.b: {embedded: true}\n", 2, "brokers.a.b", "letters, digits"}));

INSTANTIATE_TEST_SUITE_P(
  databases, whole_file,
  ::testing::Values(whole_case{"databases: {d: {url: 'oracle://h/x'}}\n", 1, "databases.d.url",
                               "must begin with sqlite:, postgresql:// or mysql://"},
                    whole_case{"databases: {d: {url: 'sqlite:///x.db'}}\n", 1, "databases.d.url", "without //"},
                    whole_case{"databases: {d: {url: 'sqlite:'}}\n", 1, "databases.d.url", "must name a file"},
                    whole_case{"databases: {d: {url: 'sqlite::memory:'}}\n", 1, "databases.d.url", "in memory"},
                    whole_case{"databases: {d: {url: 'sqlite:x/'}}\n", 1, "databases.d.url", "must name a file"},
                    whole_case{"databases: {d: {url: ''}}\n", 1, "databases.d.url", "must not be empty"},
                    whole_case{"databases:\n  d:\n    url: sqlite:x\n    synchronous: of\n", 4,
                               "databases.d.synchronous", "did you mean 'off'"}));

/// One database `d` with a url and more settings, one a line from line 4.
whole_case server(const std::string& url, const std::string& more, std::size_t line, const std::string& setting,
                  const std::string& says) {
  return {"databases:\n  d:\n    url: '" + url + "'\n" + more, line, "databases.d." + setting, says};
}
whole_case url_case(const std::string& url, const std::string& says) { return server(url, "", 3, "url", says); }

INSTANTIATE_TEST_SUITE_P(
  urls_of_servers, whole_file,
  ::testing::Values(
    url_case("postgresql://h", "must name one database after the host, such as postgresql://db.example/telemetry"),
    url_case("postgresql://h/", "must name one database"), url_case("postgresql://h/a/b", "must name one database"),
    url_case("postgresql://h/a#b", "must name one database"), url_case("mysql:///x", "must name a host"),
    url_case("mysql://h:0/x", "a port from 1 to 65535 where it is not 3306"),
    url_case("mysql://h:65536/x", "must name a host"), url_case("mysql://::1/x", "must name a host"),
    url_case("postgresql://%2Frun/x", "behind: ?host=/PATH"), url_case("postgresql://u%zz@h/x", "write % as %25"),
    url_case("postgresql://u%00@h/x", "%00"), url_case("postgresql://h/x%0", "hexadecimal"),
    url_case("postgresql://h/x?sslmode=%", "hexadecimal"),
    url_case("postgresql://h/x?sslmode=allow", "one of disable, prefer, require, verify-ca, verify-full"),
    url_case("postgresql://h/x?sslmode", "one of disable"),
    url_case("postgresql://h/x?sslmode=require&sslmode=require", "twice"),
    url_case("postgresql://h/x?application_name=y", "known are: sslmode, host"),
    url_case("mysql://h/x?host=/run", "known are: sslmode, socket"),
    url_case("postgresql:///x?host=run", "an absolute path after host=, that of a Unix socket's directory"),
    url_case("mysql:///x?socket=run", "an absolute path after socket=, that of a Unix socket;"),
    url_case("postgresql:///x?host=/a&host=/b", "host= twice"),
    url_case("postgresql://h/x?host=/a", "a host and a Unix socket"),
    url_case("mysql://:3307/x?socket=/a", "a port and a Unix socket"),
    url_case("mysql:///x?socket=/a&sslmode=require", "a Unix socket, which is not encrypted")));

INSTANTIATE_TEST_SUITE_P(
  servers, whole_file,
  ::testing::Values(
    server("mysql://u@h/x", "    user: v\n", 4, "user", "in the url as well"),
    server("mysql://u:p@h/x", "    password: v\n", 3, "url", "keep one"),
    server("mysql://h/x", "    password: v\n    password_file: w\n", 5, "password_file", "keep one"),
    server("mysql://h/x", "    password_file: /nowhere/w\n", 4, "password_file", "cannot be read"),
    server("mysql://h/x", "    read_url: postgresql://r/x\n", 4, "read_url", "another kind"),
    server("mysql://h/x", "    read_url: sqlite:x\n", 4, "read_url", "another kind"),
    server("mysql://h/x", "    read_url: mysql://r\n", 4, "read_url", "must name one database"),
    server("mysql://h/x", "    read_url: mysql://u@r/x\n", 4, "read_url", "another log-in"),
    server("mysql://u:p@h/x", "    read_url: mysql://u:q@r/x\n", 4, "read_url", "another log-in"),
    server("mysql://h/x", "    tls: {key: k}\n", 4, "tls", "together"),
    server("mysql://h/x?sslmode=prefer", "    tls: {ca: c}\n", 4, "tls", "sure to have TLS"),
    server("mysql://h/x?sslmode=disable", "    tls: {verify: false}\n", 4, "tls", "sure to have TLS"),
    server("mysql:///x?socket=/s", "    tls: {ca: c}\n", 4, "tls", "over the network"),
    server("mysql://h/x?sslmode=require", "    tls: {verify: true}\n", 4, "tls.verify", "use sslmode=verify-full"),
    server("mysql://h/x?sslmode=prefer", "    tls: {verify: true}\n", 4, "tls.verify", "no certificate checked"),
    server("mysql://h/x?sslmode=verify-ca", "    tls: {verify: false}\n", 4, "tls.verify", "is false, but"),
    server("mysql://h/x", "    synchronous: normal\n", 4, "synchronous", "innodb_flush_log_at_trx_commit"),
    server("mysql://h/x", "    busy_timeout: 30s\n", 4, "busy_timeout", "shorter than statement_timeout (30s)"),
    server("mysql://h/x", "    statement_timeout: 10ms\n", 4, "statement_timeout", "from 100ms to 1h"),
    server("mysql://h/x", "    connections_max: 0\n", 4, "connections_max", "from 1 to 1000"),
    server("mysql://h/x", "    alarm_after: never\n", 4, "alarm_after", "must be a duration"),
    server("sqlite:x", "    tls: {verify: true}\n", 4, "tls", "is for database servers"),
    server("sqlite:x", "    read_url: sqlite:y\n", 4, "read_url", "is for database servers"),
    server("sqlite:x", "    user: u\n", 4, "user", "is for database servers"),
    server("sqlite:x", "    password: u\n", 4, "password", "is for database servers"),
    server("sqlite:x", "    password_file: u\n", 4, "password_file", "is for database servers"),
    server("sqlite:x", "    connect_timeout: 1s\n", 4, "connect_timeout", "is for database servers"),
    server("sqlite:x", "    statement_timeout: 1s\n", 4, "statement_timeout", "is for database servers"),
    server("sqlite:x", "    connections_max: 1\n", 4, "connections_max", "is for database servers")));

INSTANTIATE_TEST_SUITE_P(
  syntax, whole_file,
  ::testing::Values(whole_case{"log:\n  level: info\n format: text\n", 3, "", "check the indentation"},
                    whole_case{"log:\n\tlevel: info\n", 2, "", "indent with spaces, not with tabs"},
                    whole_case{"brokers:\n  a: {url: x\nlog: {}\n", 3, "", "every { and [ above is closed"},
                    whole_case{"log: {level: ${X}}\n", 1, "", "stands in quotes"},
                    whole_case{"log: {format: json}\ndata: \"x\n", 2, "data", "never closed"},
                    whole_case{"data: x\n---\ndata: y\n", 2, "", "one document"},
                    whole_case{"log: &x {level: info}\n", 1, "log", "anchors"},
                    whole_case{"log: {level: !!str info}\n", 1, "log.level", "tags"},
                    whole_case{"log:\n  <<: {level: info}\n", 2, "log....", "is not a setting"},
                    whole_case{"? [a]\n: b\n", 1, "", "a key must be a plain word"},
                    whole_case{"log:\n  : b\n", 2, "log", "a key is missing"},
                    whole_case{"data: x\nlog: \xff\n", 2, "", "not UTF-8"},
                    whole_case{R"({"data": "\ud83d\ude00"})", 1, "", "write the character itself"}));

INSTANTIATE_TEST_SUITE_P(
  variables, whole_file,
  ::testing::Values(whole_case{"log:\n  level: ${NONE}\n", 2, "log.level",
                               "the variable NONE is not set; set it, or write ${NONE:-default}"},
                    whole_case{"log:\n  level: ${NONE:?choose a level}\n", 2, "log.level",
                               "NONE is not set: choose a level"},
                    whole_case{"log:\n  level: ${NONE\n", 2, "log.level", "has no '}'"},
                    whole_case{"log:\n  level: ${1X}\n", 2, "log.level", "the name of a variable"},
                    whole_case{"log:\n  level: ${X:=info}\n", 2, "log.level", "':-default}' or ':?message}'"}));

INSTANTIATE_TEST_SUITE_P(
  control, whole_file,
  ::testing::Values(whole_case{"brokers: {b: {embedded: true}}\ncontrol: {broker: c}\n", 2, "control.broker",
                               "is not in `brokers`; did you mean 'b'"},
                    whole_case{"control: {broker: c}\n", 1, "control.broker", "is empty; add it there"},
                    whole_case{"control: {status_topic: x}\n", 1, "control.broker", "is missing"},
                    whole_case{"brokers: {b: {embedded: true}}\ncontrol: {broker: b, status_topic: a/+}\n", 2,
                               "control.status_topic", "no + and #"},
                    whole_case{"brokers: {b: {embedded: true}}\ncontrol: {broker: b, control_topic: 'a/{x}'}\n", 2,
                               "control.control_topic", "{node}"},
                    whole_case{
                      "brokers: {b: {embedded: true}}\ncontrol: {broker: b, status_topic: a, control_topic: a}\n", 2,
                      "control.control_topic", "choose another"}));

struct pipeline_case {
  std::size_t replaced;
  std::string text;
  std::size_t line;
  std::string path; ///< below ingest.p
  std::string says;
};

void PrintTo(const pipeline_case& c, std::ostream* out) { *out << c.text; }

class pipeline : public ::testing::TestWithParam<pipeline_case> {};

TEST_P(pipeline, has_this_one_problem) {
  const auto& c = GetParam();
  SCOPED_TRACE(c.text);
  expect_only(problems_of(pipeline_with(c.replaced, c.text)), c.line, "ingest.p." + c.path, c.says);
}

INSTANTIATE_TEST_SUITE_P(
  settings, pipeline,
  ::testing::Values(
    pipeline_case{5, "", 4, "broker", "is missing"}, pipeline_case{6, "", 4, "topics", "is missing"},
    pipeline_case{7, "", 4, "database", "is missing"}, pipeline_case{8, "", 4, "table", "is missing"},
    pipeline_case{9, "", 4, "key", "is missing"}, pipeline_case{8, "    tabel: t", 8, "tabel", "did you mean 'table'"},
    pipeline_case{5, "    broker: man", 5, "broker", "'man' is not in `brokers`; did you mean 'main'"},
    pipeline_case{7, "    database: zzzzz", 7, "database", "'zzzzz' is not in `databases`; there is: db"},
    pipeline_case{8, "    table: penstock_x", 8, "table", "reserved"},
    pipeline_case{8, "    table: SQLite_x", 8, "table", "reserved"},
    pipeline_case{8, "    table: a-b", 8, "table", "letters, digits and _"},
    pipeline_case{8, "    table: ''", 8, "table", "must not be empty"},
    pipeline_case{14, "    qos: 3", 14, "qos", "from 0 to 2, not '3'"},
    pipeline_case{14, "    qos: 256", 14, "qos", "from 0 to 2, not '256'"},
    pipeline_case{14, "    shards: 0", 14, "shards", "from 1 to 1024, not '0'"},
    pipeline_case{14, "    format: xml", 14, "format", "must be one of json"},
    pipeline_case{14, "    batch: {records_max: 0}", 14, "batch.records_max", "from 1 to 100000"},
    pipeline_case{14, "    in_flight: {messages_max: 65536}", 14, "in_flight.messages_max", "from 1 to 65535"},
    pipeline_case{14, "    in_flight: {bytes_max: 16MB}", 14, "in_flight.bytes_max", "B, KiB, MiB or GiB"},
    pipeline_case{14, "    in_flight: {bytes_max: 1KiB}", 14, "in_flight.bytes_max", "from 64KiB to 4GiB, not '1KiB'"},
    pipeline_case{14, "    lag_warning: 0s", 14, "lag_warning", "from 1ms"}));

INSTANTIATE_TEST_SUITE_P(
  topics, pipeline,
  ::testing::Values(
    pipeline_case{6, "    topics: u", 6, "topics", "must be a list"},
    pipeline_case{6, "    topics: []", 6, "topics", "must not be empty"},
    pipeline_case{6, "    topics: ['']", 6, "topics[0]", "must not be empty"},
    pipeline_case{6, "    topics: ['u/{user}/#/x']", 6, "topics[0]", "# must be the last level"},
    pipeline_case{6, "    topics: ['u/{user}/a+']", 6, "topics[0]", "whole levels"},
    pipeline_case{6, "    topics: ['u/{user}/a{b}']", 6, "topics[0]", "whole level"},
    pipeline_case{6, "    topics: ['u/{user}/{b c}']", 6, "topics[0]", "whole level"},
    pipeline_case{6, "    topics: ['u/{user}/{user}']", 6, "topics[0]", "stands twice"},
    pipeline_case{6, "    topics: ['$share/g/u/{user}']", 6, "topics[0]", "`shards` makes the shared subscription"},
    pipeline_case{6, "    topics: ['u/{user}', 'u/{user}']", 6, "topics[1]", "remove one"},
    pipeline_case{6, "    topics: ['u/{usre}']", 12, "columns.user.from",
                  "did you mean 'usre'?; the topics have: usre"},
    pipeline_case{6, "    topics: ['u/{user}', 'v/{device}']", 12, "columns.user.from", "not every topic has"}));

INSTANTIATE_TEST_SUITE_P(
  key_and_indexes, pipeline,
  ::testing::Values(
    pipeline_case{9, "    key: []", 9, "key", "must not be empty"},
    pipeline_case{9, "    key: [time, usre]", 9, "key[1]", "'usre' is not among the columns; did you mean 'user'"},
    pipeline_case{9, "    key: [time, note]", 9, "key[1]", "is optional"},
    pipeline_case{9, "    key: [time, time]", 9, "key[1]", "twice"},
    pipeline_case{11, "      time: {from: $received, type: timestamp}", 9, "key[0]", "stored again"},
    pipeline_case{14, "    indexes: [[user, zzz]]", 14, "indexes[0][1]", "'zzz' is not among the columns"},
    pipeline_case{14, "    indexes: [[user], [user, user desc]]", 14, "indexes[1][1]", "twice"},
    pipeline_case{14, "    indexes: [[user], [user]]", 14, "indexes[1]", "repeats an index"},
    pipeline_case{14, "    indexes: [user]", 14, "indexes[0]", "must be a list"},
    pipeline_case{14, "    indexes: [[]]", 14, "indexes[0]", "at least one column"},
    pipeline_case{14, "    indexes: [[user down]]", 14, "indexes[0][0]", "'asc' or 'desc'"}));

INSTANTIATE_TEST_SUITE_P(
  columns, pipeline,
  ::testing::Values(
    pipeline_case{14, "      x: {from: payload.x}", 14, "columns.x.type", "is missing"},
    pipeline_case{14, "      x: {type: text}", 14, "columns.x.from", "is missing"},
    pipeline_case{14, "      x: {from: payload.x, value: 1, type: text}", 14, "columns.x.value", "beside `from`"},
    pipeline_case{14, "      x: {from: payload.x, type: timestmp}", 14, "columns.x.type", "did you mean 'timestamp'"},
    pipeline_case{14, "      x-y: {from: payload.x, type: text}", 14, "columns.x-y", "letters, digits and _"},
    pipeline_case{14, "      Note: {from: payload.x, type: text}", 14, "columns.Note", "other letter case"},
    pipeline_case{14, "      note: {from: payload.x, type: text}", 14, "columns.note", "twice, first in line 13"},
    pipeline_case{14, "      x: {from: payload, type: text}", 14, "columns.x.from", "payload.raw is the whole"},
    pipeline_case{14, "      x: {from: payload., type: text}", 14, "columns.x.from", "after every '.'"},
    pipeline_case{14, "      x: {from: payload.a..b, type: text}", 14, "columns.x.from", "after every '.'"},
    pipeline_case{14, "      x: {from: 'payload.a[b]', type: text}", 14, "columns.x.from", "number of an element"},
    pipeline_case{14, "      x: {from: 'payload.a[0', type: text}", 14, "columns.x.from", "number of an element"},
    pipeline_case{14, "      x: {from: 'payload.a[0]b', type: text}", 14, "columns.x.from", "after ']'"},
    pipeline_case{14, "      x: {from: 'payload[0]', type: text}", 14, "columns.x.from", "for an array"},
    pipeline_case{14, "      x: {from: topic.a-b, type: text}", 14, "columns.x.from", "the NAME of a {NAME}"},
    pipeline_case{14, "      x: {from: temperature, type: real}", 14, "columns.x.from", "payload.PATH"},
    pipeline_case{14, "      x: {from: $receive, type: timestamp}", 14, "columns.x.from", "$received"},
    pipeline_case{14, "      x: {from: topic.zzzzzz, type: text}", 14, "columns.x.from",
                  "the topics have: device, user"}));

INSTANTIATE_TEST_SUITE_P(
  types, pipeline,
  ::testing::Values(
    pipeline_case{14, "      x: {from: $received, type: integer}", 14, "columns.x.type", "must be timestamp"},
    pipeline_case{14, "      x: {from: $latency_ms, type: text}", 14, "columns.x.type", "must be integer or real"},
    pipeline_case{14, "      x: {from: payload.rest, type: text}", 14, "columns.x.type", "must be json"},
    pipeline_case{14, "      x: {from: payload.raw, type: real}", 14, "columns.x.type", "must be text, bytes or json"},
    pipeline_case{14, "      x: {from: topic, type: integer}", 14, "columns.x.type", "must be text"},
    pipeline_case{14, "      x: {from: topic.device, type: json}", 14, "columns.x.type", "must be text, integer"},
    pipeline_case{14, "      x: {value: a, type: integer}", 14, "columns.x.type", "which is no integer"},
    pipeline_case{14, "      x: {value: a, type: real}", 14, "columns.x.type", "which is no real"},
    pipeline_case{14, "      x: {value: 007, type: integer}", 14, "columns.x.type", "which is no integer"},
    pipeline_case{14, "      x: {value: .inf, type: real}", 14, "columns.x.type", "which is no real"},
    pipeline_case{14, "      x: {value: a, type: boolean}", 14, "columns.x.type", "which is no boolean"},
    pipeline_case{14, "      x: {value: a, type: json}", 14, "columns.x.type", "which is no json"},
    pipeline_case{14, "      x: {value: a, type: bytes}", 14, "columns.x.type", "cannot be bytes"},
    pipeline_case{14, "      x: {value: a, type: timestamp}", 14, "columns.x.type", "$received is the time of arrival"},
    pipeline_case{14, "      x: {from: payload.rest, type: json}\n      y: {from: payload.rest, type: json}", 15,
                  "columns.y.from", "'x' takes payload.rest already"},
    pipeline_case{11, "      time: {from: payload.time, type: integer}\n      x: {from: $latency_ms, type: real}", 12,
                  "columns.x.from", "no column is one"}));

class pipeline_on_server : public ::testing::TestWithParam<pipeline_case> {};

// `replaced` is the line of the database.
TEST_P(pipeline_on_server, has_this_one_problem) {
  const auto& c = GetParam();
  SCOPED_TRACE(c.text);
  const auto& database = c.replaced == 0 ? postgresql_line : mysql_line;
  expect_only(problems_of(pipeline_with(2, database) + c.text + "\n"), c.line, "ingest.p." + c.path, c.says);
}

constexpr std::size_t on_postgresql = 0;
constexpr std::size_t on_mysql = 1;

INSTANTIATE_TEST_SUITE_P(
  writing, pipeline_on_server,
  ::testing::Values(
    pipeline_case{on_postgresql, "    writers: 0", 14, "writers", "from 1 to 64"},
    pipeline_case{on_postgresql, "    on_conflict: replace", 14, "on_conflict", "one of ignore, update"},
    pipeline_case{on_postgresql, "    order: note", 14, "order", "is for `on_conflict: update`"},
    pipeline_case{on_postgresql, "    on_conflict: update\n    shards: 2", 4, "order", "no common order of arrival"},
    pipeline_case{on_postgresql, "    on_conflict: update\n    order: nte", 15, "order",
                  "'nte' is not among the columns; did you mean 'note'"},
    pipeline_case{on_postgresql, "    on_conflict: update\n    order: note", 15, "order", "is optional"},
    pipeline_case{on_postgresql, "    on_conflict: update\n    order: time", 15, "order", "is in the key"},
    pipeline_case{on_postgresql, "      x: {from: payload.x, type: boolean}\n    on_conflict: update\n    order: x", 16,
                  "order", "is boolean, which has no order"},
    pipeline_case{on_postgresql, "      x: {value: 5, type: integer}\n    on_conflict: update\n    order: x", 16,
                  "order", "does not say which record is newer"},
    pipeline_case{on_postgresql, "      x: {from: $latency_ms, type: real}\n    on_conflict: update\n    order: x", 16,
                  "order", "does not say which record is newer"},
    pipeline_case{on_postgresql, "    hypertable: {chunk: 1d}", 14, "hypertable.time_column", "is missing"},
    pipeline_case{on_postgresql, "    hypertable: {time_column: user}", 14, "hypertable.time_column",
                  "is text, and must be a timestamp"},
    pipeline_case{on_postgresql, "    hypertable: {time_column: tme}", 14, "hypertable.time_column",
                  "did you mean 'time'"},
    pipeline_case{on_postgresql, "      at: {from: $received, type: timestamp}\n    hypertable: {time_column: at}", 15,
                  "hypertable.time_column", "is not in the key, and TimescaleDB"},
    pipeline_case{on_postgresql, "    hypertable: {time_column: time, chunk: 59s}", 14, "hypertable.chunk",
                  "from 1m to 3650d"},
    pipeline_case{on_mysql, "    hypertable: {time_column: time}", 14, "hypertable", "is TimescaleDB's"},
    pipeline_case{on_mysql, "      x: {from: payload.x, type: json}\n    indexes: [[user, x]]", 15, "indexes[0][1]",
                  "'x' is json, which MySQL and MariaDB do not index"}));

INSTANTIATE_TEST_SUITE_P(
  writing, pipeline,
  ::testing::Values(
    pipeline_case{8, "    table: s.t", 8, "table", "SQLite has none"},
    pipeline_case{8, "    table: s.", 8, "table", "SCHEMA.TABLE"},
    pipeline_case{8, "    table: .t", 8, "table", "SCHEMA.TABLE"},
    pipeline_case{8, "    table: a.s.t", 8, "table", "SCHEMA.TABLE"},
    pipeline_case{8, "    table: s.penstock_t", 8, "table", "reserved"},
    pipeline_case{14, "    writers: 2", 14, "writers", "must be 1 for SQLite"},
    pipeline_case{14, "    hypertable: {time_column: time}", 14, "hypertable", "is TimescaleDB's"},
    pipeline_case{13, "    on_conflict: update", 13, "on_conflict", "every column is in the key"},
    pipeline_case{14, "    retention: 90", 14, "retention", "such as 500ms or 5s, or never"},
    pipeline_case{14, "    retention: 59s", 14, "retention", "from 1m to 36500d, or never, not '59s'"},
    pipeline_case{14, "    retention: 0s", 14, "retention", "from 1m to 36500d, or never, not '0s'"},
    pipeline_case{14, "    retention_column: time", 14, "retention_column", "which is not set"},
    pipeline_case{14, "    retention: 1d\n    retention_column: user", 15, "retention_column", "must be a timestamp"},
    pipeline_case{14, "    retention: 1d\n    retention_column: tim", 15, "retention_column", "did you mean 'time'"},
    pipeline_case{9, "    retention: 1d\n    key: [user]", 4, "retention_column", "the key has none"},
    pipeline_case{14, "    dead_letters: {retention: 1s}", 14, "dead_letters.retention", "from 1m"},
    pipeline_case{14, "    dead_letters: {file: x/}", 14, "dead_letters.file", "not a directory"},
    pipeline_case{14, "    dead_letters: {file: ./x.db}", 14, "dead_letters.file", "is the file of database 'db'"},
    pipeline_case{14, "    dead_letters: {file_bytes_max: 1B}", 14, "dead_letters.file_bytes_max",
                  "from 64KiB to 64GiB"}));

TEST(warnings, update_without_an_order_may_bring_back_an_older_row) {
  const auto warnings = warnings_of(pipeline_with(14, "    on_conflict: update"));
  expect_only(warnings, 14, "ingest.p.on_conflict", "a dead letter that is replayed arrives late");
}

TEST(warnings, there_are_none_where_an_order_says_what_is_newer) {
  EXPECT_TRUE(warnings_of(pipeline_with(
                            14, "      seq: {from: payload.s, type: integer}\n    on_conflict: update\n    order: seq"))
                .empty());
}

/// Two pipelines alike, of the databases `db` and `other`; what differs stands in the arguments.
std::string two_pipelines(const std::string& databases, const std::string& table, const std::string& first,
                          const std::string& second) {
  const std::string shared = ", topics: ['u/{user}'], key: [user], columns: {user: {from: topic.user, type: text}, "
                             "n: {from: payload.n, type: integer}}";
  return "brokers: {main: {embedded: true}}\n" + databases + "\ningest:\n" +
         "  p: {broker: main, database: db, table: t" + shared + first + "}\n" +
         "  q: {broker: main, database: other, table: " + table + shared + second + "}\n";
}

TEST(problems, a_table_is_the_same_however_it_is_named) {
  const auto differ = [](const std::string& one, const std::string& other, const std::string& table) {
    return problems_of(two_pipelines("databases: {db: {url: '" + one + "'}, other: {url: '" + other + "'}}", table, "",
                                     ", on_conflict: update, order: n"));
  };
  const std::string says = "pipeline 'p' writes this table";
  expect_only(differ("postgresql://h/x", "postgres://u@H:5432/x", "T"), 5, "ingest.q.table", says);
  expect_only(differ("postgresql://h/x", "postgresql://h/x", "public.t"), 5, "ingest.q.table", says);
  expect_only(differ("mysql://h/x", "mariadb://h/y", "x.t"), 5, "ingest.q.table", says);
  EXPECT_TRUE(differ("postgresql://h/x", "postgresql://h/y", "t").empty());
  EXPECT_TRUE(differ("postgresql://h/x", "postgresql://h:5433/x", "t").empty());
  EXPECT_TRUE(differ("postgresql://h/x", "postgresql://h/x", "s.t").empty());
  EXPECT_TRUE(differ("mysql://h/x", "mysql://h/y", "t").empty());
  EXPECT_TRUE(differ("mysql://h/x", "postgresql://h:3306/x", "t").empty());
}

TEST(problems, two_pipelines_update_one_table_by_an_order_only) {
  const std::string databases = "databases: {db: {url: 'sqlite:x'}, other: {url: 'sqlite:x'}}";
  const auto both = [&](const std::string& rule) { return problems_of(two_pipelines(databases, "t", rule, rule)); };
  expect_only(both(", on_conflict: update"), 5, "ingest.q.order", "two pipelines have no common order of arrival");
  EXPECT_TRUE(both(", on_conflict: update, order: n").empty());
}

TEST(problems, a_file_of_dead_letters_belongs_to_one_pipeline) {
  const std::string databases = "databases: {db: {url: 'sqlite:x'}, other: {url: 'sqlite:y'}}";
  expect_only(problems_of(two_pipelines(databases, "t", ", dead_letters: {file: a/../l}", ", dead_letters: {file: l}")),
              5, "ingest.q.dead_letters.file", "is the file of pipeline 'p' as well");
}

TEST(problems, pipelines_need_no_more_connections_than_there_may_be) {
  const auto with_max = [](const std::string& max) {
    return problems_of(two_pipelines("databases:\n  db: {url: 'postgresql://h/x', connections_max: " + max +
                                       "}\n  other: {url: 'postgresql://h/y'}",
                                     "t", ", writers: 4, dead_letters: {retention: 1d}", ", writers: 20"));
  };
  expect_only(with_max("4"), 3, "databases.db.connections_max", "is 4, and the pipelines need 5");
  EXPECT_TRUE(with_max("5").empty());
}

TEST(problems, pipelines_may_share_a_table_only_if_they_agree_on_it) {
  const std::string second = R"(  q:
    broker: main
    topics: ["v/{user}"]
    database: other
    table: T
    key: [time, user]
    columns:
      user: {from: topic.user, type: text}
      note: {from: payload.n, type: text, optional: true}
      time: {from: payload.t, type: TIME}
databases: {db: {url: "sqlite:x.db"}, other: {url: "sqlite:./x.db"}})";
  const auto with_type = [&](const std::string& type) {
    std::string text = pipeline_with(2, "#");
    text += second;
    return text.replace(text.find("TIME"), 4, type);
  };
  loaded(with_type("timestamp"));
  expect_only(problems_of(with_type("integer")), 18, "ingest.q.table", "pipeline 'p' writes this table");
}

TEST(problems, a_table_needs_a_column) {
  const std::string text = pipeline_with(10, "    columns: {}\n#");
  const auto head = text.substr(0, text.find('#'));
  expect_only(problems_of(head), 10, "ingest.p.columns", "must not be empty");
}

TEST(problems, all_are_reported_at_once_in_the_order_of_the_file) {
  const auto problems = problems_of(R"(supervision: {window: 5}
dta: x
brokers: {b: {url: "http://h"}}
ingest:
  p:
    broker: c
    topics: ["a/#/b"]
    qos: 7
)");
  std::vector<std::pair<std::size_t, std::string>> found;
  for (const problem& p : problems)
    found.emplace_back(p.line, p.path);
  const std::vector<std::pair<std::size_t, std::string>> expected{
    {1, "supervision.window"}, {2, "dta"},          {3, "brokers.b.url"},    {5, "ingest.p.database"},
    {5, "ingest.p.table"},     {5, "ingest.p.key"}, {5, "ingest.p.columns"}, {6, "ingest.p.broker"},
    {7, "ingest.p.topics[0]"}, {8, "ingest.p.qos"}};
  EXPECT_EQ(found, expected) << all_of(problems);
}

TEST(problems, name_file_line_column_and_path) {
  const auto problems = problems_of("log:\n  level: loud\n");
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].to_string(),
            "/etc/penstock/p.yaml:2:10: log.level: must be one of trace, debug, info, warning, error; "
            "it is 'loud'");
}

TEST(problems, a_misspelt_setting_is_not_reported_as_missing_too) {
  expect_only(problems_of(pipeline_with(10, "    colums:")), 10, "ingest.p.colums", "did you mean 'columns'");
}

TEST(problems, a_broken_section_causes_no_problems_elsewhere) {
  expect_only(problems_of(pipeline_with(1, "brokers: [main]")), 1, "brokers", "must be a section");
  expect_only(problems_of(pipeline_with(2, "databases: {db: {url: 'x:y'}}")), 2, "databases.db.url",
              "must begin with sqlite");
  expect_only(problems_of(pipeline_with(12, "      user: {from: topic.user, type: txt}")), 12,
              "ingest.p.columns.user.type", "did you mean 'text'");
}

TEST(problems, are_bounded_in_number) {
  std::string text = "log:\n";
  for (int i = 0; i < 500; ++i)
    text += "  key_" + std::to_string(i) + ": 1\n";
  const auto problems = problems_of(text);
  ASSERT_EQ(problems.size(), 201u);
  EXPECT_EQ(problems.back().text, "and 300 more problems");
}

TEST(load_file, says_what_is_wrong_with_the_file_itself) {
  const temporary_directory folder;
  const auto text_of = [](const std::filesystem::path& file) {
    const auto made = load_file(file, with({}));
    const auto* problems = std::get_if<std::vector<problem>>(&made);
    return problems == nullptr ? std::string{} : all_of(*problems);
  };
  EXPECT_THAT(text_of(folder.path() / "none.yaml"), HasSubstr("none.yaml: does not exist"));
  EXPECT_THAT(text_of(folder.path()), HasSubstr("is a directory"));
  EXPECT_THAT(text_of(folder.write("big.yaml", std::string((1u << 20) + 1, '#'))), HasSubstr("larger than 1 MiB"));
  EXPECT_EQ(text_of(folder.write("ok.yaml", "data: x\n" + std::string((1u << 20) - 8, '#'))), "");
}

} // namespace

} // namespace penstock::config
