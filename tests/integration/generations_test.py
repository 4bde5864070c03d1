"""Shards, topics or the name of a pipeline change: the sessions of before are drained and ended, and nothing is lost."""

import json
import pathlib
import signal
import sqlite3
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import database_server  # noqa: E402
from harness import SOAK, Case, Mosquitto, Node, free_port, run_command, wait_until  # noqa: E402
from small_mqtt import SmallMqtt  # noqa: E402

RATE = 2_000
COUNT = RATE * (60 if SOAK else 8)
TOPIC = "users/u/devices/d/telemetry"


def payload(number: int) -> str:
    return json.dumps({"time": "2026-11-25T10:00:00Z", "sequence_id": number})


class GenerationsCase(Case):
    server = None

    def rows(self, sql: str) -> list[list[str]]:
        """Of the database that the pipeline writes."""
        if self.server:
            return [line.split("|") for line in self.server.sql(sql).splitlines() if line]
        with sqlite3.connect(self.folder / "data" / "telemetry.db", timeout=10) as database:
            return [[str(value) for value in row] for row in database.execute(sql)]

    def client_id(self, shard: int, pipeline: str = "telemetry") -> str:
        ((installation,),) = self.rows("SELECT value FROM penstock_meta WHERE name = 'installation_id'")
        return f"penstock-{installation}-{pipeline}-1-{shard}"

    def recorded(self) -> dict[str, tuple[list[str], bool]]:
        """Filters, and whether they are settled, by client id."""
        return {client_id: (json.loads(filters), settled == "1")
                for client_id, filters, settled in self.rows("SELECT client_id, filters, settled FROM penstock_sessions")}

    def wait_for_sessions(self, shards: int, pipeline: str = "telemetry"):
        """Until no others are remembered, and all of them have what they are to have."""
        wanted = {self.client_id(shard, pipeline) for shard in range(shards)}

        def complete():
            now = self.recorded()
            return now.keys() == wanted and all(settled and len(filters) == 1 for filters, settled in now.values())

        wait_until(complete, f"only the sessions of {shards} shards are there")

    def assert_gone(self, shards, pipeline: str = "telemetry"):
        """The broker has no such sessions any more."""
        for shard in shards:
            client_id = self.client_id(shard, pipeline)
            self.assertFalse(SmallMqtt(self.broker.port, client_id, clean=False).session_present, client_id)
            SmallMqtt(self.broker.port, client_id)  # and it is not to have one now

    def begin(self, shards: int, more: str = ""):
        self.broker = self.mosquitto(more)
        self.change(shards)
        return self.node(self.config).ready()

    def change(self, shards: int, topic: str = "users", pipeline: str = "telemetry", broker_options: str = ""):
        where = {"database": self.server.url, "database_options": ""} if self.server else {}
        self.config = self.configure(self.broker, shards=shards, broker_options=broker_options, **where)
        self.config.write_text(self.config.read_text().replace("users/{", f"{topic}/{{").replace("  telemetry:\n", f"  {pipeline}:\n"))

    def loaded(self, config: pathlib.Path) -> int:
        return sum(1 for _ in self.ledger.open()) if self.ledger.exists() else 0

    def queue_for(self, node: Node):
        """Ends the node under load, and returns when its sessions have messages at the broker."""
        load_config = self.folder / "load.yaml"
        load_config.write_text(self.config.read_text())
        self.flow = self.start_load(load_config, "--count", COUNT, "--rate", RATE, "--devices", 100)
        wait_until(lambda: node.pipeline()["account"]["committed"] > RATE, "messages flow")
        node.kill()
        published = self.loaded(load_config)
        wait_until(lambda: self.loaded(load_config) > published + RATE, "and queue")

    def assert_all_there(self, pipeline: str = "telemetry"):
        self.assertEqual(self.flow.wait(), 0, self.flow.log.read_text()[-2000:])
        done = run_command("verify", "--config", self.config, "--pipeline", pipeline, "--ledger", self.ledger, "--wait", "90s",
                           "--json", expect=None, patience=300)
        verdict = json.loads(done.stdout)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0), verdict)

    def reload(self, node: Node):
        reads = node.status()["configuration"]["reads"]
        node.signal(signal.SIGHUP)
        wait_until(lambda: node.status()["configuration"]["reads"] > reads, "it is read again")
        self.assertTrue(node.status()["configuration"]["taken"], node.status()["configuration"])

    def publish_and_count(self, node: Node, topic: str, numbers: range) -> int:
        """How many messages the node receives of those that are published."""
        def received() -> int:
            return sum(pipeline["account"]["received"] for pipeline in node.status()["pipelines"].values())

        before = received()
        client = SmallMqtt(self.broker.port, "device")
        for number in numbers:
            client.publish(topic, payload(number))

        def settled():
            pipelines = node.status()["pipelines"].values()
            return all(pipeline["account"]["in_flight"] == 0 for pipeline in pipelines)

        stored = f"SELECT count(*) FROM raw_telemetry WHERE user_id = 'u' AND sequence_id BETWEEN {numbers[0]} AND {numbers[-1]}"
        wait_until(lambda: int(self.rows(stored)[0][0]) == len(numbers), "all are stored")
        wait_until(settled, "nothing is in flight")
        return received() - before


