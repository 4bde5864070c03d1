#include "config/settings.hpp"

#include "config/alert_rule.hpp"
#include "config/findings.hpp"
#include "config/value.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <iterator>

namespace penstock::config {

using namespace std::chrono_literals;

namespace {

template <class T>
using choices = std::vector<std::pair<std::string, T>>;

/// One of a few words, each standing for a value.
template <class T>
word one_of(T& value, choices<T> options) {
  std::string kind;
  std::vector<std::string> names;
  for (const auto& option : options) {
    names.push_back(option.first);
    kind += (kind.empty() ? "`" : ", `") + option.first + "`";
  }
  const auto set = [&value, options, names](const std::string& text) -> std::string {
    for (const auto& [name, meaning] : options) {
      if (name == text) {
        value = meaning;
        return {};
      }
    }
    return "must be one of " + list_of(names) + did_you_mean(text, names);
  };
  const auto get = [&value, options]() -> std::optional<std::string> {
    for (const auto& [name, meaning] : options)
      if (meaning == value)
        return name;
    return std::nullopt;
  };
  return {kind, set, get};
}

word one_of(std::string& value, std::initializer_list<std::string> names) {
  choices<std::string> options;
  for (const std::string& name : names)
    options.emplace_back(name, name);
  return one_of<std::string>(value, options);
}

/// A value that `parse` makes from text.
template <class T, class Parse, class Print>
word parsed(std::string kind, T& value, Parse parse, Print print) {
  const auto set = [&value, parse](const std::string& text) -> std::string {
    auto made = parse(text);
    if (!made)
      return made.error().message;
    value = std::move(*made);
    return {};
  };
  return {std::move(kind), set, [&value, print] { return print(value); }};
}

/// A map of sections by name; `start` makes the values that an entry begins with.
template <class T, class Describe, class Start>
named_sections named(std::map<std::string, T>& entries, Describe describe_one, Start start) {
  const auto add = [&entries, describe_one, start](const std::string& name) {
    T& entry = entries[name] = start();
    entry.name = name;
    return describe_one(entry);
  };
  const auto all = [&entries, describe_one] {
    std::vector<std::pair<std::string, section>> sections;
    sections.reserve(entries.size());
    for (auto& [name, entry] : entries)
      sections.emplace_back(name, describe_one(entry));
    return sections;
  };
  return {add, all};
}

template <class T>
named_sections named(std::map<std::string, T>& entries, section (*describe_one)(T&)) {
  return named(entries, describe_one, [] { return T{}; });
}

word http_address(std::optional<address>& http) {
  return parsed("`HOST:PORT` or `off`", http, parse_http_address,
                [](const std::optional<address>& value) { return value ? value->to_string() : "off"; });
}

word link_address(std::optional<address>& links) {
  return parsed("`HOST:PORT`", links, parse_address, [](const std::optional<address>& value) {
    return value ? std::optional{value->to_string()} : std::nullopt;
  });
}

word_list roles_of(std::vector<role>& roles) {
  word_list made;
  for (const role r : all_roles())
    made.kind += (made.kind.empty() ? "list of `" : ", `") + std::string{name_of(r)} + "`";
  made.clear = [&roles] { roles.clear(); };
  made.add = [&roles](const std::string& word) { return add_role(roles, word); };
  made.all = [&roles] {
    std::vector<std::string> names;
    names.reserve(roles.size());
    for (const role r : roles)
      names.emplace_back(name_of(r));
    return names;
  };
  return made;
}

number duration_or_never(milliseconds& value) {
  number made{&value};
  made.zero_is_never = true;
  return made;
}

/// A path that is relative to something else than the file's folder.
word other_path(std::filesystem::path& value) {
  const auto parse = [](const std::string& text) -> result<std::filesystem::path> {
    if (text.ends_with('/'))
      return error{errc::configuration, "must name a file, not a directory"};
    return std::filesystem::path{text};
  };
  return parsed("path", value, parse,
                [](const std::filesystem::path& p) { return p.empty() ? std::nullopt : std::optional{p.string()}; });
}

section describe_node(node& n) {
  return {
    {"name", &n.name, "Name of this node, unless `--node` gives another."},
    {"http", http_address(n.http), "Where health, metrics and status are served. Port 0 takes any free one."},
    {"admin", &n.admin, "Allow `POST /admin/...`, which can stop actors."},
  };
}

named_sections describe_nodes(std::map<std::string, node>& nodes) {
  section (*const describe_one)(node&) = [](node& n) -> section {
    return {
      {"address", link_address(n.address), "Where the other nodes reach this one, which listens there. Required."},
      {"http", http_address(n.http), "Where health, metrics and status are served. Port 0 takes any free one."},
      {"roles", roles_of(n.roles), "What it may run; without it everything. See [Many nodes](cluster.md#roles)."},
      {"admin", &n.admin, "Allow `POST /admin/...`, which can stop actors."},
    };
  };
  return named(nodes, describe_one, [] { return node{.http = std::nullopt}; });
}

section describe_cluster_tls(tls& t) {
  return {
    {"ca", &t.ca, "PEM file of the authority whose certificates are nodes."},
    {"certificate", &t.certificate, "PEM file of the node's certificate."},
    {"key", &t.key, "PEM file of the node's private key."},
  };
}

section describe_tls(tls& t) {
  return {
    {"ca", &t.ca, "PEM file of the authorities to trust; without it the system's own."},
    {"certificate", &t.certificate, "PEM file of the client's certificate."},
    {"key", &t.key, "PEM file of the client's private key."},
    {"verify", &t.verify, "Check the server's certificate and host name. Switch off for experiments only."},
  };
}

section describe_cluster(cluster& c) {
  return {
    setting{"name", &c.name, "The same on all its nodes; those of another cluster are refused."}.required(),
    {"state", &c.state, "Which of `databases` holds nodes, shards and epochs; without it the one of the pipelines."},
    setting{"lease", &c.lease, "A node that cannot renew it for so long is dead, and others take over."}.between(
      1s, lease_max),
    {"tls", describe_cluster_tls(c.tls), "Of the links between nodes. Required unless every address is loopback."},
  };
}

section describe_broker(broker& b) {
  section all{
    {"url", &b.url, "`mqtt://HOST:PORT`, or `mqtts://` for TLS. Either this or `embedded`."},
    {"embedded", &b.embedded, "Penstock starts and supervises a mosquitto of its own, on 127.0.0.1."},
    {"port", &b.port, "Of an embedded broker; 0 takes any free one (it stands in `run.json` under `data`)."},
    {"user", &b.user, "User name to log in with."},
    {"password", &b.password, "Password. Better from a variable, or in `password_file`."},
    {"password_file", &b.password_file, "File that holds the password; a line end after it is left out."},
    {"tls", describe_tls(b.tls), "For `mqtts://`."},
    {"version", one_of<mqtt_version>(b.version, {{"5", mqtt_version::v5}, {"3.1.1", mqtt_version::v3_1_1}}),
     "Of MQTT. With 5, 3.1.1 is tried where the broker refuses."},
    setting{"keep_alive", &b.keep_alive, "Longest silence before the connection is probed."}.between(1s, 65'535s),
    setting{"connect_timeout", &b.connect_timeout, "For the connection and the log-in together."}.between(100ms, 10min),
    setting{"reconnect_min", &b.reconnect_min, "First pause before connecting again; it doubles from try to try."}
      .between(1ms, 1h),
    setting{"reconnect_max", &b.reconnect_max, "Longest pause before connecting again."}.between(1ms, 1h),
  };
  // Once loaded, only what this kind of broker takes: so that what `show` prints can be loaded again.
  const bool loaded = !b.host.empty();
  std::erase_if(all, [&](const setting& s) {
    return loaded && ((s.name == "port" && !b.embedded) || (s.name == "tls" && !b.use_tls));
  });
  return all;
}

section describe_database_tls(tls& t, bool loaded) {
  section all = describe_tls(t);
  // Once loaded, sslmode in the url says it.
  std::erase_if(all, [loaded](const setting& s) { return loaded && s.name == "verify"; });
  return all;
}

section describe_database(database& d) {
  const bool is_file = !d.address.path.empty();
  const bool is_server = !d.address.host.empty();
  section all{
    setting{"url", &d.url,
            "`sqlite:PATH`, relative to `data`; `postgresql://` or `mysql://`, then `HOST[:PORT]/DATABASE`; see "
            "[Databases](#databases)."}
      .required(),
    {"read_url", &d.read_url, "A replica, for what only reads."},
    {"user", &d.user, "User name to log in with; without it as the server's own client library does."},
    {"password", &d.password, "Password. Better from a variable, or in `password_file`."},
    {"password_file", &d.password_file, "File that holds the password; a line end after it is left out."},
    {"tls", describe_database_tls(d.tls, is_server), "For database servers; see [TLS](#tls-to-a-database)."},
    {"synchronous",
     one_of<synchronous>(d.synchronous,
                         {{"full", synchronous::full}, {"normal", synchronous::normal}, {"off", synchronous::off}}),
     "What a commit waits for; see [Synchronous](#synchronous). All but `full` may lose acknowledged messages."},
    setting{"busy_timeout", &d.busy_timeout, "How long one attempt waits for a lock."}.between(1ms, 10min),
    setting{"connect_timeout", &d.connect_timeout, "For the connection and the log-in together."}.between(100ms, 10min),
    setting{"statement_timeout", &d.statement_timeout, "A server that takes longer to answer is taken for dead."}
      .between(100ms, 1h),
    setting{"alarm_after", &d.alarm_after, "An outage that lasts longer is an alarm."}.between(1s, 7 * 24h),
    setting{"connections_max", &d.connections_max, "Most connections of one node to a server."}.between(1, 1'000),
  };
  // Once loaded, only what this kind of database takes: so that what `show` prints can be loaded again.
  std::erase_if(all, [is_file](const setting& s) {
    constexpr std::array of_servers{
      "read_url",          "user",           "password", "password_file", "tls", "connect_timeout",
      "statement_timeout", "connections_max"};
    return is_file && std::find(of_servers.begin(), of_servers.end(), s.name) != of_servers.end();
  });
  return all;
}

section describe_column(column& c) {
  const auto constant = [](const std::string& text) -> result<source> {
    return source{source::kind::constant, {}, text};
  };
  choices<column_type> types;
  for (const auto type : {column_type::text, column_type::integer, column_type::real, column_type::boolean,
                          column_type::timestamp, column_type::bytes, column_type::json})
    types.emplace_back(name_of(type), type);
  return {
    {"from", parsed("source", c.source, parse_source, [](const source& s) { return to_text(s); }),
     "Where the value comes from; see [Columns](#columns)."},
    {"value",
     parsed("text", c.source, constant,
            [](const source& s) { return s.from == source::kind::constant ? std::optional{s.name} : std::nullopt; }),
     "A constant, in place of `from`."},
    setting{"type", one_of(c.type, types), "Type of the column."}.required(),
    {"optional", &c.optional, "Absent or null becomes NULL; otherwise the message becomes a dead letter."},
  };
}

named_sections describe_columns(std::vector<column>& columns) {
  const auto add = [&columns](const std::string& name) {
    columns.emplace_back().name = name;
    return describe_column(columns.back());
  };
  const auto all = [&columns] {
    std::vector<std::pair<std::string, section>> sections;
    sections.reserve(columns.size());
    for (column& c : columns)
      sections.emplace_back(c.name, describe_column(c));
    return sections;
  };
  return {add, all, true};
}

section describe_batch(batch_limits& b) {
  return {
    setting{"records_max", &b.records_max, "Most records in one transaction. A batch never waits to fill up."}.between(
      1, 100'000),
  };
}

section describe_in_flight(in_flight_limits& l) {
  return {
    setting{"messages_max", &l.messages_max, "Most messages a shard holds unacknowledged; then it stops reading."}
      .between(1, 65'535),
    setting{"bytes_max", number{&l.bytes_max, number::unit::bytes}, "The same in bytes."}.between(65'536, 1ull << 32),
  };
}

section describe_hypertable(hypertable& h) {
  return {
    setting{"time_column", &h.time_column, "A timestamp column of the key."}.required(),
    setting{"chunk", &h.chunk, "Time that one chunk covers."}.between(1min, 3'650 * 24h),
  };
}

section describe_dead_letters(dead_letters& l) {
  return {
    setting{"retention", duration_or_never(l.retention), "Dead letters not seen for longer are deleted."}.between(
      1min, 36'500 * 24h),
    {"file", other_path(l.file), "Takes those that the database refuses; relative to `data`."},
    setting{"file_bytes_max", number{&l.file_bytes_max, number::unit::bytes}, "A larger file is rotated."}.between(
      65'536, 1ull << 36),
  };
}

section describe_ingest(ingest& i) {
  const optional_section hypertable_section{[&i] { return describe_hypertable(i.hypertable.emplace()); },
                                            [&i] { return describe_hypertable(*i.hypertable); },
                                            [&i] { return i.hypertable.has_value(); }};
  return {
    setting{"broker", &i.broker, "Where the messages come from: a name of `brokers`."}.required(),
    setting{"topics", &i.topics, "Patterns to subscribe to: fixed levels, `{name}`, `+`, a last `#`."}.required(),
    setting{"qos", &i.qos, "Of the subscription. 0 loses what arrives while nobody listens."}.between(0, 2),
    setting{"shards", &i.shards, "Sessions that share the messages; more than one gives up the order per device."}
      .between(1, 1'024),
    {"format", one_of(i.format, {"json"}), "Of the payload."},
    setting{"database", &i.database, "Where the records go: a name of `databases`."}.required(),
    setting{"table", &i.table, "Table to write, `TABLE` or `SCHEMA.TABLE`; it is created where it is missing."}
      .required(),
    setting{"writers", &i.writers, "Lanes that write at the same time, each with its own connection; SQLite has 1."}
      .between(1, 64),
    setting{"key", &i.key, "Columns of the primary key. A record whose key is there already adds no row."}.required(),
    setting{"columns", describe_columns(i.columns), "The table's columns, in this order."}.required(),
    {"indexes", &i.indexes, "Secondary indexes; see [what they cost](#indexes)."},
    {"on_conflict",
     one_of<conflict_rule>(i.on_conflict, {{"ignore", conflict_rule::ignore}, {"update", conflict_rule::update}}),
     "A record whose key is there already: it is dropped as a duplicate, or replaces the row."},
    {"order", &i.order, "`on_conflict: update`: the column by which the newest wins; without it the last to arrive."},
    {"hypertable", hypertable_section, "Make the table a hypertable of TimescaleDB."},
    setting{"retention", duration_or_never(i.retention), "Older rows are deleted."}.between(1min, 36'500 * 24h),
    {"retention_column", &i.retention_column, "The age of a row; without it the first timestamp of the key."},
    {"dead_letters", describe_dead_letters(i.dead_letters), "How long they are kept, and a file for bad times."},
    {"batch", describe_batch(i.batch), "Limits of one transaction."},
    {"in_flight", describe_in_flight(i.in_flight), "Limits of what is read and not committed yet, for each shard."},
    setting{"lag_warning", &i.lag_warning,
            "Threshold of the alert rule `slow` for this pipeline; without it the rule's."}
      .between(1ms, 24h),
  };
}

/// The columns of `fields`, or with `added` what `add` puts beside them.
template <class Parse, class Print>
named_texts published(std::string kind, std::vector<published_field>& fields, bool added, Parse parse, Print print) {
  const auto add = [&fields, parse](const std::string& name, const std::string& text) -> std::string {
    result<published_field> made = parse(name, text);
    if (!made)
      return made.error().message;
    fields.push_back(std::move(*made));
    return {};
  };
  const auto all = [&fields, added, print] {
    std::vector<std::pair<std::string, std::string>> texts;
    for (const published_field& f : fields)
      if ((f.from != published_field::kind::column) == added)
        texts.push_back(print(f));
    return texts;
  };
  return {std::move(kind), add, all};
}

named_texts published_columns(std::vector<published_field>& fields) {
  return published(
    "name by column", fields, false,
    [](const std::string& column, const std::string& name) -> result<published_field> {
      return published_field{name, published_field::kind::column, column};
    },
    [](const published_field& f) {
      return std::pair{f.source, f.name};
    });
}

named_texts added_fields(std::vector<published_field>& fields) {
  return published("`$table`, `$now`, `$id` or a constant, by name", fields, true, parse_added_field,
                   [](const published_field& f) {
                     return std::pair{f.name, added_field_to_text(f)};
                   });
}

listed_sections describe_ranges(std::vector<shard_range>& ranges) {
  const auto describe_one = [](shard_range& r) -> section {
    return {
      setting{"min", &r.min, "The least value of the shard."}.required(),
      setting{"max", &r.max, "The greatest value of the shard."}.required(),
    };
  };
  const auto add = [&ranges, describe_one] { return describe_one(ranges.emplace_back()); };
  const auto all = [&ranges, describe_one] {
    std::vector<section> sections;
    sections.reserve(ranges.size());
    for (shard_range& r : ranges)
      sections.push_back(describe_one(r));
    return sections;
  };
  return {add, all};
}

section describe_detection(detection& d) {
  return {
    setting{"poll", &d.poll, "Time between two looks while there is nothing new."}.between(1ms, 1h),
    {"notify", one_of<notification>(d.notify, {{"auto", notification::automatic}, {"off", notification::off}}),
     "`auto`: be told of new rows where the database can, and look as well."},
    setting{"late_for", &d.late_for, "A row that becomes visible this late is found by the next looks."}.between(
      0ms, 7 * 24h),
    setting{"sweep", duration_or_never(d.sweep), "Time between two steps of the sweep that finds what came later."}
      .between(10ms, 24h),
    {"changes",
     one_of<change_source>(d.changes, {{"query", change_source::query}, {"logical", change_source::logical}}),
     "How new rows are found: by queries, or by PostgreSQL's logical decoding."},
  };
}

/// `all`, `now` or a value.
word publish_start_of(publish& p) {
  const auto set = [&p](const std::string& text) -> std::string {
    if (text.empty())
      return "must be all, now or a value of `order`";
    p.start = text == "all" ? publish_start::all : text == "now" ? publish_start::now : publish_start::value;
    p.start_value = p.start == publish_start::value ? text : std::string{};
    return {};
  };
  const auto get = [&p]() -> std::optional<std::string> {
    return p.start == publish_start::all ? "all" : p.start == publish_start::now ? "now" : p.start_value;
  };
  return {"`all`, `now` or a value", set, get};
}

section describe_tracking(tracking& t) {
  return {
    {"database", &t.database, "A name of `databases`; without it the source's."},
    {"table", &t.table, "Table to write, `TABLE` or `SCHEMA.TABLE`; it is created where it is missing."},
  };
}

section describe_archive(archive& a) {
  return {
    setting{"after", duration_or_never(a.after), "Records of rows that were sent so long ago move to the archive."}
      .between(1min, 36'500 * 24h),
    setting{"keep", duration_or_never(a.keep), "Records that are longer in the archive are deleted."}.between(
      1min, 36'500 * 24h),
  };
}

/// What is read, and where it goes.
section describe_publish_flow(publish& p) {
  return {
    setting{"database", &p.database, "Where the rows are: a name of `databases`."}.required(),
    setting{"table", &p.table, "Table to read, `TABLE` or `SCHEMA.TABLE`; it is never written."}.required(),
    setting{"key", one_or_more{&p.key}, "Columns that identify a row."}.required(),
    {"order", &p.order, "The column that says what is older; without it the first column of the key."},
    {"where", &p.where, "An SQL condition on the table's columns; other rows are left alone."},
    {"shard_by", &p.shard_by, "Rows with the same value of this column keep their order; without it the key."},
    setting{"shards", &p.shards, "Sessions that share the rows."}.between(1, 1'024),
    {"ranges", describe_ranges(p.ranges), "Which values of `shard_by` go to which shard, in place of a hash."},
    setting{"broker", &p.broker, "Where the messages go: a name of `brokers`."}.required(),
    setting{"topic", &p.topic, "Topic of a row's message; `{Column}` stands for the value of a column."}.required(),
    setting{"qos", &p.qos, "2: exactly once. 1: at least once, with an id to drop repeats by."}.between(
      1, 2, "with 0 the broker confirms nothing, so nobody could know what was sent"),
    {"retain", &p.retain, "The broker keeps the last message of each topic."},
    {"fields", published_columns(p.fields),
     "Members of the payload: column, and its name there; without it all columns."},
    {"add", added_fields(p.fields), "More members: the table, the time, the message's id, constants."},
    {"payload", &p.payload, "The column that holds the payload as it goes out, in place of `fields`."},
  };
}

section describe_publish(publish& p) {
  section all = describe_publish_flow(p);
  section more{
    {"detect", describe_detection(p.detect), "How new rows are found."},
    {"on_update",
     one_of<update_rule>(p.on_update, {{"ignore", update_rule::ignore}, {"publish", update_rule::publish}}),
     "A row that changes after it was sent: leave it, or send each version once."},
    {"version", &p.version, "`on_update: publish`: the column that rises with each change of a row."},
    {"start", publish_start_of(p), "First run: send all rows, only new ones, or those from this value of `order` on."},
    {"on_lost_session",
     one_of<lost_session_rule>(p.on_lost_session,
                               {{"resend", lost_session_rule::resend}, {"hold", lost_session_rule::hold}}),
     "Messages that the broker may have forgotten half-way: send them again, or hold them back."},
    {"tracking", describe_tracking(p.tracking), "Where Penstock keeps what it has sent."},
    {"archive", describe_archive(p.archive), "What becomes of old tracking records."},
    setting{
      "in_flight_max", &p.in_flight_max,
      "Most messages of a shard that are sent and not confirmed yet. Without it 2,000; with QoS 2 a share of 4,000"
      " over all publish shards of the broker, from 20 to 1,000."}
      .between(1, 65'534),
    setting{"retries_max", &p.retries_max,
            "Repeats of a message that the broker has no room for, before it is refused."}
      .between(0, 1'000'000),
    setting{"publish_timeout", &p.publish_timeout, "Without a confirmation for so long, the connection is made anew."}
      .between(100ms, 1h),
    setting{"lag_warning", &p.lag_warning,
            "Threshold of the alert rule `slow` for this pipeline; without it the rule's."}
      .between(1ms, 24h),
  };
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return all;
}

section describe_alert_rule(alert_rule& r, bool is_preset) {
  choices<alert_metric> metrics;
  for (const auto metric : alert_metrics())
    metrics.emplace_back(name_of(metric), metric);
  const auto set_over = [&r](const std::string& text) -> std::string {
    auto made = parse_threshold(r.when, text);
    if (!made)
      return made.error().message + ", where `when` is " + std::string{name_of(r.when)};
    r.over = *made;
    return {};
  };
  const auto get_over = [&r]() -> std::optional<std::string> {
    if (r.when == alert_metric::none)
      return std::nullopt;
    return threshold_to_text(r.when, r.over);
  };
  // `when` comes before `over`: it says what form a threshold has.
  setting when{"when", one_of(r.when, metrics), "What is looked at, of each pipeline."};
  setting over{"over", word{"duration, percentage or number", set_over, get_over},
               "The threshold, as `when` has it: `5s`, `1%`, `10M`; `never` switches the rule off."};
  if (!is_preset) {
    when = std::move(when).required();
    over = std::move(over).required();
  }
  return {
    std::move(when),
    std::move(over),
    setting{"for", &r.hold, "The alert is raised once it has been over the threshold for so long."}.between(0ms, 24h),
    setting{"pipelines", &r.pipelines, "Names of the pipelines it goes for; without it all."},
  };
}

section describe_alerts(alerts& a) {
  const auto add = [&a](const std::string& name) {
    const auto [entry, is_new] = a.rules.try_emplace(name);
    entry->second.name = name;
    return describe_alert_rule(entry->second, !is_new);
  };
  const auto all = [&a] {
    std::vector<std::pair<std::string, section>> sections;
    sections.reserve(a.rules.size());
    for (auto& [name, rule] : a.rules)
      sections.emplace_back(name, describe_alert_rule(rule, true));
    return sections;
  };
  return {
    {"broker", &a.broker, "Where alerts are published: a name of `brokers`; without it they are logged and shown."},
    {"topic", &a.topic, "Retained state of an alert; a level each for `{node}`, `{rule}` and `{pipeline}`."},
    {"rules", named_sections{add, all}, "Rules by name; `slow`, `failing` and `tracking` are there already."},
  };
}

section describe_control(control& c) {
  return {
    setting{"broker", &c.broker, "A name of `brokers`."}.required(),
    {"status_topic", &c.status_topic, "Retained status of each node, with a last will; `{node}` is its name."},
    {"control_topic", &c.control_topic, "Takes `pause`, `resume` and `status`; off unless set."},
  };
}

section describe_log(log& l) {
  return {
    setting{"level", one_of(l.level, {"trace", "debug", "info", "warning", "error"}), "Least severity that is logged."},
    {"format", one_of<log_format>(l.format, {{"text", log_format::text}, {"json", log_format::json}}),
     "`text` for people, `json` for machines."},
  };
}

section describe_supervision(supervision& s) {
  return {
    setting{"restarts_max", &s.restarts_max, "Restarts within `window` before a supervisor gives up and escalates."}
      .between(0, 10'000),
    setting{"window", &s.window, "See `restarts_max`."}.between(1s, 24h),
  };
}

} // namespace

section describe(configuration& c) {
  const optional_section cluster_section{[&c] { return describe_cluster(c.cluster.emplace()); },
                                         [&c] { return describe_cluster(*c.cluster); },
                                         [&c] { return c.cluster.has_value(); }};
  const optional_section control_section{[&c] { return describe_control(c.control.emplace()); },
                                         [&c] { return describe_control(*c.control); },
                                         [&c] { return c.control.has_value(); }};
  section all{
    {"data", &c.data, "Directory for databases, embedded brokers and `run.json`; relative to this file."},
    {"node", describe_node(c.node), "The one node of a configuration without `cluster`."},
    {"cluster", cluster_section, "Many nodes share the work; see [Many nodes](cluster.md)."},
    {"nodes", describe_nodes(c.nodes), "Those of the cluster; `--node` says which one a process is."},
    {"brokers", named(c.brokers, describe_broker), "MQTT brokers."},
    {"databases", named(c.databases, describe_database), "SQL databases."},
    {"ingest", named(c.ingest, describe_ingest), "Pipelines from MQTT into SQL."},
    {"publish", named(c.publish, describe_publish), "Pipelines from SQL to MQTT; see [Publishing](#publishing)."},
    {"alerts", describe_alerts(c.alerts), "What is told when it goes wrong; see [Alerts](#alerts)."},
    {"control", control_section, "Presence and remote control over MQTT, on a connection of its own."},
    {"log", describe_log(c.log), "Where to look when something is wrong."},
    {"supervision", describe_supervision(c.supervision), "Restart budgets."},
  };
  if (c.cluster)
    std::erase_if(all, [](const setting& s) { return s.name == "node"; });
  return all;
}

setting setting::required() && {
  is_required = true;
  return std::move(*this);
}

setting setting::between(std::uint64_t low, std::uint64_t high, std::string_view reason) && {
  min = low;
  max = high;
  bounds_reason = reason;
  return std::move(*this);
}

setting setting::between(milliseconds low, milliseconds high) && {
  return std::move(*this).between(static_cast<std::uint64_t>(low.count()), static_cast<std::uint64_t>(high.count()));
}

std::string to_text(const number& number, std::uint64_t value) {
  if (number.zero_is_never && value == 0)
    return "never";
  switch (number.what) {
  case number::unit::bytes: return size_to_text(value);
  case number::unit::duration: return to_text(milliseconds{static_cast<std::int64_t>(value)});
  case number::unit::count: break;
  }
  return std::to_string(value);
}

} // namespace penstock::config
