#include "tests/unit/config/support.hpp"

#include <gmock/gmock.h>

namespace penstock::config {

using namespace std::chrono_literals;
using namespace test;
using ::testing::ElementsAre;

namespace {

const std::filesystem::path source_root = PENSTOCK_SOURCE_DIR;

// The configuration that the first issue promises, word for word.
constexpr auto promised =
  R"(data: ./data                                     # relative to this file; database paths are relative to it
node: {name: a, http: 127.0.0.1:8080}            # defaults; a later `nodes: {NAME: {…}}` overrides them, `--node NAME` selects
brokers:
  main: {url: "mqtt://127.0.0.1:1883"}          # or `embedded: true`: penstock starts and supervises a mosquitto of its own
databases:
  telemetry: {url: "sqlite:telemetry.db"}       # relative to data
ingest:
  telemetry:
    broker: main
    topics: ["users/{user_id}/devices/{device_id}/telemetry"]
    qos: 1
    shards: 2                                    # shared subscription over 2 persistent sessions
    format: json
    database: telemetry
    table: raw_telemetry
    key: [time, user_id, device_id, sequence_id]
    columns:
      time:        {from: payload.time, type: timestamp}
      user_id:     {from: topic.user_id, type: text}
      device_id:   {from: topic.device_id, type: text}
      sequence_id: {from: payload.sequence_id, type: integer}
      temperature: {from: payload.temperature, type: real, optional: true}
      battery:     {from: payload.battery, type: integer, optional: true}
      extra_data:  {from: payload.rest, type: json}   # whatever no other column took
    batch: {records_max: 5000}
)";

constexpr auto promised_as_json = R"({
  "data": "./data",
  "node": {"name": "a", "http": "127.0.0.1:8080"},
  "brokers": {"main": {"url": "mqtt://127.0.0.1:1883"}},
  "databases": {"telemetry": {"url": "sqlite:telemetry.db"}},
  "ingest": {
	"telemetry": {
      "broker": "main",
      "topics": ["users/{user_id}/devices/{device_id}/telemetry"],
      "qos": 1,
      "shards": 2,
      "format": "json",
      "database": "telemetry",
      "table": "raw_telemetry",
      "key": ["time", "user_id", "device_id", "sequence_id"],
      "columns": {
        "time": {"from": "payload.time", "type": "timestamp"},
        "user_id": {"from": "topic.user_id", "type": "text"},
        "device_id": {"from": "topic.device_id", "type": "text"},
        "sequence_id": {"from": "payload.sequence_id", "type": "integer"},
        "temperature": {"from": "payload.temperature", "type": "real", "optional": true},
        "battery": {"from": "payload.battery", "type": "integer", "optional": true},
        "extra_data": {"from": "payload.rest", "type": "json"}
      },
      "batch":{"records_max":5000}
    }
  }
})";

column from_payload(const std::string& name, column_type type, bool optional = false) {
  return {name, {source::kind::payload_path, {{name, 0}}, {}}, type, optional};
}

column from_topic(const std::string& name) {
  return {name, {source::kind::topic_level, {}, name}, column_type::text, false};
}

TEST(load, takes_the_promised_configuration_as_it_stands) {
  const configuration c = loaded(promised);
  EXPECT_EQ(c.file, "/etc/penstock/p.yaml");
  EXPECT_EQ(c.data, "/etc/penstock/data");
  EXPECT_EQ(c.node, (node{"a", address{"127.0.0.1", 8080}, false}));
  broker main;
  main.name = "main";
  main.url = "mqtt://127.0.0.1:1883";
  main.host = "127.0.0.1";
  main.port = 1883;
  EXPECT_EQ(c.brokers, (std::map<std::string, broker>{{"main", main}}));
  database telemetry;
  telemetry.name = "telemetry";
  telemetry.url = "sqlite:telemetry.db";
  telemetry.address.path = "/etc/penstock/data/telemetry.db";
  EXPECT_EQ(c.databases, (std::map<std::string, database>{{"telemetry", telemetry}}));
  ingest pipeline;
  pipeline.name = "telemetry";
  pipeline.broker = "main";
  pipeline.topics = {"users/{user_id}/devices/{device_id}/telemetry"};
  pipeline.qos = 1;
  pipeline.shards = 2;
  pipeline.format = "json";
  pipeline.database = "telemetry";
  pipeline.table = "raw_telemetry";
  pipeline.key = {"time", "user_id", "device_id", "sequence_id"};
  pipeline.columns = {
    from_payload("time", column_type::timestamp),
    from_topic("user_id"),
    from_topic("device_id"),
    from_payload("sequence_id", column_type::integer),
    from_payload("temperature", column_type::real, true),
    from_payload("battery", column_type::integer, true),
    {"extra_data", {source::kind::payload_rest, {}, {}}, column_type::json, false},
  };
  pipeline.batch.records_max = 5'000;
  EXPECT_EQ(c.ingest, (std::map<std::string, ingest>{{"telemetry", pipeline}}));
  EXPECT_EQ(c.log, log{});
  EXPECT_EQ(c.supervision, supervision{});
  EXPECT_FALSE(c.control);
}

