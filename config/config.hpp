// The configuration as the program sees it: plain values, checked and complete. `config/load.hpp` makes one from a
// file; every setting's name, unit, default, bounds and text is declared once, in config/settings.cpp.
#pragma once

#include "core/types.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::config {

using std::chrono::milliseconds;

/// A value that is never printed: `config show`, logs and errors say "***".
struct secret {
  std::string value;
  friend bool operator==(const secret&, const secret&) = default;
};

/// host:port; port 0 lets the system choose.
struct address {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string to_string() const;
  /// Nobody on another machine can reach it: localhost, ::1, 127.x.y.z.
  bool is_loopback() const;
  friend bool operator==(const address&, const address&) = default;
};

/// What a node of a cluster may run: shards of ingest pipelines, shards of publish pipelines, writers, the web page.
enum class role : std::uint8_t { ingest, publish, write, web };
std::string_view name_of(role r);
/// In the order above.
const std::vector<role>& all_roles();

struct node {
  std::string name = "a";                                                   ///< empty: of a cluster, none was selected
  std::optional<config::address> http = config::address{"127.0.0.1", 8080}; ///< `http: off` switches it off
  bool admin = false;                                                       ///< allow POST /admin/...
  std::optional<config::address> address = {}; ///< of its links; every node of a cluster has one
  std::vector<role> roles = all_roles();       ///< in the order of `role`; not empty, none twice
  friend bool operator==(const node&, const node&) = default;
};

struct tls {
  std::filesystem::path ca;          ///< PEM; empty: the system's own
  std::filesystem::path certificate; ///< PEM, of the client
  std::filesystem::path key;         ///< PEM, of the client
  bool verify = true;                ///< check the server's certificate and host name
  friend bool operator==(const tls&, const tls&) = default;
};

/// Processes that share the pipelines of one configuration.
constexpr std::chrono::seconds lease_max{60};

