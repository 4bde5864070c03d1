// The sections `cluster` and `nodes`: what they take, which node is selected, every problem with its place.
#include "config/diff.hpp"
#include "config/reload.hpp"
#include "tests/unit/config/support.hpp"

#include <gmock/gmock.h>

namespace penstock::config {

using namespace std::chrono_literals;
using namespace test;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

namespace {

// What the fifth issue promises, word for word, but for the files of `tls`.
constexpr auto promised = R"(cluster:
  name: plant-7
  state: plant                    # which database holds nodes, shards, epochs (default: the pipelines' own)
  lease: 3s
nodes:
  a: {address: 127.0.0.1:7001, http: 127.0.0.1:8081, roles: [ingest, publish, write, web]}
  b: {address: 127.0.0.1:7002, http: 127.0.0.1:8082, roles: [ingest, publish, write]}
  c: {address: 127.0.0.1:7003, roles: [write]}
)";

constexpr auto brokers = "brokers: {main: {url: 'mqtt://h'}}\n";
constexpr auto databases =
  "databases: {plant: {url: 'sqlite:plant.db'}, other: {url: 'sqlite:other.db'}, server: {url: 'postgresql://h/x'}}\n";

std::string ingest_of(const std::string& database, const std::string& more = {}) {
  return "ingest:\n  meters: {broker: main, topics: ['m/{id}'], database: " + database +
         ", table: m, key: [id], columns: {id: {from: topic.id, type: text}, v: {from: payload.v, type: integer}}" +
         more + "}\n";
}
std::string publish_of(const std::string& database, const std::string& more = {}) {
  return "publish:\n  T: {database: " + database + ", table: T, key: Id, broker: main, topic: 't'" + more + "}\n";
}
/// A whole file: of `cluster`, `nodes` and the rest.
std::string whole(const std::string& cluster, const std::string& rest = publish_of("other")) {
  return cluster + brokers + databases + rest;
}
std::string local(const std::string& settings = "name: x") {
  return "cluster: {" + settings + "}\nnodes:\n  a: {address: 127.0.0.1:7001}\n  b: {address: '[::1]:7002'}\n";
}
std::string remote(const std::string& settings) {
  return "cluster: {" + settings + "}\nnodes:\n  a: {address: '10.0.0.1:7001'}\n  b: {address: 'h2:7001'}\n";
}

load_options run_as(const std::string& node, joining_node joins = {}) {
  auto how = with({}, node);
  how.joins = std::move(joins);
  how.runs = true;
  return how;
}

/// Of all problems, "LINE: PATH: TEXT".
std::vector<std::string> all_problems(const std::string& text, const load_options& how = with({})) {
  std::vector<std::string> all;
  for (const auto& each : problems_of(text, how))
    all.push_back(std::to_string(each.line) + ": " + each.path + ": " + each.text);
  return all;
}

TEST(cluster, takes_what_is_promised) {
  const auto c = loaded(whole(promised), run_as("b"));
  EXPECT_EQ(c.cluster, (cluster{"plant-7", "plant", 3s, {}}));
  const std::vector<role> of_b{role::ingest, role::publish, role::write};
  EXPECT_THAT(c.nodes, SizeIs(3));
  EXPECT_EQ(c.nodes.at("a"), (node{"a", address{"127.0.0.1", 8081}, false, address{"127.0.0.1", 7001}, all_roles()}));
  EXPECT_EQ(c.nodes.at("c"), (node{"c", std::nullopt, false, address{"127.0.0.1", 7003}, {role::write}}));
  EXPECT_EQ(c.node, (node{"b", address{"127.0.0.1", 8082}, false, address{"127.0.0.1", 7002}, of_b}));
}

TEST(cluster, roles_are_all_unless_said_and_their_order_does_not_count) {
  const auto c = loaded(whole("cluster: {name: x}\nnodes: {a: {address: '127.0.0.1:1'}, b: {address: '127.0.0.1:2', "
                              "roles: [write, ingest]}}\n"));
  EXPECT_EQ(c.nodes.at("a").roles, all_roles());
  EXPECT_EQ(c.nodes.at("b").roles, (std::vector{role::ingest, role::write}));
  EXPECT_EQ(c.nodes.at("b").http, std::nullopt);
}

TEST(cluster, the_state_is_by_default_where_all_pipelines_write) {
  EXPECT_EQ(
    loaded(whole(local(), ingest_of("other") + publish_of("plant", ", tracking: {database: other}"))).cluster->state,
    "other");
  EXPECT_EQ(loaded(whole(local("name: x, state: plant"))).cluster->state, "plant");
  EXPECT_THAT(all_problems(whole(local(), ingest_of("other") + publish_of("plant"))),
              ElementsAre("1: cluster.state: is missing: the pipelines write to several databases (other, plant); name "
                          "the one that shall hold the cluster's nodes and shards"));
  EXPECT_THAT(all_problems(whole(local(), "")),
              ElementsAre(HasSubstr("cluster.state: is missing: there is no pipeline")));
  EXPECT_THAT(all_problems(whole(local("name: x, state: plnt"))),
              ElementsAre(HasSubstr("'plnt' is not in `databases`; did you mean 'plant'?")));
}

// --- which node -------------------------------------------------------------------------------------------------

TEST(cluster_node, must_be_named_to_run_where_several_are_listed) {
  EXPECT_THAT(all_problems(whole(local()), run_as("")),
              ElementsAre("0: : several nodes are listed; say which one this is with --node; the file has: a, b"));
  EXPECT_EQ(loaded(whole("cluster: {name: x}\nnodes: {z: {address: '127.0.0.1:1'}}\n"), run_as("")).node.name, "z");
  EXPECT_THAT(all_problems(whole("cluster: {name: x}\n"), run_as("")), ElementsAre(HasSubstr("lists no nodes")));
}

TEST(cluster_node, need_not_be_named_for_what_concerns_all) {
  const auto c = loaded(whole(local()));
  EXPECT_EQ(c.node.name, "");
  EXPECT_EQ(node_folder(c), c.data / "nodes" / "");
  EXPECT_EQ(loaded(whole(local()), with({}, "joined")).node.name, "joined") << "it may have joined";
}

TEST(cluster_node, that_is_not_listed_joins_with_an_address) {
  const auto c = loaded(whole(local()), run_as("x", {"127.0.0.1:7009", "127.0.0.1:8089", "write,ingest"}));
  const node x{"x", address{"127.0.0.1", 8089}, false, address{"127.0.0.1", 7009}, {role::ingest, role::write}};
  EXPECT_EQ(c.node, x);
  EXPECT_EQ(c.nodes.at("x"), x);
  EXPECT_THAT(c.nodes, SizeIs(3));
  const auto plain = loaded(whole("cluster: {name: x}\n"), run_as("x", {"127.0.0.1:7009", "", ""})).node;
  EXPECT_EQ(plain, (node{"x", std::nullopt, false, address{"127.0.0.1", 7009}, all_roles()}));
}

TEST(cluster_node, whose_command_line_is_wrong_is_told_all_of_it) {
  EXPECT_THAT(all_problems(whole(local()), run_as("x", {"7009", "nowhere", "write,wirte,write,"})),
              ElementsAre(HasSubstr("0: : --address must be HOST:PORT"), HasSubstr("--http must be HOST:PORT"),
                          HasSubstr("--roles: each must be one of ingest, publish, write, web; did you mean 'write'?"),
                          HasSubstr("--roles: each must not stand there twice"),
                          HasSubstr("--roles: each must be one of")));
  EXPECT_THAT(all_problems(whole(local()), run_as("aa")),
              ElementsAre("0: : --node asks for 'aa', which the file does not list; did you mean 'a'?; the file has: "
                          "a, b; to join without being listed, add --address HOST:PORT"));
  EXPECT_THAT(all_problems(whole(local()), run_as("x", {"", "", "write"})), ElementsAre(HasSubstr("--address")));
  EXPECT_THAT(all_problems(whole(local()), run_as("a", {"127.0.0.1:1", "", ""})),
              ElementsAre(HasSubstr("it lists 'a'")));
  EXPECT_THAT(all_problems(whole(local()), run_as("", {"127.0.0.1:1", "", ""})), ElementsAre(HasSubstr("add --node")));
  EXPECT_THAT(all_problems(whole(local()), run_as("../x", {"127.0.0.1:1", "", ""})),
              ElementsAre(HasSubstr("after --node must have letters")));
}

TEST(cluster_node, has_a_folder_of_its_own) {
  auto text = whole(local("name: x, state: plant"), ingest_of("other", ", dead_letters: {file: letters}"));
  const auto c = loaded(text, run_as("b"));
  EXPECT_EQ(node_folder(c), "/etc/penstock/data/nodes/b");
  EXPECT_EQ(c.ingest.at("meters").dead_letters.file, "/etc/penstock/data/nodes/b/letters");
  EXPECT_EQ(c.databases.at("other").address.path, "/etc/penstock/data/other.db");
  EXPECT_EQ(node_folder(loaded("log: {level: info}")), "/etc/penstock/data");
}

TEST(cluster_node, without_a_cluster_is_told_what_to_do) {
  EXPECT_THAT(
    all_problems("log: {level: info}\nnodes: {a: {}}\n"),
    ElementsAre("2: nodes: are those of a cluster: add a section `cluster` with a `name` (docs/cluster.md), or "
                "write `node` for a single process"));
  EXPECT_THAT(all_problems("log: {level: info}\n", run_as("a", {"127.0.0.1:1", "", ""})),
              ElementsAre(HasSubstr("--address, --http and --roles are for joining a cluster: add a section")));
}

TEST(cluster_node, is_not_said_in_two_ways) {
  EXPECT_THAT(all_problems(whole("node: {http: off}\n" + local())),
              ElementsAre("1: node: is for a configuration of one node; those of a cluster stand in `nodes`"));
}

// --- problems ---------------------------------------------------------------------------------------------------

TEST(cluster_problem, of_a_setting_names_its_place) {
  EXPECT_THAT(all_problems(whole("cluster: {lease: 3s}\n")), ElementsAre(HasSubstr("1: cluster.name: is missing")));
  EXPECT_THAT(all_problems(whole("cluster: {name: a b}\n")), ElementsAre(HasSubstr("1: cluster.name: a name has")));
  for (const char* lease : {"999ms", "61s"})
    EXPECT_THAT(all_problems(whole(local("name: x, lease: " + std::string{lease}))),
                ElementsAre(HasSubstr("1: cluster.lease: must be from 1s to 1m")));
  const auto of_node = [](const std::string& settings) {
    return all_problems(whole("cluster: {name: x}\nnodes:\n  a: {" + settings + "}\n"));
  };
  EXPECT_THAT(of_node("http: off"), ElementsAre(HasSubstr("3: nodes.a.address: is missing: HOST:PORT")));
  EXPECT_THAT(of_node("address: h"), ElementsAre(HasSubstr("3: nodes.a.address: must be HOST:PORT")));
  EXPECT_THAT(of_node("address: '127.0.0.1:1', name: a"), ElementsAre(HasSubstr("nodes.a.name: is not a setting")));
  EXPECT_THAT(of_node("address: '127.0.0.1:1', roles: []"), ElementsAre(HasSubstr("nodes.a.roles: must not be empty")));
  EXPECT_THAT(of_node("address: '127.0.0.1:1', roles: write"), ElementsAre(HasSubstr("nodes.a.roles: must be a list")));
  EXPECT_THAT(of_node("address: '127.0.0.1:1', roles: [ingest, writer]"),
              ElementsAre(HasSubstr("nodes.a.roles[1]: must be one of ingest, publish, write, web; did you mean "
                                    "'write'?; it is 'writer'")));
  EXPECT_THAT(of_node("address: '127.0.0.1:1', roles: [web, web]"),
              ElementsAre(HasSubstr("nodes.a.roles[1]: must not stand there twice")));
  EXPECT_THAT(all_problems(whole("cluster: {name: x}\nnodes:\n  a b: {address: '127.0.0.1:1'}\n")),
              ElementsAre(HasSubstr("3: nodes.a...: a name has letters")));
}

TEST(cluster_problem, two_nodes_with_one_address) {
  const auto of = [](const std::string& a, const std::string& b) {
    return all_problems(whole("cluster: {name: x}\nnodes:\n  a: {" + a + "}\n  b: {" + b + "}\n"));
  };
  EXPECT_THAT(of("address: '127.0.0.1:1'", "address: '127.0.0.1:1'"),
              ElementsAre("4: nodes.b.address: is taken: `address` of node 'a' has this host and port too; choose "
                          "another port"));
  EXPECT_THAT(of("address: '127.0.0.1:1', http: '0.0.0.0:8080'", "address: '127.0.0.1:2', http: '127.0.0.1:8080'"),
              ElementsAre(HasSubstr("4: nodes.b.http: is taken: `http` of node 'a'")));
  EXPECT_THAT(of("address: '127.0.0.1:1'", "address: '127.0.0.1:2', http: '127.0.0.1:1'"),
              ElementsAre(HasSubstr("4: nodes.b.http: is taken: `address` of node 'a'")));
  EXPECT_THAT(of("address: 'h1:1', http: '127.0.0.1:8080'", "address: 'h2:1', http: '127.0.0.1:8080'"),
              ::testing::Each(::testing::Not(HasSubstr("is taken"))))
    << "these are two machines";
  EXPECT_THAT(of("address: '127.0.0.2:1', http: '127.0.0.1:1'", "address: '127.0.0.1:2'"), IsEmpty());
  EXPECT_THAT(of("address: '127.0.0.1:0', http: '127.0.0.1:0'", "address: '127.0.0.1:0', http: '127.0.0.1:0'"),
              IsEmpty());
  EXPECT_THAT(all_problems(whole(local()), run_as("x", {"127.0.0.1:7001", "", ""})),
              ElementsAre(HasSubstr("0: : --address is taken: `address` of node 'a'")));
}

TEST(cluster_problem, an_address_that_nobody_reaches) {
  const auto of = [](const std::string& address) {
    return all_problems(
      whole("cluster: {name: x, tls: {ca: c, certificate: c, key: k}}\nnodes:\n  a: {address: '" + address + "'}\n",
            publish_of("server")));
  };
  for (const char* any : {"0.0.0.0:1", "[::]:1"})
    EXPECT_THAT(of(any), ElementsAre(HasSubstr("3: nodes.a.address: is no place where other nodes could reach")));
  EXPECT_THAT(of("10.0.0.1:0"), ElementsAre(HasSubstr("3: nodes.a.address: needs a port")));
}

TEST(cluster_problem, nodes_of_several_machines_need_tls) {
  EXPECT_THAT(all_problems(whole(remote("name: x"), publish_of("server"))),
              ElementsAre(HasSubstr("1: cluster: needs `tls` (ca, certificate, key)")));
  EXPECT_THAT(all_problems(whole(remote("name: x, tls: {certificate: c}"), publish_of("server"))),
              ElementsAre(HasSubstr("`ca` is missing"), HasSubstr("`key` is missing")));
  EXPECT_THAT(all_problems(whole(remote("name: x, tls: {ca: c, certificate: c, key: k}"), publish_of("server"))),
              IsEmpty())
    << "a machine that has no certificate may ask for the cluster's status";
  EXPECT_THAT(all_problems(whole(local()), run_as("x", {"10.0.0.9:7000", "", ""})),
              ::testing::Contains(HasSubstr("1: cluster: needs `tls`")));
}

TEST(cluster_problem, a_node_without_its_files_does_not_run) {
  const temporary_directory folder;
  folder.write("ca.pem", "x");
  const auto text =
    whole(remote("name: x, tls: {ca: ca.pem, certificate: node.pem, key: node.key}"), publish_of("server"));
  auto made = load_file(folder.write("p.yaml", text), run_as("a"));
  const auto* problems = std::get_if<std::vector<problem>>(&made);
  ASSERT_NE(problems, nullptr);
  ASSERT_THAT(*problems, SizeIs(2));
  EXPECT_EQ((*problems)[0].path, "cluster.tls.certificate");
  EXPECT_THAT((*problems)[1].text, HasSubstr((folder.path() / "node.key").string()));
  folder.write("node.pem", "x");
  folder.write("node.key", "x");
  made = load_file(folder.path() / "p.yaml", run_as("a"));
  ASSERT_TRUE(std::holds_alternative<configuration>(made));
  EXPECT_EQ(std::get<configuration>(made).cluster->tls.ca, folder.path() / "ca.pem");
}

TEST(cluster_problem, a_sqlite_file_of_several_machines) {
  const auto tls = remote("name: x, state: plant, tls: {ca: c, certificate: c, key: k}");
  EXPECT_THAT(all_problems(whole(tls, ingest_of("other") + publish_of("server", ", tracking: {database: plant}"))),
              ElementsAre(HasSubstr("1: cluster.state: 'plant' is a SQLite file"),
                          HasSubstr("ingest.meters.database: 'other' is a SQLite file"),
                          HasSubstr("publish.T.tracking.database: 'plant' is a SQLite file")));
}

TEST(cluster_problem, an_embedded_broker) {
  EXPECT_THAT(all_problems("brokers: {main: {embedded: true}}\n" + local() + databases + publish_of("other")),
              ElementsAre(HasSubstr("1: brokers.main.embedded: does not go with `cluster`")));
}

TEST(cluster_problem, an_update_without_an_order) {
  EXPECT_THAT(all_problems(whole(local("name: x, state: plant"), ingest_of("other", ", on_conflict: update"))),
              ElementsAre(HasSubstr("ingest.meters.order: is missing: when a node is lost")));
  EXPECT_THAT(
    all_problems(whole(local("name: x, state: plant"), ingest_of("other", ", on_conflict: update, order: v"))),
    IsEmpty());
}

TEST(cluster_warning, a_role_that_nobody_has) {
  const auto nodes = "cluster: {name: x, state: plant}\nnodes:\n  a: {address: '127.0.0.1:1', roles: [ingest, web]}\n";
  const auto warnings = warnings_of(whole(nodes, ingest_of("other") + publish_of("other")));
  ASSERT_THAT(warnings, SizeIs(2));
  EXPECT_EQ(warnings[0].line, 3u);
  EXPECT_THAT(warnings[0].text, HasSubstr("none has the role write, which pipeline 'meters' needs"));
  EXPECT_THAT(warnings[1].text, HasSubstr("none has the role publish, which pipeline 'T' needs"));
}

TEST(cluster_warning, the_state_in_the_file_of_the_rows) {
  const auto warnings = warnings_of(whole(local(), ingest_of("other")));
  ASSERT_THAT(warnings, SizeIs(1));
  EXPECT_THAT(warnings[0].text, HasSubstr("pipeline 'meters' writes, so that large commits hold up the renewal"));
  EXPECT_THAT(warnings_of(whole(local("name: x, state: plant"), ingest_of("other"))), IsEmpty());
}

// --- what is made of it -----------------------------------------------------------------------------------------

TEST(cluster_shown, is_loaded_again_as_it_was) {
  const auto c = loaded(whole(promised), run_as("b"));
  for (const bool json : {false, true}) {
    const auto text = show(c, json);
    const auto again = loaded(text, run_as("b"));
    EXPECT_EQ(again.cluster, c.cluster) << text;
    EXPECT_EQ(again.nodes, c.nodes) << text;
    EXPECT_EQ(again.node, c.node) << text;
    EXPECT_THAT(text, ::testing::Not(HasSubstr("node:")));
  }
  EXPECT_THAT(show(c), HasSubstr("    roles: [ingest, publish, write]\n"));
}

TEST(cluster, a_transaction_may_be_idle_for_a_lease_at_most) {
  const auto idle_max = [](const std::string& text) {
    return loaded(text).databases.at("server").transaction_idle_max;
  };
  EXPECT_EQ(idle_max(databases), 3s);
  EXPECT_EQ(loaded(whole(local("name: x, lease: 9s")), run_as("a")).databases.at("server").transaction_idle_max, 9s);
  EXPECT_EQ(idle_max("databases: {server: {url: 'postgresql://h/x', busy_timeout: 1s, statement_timeout: 2s}}"), 2s);
}

TEST(cluster_reload, waits_for_the_next_start) {
  const auto plan = plan_reload(loaded(whole(promised), run_as("b")),
                                loaded(whole(local("name: y, state: plant, lease: 9s")), run_as("b")));
  EXPECT_EQ(plan.to_text(), "1 pipeline unchanged");
  EXPECT_EQ(plan.next.cluster->lease, 3s);
  EXPECT_EQ(plan.next.node.address, (address{"127.0.0.1", 7002}));
  EXPECT_THAT(plan.next.nodes, SizeIs(3));
  std::vector<std::string> waiting;
  for (const auto& each : plan.at_next_start)
    waiting.push_back(each.path);
  EXPECT_THAT(waiting, ::testing::IsSupersetOf({"cluster.lease", "cluster.name", "nodes.b.address", "nodes.c.roles"}));
}

TEST(address, is_loopback_where_no_other_machine_reaches_it) {
  for (const char* host : {"127.0.0.1", "127.1.2.3", "localhost", "::1"})
    EXPECT_TRUE((address{host, 1}).is_loopback()) << host;
  for (const char* host : {"10.0.0.1", "127.example", "h", "0.0.0.0", "::"})
    EXPECT_FALSE((address{host, 1}).is_loopback()) << host;
}

} // namespace

} // namespace penstock::config
