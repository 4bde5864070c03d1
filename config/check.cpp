#include "config/check.hpp"

#include "config/login.hpp"
#include "config/topic_pattern.hpp"
#include "config/value.hpp"

#include <algorithm>

namespace penstock::config {

namespace {

login_settings login_of(broker& b, const std::string& path) { return {path, b.user, b.password, b.password_file}; }

void resolve_url(broker& b, const std::string& path, findings& problems) {
  const std::string url_path = below(path, "url");
  if (!problems.sound(url_path))
    return;
  if (!problems.given(url_path))
    return problems.add(url_path,
                        "is missing; give the broker's address, or `embedded: true` for one of Penstock's own");
  const auto url = parse_broker_url(b.url);
  if (!url)
    return problems.add(url_path, url.error().message + "; it is " + problems.written(url_path));
  b.host = url->host;
  b.port = url->port;
  b.use_tls = url->use_tls;
  // Without the credentials the URL can be shown and logged anywhere.
  b.url = (b.use_tls ? "mqtts://" : "mqtt://") + address{b.host, b.port}.to_string();
  take_login(login_of(b, path), url->user, url->password, problems);
}

void resolve_embedded(broker& b, const std::string& path, findings& problems) {
  b.host = "127.0.0.1";
  for (const char* name : {"url", "user", "password", "password_file", "tls"})
    if (const std::string here = below(path, name); problems.given(here))
      problems.add(here,
                   "does not go with `embedded: true`, a broker of Penstock's own on 127.0.0.1; remove one of them");
}

void check_tls(const broker& b, const std::string& path, findings& problems) {
  const std::string tls_path = below(path, "tls");
  if (!problems.given(tls_path) || !problems.sound(tls_path))
    return;
  if (!b.use_tls && problems.sound(below(path, "url")))
    problems.add(tls_path, "needs an mqtts:// url; mqtt:// is not encrypted");
  check_client_certificate(b.tls, tls_path, problems);
}

void resolve_broker(broker& b, findings& problems) {
  const std::string path = "brokers." + b.name;
  if (b.embedded) {
    resolve_embedded(b, path, problems);
  } else {
    const bool url_given = problems.given(below(path, "url"));
    if (url_given && problems.given(below(path, "port")))
      problems.add(below(path, "port"), "is for embedded brokers; the port of others stands in the url");
    if (problems.sound(below(path, "embedded")))
      resolve_url(b, path, problems);
    read_password(login_of(b, path), problems);
    check_tls(b, path, problems);
    const bool login_sound = problems.sound(below(path, "user")) && problems.sound(below(path, "url"));
    if (b.user.empty() && !b.password.value.empty() && login_sound)
      problems.add(below(path, "user"), "is missing; a password is sent with a user only");
  }
  if (b.reconnect_min > b.reconnect_max && problems.sound(below(path, "reconnect_min")) &&
      problems.sound(below(path, "reconnect_max")))
    problems.add(below(path, "reconnect_min"), "is longer than reconnect_max (" + to_text(b.reconnect_max) + ")");
}

template <class T>
void check_reference(const std::string& name, const std::map<std::string, T>& entries, const std::string& section,
                     const std::string& path, findings& problems) {
  // What could not be read of the section may well have the name.
  if (!problems.given(path) || !problems.sound(path) || entries.contains(name) ||
      (entries.empty() && !problems.sound(section)))
    return;
  const auto names = names_of(entries);
  problems.add(path, problems.written(path) + " is not in `" + section + "`" + did_you_mean(name, names) +
                       (names.empty() ? ", which is empty; add it there" : "; there is: " + list_of(names)));
}

void check_control(const configuration& c, findings& problems) {
  check_reference(c.control->broker, c.brokers, "brokers", "control.broker", problems);
  const auto check_topic = [&](const std::string& topic, const std::string& path) {
    if (!problems.sound(path))
      return;
    const auto pattern = topic_pattern::parse(topic);
    const auto is_fit = [](const topic_pattern::level& l) {
      using kind = topic_pattern::level::kind;
      return l.what == kind::text || (l.what == kind::name && l.text == "node");
    };
    if (!pattern || !std::all_of(pattern->levels().begin(), pattern->levels().end(), is_fit))
      problems.add(path, "must be one topic, in which {node} may stand for a level; no + and #");
  };
  check_topic(c.control->status_topic, "control.status_topic");
  if (!c.control->control_topic.empty())
    check_topic(c.control->control_topic, "control.control_topic");
  if (c.control->control_topic == c.control->status_topic)
    problems.add("control.control_topic", "is the status_topic as well; choose another");
}

/// The database of this name, where it is known what kind it is.
const database* known_database(const configuration& c, const std::string& name, const findings& problems) {
  const auto found = c.databases.find(name);
  return found != c.databases.end() && problems.sound("databases." + name + ".url") ? &found->second : nullptr;
}

/// The threshold of the rule on lag, where the pipeline has none of its own.
void resolve_lag_warning(milliseconds& lag_warning, const std::string& path, const alerts& a,
                         const findings& problems) {
  const auto rule = a.rules.find(lag_rule);
  if (!problems.given(below(path, "lag_warning")) && rule != a.rules.end() && rule->second.over)
    lag_warning = milliseconds{static_cast<std::int64_t>(*rule->second.over)};
}

/// What a broker has in flight of all publish shards with QoS 2 together. mosquitto searches a session's messages at
/// each PUBREL: with 1,000 each, 100 sessions cost it six times what they cost with 50 (bench/results).
constexpr std::uint32_t in_flight_of_broker = 4'000;
constexpr std::uint32_t in_flight_least = 20; // mosquitto's own default
constexpr std::uint16_t in_flight_most = 1'000;
constexpr std::uint16_t in_flight_of_qos_1 = 2'000; // its acknowledgements lead to no search

/// A file has no schemas: what is written for a server names the same table of a file.
void drop_schema(publish& p, const database* source) {
  const auto dot = p.table.find('.');
  if (source != nullptr && source->kind == database_kind::sqlite && dot != std::string::npos)
    p.table.erase(0, dot + 1);
}

void resolve_publish(publish& p, std::uint32_t shards_of_broker, const findings& problems) {
  const std::string path = "publish." + p.name;
  p.in_flight_given = problems.given(below(path, "in_flight_max"));
  if (!p.in_flight_given)
    p.in_flight_max = p.qos == 1
                        ? in_flight_of_qos_1
                        : static_cast<std::uint16_t>(std::clamp(in_flight_of_broker / std::max(1u, shards_of_broker),
                                                                in_flight_least, std::uint32_t{in_flight_most}));
  if (p.key.empty())
    return;
  if (!problems.given(below(path, "order")))
    p.order = p.key.front();
  if (!problems.given(below(path, "shard_by")) && p.key.size() == 1)
    p.shard_by = p.key.front();
}

void check_each_ingest(const configuration& c, findings& problems) {
  for (const auto& [name, pipeline] : c.ingest) {
    const std::string path = "ingest." + name;
    check_reference(pipeline.broker, c.brokers, "brokers", below(path, "broker"), problems);
    check_reference(pipeline.database, c.databases, "databases", below(path, "database"), problems);
    check_pipeline(pipeline, problems);
    check_storage(pipeline, known_database(c, pipeline.database, problems), problems);
  }
}

void check_each_publish(const configuration& c, findings& problems) {
  for (const auto& [name, pipeline] : c.publish) {
    const std::string path = "publish." + name;
    check_reference(pipeline.broker, c.brokers, "brokers", below(path, "broker"), problems);
    check_reference(pipeline.database, c.databases, "databases", below(path, "database"), problems);
    check_reference(pipeline.tracking.database, c.databases, "databases", below(path, "tracking.database"), problems);
    check_publish(pipeline, known_database(c, pipeline.database, problems),
                  known_database(c, tracking_database(pipeline), problems), problems);
  }
}

} // namespace

void resolve(configuration& c, const load_options& options, findings& problems) {
  resolve_node(c, options, problems);
  for (auto& entry : c.brokers)
    resolve_broker(entry.second, problems);
  const auto lease = c.cluster.value_or(cluster{}).lease;
  for (auto& [name, database] : c.databases) {
    resolve_database(database, c.data, problems);
    database.transaction_idle_max = std::min(lease, database.statement_timeout);
  }
  for (auto& [name, pipeline] : c.ingest)
    resolve_lag_warning(pipeline.lag_warning, "ingest." + name, c.alerts, problems);
  for (auto& [name, pipeline] : c.publish)
    resolve_lag_warning(pipeline.lag_warning, "publish." + name, c.alerts, problems);
  for (auto& entry : c.ingest)
    if (auto& file = entry.second.dead_letters.file; !file.empty())
      file = (node_folder(c) / file).lexically_normal();
  std::map<std::string, std::uint32_t> shards;
  for (const auto& entry : c.publish)
    shards[entry.second.broker] += entry.second.shards;
  for (auto& entry : c.publish) {
    drop_schema(entry.second, known_database(c, entry.second.database, problems));
    resolve_publish(entry.second, shards[entry.second.broker], problems);
  }
}

void check(const configuration& c, findings& problems) {
  check_each_ingest(c, problems);
  check_each_publish(c, problems);
  check_sharing(c, problems);
  if (c.cluster) {
    check_reference(c.cluster->state, c.databases, "databases", "cluster.state", problems);
    check_cluster(c, problems);
  }
  check_reference(c.alerts.broker, c.brokers, "brokers", "alerts.broker", problems);
  check_alerts(c, problems);
  if (c.control)
    check_control(c, problems);
}

} // namespace penstock::config
