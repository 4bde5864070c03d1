#include "config/check.hpp"
#include "config/value.hpp"

#include <algorithm>
#include <fstream>
#include <set>

namespace penstock::config {

namespace {

// --- which node this is -----------------------------------------------------------------------------------------

/// What the command line says wrongly stands in no line of the file.
void add_of_command_line(const std::string& text, findings& problems) { problems.add(mark{}, "", text); }

/// A node that the file does not list, of the command line.
node joining(const load_options& options, findings& problems) {
  node made{.name = options.node, .http = std::nullopt};
  if (auto address = parse_address(options.joins.address))
    made.address = *address;
  else
    add_of_command_line("--address " + address.error().message, problems);
  if (auto http = parse_http_address(options.joins.http.empty() ? "off" : options.joins.http))
    made.http = *http;
  else
    add_of_command_line("--http " + http.error().message, problems);
  if (options.joins.roles.empty())
    return made;
  made.roles.clear();
  for (std::size_t from = 0; from <= options.joins.roles.size();) {
    const auto end = std::min(options.joins.roles.find(',', from), options.joins.roles.size());
    const std::string word = options.joins.roles.substr(from, end - from);
    if (const auto wrong = add_role(made.roles, word); !wrong.empty())
      add_of_command_line("--roles: each " + wrong + "; it is " + in_quotes(word), problems);
    from = end + 1;
  }
  return made;
}

std::string of_the_file(const configuration& c) { return "; the file has: " + list_of(names_of(c.nodes)); }

void select_node(configuration& c, const load_options& options, findings& problems) {
  const bool known = problems.sound("nodes");
  if (options.node.empty() && options.joins.is_given())
    return add_of_command_line("--address, --http and --roles are of the node that --node names; add --node NAME",
                               problems);
  if (options.node.empty()) {
    const bool only = options.runs && c.nodes.size() == 1;
    c.node = only ? c.nodes.begin()->second : node{.name = {}, .http = std::nullopt};
    if (c.nodes.size() != 1 && options.runs && known)
      add_of_command_line(c.nodes.empty()
                            ? "the file lists no nodes; say which one joins with --node NAME --address "
                              "HOST:PORT"
                            : "several nodes are listed; say which one this is with --node" + of_the_file(c),
                          problems);
    return;
  }
  const auto found = c.nodes.find(options.node);
  if (found != c.nodes.end() && options.joins.is_given())
    return add_of_command_line(
      "--address, --http and --roles are for a node that the file does not list, and it lists '" + options.node +
        "'; leave them out, or change the file",
      problems);
  if (found != c.nodes.end()) {
    c.node = found->second;
  } else if (!options.joins.address.empty()) {
    c.node = joining(options, problems);
    c.nodes[options.node] = c.node;
  } else if (options.runs || options.joins.is_given()) {
    if (known)
      add_of_command_line("--node asks for '" + options.node + "', which the file does not list" +
                            did_you_mean(options.node, names_of(c.nodes)) + of_the_file(c) +
                            "; to join without being listed, add --address HOST:PORT",
                          problems);
  } else {
    // A command that looks for a node which has joined.
    c.node = node{.name = options.node, .http = std::nullopt};
  }
}

void resolve_single_node(configuration& c, const load_options& options, findings& problems) {
  const std::string how = "add a section `cluster` with a `name` (docs/cluster.md)";
  if (problems.given("nodes"))
    problems.add_at_key("nodes", "are those of a cluster: " + how + ", or write `node` for a single process");
  if (options.joins.is_given())
    add_of_command_line("--address, --http and --roles are for joining a cluster: " + how, problems);
  if (!options.node.empty())
    c.node.name = options.node;
  if (!options.node.empty() && !is_name(options.node))
    add_of_command_line("the name after --node must have letters, digits, - and _, and at most 64", problems);
  else if (!is_name(c.node.name) && problems.sound("node.name"))
    problems.add("node.name", "a name has letters, digits, - and _, and at most 64");
}

/// Where pipelines write; each name once.
std::set<std::string> databases_of_pipelines(const configuration& c) {
  std::set<std::string> names;
  for (const auto& entry : c.ingest)
    names.insert(entry.second.database);
  for (const auto& entry : c.publish)
    names.insert(tracking_database(entry.second));
  return names;
}

void resolve_state(configuration& c, findings& problems) {
  if (problems.given("cluster.state"))
    return;
  const auto names = databases_of_pipelines(c);
  if (names.size() == 1)
    c.cluster->state = *names.begin();
  else if (problems.sound("ingest") && problems.sound("publish"))
    problems.add("cluster.state",
                 names.empty()
                   ? "is missing: there is no pipeline, whose database it could be; name one of `databases`"
                   : "is missing: the pipelines write to several databases (" + list_of({names.begin(), names.end()}) +
                       "); name the one that shall hold the cluster's nodes and shards");
}

// --- what a cluster asks ----------------------------------------------------------------------------------------

class cluster_check {
public:
  cluster_check(const configuration& c, findings& problems) : c_(c), cluster_(*c.cluster), problems_(problems) {
    local_ = std::all_of(c.nodes.begin(), c.nodes.end(), [](const auto& entry) {
      return !entry.second.address || entry.second.address->is_loopback();
    });
    // What could not be read of an address may well be another machine's; that is for when it can be.
    known_ = problems.sound("nodes");
  }