TEST(load, takes_the_same_tree_as_json) { EXPECT_EQ(loaded(promised_as_json), loaded(promised)); }

TEST(load, json_keeps_line_numbers) {
  std::string text = promised_as_json;
  text.replace(text.find("\"qos\": 1"), 8, "\"qos\": 3");
  const auto problems = problems_of(text);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].line, 10u);
  EXPECT_EQ(problems[0].column, 14u);
  EXPECT_EQ(problems[0].path, "ingest.telemetry.qos");
}

TEST(load, takes_every_example) {
  std::size_t examples = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_root / "config/examples")) {
    const auto made = load_file(entry.path(), with({{"MQTT_PASSWORD", "p"}, {"DB_PASSWORD", "p"}}));
    const auto* problems = std::get_if<std::vector<problem>>(&made);
    EXPECT_EQ(problems, nullptr) << all_of(*problems);
    ++examples;
  }
  EXPECT_GE(examples, 8u);
}

TEST(load, the_telemetry_example_is_the_promised_configuration) {
  auto made = load_file(source_root / "config/examples/telemetry.yaml", with({}));
  ASSERT_TRUE(std::holds_alternative<configuration>(made));
  auto promise = load_text(promised, source_root / "config/examples/telemetry.yaml", with({}));
  EXPECT_EQ(made, promise);
}

TEST(load, takes_every_setting_of_a_broker) {
  const temporary_directory folder;
  folder.write("secret.txt", "from a file\n");
  const auto file = folder.write("p.yaml", R"(
brokers:
  main:
    url: mqtts://broker.example
    user: alice
    password_file: secret.txt
    tls: {ca: tls/ca.pem, certificate: tls/client.pem, key: /etc/tls/client.key, verify: false}
    version: 3.1.1
    keep_alive: 10s
    connect_timeout: 1m
    reconnect_min: 50ms
    reconnect_max: 1h
  own: {embedded: true, port: 1884}
  any: {embedded: true}
  login: {url: "mqtt://bob:p%40ss@[::1]:2883/"}
)");
  auto made = load_file(file, with({}));
  ASSERT_TRUE(std::holds_alternative<configuration>(made)) << all_of(std::get<1>(made));
  const auto& brokers = std::get<configuration>(made).brokers;
  const broker& b = brokers.at("main");
  EXPECT_EQ(b.url, "mqtts://broker.example:8883");
  EXPECT_EQ(b.host, "broker.example");
  EXPECT_EQ(b.port, 8883);
  EXPECT_TRUE(b.use_tls);
  EXPECT_EQ(b.user, "alice");
  EXPECT_EQ(b.password.value, "from a file");
  EXPECT_EQ(b.tls, (tls{folder.path() / "tls/ca.pem", folder.path() / "tls/client.pem", "/etc/tls/client.key", false}));
  EXPECT_EQ(b.version, mqtt_version::v3_1_1);
  EXPECT_EQ(b.keep_alive, 10s);
  EXPECT_EQ(b.connect_timeout, 1min);
  EXPECT_EQ(b.reconnect_min, 50ms);
  EXPECT_EQ(b.reconnect_max, 1h);
  EXPECT_TRUE(brokers.at("own").embedded);
  EXPECT_EQ(brokers.at("own").host, "127.0.0.1");
  EXPECT_EQ(brokers.at("own").port, 1884);
  EXPECT_EQ(brokers.at("any").port, 0);
  EXPECT_EQ(brokers.at("login").url, "mqtt://[::1]:2883");
  EXPECT_EQ(brokers.at("login").host, "::1");
  EXPECT_EQ(brokers.at("login").user, "bob");
  EXPECT_EQ(brokers.at("login").password.value, "p@ss");
}

