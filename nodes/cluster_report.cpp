#include "nodes/cluster_report.hpp"

#include "cluster/shards.hpp"
#include "config/findings.hpp"
#include "config/value.hpp"
#include "nodes/command_support.hpp"
#include "nodes/section_digests.hpp"
#include "nodes/version.hpp"
#include "telemetry/visible.hpp"
#include "web/http_client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <set>

namespace penstock::nodes {

namespace {

using namespace std::chrono_literals;
using nlohmann::ordered_json;
using storage::cluster_node;

constexpr auto patience = 2s;

/// Where to ask: a node that listens everywhere is asked at the host of its links.
std::string url_of(const cluster_node& node) {
  auto http = config::parse_address(node.http);
  const auto links = config::parse_address(node.address);
  if (http && links && (http->host == "0.0.0.0" || http->host == "::"))
    http->host = links->host;
  return "http://" + (http ? http->to_string() : node.http) + "/status";
}

result<ordered_json> ask(const cluster_node& node) {
  const auto answer = web::http_get(url_of(node), patience);
  if (!answer)
    return answer.error();
  const auto not_it = [&](const std::string& why) { return error{errc::protocol_violation, url_of(node) + " " + why}; };
  if (answer->status != 200)
    return not_it("answered " + std::to_string(answer->status));
  auto status = ordered_json::parse(answer->body, nullptr, false);
  if (!status.is_object() || !status.contains("node") || !status["node"].is_object())
    return not_it("is no node of Penstock");
  // An address on loopback is another node's on every machine.
  if (const auto name = status["node"].value("name", std::string{}); name != node.name)
    return not_it("is node '" + name + "': from this machine the one that is meant cannot be asked");
  return status;
}

ordered_json member(const ordered_json& parent, const char* key) {
  const auto found = parent.is_object() ? parent.find(key) : parent.end();
  return found == parent.end() ? ordered_json{} : *found;
}

std::uint64_t number(const ordered_json& parent, const char* key) {
  const auto found = member(parent, key);
  return found.is_number() ? found.get<std::uint64_t>() : 0;
}

/// Of every pipeline of the node: its lag, and the records that it is ready to take.
ordered_json pipelines_of(const ordered_json& status) {
  ordered_json all = ordered_json::object();
  const auto ingest = member(status, "pipelines");
  const auto publish = member(status, "publish");
  for (const auto& [name, pipeline] : ingest.items())
    all[name] = {{"lag_ms", member(pipeline, "lag_ms")}, {"demand", member(pipeline, "credit")}};
  for (const auto& [name, pipeline] : publish.items()) {
    std::uint64_t demand = 0;
    for (const auto& shard : member(pipeline, "shards")) {
      const auto in_flight = number(member(shard, "account"), "in_flight");
      demand += number(shard, "window") - std::min(number(shard, "window"), in_flight);
    }
    all[name] = {{"lag_ms", member(pipeline, "oldest_ms")}, {"demand", demand}};
  }
  return all;
}

/// Sections in which the node's configuration is not as this file. Another version may have other settings.
ordered_json differences(const cluster_node& node, const ordered_json& status,
                         const std::map<std::string, std::string>& sections) {
  const auto there = member(member(status, "configuration"), "sections");
  if (!there.is_object() || node.version != version())
    return {};
  ordered_json paths = ordered_json::array();
  for (const auto& [path, digest] : sections)
    if (member(there, path.c_str()) != digest)
      paths.push_back(path);
  for (const auto& [path, unused] : there.items())
    if (!sections.contains(path))
      paths.push_back(path);
  return paths;
}

ordered_json describe(const cluster_node& node, const storage::cluster_snapshot& seen, const node_answers& answers,
                      const std::map<std::string, std::string>& sections) {
  const auto answer = answers.find(node.name);
  const bool asked = answer != answers.end();
  const bool told = asked && answer->second;
  const auto owned = std::count_if(seen.shards.begin(), seen.shards.end(),
                                   [&](const auto& each) { return each.instance == node.instance; });
  return {{"name", node.name},
          {"alive", node.is_alive()},
          {"lease_left_ms", node.lease_left.count()},
          {"draining", node.draining},
          {"roles", node.roles},
          {"shards", node.is_alive() ? owned : 0},
          {"address", node.address},
          {"http", node.http},
          {"version", node.version},
          {"error", asked && !told ? ordered_json(answer->second.error().to_string()) : ordered_json{}},
          {"ready", told ? member(*answer->second, "ready") : ordered_json{}},
          {"not_ready", told ? member(*answer->second, "not_ready") : ordered_json{}},
          {"differs", told ? differences(node, *answer->second, sections) : ordered_json{}},
          {"links", told ? member(member(*answer->second, "cluster"), "links") : ordered_json{}},
          {"pipelines", told ? pipelines_of(*answer->second) : ordered_json{}}};
}

ordered_json describe(const storage::shard_owner& shard, const std::string& role, bool is_owned) {
  return {{"shard", cluster::to_text(shard.id)},
          {"role", role.empty() ? ordered_json{} : ordered_json(role)},
          {"owner", shard.node},
          {"owned", is_owned},
          {"epoch", shard.epoch},
          {"pinned", shard.pinned.empty() ? ordered_json{} : ordered_json(shard.pinned)}};
}

ordered_json shards_of(const config::configuration& configuration, const storage::cluster_snapshot& seen) {
  std::set<std::string> living; ///< instances
  for (const auto& node : seen.nodes)
    if (node.is_alive())
      living.insert(node.instance);
  std::map<storage::shard_id, std::pair<storage::shard_owner, std::string>> all; ///< with the role
  for (const auto& owner : seen.shards)
    all[owner.id].first = owner;
  for (const auto& wanted : cluster::shards_of(configuration)) {
    all[wanted.id].first.id = wanted.id;
    all[wanted.id].second = wanted.role;
  }
  ordered_json shards = ordered_json::array();
  for (const auto& [id, shard] : all) {
    const bool is_owned = living.contains(shard.first.instance);
    // What an older configuration had is of interest only while somebody runs it.
    if (!shard.second.empty() || is_owned)
      shards.push_back(describe(shard.first, shard.second, is_owned));
  }
  return shards;
}

// --- text -------------------------------------------------------------------------------------------------------

/// Rows of cells in columns, indented by two.
std::string in_columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += fmt::format("  {:<{}}", row[i], widths[i]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string text_of(const ordered_json& value) {
  const auto text = value.is_string() ? telemetry::visible(value.get<std::string>()) : std::string{};
  return text.empty() ? "-" : text;
}

std::string seconds(std::int64_t milliseconds) {
  return fmt::format("{:.1f} s", static_cast<double>(milliseconds) / 1e3);
}

std::string state_of(const ordered_json& node) {
  const auto left = node["lease_left_ms"].get<std::int64_t>();
  if (!node["alive"].get<bool>())
    return "DEAD for " + seconds(-left);
  return (node["draining"].get<bool>() ? "draining, " : "alive, ") + seconds(left) + " left";
}

std::string links_of(const ordered_json& node) {
  const auto& links = node["links"];
  if (!links.is_object())
    return "-";
  const auto up =
    std::count_if(links.begin(), links.end(), [](const auto& link) { return member(link, "up") == true; });
  return fmt::format("{} of {} up", up, links.size());
}

std::string nodes_text(const ordered_json& nodes) {
  std::vector<std::vector<std::string>> rows{
    {"NODE", "STATE", "SHARDS", "ROLES", "ADDRESS", "HTTP", "VERSION", "LINKS"}};
  for (const auto& node : nodes)
    rows.push_back({text_of(node["name"]), state_of(node), std::to_string(node["shards"].get<std::size_t>()),
                    config::list_of(node["roles"].get<std::vector<std::string>>()), text_of(node["address"]),
                    text_of(node["http"]), text_of(node["version"]), links_of(node)});
  std::string text = in_columns(rows);
  for (const auto& node : nodes) {
    if (node["error"].is_string())
      text += "  " + text_of(node["name"]) + " does not say how it is: " + text_of(node["error"]) + "\n";
    if (node["not_ready"].is_array())
      for (const auto& reason : node["not_ready"])
        text += "  NOT READY: " + text_of(node["name"]) + ": " + text_of(reason) + "\n";
    if (node["differs"].is_array() && !node["differs"].empty())
      text += "  ANOTHER CONFIGURATION: " + text_of(node["name"]) + ": " +
              telemetry::visible(config::list_of(node["differs"].get<std::vector<std::string>>())) +
              (node["differs"].size() == 1 ? " is" : " are") +
              " not as in this file; a node reads its own again at SIGHUP, `cluster` only when it starts\n";
    if (node["links"].is_object())
      for (const auto& [peer, link] : node["links"].items())
        if (member(link, "up") != true)
          text += "  LINK DOWN: " + text_of(node["name"]) + " to " + telemetry::visible(peer) + ": " +
                  text_of(member(link, "reason")) + "\n";
  }
  return text;
}

/// Those of the file that have never joined, or have left.
std::string not_running_text(const ordered_json& names) {
  return names.empty() ? std::string{}
                       : "  NOT RUNNING: " + config::list_of(names.get<std::vector<std::string>>()) + "\n";
}

std::string shards_text(const ordered_json& shards) {
  std::vector<std::vector<std::string>> rows{{"SHARD", "ROLE", "OWNER", "EPOCH", ""}};
  for (const auto& shard : shards) {
    const bool is_owned = shard["owned"].get<bool>();
    std::string note = shard["pinned"].is_string() ? "pinned to " + text_of(shard["pinned"]) : "";
    if (shard["role"].is_null())
      note = "not in this configuration";
    const auto owner = text_of(shard["owner"]);
    rows.push_back({text_of(shard["shard"]), text_of(shard["role"]),
                    is_owned       ? owner
                    : owner == "-" ? "NOBODY"
                                   : "NOBODY (" + owner + " is dead)",
                    std::to_string(shard["epoch"].get<std::uint64_t>()), note});
  }
  return in_columns(rows);
}

std::string figure(const ordered_json& value, const std::string& unit = {}) {
  return value.is_number() ? with_commas(value.get<std::uint64_t>()) + unit : "-";
}

std::string pipelines_text(const ordered_json& nodes) {
  std::vector<std::vector<std::string>> rows{{"PIPELINE", "NODE", "LAG", "DEMAND"}};
  for (const auto& node : nodes)
    if (node["pipelines"].is_object())
      for (const auto& [name, pipeline] : node["pipelines"].items())
        rows.push_back({telemetry::visible(name), text_of(node["name"]), figure(pipeline["lag_ms"], " ms"),
                        figure(pipeline["demand"])});
  std::sort(rows.begin() + 1, rows.end());
  return rows.size() == 1 ? std::string{} : "\n" + in_columns(rows);
}

/// Shards that nobody owns, by the role that is missing or just late.
std::string alarms_text(const ordered_json& report) {
  std::map<std::string, std::vector<std::string>> unowned; ///< by role
  for (const auto& shard : report["shards"])
    if (!shard["owned"].get<bool>())
      unowned[text_of(shard["role"])].push_back(text_of(shard["shard"]));
  std::string text;
  for (const auto& entry : unowned) {
    const auto& role = entry.first;
    const auto& shards = entry.second;
    const bool has_node = std::any_of(report["nodes"].begin(), report["nodes"].end(), [&](const auto& node) {
      const auto roles = node["roles"].template get<std::vector<std::string>>();
      return node["alive"].template get<bool>() && std::find(roles.begin(), roles.end(), role) != roles.end();
    });
    text +=
      fmt::format("NOBODY OWNS {} of the shards that need the role {}: {}\n", shards.size(), role,
                  has_node ? "a node should take them within a lease" : "no living node has that role; start one");
  }
  return text;
}

} // namespace

node_answers ask_nodes(const std::vector<cluster_node>& nodes) {
  std::vector<std::pair<std::string, std::future<result<ordered_json>>>> asked;
  for (const auto& node : nodes)
    if (node.is_alive() && !node.http.empty())
      asked.emplace_back(node.name, std::async(std::launch::async, [&node] { return ask(node); }));
  node_answers answers;
  for (auto& [name, answer] : asked)
    answers.emplace(name, answer.get());
  return answers;
}

ordered_json report_of(const config::configuration& configuration, const storage::cluster_snapshot& seen,
                       const node_answers& answers) {
  const auto sections = section_digests(configuration);
  ordered_json nodes = ordered_json::array();
  for (const auto& node : seen.nodes)
    nodes.push_back(describe(node, seen, answers, sections));
  ordered_json not_running = ordered_json::array();
  for (const auto& [name, unused] : configuration.nodes)
    if (std::none_of(seen.nodes.begin(), seen.nodes.end(),
                     [wanted = &name](const auto& node) { return node.name == *wanted; }))
      not_running.push_back(name);
  return {{"cluster", configuration.cluster->name},
          {"state", configuration.cluster->state},
          {"nodes", nodes},
          {"not_running", not_running},
          {"shards", shards_of(configuration, seen)}};
}

std::string report_text(const ordered_json& report) {
  const auto count = [](const ordered_json& all, const char* what) {
    return std::count_if(all.begin(), all.end(), [&](const auto& each) { return each[what].template get<bool>(); });
  };
  const auto& nodes = report["nodes"];
  const auto& shards = report["shards"];
  return fmt::format("cluster {}, state in database {}: {} of {} nodes alive, {} of {} shards owned\n",
                     text_of(report["cluster"]), text_of(report["state"]), count(nodes, "alive"), nodes.size(),
                     count(shards, "owned"), shards.size()) +
         alarms_text(report) + "\n" + (nodes.empty() ? std::string{} : nodes_text(nodes)) +
         not_running_text(report["not_running"]) + "\n" + shards_text(shards) + pipelines_text(nodes);
}

} // namespace penstock::nodes
