"""A plant over a network that fails: each node, the broker and the database on a machine of its own, links with TLS, and packets
that vanish between any two of them, in one direction or both, while nodes are killed, stopped, continued and added.

The machines are network namespaces: root only, else skipped. Certificates are made as docs/cluster.md says.
"""

import contextlib
import itertools
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import database_server  # noqa: E402
import network  # noqa: E402
from harness import SOAK, Node, run_command, wait_until  # noqa: E402
from publish_test import TABLE_A, Plant, PublishCase, Receiver  # noqa: E402

COUNT = 100_000 if SOAK else 20_000  # messages each way
ROUNDS = 5 if SOAK else 1  # of faults: each kind once or twice
SECONDS = 80 * ROUNDS  # that the messages are spread over
LEASE = 2  # seconds
SHARDS = 6
WRITERS = 3

CLUSTER_PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
CONFIGURATION = """
data: ./data
cluster: {{name: plant-7, lease: {lease}s, tls: {{ca: ca.pem, certificate: node.pem, key: node.key}}}}
nodes:
{nodes}
brokers:
  main: {{url: "mqtt://{broker}:1883", reconnect_max: 500ms, keep_alive: 2s}}
databases:
  plant: {{url: "{database}", busy_timeout: 2s, connect_timeout: 2s, statement_timeout: 5s}}
ingest:
  telemetry:
    broker: main
    topics: ["users/{{user_id}}/devices/{{device_id}}/telemetry"]
    qos: 1
    shards: {shards}
    writers: {writers}
    database: plant
    table: raw_telemetry
    key: [time, user_id, device_id, sequence_id]
    columns:
      time:        {{from: payload.time, type: timestamp}}
      user_id:     {{from: topic.user_id, type: text}}
      device_id:   {{from: topic.device_id, type: text}}
      sequence_id: {{from: payload.sequence_id, type: integer}}
      data:        {{from: payload.rest, type: json}}
""" + TABLE_A


class Certificates:
    """By the commands of the handbook, as they stand there."""

    def __init__(self, folder: pathlib.Path):
        folder.mkdir()
        self.folder = folder
        section = CLUSTER_PAGE.read_text().split("\n## TLS\n")[1].split("\n## ")[0]
        authority, self.for_a_node = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
        self._run(authority)

    def _run(self, commands: str):
        subprocess.run(["sh", "-ec", commands], cwd=self.folder, check=True, capture_output=True)

    def give(self, name: str, machine: pathlib.Path):
        """What the handbook puts on the machine of node `name`: its example is that of node a."""
        self._run(re.sub(r"\ba\.(key|csr|pem)", rf"{name}.\1", self.for_a_node).replace("/CN=a", f"/CN={name}"))
        shutil.copy(self.folder / "ca.pem", machine / "ca.pem")
        shutil.copy(self.folder / f"{name}.pem", machine / "node.pem")
        shutil.copy(self.folder / f"{name}.key", machine / "node.key")


class PartitionCase(PublishCase):
    """Machines a, b, c, d for nodes; the file does not list d, which joins later. The test itself sits at the router, where
    nothing is dropped."""

    LISTED = "abc"

    def setUp(self):
        try:
            self.network = network.Network("broker", "database", *self.LISTED, "d")
        except network.Unavailable as reason:
            self.skipTest(f"no network namespaces here: {reason}")
        self.addCleanup(self.network.close)
        super().setUp()
        self.members: dict[str, Node] = {}
        self.start_servers()
        self.write_configuration()

    def start_servers(self):
        with self.network.machine("broker") as machine:
            self.broker = self.mosquitto(f"listener 1883 {machine.address}\n")
            self.receiver = Receiver(self.broker.port)
        with self.network.machine("database") as machine:
            self.server = self.keep(database_server.Postgresql(
                self.folder / "server", f"listen_addresses = '127.0.0.1, {machine.address}'"))
            with open(self.server.data / "pg_hba.conf", "a", encoding="ascii") as access:
                access.write("host all all 10.0.0.0/16 scram-sha-256\n")
            self.server.sql("SELECT pg_reload_conf()")
        self.plant = Plant(self.server)

    def write_configuration(self):
        nodes = "".join(f'  {name}: {{address: "{self.address(name)}:7000", http: "{self.address(name)}:8080", admin: true}}\n'
                        for name in self.LISTED)
        self.config = self.folder / "penstock.yaml"
        self.config.write_text(CONFIGURATION.format(
            qos=2, poll="50ms",
            nodes=nodes, lease=LEASE, broker=self.address("broker"), shards=SHARDS, writers=WRITERS,
            database=self.server.url.replace("127.0.0.1", self.address("database"))))
        certificates = Certificates(self.folder / "authority")
        for name in [*self.LISTED, "d"]:
            machine = self.folder / name
            machine.mkdir()
            shutil.copy(self.config, machine)
            certificates.give(name, machine)

    def address(self, name: str) -> str:
        return self.network.machine(name).address

    def start(self, name: str, patient: bool = True) -> Node:
        joins = () if name in self.LISTED else ("--address", f"{self.address(name)}:7000", "--http", f"{self.address(name)}:8080")
        with self.network.machine(name):
            node = self.keep(Node(self.folder / name, self.folder / name / "penstock.yaml", name, joins))
        self.members[name] = node
        return node.up() if patient else node

    def cluster(self) -> dict:
        return json.loads(run_command("cluster", "status", "--config", self.config, "--json").stdout)

    def whole(self) -> bool:
        """Every member is alive, every shard has an owner, and each node has a link to each other."""
        seen = self.cluster()
        peers = len(self.members) - 1
        return (sorted(node["name"] for node in seen["nodes"] if node["alive"]) == sorted(self.members)
                and len(seen["shards"]) == 2 * SHARDS + WRITERS and all(shard["owned"] for shard in seen["shards"])
                and all(sum(link["up"] for link in (node["links"] or {}).values()) == peers for node in seen["nodes"]))

    def wait_until_whole(self, what: str):
        try:
            wait_until(self.whole, what)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{json.dumps(self.cluster(), indent=1)}") from None

    def connected(self) -> int:
        """Sessions of ingest that are connected, over all nodes."""
        return sum(shard["connected"] for node in self.members.values() for shard in node.pipeline()["shards"])