  void run() {
    if (problems_.sound("cluster.name") && !is_name(cluster_.name))
      problems_.add("cluster.name", "a name has letters, digits, - and _, and at most 64");
    if (known_) {
      check_addresses();
      check_tls();
      check_roles();
      check_databases();
    }
    check_state();
    check_brokers();
    check_updates();
  }

private:
  /// A node that joins stands in no line.
  void add_of_node(const node& n, std::string_view setting, const std::string& text) {
    const std::string path = "nodes." + n.name + "." + std::string{setting};
    if (problems_.given("nodes." + n.name))
      problems_.add(path, text);
    else
      add_of_command_line("--" + std::string{setting} + " " + text, problems_);
  }

  void check_addresses() {
    for (const auto& [name, n] : c_.nodes) {
      if (!n.address) {
        if (const std::string path = "nodes." + name; problems_.given(path))
          problems_.add(below(path, "address"), "is missing: HOST:PORT, where the other nodes reach this one");
        continue;
      }
      if (is_any(n.address->host))
        add_of_node(n, "address", "is no place where other nodes could reach this one; name its host");
      if (n.address->port == 0 && !n.address->is_loopback())
        add_of_node(n, "address", "needs a port; any free one (0) is for trying things out on one machine");
      claim(n, "address", *n.address);
      if (n.http)
        claim(n, "http", *n.http);
    }
  }

