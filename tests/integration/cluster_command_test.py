"""A cluster for people: `penstock cluster`, and several nodes of one file on one machine."""

import contextlib
import json
import socket
import sqlite3
import subprocess
import time
import unittest

from harness import PENSTOCK, Case, Node, free_port, run_command, wait_until

USAGE, UNAVAILABLE, BROKEN = 64, 69, 78

CLUSTER = """
data: ./data
cluster: {{name: plant-7, state: state, lease: 3s}}
nodes:
  a: {{address: "127.0.0.1:0", http: "127.0.0.1:0"}}
  b: {{address: "127.0.0.1:0", http: "127.0.0.1:0"}}
databases:
  state: {{url: "sqlite:state.db"}}
  plant: {{url: "sqlite:plant.db"}}
brokers:
  main: {{url: "mqtt://127.0.0.1:{port}"}}
"""
PIPELINES = """
ingest:
  meters:
    broker: main
    topics: ["m/{id}"]
    shards: 2
    database: plant
    table: meters
    key: [id]
    columns: {id: {from: topic.id, type: text}}
publish:
  T: {database: plant, table: T, key: Id, broker: main, topic: "t/{Id}"}
"""


class ClusterCommand(Case):
    """Against a state database that the test fills: nobody runs, as on the machine of an operator."""

    def setUp(self):
        super().setUp()
        self.file = self.folder / "cluster.yaml"
        self.file.write_text(CLUSTER.format(port=free_port()) + PIPELINES)
        (self.folder / "data").mkdir()

    def cluster(self, *arguments, expect=0):
        return run_command("cluster", *arguments, "--config", self.file, expect=expect)

    def report(self) -> dict:
        return json.loads(self.cluster("status", "--json").stdout)

    def sql(self, *statements) -> list:
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "state.db", timeout=30)) as database, database:
            return [row for statement in statements for row in database.execute(*statement)]

    def joins(self, name: str, roles: str, http: str = "", lease_s: float = 3600):
        until = int((time.time() + lease_s) * 1e6)
        self.sql(("INSERT INTO penstock_nodes (name, instance, address, http, roles, version, draining, lease_until)"
                  " VALUES (?, ?, ?, ?, ?, '0.5.0', 0, ?)",
                  (name, f"{name}-1", "127.0.0.1:7001", http, roles, until)))

    def owns(self, name: str, pipeline: str, shard: int, epoch: int = 1):
        self.sql(("INSERT INTO penstock_shards (pipeline, shard, node, instance, epoch, pinned) VALUES (?, ?, ?, ?, ?, '')",
                  (pipeline, shard, name, f"{name}-1" if name else "", epoch)))

    def two_nodes(self):
        self.cluster("status")  # makes the tables
        self.joins("a", "ingest,publish,write")
        self.joins("b", "write", lease_s=-12)
        self.owns("a", "meters", 0, epoch=3)
        self.owns("b", "meters/batch-writer", 0)
        self.owns("a", "T", 0)

    def test_status_before_anybody_ran_says_that_nobody_owns_anything(self):
        text = self.cluster("status").stdout
        self.assertIn("cluster plant-7, state in database state: 0 of 0 nodes alive, 0 of 4 shards owned", text)
        self.assertIn("NOBODY OWNS 2 of the shards that need the role ingest: no living node has that role", text)
        self.assertIn("NOT RUNNING: a, b\n", text)
        self.assertEqual([shard["shard"] for shard in self.report()["shards"]],
                         ["T/0", "meters/0", "meters/1", "meters/batch-writer/0"])

    def test_status_shows_nodes_and_shards(self):
        self.two_nodes()
        report = self.report()
        a, b = report["nodes"]
        self.assertEqual((a["name"], a["alive"], a["draining"], a["shards"]), ("a", True, False, 2))
        self.assertEqual(a["roles"], ["ingest", "publish", "write"])
        self.assertGreater(a["lease_left_ms"], 3_000_000)
        self.assertEqual((b["name"], b["alive"], b["shards"]), ("b", False, 0))
        self.assertIsNone(a["links"])
        owners = {shard["shard"]: (shard["owner"], shard["owned"], shard["epoch"]) for shard in report["shards"]}
        self.assertEqual(owners, {"T/0": ("a", True, 1), "meters/0": ("a", True, 3), "meters/1": ("", False, 0),
                                  "meters/batch-writer/0": ("b", False, 1)})
        text = self.cluster("status").stdout
        self.assertIn("1 of 2 nodes alive, 2 of 4 shards owned", text)
        self.assertRegex(text, r"(?m)^  a +alive, \d+\.\d s left +2 +ingest, publish, write +127.0.0.1:7001 +- +0.5.0 +-$")
        self.assertRegex(text, r"(?m)^  b +DEAD for 1[2-9]\.\d s +0 +write ")
        self.assertRegex(text, r"(?m)^  meters/1 +ingest +NOBODY +0$")
        self.assertRegex(text, r"(?m)^  meters/batch-writer/0 +write +NOBODY \(b is dead\) +1$")
        self.assertIn("NOBODY OWNS 1 of the shards that need the role write: a node should take them within a lease", text)

    def test_status_asks_the_living_nodes(self):
        node = self.keep(Node(self.folder, self.configure(None))).ready()
        self.two_nodes()
        http = node.run_json()["http"]
        self.sql(("UPDATE penstock_nodes SET http = ?", (http,)))
        self.joins("c", "web", http=http)
        self.joins("d", "web", http=f"127.0.0.1:{free_port()}")
        nodes = {each["name"]: each for each in self.report()["nodes"]}
        self.assertIsNone(nodes["a"]["error"])
        self.assertEqual(list(nodes["a"]["pipelines"]), ["telemetry"])
        self.assertEqual(nodes["a"]["pipelines"]["telemetry"]["lag_ms"], 0)
        self.assertGreater(nodes["a"]["pipelines"]["telemetry"]["demand"], 0)
        self.assertIsNone(nodes["b"]["error"], "a dead node is not asked")
        self.assertIn("is node 'a'", nodes["c"]["error"])
        self.assertIn("connection_refused", nodes["d"]["error"])
        text = self.cluster("status").stdout
        self.assertRegex(text, r"(?m)^  telemetry +a +0 ms +[\d,]+$")
        self.assertRegex(text, r"(?m)^  d does not say how it is: ")

    def test_drain_is_noted_and_taken_back(self):
        self.two_nodes()
        self.assertIn("a is draining: its 2 shards go to other nodes", self.cluster("drain", "a").stdout)
        self.assertTrue(self.report()["nodes"][0]["draining"])
        self.assertRegex(self.cluster("status").stdout, r"(?m)^  a +draining, ")
        self.assertIn("a takes part again", self.cluster("drain", "a", "--undo").stdout)
        self.assertFalse(self.report()["nodes"][0]["draining"])
        self.assertIn("no node 'aa' has joined; did you mean 'a'?; there is: a, b",
                      self.cluster("drain", "aa", expect=USAGE).stderr)

    def test_move_pins_a_shard_and_gives_it_back(self):
        self.two_nodes()
        self.assertIn("meters/0 is pinned to a", self.cluster("move", "meters/0", "a").stdout)
        self.assertEqual(self.sql(("SELECT pinned FROM penstock_shards WHERE pipeline = 'meters'",)), [("a",)])
        self.assertRegex(self.cluster("status").stdout, r"(?m)^  meters/0 +ingest +a +3 +pinned to a$")
        self.assertIn("goes where placement puts it", self.cluster("move", "meters/0", "-").stdout)
        self.assertEqual(self.sql(("SELECT pinned FROM penstock_shards WHERE pipeline = 'meters'",)), [("",)])
        self.assertIn("it is dead, so that others own the shard",
                      self.cluster("move", "meters/batch-writer/0", "b").stdout)

    def test_move_names_what_there_is(self):
        self.two_nodes()
        there = "there is: T/0, meters/0 to 1, meters/batch-writer/0"
        self.assertIn(there, self.cluster("move", "meters/2", "a", expect=USAGE).stderr)
        self.assertIn(there, self.cluster("move", "meters", "a", expect=USAGE).stderr)
        self.assertIn("there is: a, b", self.cluster("move", "meters/0", "c", expect=USAGE).stderr)
        self.assertIn("needs the role ingest, and it has: write", self.cluster("move", "meters/0", "b", expect=USAGE).stderr)
        self.assertIn("was owned by nobody yet", self.cluster("move", "meters/1", "a", expect=UNAVAILABLE).stderr)

    def test_without_a_cluster_or_its_state_it_says_so(self):
        done = run_command("cluster", "status", "--config", self.configure(None), expect=BROKEN)
        self.assertIn("has no section `cluster`", done.stderr)
        self.file.write_text(self.file.read_text().replace("sqlite:state.db", f"mysql://127.0.0.1:{free_port()}/x"))
        self.assertIn("the state database 'state': ", self.cluster("status", expect=UNAVAILABLE).stderr)