class Faults:
    """What happens to the nodes, one fault after the other, in an order and for times that the seed says."""

    def __init__(self, case: PartitionCase):
        self.case = case
        self.random = case.random
        self.log = case.folder / "faults.log"
        others, directions = ["database", "broker", "a node"], ["sends nothing", "gets nothing", "both"]
        self.kinds = [*itertools.product([self.cut_off], others, directions),
                      (self.isolate,), (self.kill,), (self.kill,), (self.pause,), (self.pause,), (self.stop,)]

    def round(self) -> list[tuple]:
        return self.random.sample(self.kinds, len(self.kinds))

    def run(self, kinds: list[tuple]):
        for fault, *details in kinds:
            fault(self.random.choice(sorted(self.case.members)), *details)
            self.lasts(1)

    def lasts(self, leases: float):
        time.sleep(self.random.uniform(0.2, leases) * LEASE)

    def note(self, text: str):
        with open(self.log, "a", encoding="ascii") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def cut_off(self, name: str, other: str, direction: str):
        if other == "a node":
            other = self.random.choice(sorted(set(self.case.members) - {name}))
        self.note(f"{name} is cut off from {other}: {direction}")
        if direction != "gets nothing":
            self.case.network.drop(name, other)
        if direction != "sends nothing":
            self.case.network.drop(other, name)
        self.lasts(2.5)
        self.case.network.heal()

    def isolate(self, name: str):
        self.note(f"{name} is cut off from everybody")
        for other in ["broker", "database", *sorted(set(self.case.members) - {name})]:
            self.case.network.cut(name, other)
        self.lasts(2.5)
        self.case.network.heal()

    def kill(self, name: str):
        self.note(f"{name} is killed")
        self.case.members[name].kill()
        self.lasts(2.5)
        self.case.start(name, patient=False)

    def pause(self, name: str):
        self.note(f"{name} is stopped and continued")
        self.case.members[name].signal(signal.SIGSTOP)
        self.lasts(2.5)
        self.case.members[name].signal(signal.SIGCONT)

    def stop(self, name: str):
        self.note(f"{name} is told to end, and started again")
        node = self.case.members[name].up()
        code = node.stop()
        self.case.assertEqual(code, 0, node.log.read_text()[-3000:])
        self.case.start(name, patient=False)


class Partition(PartitionCase):
    @unittest.skipUnless(SOAK, "minutes on a quiet machine: ./dev soak")
    def test_both_directions_lose_and_repeat_nothing_whatever_the_network_drops(self):
        for name in self.LISTED:
            self.start(name)
        self.wait_until_whole("three nodes share the shards")
        feeding = self.feed(COUNT, SECONDS)
        load = self.start_load(self.config, "--count", COUNT, "--rate", COUNT // SECONDS, "--devices", 500, "--malformed", 1)
        faults = Faults(self)
        first = faults.round()
        faults.run(first[:6])
        self.start("d")
        faults.run(first[6:])
        for _ in range(ROUNDS - 1):
            faults.run(faults.round())
        feeding.join()
        self.assertEqual(load.wait(SECONDS + 300), 0, (self.folder / "load.log").read_text()[-2000:])
        self.assert_as_promised()

    def assert_as_promised(self):
        self.wait_for(COUNT)
        self.assert_exactly_once(range(1, COUNT + 1))
        verdict = self.verify(self.config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0), verdict)
        self.wait_until_whole("all is as it was, with node d")
        wait_until(lambda: self.connected() == SHARDS, "every shard of ingest is connected")
        for node in self.members.values():
            self.assert_balanced(node)
            account = node.status()["publish"]["TableA"]["account"]
            self.assertTrue(account["balanced"], account)
        for node in self.members.values():
            self.assertEqual(node.stop(), 0, node.log.read_text()[-3000:])

    def test_a_node_says_what_it_lacks(self):
        for name in self.LISTED:
            self.start(name)
        self.wait_until_whole("three nodes share the shards")
        for other, lacks, has in [
            ("database", ["warning .*what runs goes on, nothing moves"], ["a member of the cluster"]),
            ("broker", ["warning .*telemetry.*not connected", "warning .*TableA.*not connected"],
             ["telemetry.*connected with MQTT", "TableA.*connected with MQTT"]),
            ("c", ["warning .*the link to node c is down"], ["info .*link to node c"]),
        ]:
            with self.says("b", lacks):
                self.network.cut("b", other)
            with self.says("b", has):
                self.network.heal()
            self.wait_until_whole(f"b has {other} again")

    @contextlib.contextmanager
    def says(self, name: str, patterns: list[str]):
        """Returns when the node's log has a line for each pattern that was not there before."""
        log = self.members[name].log
        before = len(log.read_text())
        yield
        wait_until(lambda: all(re.search(each, log.read_text()[before:]) for each in patterns),
                   f"the log of {name} says {patterns}", 30)


if __name__ == "__main__":
    unittest.main(verbosity=2)