struct cluster {
  std::string name;
  std::string state;         ///< the database of nodes, shards and epochs
  milliseconds lease{3'000}; ///< a node that renews it no longer is dead once it is over
  config::tls tls;           ///< of the links; empty where every address is loopback and the file gives none
  friend bool operator==(const cluster&, const cluster&) = default;
};

enum class mqtt_version : std::uint8_t { v3_1_1 = 4, v5 = 5 };

struct broker {
  std::string name;
  std::string url;        ///< mqtt://host:port or mqtts://host:port, without user and password; empty when embedded
  std::string host;       ///< from url
  std::uint16_t port = 0; ///< from url (1883 or 8883 where it names none); embedded: the port to listen on, 0: any
  bool use_tls = false;   ///< from url (mqtts)
  bool embedded = false;  ///< penstock starts and supervises a mosquitto of its own
  std::string user;
  secret password;                     ///< from `password`, `password_file` or url
  std::filesystem::path password_file; ///< where the password was read from
  config::tls tls;
  mqtt_version version = mqtt_version::v5; ///< preferred; falls back to 3.1.1 when the broker refuses 5
  milliseconds keep_alive{30'000};
  milliseconds connect_timeout{10'000};
  milliseconds reconnect_min{100};
  milliseconds reconnect_max{10'000};
  friend bool operator==(const broker&, const broker&) = default;
};

enum class database_kind : std::uint8_t { sqlite, postgresql, mysql };

/// What a commit waits for. SQLite: PRAGMA synchronous. PostgreSQL: synchronous_commit (`full`: as the server says).
enum class synchronous : std::uint8_t { full, normal, off };

/// The words of PostgreSQL's sslmode, for MySQL and MariaDB too.
enum class tls_mode : std::uint8_t { disable, prefer, require, verify_ca, verify_full };

/// Where a database is, and how to log in.
struct database_address {
  std::filesystem::path path; ///< SQLite: absolute, from url and `data`
  std::string host;           ///< of a server; a directory or file (beginning with /) is a Unix socket
  std::uint16_t port = 0;     ///< 5432 or 3306 where the url names none
  std::string database;       ///< on the server
  std::string user;
  secret password; ///< from `password`, `password_file` or the url
  config::tls_mode tls_mode = config::tls_mode::prefer;
  friend bool operator==(const database_address&, const database_address&) = default;
};

struct database {
  std::string name;
  std::string url;      ///< sqlite:PATH, postgresql://..., mysql://...; without the password
  std::string read_url; ///< a replica, for what only reads; empty: none
  database_kind kind = database_kind::sqlite;
  database_address address;                     ///< from url
  std::optional<database_address> read_address; ///< from read_url
  std::string user;                             ///< in place of the url's
  secret password;
  std::filesystem::path password_file;
  config::tls tls;
  config::synchronous synchronous = synchronous::full;
  milliseconds busy_timeout{5'000};       ///< how long one attempt waits for a lock
  milliseconds connect_timeout{10'000};   ///< for the connection and the log-in together
  milliseconds statement_timeout{30'000}; ///< a server that answers later is taken for dead
  /// A server ends a transaction that does nothing for longer: its client hangs, or its machine is gone, and its locks
  /// would hold up whoever takes over. Not a setting: the cluster's lease, and never more than statement_timeout.
  milliseconds transaction_idle_max{3'000};
  milliseconds alarm_after{60'000};   ///< an outage that lasts longer is an alarm
  std::uint16_t connections_max = 50; ///< of one node
  friend bool operator==(const database&, const database&) = default;
};

/// Where a column's value comes from.
struct source { // NOLINT(clang-analyzer-core.uninitialized.Assign)
  enum class kind : std::uint8_t {
    payload_path, ///< payload.a.b[0].c
    payload_raw,  ///< the payload as it came
    payload_rest, ///< the members of the top object that no other column took
    topic,        ///< the whole topic
    topic_level,  ///< topic.NAME: the level that {NAME} matched
    received,     ///< $received: time of arrival
    latency_ms,   ///< $latency_ms: arrival minus the record's first timestamp that comes from the payload
    constant,     ///< value: x
  };
  /// One step into a payload: the member `name`, or the element `index` where name is empty.
  struct step {
    std::string name;
    std::size_t index = 0;
    friend bool operator==(const step&, const step&) = default;
  };
  source::kind from = kind::payload_path;
  std::vector<step> path; ///< payload_path
  std::string name;       ///< topic_level: NAME; constant: the value as text
  friend bool operator==(const source&, const source&) = default;
};

struct column {
  std::string name;
  config::source source;
  column_type type = column_type::text;
  bool optional = false; ///< absent or null becomes NULL; otherwise it is a dead letter
  friend bool operator==(const column&, const column&) = default;
};

struct index_column {
  std::string name;
  bool descending = false;
  friend bool operator==(const index_column&, const index_column&) = default;
};

struct batch_limits {
  std::uint32_t records_max = 5'000; ///< in one transaction
  friend bool operator==(const batch_limits&, const batch_limits&) = default;
};

/// What a shard may hold unacknowledged; beyond it the socket is not read.
struct in_flight_limits {
  std::uint32_t messages_max = 20'000; ///< below 65,536, the number of packet ids
  std::uint64_t bytes_max = std::uint64_t{16} * 1024 * 1024;
  friend bool operator==(const in_flight_limits&, const in_flight_limits&) = default;
};

/// What becomes of a record whose key is there already.
enum class conflict_rule : std::uint8_t {
  ignore, ///< it is a duplicate
  update, ///< it replaces the row, unless `order` says that the row is as new
};

/// TimescaleDB: the table is cut into chunks of time.
struct hypertable {
  std::string time_column;
  milliseconds chunk{24 * 3'600'000};
  friend bool operator==(const hypertable&, const hypertable&) = default;
};

struct dead_letters {
  milliseconds retention{0}; ///< older ones are deleted; 0: never
  /// Takes those that the database refuses; absolute, rotated at `file_bytes_max`.
  std::filesystem::path file;
  std::uint64_t file_bytes_max = std::uint64_t{64} * 1024 * 1024;
  friend bool operator==(const dead_letters&, const dead_letters&) = default;
};

struct ingest {
  std::string name;
  std::string broker;
  std::vector<std::string> topics; ///< with {name}, + and #
  std::uint8_t qos = 1;
  std::uint16_t shards = 1;
  std::uint16_t writers = 1; ///< lanes, each a batch-writer with a connection of its own
  std::string format = "json";
  std::string database;
  std::string table; ///< TABLE or SCHEMA.TABLE
  std::vector<std::string> key;
  std::vector<column> columns; ///< in the order of the file
  std::vector<std::vector<index_column>> indexes;
  conflict_rule on_conflict = conflict_rule::ignore;
  std::string order; ///< on_conflict update: the column by which the newest wins; empty: the last to arrive
  std::optional<config::hypertable> hypertable;
  milliseconds retention{0};    ///< older rows are deleted; 0: never
  std::string retention_column; ///< the age of a row; empty: the first timestamp of the key
  config::dead_letters dead_letters;
  batch_limits batch;
  in_flight_limits in_flight;
  milliseconds lag_warning{5'000}; ///< the threshold of the alert rule `slow`, unless it is given here
  friend bool operator==(const ingest&, const ingest&) = default;
};

/// A member of a published payload: a column's value, or something that Penstock adds.
struct published_field {
  enum class kind : std::uint8_t {
    column,   ///< the value of the column `source`
    constant, ///< the text `source`
    table,    ///< $table: the table's name
    now,      ///< $now: when the row was claimed, RFC 3339
    id,       ///< $id: the message id, stable over resends
  };
  std::string name; ///< in the payload
  published_field::kind from = kind::column;
  std::string source;
  friend bool operator==(const published_field&, const published_field&) = default;
};

/// A shard's share of the values of shard_by, both ends included; compared as text, byte by byte.
struct shard_range {
  std::string min;
  std::string max;
  friend bool operator==(const shard_range&, const shard_range&) = default;
};

enum class notification : std::uint8_t { automatic, off }; ///< automatic: where the database can
enum class change_source : std::uint8_t { query, logical };

/// How new rows are found.
struct detection {
  milliseconds poll{100}; ///< between two looks while there is nothing new
  notification notify = notification::automatic;
  milliseconds late_for{600'000};               ///< rows that become visible this late are found by the next looks
  milliseconds sweep{1'000};                    ///< between two steps of the sweep that finds what came later; 0: off
  change_source changes = change_source::query; ///< logical: PostgreSQL's logical decoding
  friend bool operator==(const detection&, const detection&) = default;
};

/// What a first run does with the rows that are there already.
enum class publish_start : std::uint8_t { all, now, value };
/// What becomes of rows whose handshake the broker has forgotten half-way.
enum class lost_session_rule : std::uint8_t { resend, hold };
enum class update_rule : std::uint8_t { ignore, publish };

/// Tracking records that are old move to the archive table, and go from there.
struct archive {
  milliseconds after{0}; ///< 0: never
  milliseconds keep{0};  ///< in the archive; 0: for ever
  friend bool operator==(const archive&, const archive&) = default;
};

/// Where Penstock keeps what it has sent.
struct tracking {
  std::string database; ///< empty: the source's
  std::string table = "mqtt_sent_records";
  friend bool operator==(const tracking&, const tracking&) = default;
};

/// A flow from a table to a broker.
struct publish {
  std::string name;
  std::string database;
  std::string table; ///< TABLE or SCHEMA.TABLE; never written
  std::vector<std::string> key;
  std::string order;    ///< what "oldest first" means; without it the first column of the key
  std::string shard_by; ///< without it the key; empty: all the columns of a key that has several
  std::uint16_t shards = 1;
  std::vector<shard_range> ranges; ///< one a shard, in place of the hash; what is in none goes by the hash
  std::string broker;
  std::string topic; ///< with {Column}
  std::uint8_t qos = 2;
  bool retain = false;
  bool in_flight_given = false;        ///< in_flight_max; otherwise it is a share of what the broker takes of all
  std::vector<published_field> fields; ///< with those of `add`; empty: all columns under their own names
  std::string payload;                 ///< a column that holds the payload, in place of fields
  detection detect;
  std::string where; ///< an SQL condition on the table's columns; empty: all rows
  update_rule on_update = update_rule::ignore;
  std::string version; ///< on_update publish: the column that rises with each change of a row
  publish_start start = publish_start::all;
  std::string start_value; ///< of `order`; earlier rows are not sent
  config::tracking tracking;
  lost_session_rule on_lost_session = lost_session_rule::resend;
  std::uint16_t in_flight_max = 1'000;  ///< messages of a shard whose handshake is open
  std::uint32_t retries_max = 10;       ///< of a message that the broker has no room for, before it is refused
  milliseconds publish_timeout{30'000}; ///< without an acknowledgement the connection is made anew
  milliseconds lag_warning{5'000};      ///< the threshold of the alert rule `slow`, unless it is given here
  config::archive archive;
  friend bool operator==(const publish&, const publish&) = default;
};

/// What an alert rule looks at, of each pipeline that has it.
enum class alert_metric : std::uint8_t {
  none,          ///< not said
  lag,           ///< age of the oldest row or message that is not acknowledged
  outage,        ///< since when a session, a writer or the poller is down
  failure_rate,  ///< of all that ended in the last minute: refused and held rows, dead letters
  tracking_rows, ///< records in the tracking table
};

struct alert_rule {
  std::string name;
  alert_metric when = alert_metric::none;
  std::optional<std::uint64_t> over;  ///< ms, hundredths of a percent, or rows; nothing: the rule is off
  milliseconds hold{0};               ///< `for`: over the threshold for so long, before the alert is raised
  std::vector<std::string> pipelines; ///< empty: all
  friend bool operator==(const alert_rule&, const alert_rule&) = default;
};
/// The rules that are there without being written, by name.
std::map<std::string, alert_rule> alert_presets();
/// The preset on lag: `lag_warning` of a pipeline stands in for its threshold.
inline constexpr const char* lag_rule = "slow";

struct alerts {
  std::string broker; ///< empty: alerts are logged and shown only
  std::string topic = "penstock/{node}/alerts/{rule}/{pipeline}";
  std::map<std::string, alert_rule> rules = alert_presets();
  friend bool operator==(const alerts&, const alerts&) = default;
};

/// Presence and control over MQTT, on a connection of its own.
struct control {
  std::string broker;
  std::string status_topic = "penstock/{node}/status"; ///< retained, with a last will
  std::string control_topic;                           ///< empty: off
  friend bool operator==(const control&, const control&) = default;
};

enum class log_format : std::uint8_t { text, json };

struct log {
  std::string level = "info"; ///< trace, debug, info, warning, error
  log_format format = log_format::text;
  friend bool operator==(const log&, const log&) = default;
};

/// Restart budgets of the supervisors.
struct supervision {
  std::uint32_t restarts_max = 10; ///< within `window`, before a supervisor escalates
  milliseconds window{60'000};
  friend bool operator==(const supervision&, const supervision&) = default;
};

struct configuration {
  std::filesystem::path file;          ///< where it came from
  std::filesystem::path data = "data"; ///< absolute, once loaded
  std::optional<config::cluster> cluster;
  config::node node;                         ///< this one: `node:`, or the one of `nodes` that --node selects
  std::map<std::string, config::node> nodes; ///< of the cluster: those of the file, and this one; else empty
  std::map<std::string, broker> brokers;
  std::map<std::string, database> databases;
  std::map<std::string, config::ingest> ingest;
  std::map<std::string, config::publish> publish;
  config::alerts alerts;
  std::optional<config::control> control;
  config::log log;
  config::supervision supervision;
  friend bool operator==(const configuration&, const configuration&) = default;
};

/// Where a node keeps what is its own: `data`, or in a cluster, whose nodes may share a machine and `data`, a folder
/// of its name below.
std::filesystem::path node_folder(const configuration& configuration);

} // namespace penstock::config