TEST(load, takes_every_other_setting) {
  const configuration c = loaded(pipeline_with(99, R"(
      whole: {from: payload.raw, type: bytes}
      deep: {from: "payload.a.b[0].c", type: real}
      at: {from: $received, type: timestamp}
      late: {from: $latency_ms, type: integer}
      topic: {from: topic, type: text}
      site: {value: north, type: text}
    indexes: [[user, time desc], [note]]
    in_flight: {messages_max: 65535, bytes_max: 1GiB}
    lag_warning: 250ms
control: {broker: main, status_topic: "s/{node}", control_topic: c/d}
log: {level: debug, format: json}
supervision: {restarts_max: 3, window: 2h}
data: /var/lib/penstock
node: {name: n1, http: off, admin: true})"));
  const ingest& p = c.ingest.at("p");
  const auto source_of = [&](std::size_t i) { return p.columns.at(i).source; };
  EXPECT_EQ(source_of(3).from, source::kind::payload_raw);
  EXPECT_THAT(source_of(4).path,
              ElementsAre(source::step{"a", 0}, source::step{"b", 0}, source::step{"", 0}, source::step{"c", 0}));
  EXPECT_EQ(source_of(5).from, source::kind::received);
  EXPECT_EQ(source_of(6).from, source::kind::latency_ms);
  EXPECT_EQ(source_of(7).from, source::kind::topic);
  EXPECT_EQ(source_of(8), (source{source::kind::constant, {}, "north"}));
  EXPECT_THAT(p.indexes, ElementsAre(ElementsAre(index_column{"user", false}, index_column{"time", true}),
                                     ElementsAre(index_column{"note", false})));
  EXPECT_EQ(p.in_flight, (in_flight_limits{65'535, 1u << 30}));
  EXPECT_EQ(p.lag_warning, 250ms);
  EXPECT_EQ(c.control, (control{"main", "s/{node}", "c/d"}));
  EXPECT_EQ(c.log, (log{"debug", log_format::json}));
  EXPECT_EQ(c.supervision, (supervision{3, 2h}));
  EXPECT_EQ(c.data, "/var/lib/penstock");
  EXPECT_EQ(c.databases.at("db").address.path, "/var/lib/penstock/x.db");
  EXPECT_EQ(c.node, (node{"n1", std::nullopt, true}));
}

TEST(load, takes_database_settings) {
  const auto c = loaded("databases: {d: {url: 'sqlite:/srv/x.db', synchronous: normal, busy_timeout: 100ms}}");
  const database& d = c.databases.at("d");
  EXPECT_EQ(d.kind, database_kind::sqlite);
  EXPECT_EQ(d.address.path, "/srv/x.db");
  EXPECT_EQ(d.synchronous, synchronous::normal);
  EXPECT_EQ(d.busy_timeout, 100ms);
}

TEST(load, takes_every_setting_of_a_database_server) {
  const temporary_directory folder;
  folder.write("secret.txt", "from a file\n");
  const auto file = folder.write("p.yaml", R"(
databases:
  d:
    url: postgres://db.example/telemetry
    read_url: postgresql://replica.example:6432/telemetry?sslmode=require
    user: alice
    password_file: secret.txt
    tls: {ca: tls/ca.pem, certificate: tls/client.pem, key: /etc/tls/client.key}
    synchronous: off
    busy_timeout: 2s
    connect_timeout: 3s
    statement_timeout: 4s
    alarm_after: 5m
    connections_max: 6
)");
  auto made = load_file(file, with({}));
  ASSERT_TRUE(std::holds_alternative<configuration>(made)) << all_of(std::get<1>(made));
  database d;
  d.name = "d";
  d.url = "postgresql://db.example:5432/telemetry?sslmode=verify-full";
  d.read_url = "postgresql://replica.example:6432/telemetry?sslmode=require";
  d.kind = database_kind::postgresql;
  const secret password{"from a file"};
  d.address = {{}, "db.example", 5'432, "telemetry", "alice", password, tls_mode::verify_full};
  d.read_address = {{}, "replica.example", 6'432, "telemetry", "alice", password, tls_mode::require};
  d.user = "alice";
  d.password = password;
  d.password_file = folder.path() / "secret.txt";
  d.tls = {folder.path() / "tls/ca.pem", folder.path() / "tls/client.pem", "/etc/tls/client.key", true};
  d.synchronous = synchronous::off;
  d.busy_timeout = 2s;
  d.connect_timeout = 3s;
  d.statement_timeout = 4s;
  d.alarm_after = 5min;
  d.connections_max = 6;
  EXPECT_EQ(std::get<configuration>(made).databases.at("d"), d);
}

TEST(load, takes_the_log_in_from_the_url_of_a_database) {
  const auto c = loaded("databases: {d: {url: 'mariadb://bob:p%40s/s@[::1]/x', read_url: 'mysql://r/x'}}");
  const database& d = c.databases.at("d");
  EXPECT_EQ(d.url, "mysql://[::1]:3306/x?sslmode=prefer");
  EXPECT_EQ(d.user, "bob");
  EXPECT_EQ(d.password.value, "p@s/s");
  EXPECT_EQ(d.address, (database_address{{}, "::1", 3'306, "x", "bob", {"p@s/s"}, tls_mode::prefer}));
  EXPECT_EQ(d.read_address, (database_address{{}, "r", 3'306, "x", "bob", {"p@s/s"}, tls_mode::prefer}));
}

TEST(load, a_replica_may_repeat_the_log_in) {
  const auto c = loaded("databases: {d: {url: 'mysql://u:p@h/x', read_url: 'mysql://u:p@r/x'}}");
  EXPECT_EQ(c.databases.at("d").read_url, "mysql://r:3306/x?sslmode=prefer");
}

TEST(load, sslmode_and_the_tls_section_say_how_tls_is_used) {
  const auto mode = [](const std::string& url, const std::string& tls = {}) {
    const auto c = loaded("databases: {d: {url: '" + url + "'" + (tls.empty() ? "" : ", tls: " + tls) + "}}");
    return c.databases.at("d").address.tls_mode;
  };
  EXPECT_EQ(mode("mysql://h/x"), tls_mode::prefer);
  EXPECT_EQ(mode("mysql://h/x", "{ca: ca.pem}"), tls_mode::verify_full);
  EXPECT_EQ(mode("mysql://h/x", "{verify: true}"), tls_mode::verify_full);
  EXPECT_EQ(mode("mysql://h/x", "{verify: false}"), tls_mode::require);
  EXPECT_EQ(mode("mysql://h/x?sslmode=disable"), tls_mode::disable);
  EXPECT_EQ(mode("mysql://h/x?sslmode=require"), tls_mode::require);
  EXPECT_EQ(mode("mysql://h/x?sslmode=require", "{certificate: c.pem, key: c.key}"), tls_mode::require);
  EXPECT_EQ(mode("mysql://h/x?sslmode=verify-ca", "{ca: ca.pem, verify: true}"), tls_mode::verify_ca);
  EXPECT_EQ(mode("mysql:///x?socket=/run/s"), tls_mode::disable);
}

TEST(load, takes_what_a_pipeline_asks_of_its_database) {
  const auto c = loaded(pipeline_with(2, postgresql_line) + R"(      seq: {from: payload.seq, type: integer}
    writers: 4
    on_conflict: update
    order: seq
    hypertable: {time_column: time, chunk: 7d}
    retention: 90d
    retention_column: time
    dead_letters: {retention: 30d, file: letters/p.log, file_bytes_max: 1MiB}
data: /var/lib/penstock
)");
  const ingest& p = c.ingest.at("p");
  EXPECT_EQ(p.writers, 4);
  EXPECT_EQ(p.on_conflict, conflict_rule::update);
  EXPECT_EQ(p.order, "seq");
  EXPECT_EQ(p.hypertable, (hypertable{"time", 7 * 24h}));
  EXPECT_EQ(p.retention, 90 * 24h);
  EXPECT_EQ(p.retention_column, "time");
  EXPECT_EQ(p.dead_letters, (dead_letters{30 * 24h, "/var/lib/penstock/letters/p.log", 1u << 20}));
}

TEST(load, the_file_of_the_dead_letters_may_be_anywhere) {
  const auto c = loaded(pipeline_with(14, "    dead_letters: {file: /srv/./letters.log, retention: never}"));
  EXPECT_EQ(c.ingest.at("p").dead_letters, (dead_letters{0ms, "/srv/letters.log", 64u << 20}));
}

TEST(load, a_table_may_stand_in_a_schema) {
  for (const auto& line : {postgresql_line, mysql_line}) {
    std::string text = pipeline_with(2, line);
    text.replace(text.find("table: t"), 8, "table: plant.t");
    EXPECT_EQ(loaded(text).ingest.at("p").table, "plant.t");
  }
}

TEST(load, starts_with_defaults_where_nothing_is_said) {
  const auto c = loaded("log: {level: info}");
  EXPECT_EQ(c.data, "/etc/penstock/data");
  EXPECT_EQ(c.node, node{});
}

TEST(load, resolves_paths_against_the_file_given_relatively) {
  auto made = load_text("data: d", "some/p.yaml", with({}));
  EXPECT_EQ(std::get<configuration>(made).data, std::filesystem::current_path() / "some/d");
}

TEST(node, may_have_any_name) {
  EXPECT_EQ(loaded("node: {admin: true}", with({}, "z9")).node, (node{"z9", address{"127.0.0.1", 8080}, true}));
}

TEST(node, a_selected_name_must_be_a_name) {
  const auto problems = problems_of("node: {admin: true}", with({}, "../x"));
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0].text, ::testing::HasSubstr("--node"));
}

TEST(variables, stand_for_their_values) {
  const auto c = loaded(R"(data: /srv/${DIR}
log: {level: "${LEVEL:-debug}", format: "${EMPTY:-json}"}
supervision: {restarts_max: "${MAX}"}
brokers:
  b: {url: "mqtt://${HOST:?say which}:${PORT:-1884}", user: "${EMPTY}", embedded: "${OWN:-false}"})",
                        with({{"DIR", "x/y"}, {"MAX", "7"}, {"HOST", "h"}, {"EMPTY", ""}}));
  EXPECT_EQ(c.data, "/srv/x/y");
  EXPECT_EQ(c.log, (log{"debug", log_format::json}));
  EXPECT_EQ(c.supervision.restarts_max, 7u);
  EXPECT_EQ(c.brokers.at("b").url, "mqtt://h:1884");
  EXPECT_EQ(c.brokers.at("b").user, "");
}

TEST(variables, cannot_bring_structure_or_further_variables) {
  const auto c = loaded(R"(brokers: {b: {url: "mqtt://h", user: "${U}", password: "${P}"}})",
                        with({{"U", "x, password: y}"}, {"P", "${HOME}\nlog: {level: debug}"}}));
  EXPECT_EQ(c.brokers.at("b").user, "x, password: y}");
  EXPECT_EQ(c.brokers.at("b").password.value, "${HOME}\nlog: {level: debug}");
  EXPECT_EQ(c.log.level, "info");
}

TEST(variables, a_dollar_is_itself_unless_a_brace_follows) {
  const auto user_of = [](const std::string& text) {
    return loaded("brokers: {b: {url: 'mqtt://h', user: '" + text + "'}}", with({{"X", "1"}})).brokers.at("b").user;
  };
  EXPECT_EQ(user_of("$X $received $$ $"), "$X $received $$ $");
  EXPECT_EQ(user_of("$${X}"), "${X}");
  EXPECT_EQ(user_of("$$${X}"), "$1");
  EXPECT_EQ(user_of("$$$${X}"), "$${X}");
  EXPECT_EQ(user_of("a${X}b${X}"), "a1b1");
}

TEST(variables, come_from_the_environment_unless_told_otherwise) {
  ::setenv("PENSTOCK_TEST_LEVEL", "error", 1);
  auto made = load_text("log: {level: '${PENSTOCK_TEST_LEVEL}'}", "p.yaml");
  ::unsetenv("PENSTOCK_TEST_LEVEL");
  EXPECT_EQ(std::get<configuration>(made).log.level, "error");
}

} // namespace

} // namespace penstock::config