  static bool is_any(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

  /// Nodes whose links have the same host run on the same machine.
  void claim(const node& n, std::string_view setting, const address& place) {
    if (place.port == 0)
      return;
    auto& others = listening_[{n.address->host, place.port}];
    const auto is_same = [&](const listener& other) {
      return other.host == place.host || is_any(other.host) || is_any(place.host);
    };
    if (const auto found = std::find_if(others.begin(), others.end(), is_same); found != others.end())
      return add_of_node(n, setting, "is taken: " + found->who + " has this host and port too; choose another port");
    others.push_back({place.host, "`" + std::string{setting} + "` of node '" + n.name + "'"});
  }

  void check_tls() {
    const std::string path = "cluster.tls";
    if (!problems_.given(path)) {
      if (!local_)
        problems_.add("cluster", "needs `tls` (ca, certificate, key), since not every node's address is loopback: "
                                 "whoever reaches a node's port could otherwise speak as one");
      return;
    }
    for (const auto& [name, file] :
         {std::pair{"ca", &cluster_.tls.ca}, {"certificate", &cluster_.tls.certificate}, {"key", &cluster_.tls.key}}) {
      const std::string here = below(path, name);
      if (!problems_.given(here))
        problems_.add(path, std::string{"needs ca, certificate and key; `"} + name + "` is missing");
      else if (problems_.sound(here) && is_this_machine() && !is_readable(*file))
        problems_.add(here, "cannot be read; check the path and its permissions (it is " + file->string() + ")");
    }
  }

  /// Commands that are about the cluster as a whole work on machines that have no certificate of a node.
  bool is_this_machine() const { return !c_.node.name.empty(); }

  static bool is_readable(const std::filesystem::path& file) {
    std::error_code ignored;
    return std::filesystem::is_regular_file(file, ignored) && std::ifstream{file}.good();
  }

  void check_roles() {
    const auto warn_without = [&](role r, const std::string& needed) {
      const auto has = [r](const auto& entry) {
        const auto& roles = entry.second.roles;
        return std::find(roles.begin(), roles.end(), r) != roles.end();
      };
      if (!c_.nodes.empty() && std::none_of(c_.nodes.begin(), c_.nodes.end(), has))
        problems_.warn("nodes", "none has the role " + std::string{name_of(r)} + ", which pipeline '" + needed +
                                  "' needs: it waits for a node that joins with it");
    };
    if (!c_.ingest.empty()) {
      warn_without(role::ingest, c_.ingest.begin()->first);
      warn_without(role::write, c_.ingest.begin()->first);
    }
    if (!c_.publish.empty())
      warn_without(role::publish, c_.publish.begin()->first);
  }

  bool is_file(const std::string& database) const {
    const auto found = c_.databases.find(database);
    return found != c_.databases.end() && !found->second.address.path.empty();
  }

  /// A file is one machine's: every other would have one of its own.
  void check_databases() {
    if (local_)
      return;
    const auto refuse = [&](const std::string& path, const std::string& database) {
      if (is_file(database) && problems_.sound(path))
        problems_.add(path, "'" + database +
                              "' is a SQLite file, which processes of one machine can share, and not "
                              "every node's address is loopback; choose a database server");
    };
    refuse("cluster.state", cluster_.state);
    for (const auto& [name, pipeline] : c_.ingest)
      refuse("ingest." + name + ".database", pipeline.database);
    for (const auto& [name, pipeline] : c_.publish) {
      refuse("publish." + name + ".database", pipeline.database);
      if (!pipeline.tracking.database.empty())
        refuse("publish." + name + ".tracking.database", pipeline.tracking.database);
    }
  }

  void check_state() {
    if (!is_file(cluster_.state))
      return;
    const auto& file = c_.databases.at(cluster_.state).address.path;
    const auto writes = [&](const auto& entry) {
      const auto found = c_.databases.find(entry.second.database);
      return found != c_.databases.end() && found->second.address.path == file;
    };
    if (const auto found = std::find_if(c_.ingest.begin(), c_.ingest.end(), writes); found != c_.ingest.end())
      problems_.warn(problems_.given("cluster.state") ? "cluster.state" : "cluster",
                     "the state is in the SQLite file that pipeline '" + found->first +
                       "' writes, so that large commits hold up the renewal of leases; give `state` a file of its own");
  }

  void check_brokers() {
    for (const auto& [name, broker] : c_.brokers)
      if (const std::string path = "brokers." + name + ".embedded"; broker.embedded && problems_.sound(path))
        problems_.add(path, "does not go with `cluster`: every node would start a broker of its own; give the `url` of "
                            "one that all nodes reach");
  }

  /// A frame may be sent again to another writer, and so be written late.
  void check_updates() {
    for (const auto& [name, pipeline] : c_.ingest) {
      const std::string path = "ingest." + name;
      if (pipeline.on_conflict == conflict_rule::update && pipeline.order.empty() &&
          problems_.sound(below(path, "order")) && problems_.sound(below(path, "on_conflict")))
        problems_.add(below(path, "order"), "is missing: when a node is lost, its records are written again by "
                                            "another, and a column must say which record is newer");
    }
  }

  const configuration& c_;
  const cluster& cluster_;
  findings& problems_;
  bool local_ = false; ///< one machine
  bool known_ = false;
  struct listener {
    std::string host;
    std::string who;
  };
  std::map<std::pair<std::string, std::uint16_t>, std::vector<listener>> listening_; ///< by machine and port
};

} // namespace

void resolve_node(configuration& c, const load_options& options, findings& problems) {
  if (!c.cluster && !problems.given("cluster"))
    return resolve_single_node(c, options, problems);
  if (problems.given("node"))
    problems.add_at_key("node", "is for a configuration of one node; those of a cluster stand in `nodes`");
  if (!options.node.empty() && !is_name(options.node))
    return add_of_command_line("the name after --node must have letters, digits, - and _, and at most 64", problems);
  select_node(c, options, problems);
  if (c.cluster)
    resolve_state(c, problems);
}

void check_cluster(const configuration& c, findings& problems) { cluster_check{c, problems}.run(); }

} // namespace penstock::config
