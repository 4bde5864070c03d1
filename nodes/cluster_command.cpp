#include "nodes/cluster_command.hpp"

#include "cluster/shards.hpp"
#include "config/findings.hpp"
#include "config/value.hpp"
#include "nodes/check.hpp"
#include "nodes/cluster_report.hpp"
#include "nodes/exit_codes.hpp"
#include "storage/cluster_state.hpp"

#include <algorithm>
#include <optional>
#include <ostream>

namespace penstock::nodes {

namespace {

using storage::cluster_node;

/// The state database of a configuration, and what it holds.
struct opened_cluster {
  config::configuration configuration;
  std::unique_ptr<storage::cluster_state> state;
  storage::cluster_snapshot seen;
};

/// Prints why where there is none, and says it with the exit code.
std::optional<opened_cluster> open(const cluster_options& options, int& code, std::ostream& err) {
  opened_cluster made;
  code = exit_configuration;
  if (!load_or_report(options.config, std::string{}, made.configuration, err))
    return std::nullopt;
  if (!made.configuration.cluster) {
    err << options.config.string() << " has no section `cluster`: one process does everything, and `penstock status` "
        << "shows it\n";
    return std::nullopt;
  }
  const auto failed = [&](const error& why) {
    err << "the state database '" << made.configuration.cluster->state << "': " << why.to_string() << '\n';
    code = disposition_of(why.code) == disposition::fatal ? exit_configuration : exit_unavailable;
    return std::nullopt;
  };
  auto state = storage::open_cluster_state(made.configuration.databases.at(made.configuration.cluster->state));
  if (!state)
    return failed(state.error());
  if (auto prepared = (*state)->prepare(); !prepared)
    return failed(prepared.error());
  auto seen = (*state)->read();
  if (!seen)
    return failed(seen.error());
  if (const auto others = storage::strangers(seen->nodes, made.configuration.cluster->name); !others.empty())
    return failed({errc::configuration, others});
  made.state = *std::move(state);
  made.seen = *std::move(seen);
  return std::optional{std::move(made)};
}

const cluster_node* find_node(const storage::cluster_snapshot& seen, const std::string& name) {
  const auto found =
    std::find_if(seen.nodes.begin(), seen.nodes.end(), [&](const auto& each) { return each.name == name; });
  return found == seen.nodes.end() ? nullptr : &*found;
}

/// Prints the nodes that there are where there is none of this name.
const cluster_node* known_node(const opened_cluster& opened, const std::string& name, std::ostream& err) {
  const auto& seen = opened.seen;
  const auto* found = find_node(seen, name);
  if (found != nullptr)
    return found;
  if (opened.configuration.nodes.contains(name)) {
    err << "node '" << name << "' is not running; start it first\n";
    return nullptr;
  }
  std::vector<std::string> names;
  names.reserve(seen.nodes.size());
  for (const auto& each : seen.nodes)
    names.push_back(each.name);
  err << "no node '" << name << "' has joined" << config::did_you_mean(name, names)
      << "; there is: " << config::list_of(names) << '\n';
  return nullptr;
}

/// "telemetry/0 to 5", "telemetry/batch-writer/0".
std::string list_of_shards(const std::vector<cluster::wanted_shard>& shards) {
  std::vector<std::string> texts;
  for (std::size_t first = 0; first < shards.size();) {
    std::size_t last = first;
    while (last + 1 < shards.size() && shards[last + 1].id.pipeline == shards[first].id.pipeline)
      ++last;
    texts.push_back(cluster::to_text(shards[first].id) +
                    (last > first ? " to " + std::to_string(shards[last].id.shard) : ""));
    first = last + 1;
  }
  return config::list_of(texts);
}

std::optional<cluster::wanted_shard> known_shard(const config::configuration& configuration, const std::string& text,
                                                 std::ostream& err) {
  const auto all = cluster::shards_of(configuration);
  const auto id = cluster::parse_shard(text);
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return id && each.id == *id; });
  if (found != all.end())
    return *found;
  err << "there is no shard '" << text << "'" << (id ? "" : ", which is PIPELINE/SHARD")
      << "; there is: " << list_of_shards(all) << '\n';
  return std::nullopt;
}

std::size_t shards_of_node(const storage::cluster_snapshot& seen, const cluster_node& node) {
  return static_cast<std::size_t>(std::count_if(seen.shards.begin(), seen.shards.end(),
                                                [&](const auto& each) { return each.instance == node.instance; }));
}

/// Why a pin changes nothing for now; empty: it does.
std::string obstacle(const cluster_node& node) {
  if (!node.is_alive())
    return "; it is dead, so that others own the shard until it is back";
  return node.draining ? "; it is draining, so that others own the shard until `cluster drain " + node.name + " --undo`"
                       : std::string{};
}

int failed(const error& why, std::ostream& err) {
  err << why.to_string() << '\n';
  return disposition_of(why.code) == disposition::fatal ? exit_configuration : exit_unavailable;
}

} // namespace

int cluster_status(const cluster_options& options, std::ostream& out, std::ostream& err) {
  int code = exit_done;
  const auto opened = open(options, code, err);
  if (!opened)
    return code;
  const auto report = report_of(opened->configuration, opened->seen, ask_nodes(opened->seen.nodes));
  if (options.json)
    out << report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
  else
    out << report_text(report);
  return exit_done;
}

int cluster_drain(const cluster_options& options, const std::string& node, bool undo, std::ostream& out,
                  std::ostream& err) {
  int code = exit_done;
  const auto opened = open(options, code, err);
  if (!opened)
    return code;
  const auto* found = known_node(*opened, node, err);
  if (found == nullptr)
    return exit_usage;
  auto drained = opened->state->drain(node, !undo);
  if (!drained)
    return failed(drained.error(), err);
  if (!*drained) {
    err << "node '" << node << "' has left just now\n";
    return exit_usage;
  }
  if (undo)
    out << node << " takes part again: within a lease it gets its share of the shards\n";
  else
    out << node << " is draining: its " << shards_of_node(opened->seen, *found)
        << " shards go to other nodes, and none "
        << "comes to it, as long as others may own them; `penstock cluster status` shows when it has none. Take it "
           "back with --undo\n";
  return exit_done;
}

int cluster_move(const cluster_options& options, const std::string& shard, const std::string& node, std::ostream& out,
                 std::ostream& err) {
  int code = exit_done;
  const auto opened = open(options, code, err);
  if (!opened)
    return code;
  const auto wanted = known_shard(opened->configuration, shard, err);
  if (!wanted)
    return exit_usage;
  const bool unpins = node == "-";
  const auto* target = unpins ? nullptr : known_node(*opened, node, err);
  if (!unpins && target == nullptr)
    return exit_usage;
  if (target != nullptr && std::find(target->roles.begin(), target->roles.end(), wanted->role) == target->roles.end()) {
    err << "node '" << node << "' may not own " << shard << ": that needs the role " << wanted->role
        << ", and it has: " << config::list_of(target->roles) << '\n';
    return exit_usage;
  }
  const auto pinned = opened->state->pin(wanted->id, unpins ? std::string{} : node);
  if (!pinned)
    return failed(pinned.error(), err);
  if (!*pinned) {
    err << shard << " was owned by nobody yet, so it cannot be pinned; start a node that has the role " << wanted->role
        << " first\n";
    return exit_unavailable;
  }
  if (unpins)
    out << shard << " goes where placement puts it\n";
  else
    out << shard << " is pinned to " << node << obstacle(*target)
        << "; give it back to placement with: penstock cluster "
        << "move " << shard << " -\n";
  return exit_done;
}

} // namespace penstock::nodes