class OneMachine(Case):
    """Several processes of one file, with one `data`."""

    def setUp(self):
        super().setUp()
        self.file = self.folder / "cluster.yaml"
        self.file.write_text(CLUSTER.format(port=free_port()))

    def run_as(self, name: str, *arguments: str) -> Node:
        return self.keep(Node(self.folder, self.file, name, arguments)).up()

    def status(self, *arguments, expect=0):
        return run_command("status", "--config", self.file, *arguments, "--json", expect=expect)

    def test_each_node_has_its_own_and_commands_find_the_one_that_is_meant(self):
        self.assertIn("which one this is with --node; the file has: a, b",
                      run_command("run", "--config", self.file, expect=BROKEN).stderr)
        self.assertIn("--node NAME", self.status(expect=UNAVAILABLE).stderr)
        b = self.run_as("b")
        self.assertEqual(json.loads(self.status().stdout)["node"]["name"], "b", "the one that runs")
        self.assertIn("penstock run", self.status("--node", "a", expect=UNAVAILABLE).stderr)
        self.run_as("a")
        x = self.run_as("x", "--address", "127.0.0.1:0", "--http", "127.0.0.1:0", "--roles", "write,web")
        for name in "abx":
            self.assertEqual(json.loads(self.status("--node", name).stdout)["node"]["name"], name)
        ids = {(self.folder / "data" / "nodes" / name / "node-id").read_text() for name in "abx"}
        self.assertEqual(len(ids), 3)
        again = run_command("run", "--config", self.file, "--node", "b", expect=UNAVAILABLE)
        self.assertIn(f"process {b.pid}", again.stderr)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            busy = run_command("run", "--config", self.file, "--node", "y", "--address", f"127.0.0.1:{port}", expect=UNAVAILABLE)
        self.assertIn(f"cannot take links at 127.0.0.1:{port}: Address already in use", busy.stderr)
        self.file.with_name("other.yaml").write_text(self.file.read_text().replace("plant-7", "plant-8"))
        other = run_command("cluster", "drain", "a", "--config", self.file.with_name("other.yaml"), expect=BROKEN)
        self.assertIn("the state database of another cluster, 'plant-7', whose node", other.stderr)
        x.stop()
        self.assertFalse((self.folder / "data" / "nodes" / "x" / "run.json").exists())
        self.assertTrue((self.folder / "data" / "nodes" / "b" / "run.json").exists())

    def test_a_changed_file_is_read_again_by_all_of_them(self):
        table = '  {name}: {{database: plant, table: T, key: Id, broker: main, topic: "t/{{Id}}"}}\n'
        with self.file.open("a") as file:
            file.write("publish:\n" + table.format(name="T") + table.format(name="U"))
        (self.folder / "data").mkdir()
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "plant.db")) as database:
            database.execute("CREATE TABLE T (Id INTEGER PRIMARY KEY)")
        nodes = [self.run_as("a"), self.run_as("b")]
        older = self.file.with_name("older.yaml")
        older.write_text(self.file.read_text())
        wait_until(lambda: self.differences(older) == {"a": [], "b": []}, "both run this file")
        done = run_command("tables", "remove", "U", "--config", self.file)
        for node in nodes:
            self.assertRegex(done.stdout, rf"process {node.pid}: publish.U removed")
        self.assertEqual(self.differences(self.file), {"a": [], "b": []})
        self.assertEqual(self.differences(older), {"a": ["publish.U"], "b": ["publish.U"]})

    def differences(self, file) -> dict:
        report = json.loads(run_command("cluster", "status", "--json", "--config", file).stdout)
        return {node["name"]: node["differs"] for node in report["nodes"]}


class SameMachine(Case):
    """What CAF looks at is the same of both nodes, as in containers of two hosts: addresses, disks, and the process id."""

    def test_nodes_of_the_same_process_id_link(self):
        contained = ["unshare", "--pid", "--fork", "--kill-child"]
        if subprocess.run([*contained, "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("no namespaces of process ids here: root only")
        script = self.folder / "contained"
        script.write_text(f'#!/bin/sh\nexec {" ".join(contained)} {PENSTOCK} "$@"\n')
        script.chmod(0o755)
        config = self.folder / "cluster.yaml"
        config.write_text(CLUSTER.format(port=free_port()))
        for name in "ab":
            self.keep(Node(self.folder, config, name, binary=script))
            wait_until((self.folder / "data" / "nodes" / name / "run.json").exists, "the node is up")

        def links() -> list[bool]:
            report = json.loads(run_command("cluster", "status", "--json", "--config", config).stdout)
            return [link["up"] for node in report["nodes"] for link in (node["links"] or {}).values()]

        wait_until(lambda: links() == [True, True], "each has a link to the other")
        for name in "ab":
            self.assertEqual(json.loads((self.folder / "data" / "nodes" / name / "run.json").read_text())["pid"], 1)


if __name__ == "__main__":
    unittest.main()