class Shards(GenerationsCase):
    def test_fewer_shards_while_messages_are_queued_for_each(self):
        node = self.begin(6)
        self.wait_for_sessions(6)
        self.queue_for(node)
        self.change(2)
        checked = run_command("check", "--config", self.config, "--connect")
        self.assertEqual(checked.stdout.count("no shard has it any more; pipeline telemetry drains and ends it"), 4, checked.stdout)
        node = self.node(self.config).ready()
        self.assert_all_there()
        self.wait_for_sessions(2)
        self.assert_gone(range(2, 6))
        self.assert_balanced(node)
        retirement = node.pipeline()["retirement"]
        wait_until(lambda: node.pipeline()["retirement"]["sessions"] == 0, "it shows none")
        self.assertGreater(retirement["account"]["received"], RATE // 6, "what was queued for them came through them")
        log = node.log.read_text()
        for shard in range(2, 6):
            self.assertIn(f"session {self.client_id(shard)} is drained", log)
            self.assertIn(f"session {self.client_id(shard)} at broker main is ended", log)
        self.assertEqual(node.stop(), 0)

    def test_one_shard_becomes_three_and_one_again_while_the_node_runs(self):
        node = self.begin(1)
        load_config = self.folder / "load.yaml"
        load_config.write_text(self.config.read_text())
        self.flow = self.start_load(load_config, "--count", COUNT, "--rate", RATE, "--devices", 100)
        for shards in [3, 1]:
            reached = node.pipeline()["account"]["committed"] + RATE
            wait_until(lambda reached=reached: node.pipeline()["account"]["committed"] > reached, "messages flow")
            self.change(shards)
            self.reload(node)
            self.wait_for_sessions(shards)
        self.assert_all_there()
        self.assert_gone([1, 2])
        self.assertEqual(self.publish_and_count(node, TOPIC, range(100)), 100, "each comes once")
        self.assertEqual(node.stop(), 0)

    def test_a_broker_of_mqtt_3_1_1(self):
        self.broker = self.mosquitto()
        options = ", version: 3.1.1"
        self.change(3, broker_options=options)
        node = self.node(self.config).ready()
        self.wait_for_sessions(3)
        self.queue_for(node)
        self.change(1, broker_options=options)
        node = self.node(self.config).ready()
        self.assert_all_there()
        self.wait_for_sessions(1)
        self.assert_gone([1, 2])
        self.assertEqual(self.publish_and_count(node, TOPIC, range(100)), 100)

    def test_a_retirement_that_is_killed_again_and_again(self):
        node = self.begin(6)
        self.wait_for_sessions(6)
        self.queue_for(node)
        self.change(2)
        for _ in range(6):
            node = self.node(self.config).up()
            wait_until(lambda node=node: "retires session" in node.log.read_text(), "it has begun")
            end = self.random.uniform(0, 1.5)
            with self.subTest(seconds=end):
                wait_until(lambda end=end, node=node: node.status()["node"]["uptime_seconds"] > end, "a while")
            node.kill()
            node.log.unlink()
        node = self.node(self.config).ready()
        self.assert_all_there()
        self.wait_for_sessions(2)
        self.assert_gone(range(2, 6))
        self.assert_balanced(node)


class Topics(GenerationsCase):
    def test_what_came_by_a_topic_that_goes_is_kept_and_nothing_more_comes_by_it(self):
        node = self.begin(2)
        self.wait_for_sessions(2)
        self.assertEqual(node.stop(), 0)
        client = SmallMqtt(self.broker.port, "former")
        for number in range(20):
            client.publish(TOPIC, payload(number))
        self.change(2, topic="plants")
        node = self.node(self.config).ready()
        self.wait_for_sessions(2)
        wait_until(lambda: node.pipeline()["account"]["dead_lettered"] == 20, "they are dead letters")
        letters = run_command("dead-letters", "list", "--config", self.config).stdout
        self.assertIn("matches no pattern", letters)
        self.assertIn("to be unsubscribed from $share/", node.log.read_text())
        self.assertEqual(self.publish_and_count(node, TOPIC.replace("users", "plants"), range(20, 25)), 5)
        client.publish(TOPIC, payload(30))
        self.assertEqual(self.publish_and_count(node, TOPIC.replace("users", "plants"), range(31, 32)), 1, "not by the former topic")
        self.assertEqual(node.stop(), 0)


class Names(GenerationsCase):
    def test_a_pipeline_is_renamed(self):
        node = self.begin(3)
        self.wait_for_sessions(3)
        self.queue_for(node)
        self.change(2, pipeline="meters")
        node = self.node(self.config).ready()
        self.assert_all_there("meters")
        self.wait_for_sessions(2, "meters")
        self.assert_gone(range(3))
        self.assertEqual(self.publish_and_count(node, TOPIC, range(100)), 100)
        self.assertEqual(node.stop(), 0)

    def test_a_pipeline_is_renamed_while_the_node_runs(self):
        node = self.begin(2)
        self.wait_for_sessions(2)
        load_config = self.folder / "load.yaml"
        load_config.write_text(self.config.read_text())
        self.flow = self.start_load(load_config, "--count", COUNT // 2, "--rate", RATE, "--devices", 100)
        wait_until(lambda: node.pipeline()["account"]["committed"] > RATE, "messages flow")
        self.change(2, pipeline="meters")
        self.reload(node)
        self.assertIn("its MQTT sessions are retired by pipeline meters", node.log.read_text())
        self.assert_all_there("meters")
        self.wait_for_sessions(2, "meters")
        self.assert_gone(range(2))
        self.assertEqual(node.stop(), 0)

    def test_a_pipeline_that_is_gone_is_told_of(self):
        node = self.begin(1)
        self.wait_for_sessions(1)
        gone = self.client_id(0)
        self.assertEqual(node.stop(), 0)
        self.change(1, topic="plants", pipeline="other")
        checked = run_command("check", "--config", self.config, "--connect")
        self.assertIn(f"warning: session {gone} at broker main keeps messages that no pipeline can store", checked.stdout)
        node = self.node(self.config).ready()
        wait_until(lambda: f"no pipeline can store them: {gone} at broker main" in node.log.read_text(), "it is told")
        self.assertTrue(SmallMqtt(self.broker.port, gone, clean=False).session_present, "it is left alone")
        self.assertEqual(node.stop(), 0)


class Brokers(GenerationsCase):
    def test_a_pipeline_goes_to_another_broker(self):
        node = self.begin(3)
        self.wait_for_sessions(3)
        self.queue_for(node)
        self.assertEqual(self.flow.wait(), 0, self.flow.log.read_text()[-2000:])
        other = self.keep(Mosquitto(self.folder / "other"))
        text = self.config.read_text().replace("broker: main", "broker: other")
        self.config.write_text(text.replace("databases:\n", f'  other: {{url: "mqtt://127.0.0.1:{other.port}"}}\ndatabases:\n', 1))
        node = self.node(self.config).ready()
        self.assert_all_there()
        wait_until(lambda: self.rows("SELECT DISTINCT broker FROM penstock_sessions") == [["other"]], "those of main are retired")
        self.wait_for_sessions(3)
        self.assert_gone(range(3))
        self.broker = other
        self.assertEqual(self.publish_and_count(node, TOPIC, range(100)), 100)
        self.assertEqual(node.stop(), 0)


class OnPostgresql(GenerationsCase):
    def setUp(self):
        super().setUp()
        self.server = self.keep(database_server.Postgresql(self.folder / "server"))

    def test_fewer_shards(self):
        node = self.begin(4)
        self.wait_for_sessions(4)
        self.queue_for(node)
        self.change(1)
        node = self.node(self.config).ready()
        self.assert_all_there()
        self.wait_for_sessions(1)
        self.assert_gone(range(1, 4))
        self.assert_balanced(node)
        self.assertEqual(node.stop(), 0)

    def write_cluster(self, name: str, shards: int) -> pathlib.Path:
        """A file for one of the nodes a and b."""
        self.change(shards)
        text = self.config.read_text().replace("node: {name: a, http: 127.0.0.1:0, admin: true}\n", self.cluster)
        path = self.folder / f"{name}.yaml"
        path.write_text(text)
        return path

    def start_both(self, shards: int) -> dict[str, Node]:
        nodes = {name: self.keep(Node(self.folder, self.write_cluster(name, shards), name)) for name in "ab"}
        for node in nodes.values():
            node.ready()
        return nodes

    def committed(self) -> int:
        return int(self.rows("SELECT count(*) FROM raw_telemetry")[0][0])

    def begin_cluster(self, shards: int) -> dict[str, Node]:
        """Two nodes under load."""
        self.broker = self.mosquitto()
        self.cluster = "cluster: {name: plant-7, lease: 1s}\nnodes:\n" + "".join(
            f"  {name}: {{address: 127.0.0.1:{free_port()}, http: 127.0.0.1:0}}\n" for name in "ab")
        nodes = self.start_both(shards)
        wait_until(lambda: len(self.recorded()) == shards, "all shards run")
        load_config = self.folder / "load.yaml"
        self.change(shards)
        load_config.write_text(self.config.read_text())
        self.flow = self.start_load(load_config, "--count", COUNT, "--rate", RATE, "--devices", 100)
        wait_until(lambda: self.committed() > RATE, "messages flow")
        return nodes

    def test_a_node_is_killed_while_it_retires_sessions(self):
        nodes = self.begin_cluster(6)
        for node in nodes.values():
            node.kill()
        published = self.loaded(self.config)
        wait_until(lambda: self.loaded(self.config) > published + RATE, "messages queue for every session")
        nodes = self.start_both(2)
        retires = lambda: [name for name, node in nodes.items() if "retires session" in node.log.read_text()]  # noqa: E731
        wait_until(retires, "one has begun")
        nodes.pop(retires()[0]).kill()
        self.assert_all_there()
        self.wait_for_sessions(2)
        self.assert_gone(range(2, 6))
        for node in nodes.values():
            self.assertEqual(node.stop(), 0)

    def test_nodes_whose_files_differ_for_a_while(self):
        nodes = self.begin_cluster(4)
        for name in "ab":
            self.write_cluster(name, 2)
            nodes[name].signal(signal.SIGHUP)
            wait_until(lambda name=name: nodes[name].status()["configuration"]["reads"] == 1, "it is read")
            before = self.committed()
            wait_until(lambda before=before: self.committed() > before + RATE or not self.flow.alive(), "messages flow")
        self.assert_all_there()
        self.wait_for_sessions(2)
        self.assert_gone([2, 3])
        for node in nodes.values():
            self.assertEqual(node.stop(), 0)


del GenerationsCase  # only its children are tests


if __name__ == "__main__":
    unittest.main(verbosity=2)
