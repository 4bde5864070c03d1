"""Tables come and go while a node runs: what has changed is stopped and started, nothing else is touched, nothing is lost or repeated."""

import collections
import json
import os
import pathlib
import pty
import signal
import stat
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import database_server  # noqa: E402
import publish_test  # noqa: E402
from harness import PENSTOCK, Case, Node, run_command, wait_until  # noqa: E402

HEAD = """\
# The plant's tables. This comment stays.
data: ./data
node: {{name: a, http: 127.0.0.1:0}}
brokers:
  main: {{url: "mqtt://127.0.0.1:{port}", reconnect_max: 500ms}}
databases:
  plant: {{url: "{database}", busy_timeout: 5s}}   # and this one
"""

TABLE = """\
  {name}:
    database: plant
    table: {name}
    key: RecordId
    order: CreatedAt
    shard_by: MonitorId
    shards: {shards}
    broker: main
    topic: "{topic}/{{MonitorId}}"
    fields: {{RecordId: id, MonitorId: monitor, CreatedAt: created}}
    detect: {{poll: 50ms, late_for: 1m}}
"""


class Table(publish_test.Plant):
    def __init__(self, server, name: str):
        self.server = server
        self.kind = server.url.split(":")[0]
        self.name = f'"{name}"' if self.kind == "postgresql" else name
        self.server.sql(publish_test.CREATE[self.kind].replace("TableA", name))
        self.next_id = 1

    def feed(self, rows: int, seconds: float, batch: int = 20) -> threading.Thread:
        def run():
            began = time.monotonic()
            for number in range(rows // batch):
                time.sleep(max(0.0, began + number * seconds * batch / rows - time.monotonic()))
                self.insert_again(self.take(batch))

        thread = threading.Thread(target=run)
        thread.start()
        return thread


class ReloadCase(Case):
    def begin(self, server, tables=("TableA",), count: int = 2):
        self.server = server
        self.broker = self.mosquitto("max_queued_messages 0\n")
        self.receiver = publish_test.Receiver(self.broker.port)
        self.tables = {f"Table{letter}": Table(server, f"Table{letter}") for letter in "AB"[:count]}
        self.config = self.folder / "penstock.yaml"
        self.write(*tables)
        self.current = self.node(self.config).ready()
        return self.current

    def text(self, *tables, shards: int = 2, topics: dict | None = None, head: str = HEAD) -> str:
        text = head.format(port=self.broker.port, database=self.server.url)
        if tables:
            text += "publish:\n" + "".join(
                TABLE.format(name=name, shards=shards, topic=(topics or {}).get(name, f"data/{name}")) for name in tables)
        return text

    def write(self, *tables, **more):
        new = self.config.with_suffix(".edited")
        new.write_text(self.text(*tables, **more))
        new.replace(self.config)

    def read_again(self, taken: bool = True) -> str:
        """Has the node read its file, and waits until it has; what came of it."""
        before = self.current.status()["configuration"]["reads"]
        self.current.signal(signal.SIGHUP)
        wait_until(lambda: self.current.status()["configuration"]["reads"] > before, "the configuration is read again")
        read = self.current.status()["configuration"]
        self.assertEqual(read["taken"], taken, read)
        return read["outcome"]

    def received(self, topic: str) -> list[int]:
        return [message["id"] for where, message in list(self.receiver.messages) if where.startswith(f"{topic}/")]

    def wait_for(self, *topics: str, count: int):
        wait_until(lambda: sum(len(self.received(topic)) for topic in topics) >= count, f"{count} messages of {topics}")

    def assert_once(self, ids, *topics: str):
        wait_until(lambda: time.monotonic() - self.receiver.last > 1.0, "no more repeats come")
        got = [one for topic in topics for one in self.received(topic)]
        self.assertEqual([one for one, times in collections.Counter(got).items() if times > 1], [], "repeated")
        self.assertEqual(sorted(got), sorted(ids))

    def connects(self, name: str) -> list[int]:
        return [shard["connects"] for shard in self.current.status()["publish"][name]["shards"]]


class OnAnyDatabase:
    def test_a_table_comes_goes_and_comes_again_while_another_is_under_load(self):
        self.begin(self.database())
        a, b = self.tables["TableA"], self.tables["TableB"]
        b.insert(b.take(300))
        feeding = [a.feed(2_000, 12), b.feed(2_000, 12)]
        self.write("TableA", "TableB")
        self.assertEqual(self.read_again(), "publish.TableB added, 1 pipeline unchanged")
        self.wait_for("data/TableB", count=400)
        self.write("TableA")
        self.assertEqual(self.read_again(), "publish.TableB removed, 1 pipeline unchanged")
        self.assertNotIn("TableB", self.current.status()["publish"])
        self.assertFalse([name for name in self.current.status()["actors"] if name.startswith("TableB")])
        wait_until(lambda: "TableB" not in self.current.get("/metrics")[1], "the alerter forgets it at its next look")
        wait_until(lambda: self.current.get("/readyz")[0] == 200, "ready without it")
        self.write("TableA", "TableB")
        self.read_again()
        for thread in feeding:
            thread.join()
        self.wait_for("data/TableA", count=2_000)
        self.wait_for("data/TableB", count=2_300)
        self.assert_once(range(1, 2_001), "data/TableA")
        self.assert_once(range(1, 2_301), "data/TableB")
        self.assertEqual(self.connects("TableA"), [1, 1], "its sessions were not touched")
        self.assertEqual({actor["restarts"] for actor in self.current.status()["actors"].values()}, {0})
        self.assertEqual(self.current.stop(), 0)


class Reload(OnAnyDatabase, ReloadCase):
    def database(self):
        return publish_test.Sqlite(self.folder / "plant")

    def test_a_changed_topic_is_taken_by_its_pipeline_alone(self):
        self.begin(self.database(), ("TableA", "TableB"))
        feeding = [table.feed(1_000, 6) for table in self.tables.values()]
        self.wait_for("data/TableB", count=100)
        self.write("TableA", "TableB", topics={"TableB": "moved/b"})
        other = publish_test.Receiver(self.broker.port, "moved/#", "other receiver")
        self.assertEqual(self.read_again(), "publish.TableB changed (topic), 1 pipeline unchanged")
        for thread in feeding:
            thread.join()
        self.wait_for("data/TableA", count=1_000)
        wait_until(lambda: other.count() + len(self.received("data/TableB")) >= 1_000, "all of the other")
        self.receiver.messages += other.messages
        self.assertGreater(other.count(), 0)
        self.assert_once(range(1, 1_001), "data/TableA")
        self.assert_once(range(1, 1_001), "data/TableB", "moved/b")
        self.assertEqual(self.connects("TableA"), [1, 1])
        self.assertEqual(self.current.stop(), 0)

    def test_fewer_shards_are_shown_and_asked_for(self):
        self.begin(self.database())
        self.write("TableA", shards=1)
        self.assertEqual(self.read_again(), "publish.TableA changed (shards), 0 pipelines unchanged")
        wait_until(lambda: self.current.get("/readyz")[0] == 200, "ready with one shard")
        self.assertEqual(len(self.current.status()["publish"]["TableA"]["shards"]), 1)
        self.assertEqual(self.current.stop(), 0)

    def test_a_file_with_problems_changes_nothing(self):
        self.begin(self.database())
        table = self.tables["TableA"]
        self.config.write_text(self.text("TableA") + "    shard: 7\nlog: {level: loud}\n")
        outcome = self.read_again(taken=False)
        lines = self.text("TableA").count("\n")
        for wanted in (f"penstock.yaml:{lines + 1}:5: publish.TableA.shard: is not a setting", f"penstock.yaml:{lines + 2}:"):
            self.assertIn(wanted, outcome)
            self.assertIn(wanted, self.current.log.read_text())
        # A table that is not there is a problem too, and then nothing else of the file is taken either.
        self.write("TableA", "TableC", topics={"TableA": "moved"})
        self.assertIn("publish.TableC: there is no table TableC", self.read_again(taken=False))
        self.config.write_text(self.text("TableA").replace("data: ./data", "data: ./elsewhere"))
        self.assertIn("cannot move while it runs", self.read_again(taken=False))
        self.config.unlink()
        self.assertIn("does not exist", self.read_again(taken=False))
        table.insert(table.take(10))
        self.wait_for("data/TableA", count=10)
        self.assertEqual(self.connects("TableA"), [1, 1])
        self.write("TableA", head=HEAD.replace("127.0.0.1:0", "127.0.0.1:1"))
        self.assertEqual(self.read_again(), "1 pipeline unchanged; at the next start: node.http")
        self.assertIn("at the next start: node.http", self.current.log.read_text())
        self.assertEqual(self.current.stop(), 0)

    def test_signals_that_come_meanwhile_are_not_lost_and_a_stop_goes_before(self):
        node = self.begin(self.database())
        for topic in ("one", "two", "three"):
            self.write("TableA", topics={"TableA": topic})
            node.signal(signal.SIGHUP)
        table = self.tables["TableA"]
        table.insert(table.take(50))
        last = publish_test.Receiver(self.broker.port, "three/#", "last")
        wait_until(lambda: json.loads(node.get("/status")[1])["configuration"]["reads"] > 0, "it is read")

        def published_by_the_last() -> bool:
            table.insert(table.take(1))
            return last.count() > 0

        wait_until(published_by_the_last, "the last of the files holds")
        self.write("TableA", "TableB")
        node.signal(signal.SIGHUP)
        self.assertEqual(node.stop(), 0)
        self.assertFalse([line for line in node.log.read_text().splitlines() if "AddressSanitizer" in line])

    def test_presence_follows_the_control_section(self):
        node = self.begin(self.database())
        control = "control: {{broker: main, control_topic: plant/control}}\n"
        self.write("TableA", "TableB", head=HEAD + control)
        self.assertEqual(self.read_again(), "publish.TableB added, control added, 1 pipeline unchanged")
        operator = publish_test.small_mqtt.SmallMqtt(self.broker.port, "operator")
        self.addCleanup(operator.close)

        def paused() -> bool:
            operator.publish("plant/control", "pause TableB")
            return node.status()["publish"]["TableB"]["paused"]

        wait_until(paused, "a pipeline that came later hears the control topic")
        self.assertFalse(node.status()["publish"]["TableA"]["paused"])
        self.write("TableA", "TableB", head=HEAD + control, topics={"TableB": "moved"})
        self.read_again()
        self.assertTrue(node.status()["publish"]["TableB"]["paused"], "a change does not end a pause")
        self.write("TableA")
        self.assertEqual(self.read_again(), "publish.TableB removed, control removed, 1 pipeline unchanged")
        self.assertNotIn("presence", node.status()["actors"])
        self.assertEqual(node.stop(), 0)

    def test_a_pause_lasts_until_somebody_ends_it(self):
        self.begin(self.database(), ("TableA", "TableB"))
        a, b = self.tables["TableA"], self.tables["TableB"]
        a.insert(a.take(10))
        self.wait_for("data/TableA", count=10)
        self.assertIn("is paused", run_command("tables", "pause", "TableA", "--config", self.config).stdout)

        def status() -> dict:
            return self.current.status()["publish"]["TableA"]

        wait_until(lambda: status()["paused"], "it is paused")
        a.insert(a.take(10))
        for kill in (False, True):
            if kill:
                self.current.kill()
                self.current = self.node(self.config).ready()
                wait_until(lambda: status()["paused"], "it is paused after a kill")
            commits = status()["commits"]
            wait_until(lambda: status()["commits"] > commits, "it has looked at the tracking database again")
            b.insert(b.take(10))
            self.wait_for("data/TableB", count=b.next_id - 1)
            self.assertEqual(len(self.received("data/TableA")), 10)
        listed = json.loads(run_command("tables", "list", "--json", "--config", self.config).stdout)
        self.assertEqual({one["pipeline"]: one["paused"] for one in listed}, {"TableA": True, "TableB": False})
        run_command("tables", "resume", "TableA", "--config", self.config)
        self.wait_for("data/TableA", count=20)
        self.assert_once(range(1, 21), "data/TableA")
        self.assertFalse(status()["paused"])
        self.assertEqual(self.current.stop(), 0)


class OnPostgresql(OnAnyDatabase, ReloadCase):
    def database(self):
        return self.keep(database_server.Postgresql(self.folder / "server"))

    def test_a_table_is_added_by_what_its_catalogue_says(self):
        self.begin(self.database())
        added = run_command("tables", "add", "--table", "public.TableB", "--shards", "2", "--config", self.config).stdout
        for line in ("key: RecordId", "order: CreatedAt", "shard_by: MonitorId", 'topic: "data/TableB/{MonitorId}"'):
            self.assertIn(f"+    {line}\n", added)
        self.assertIn("publish.TableB added, 1 pipeline unchanged", added)
        self.server.sql('INSERT INTO "TableB" VALUES (1, \'m1\', 1.5, now())')
        wait_until(lambda: self.receiver.count() == 1, "its rows are published")
        self.assertEqual(self.current.stop(), 0)


class Commands(ReloadCase):
    def database(self):
        return publish_test.Sqlite(self.folder / "plant")

    def add(self, *arguments, expect: int = 0) -> subprocess.CompletedProcess:
        return run_command("tables", "add", *arguments, "--config", self.config, expect=expect)

    def test_a_table_is_added_and_removed_while_the_node_runs(self):
        node = self.begin(self.database())
        before = self.config.read_text()
        self.config.chmod(0o640)
        b = self.tables["TableB"]
        b.insert(b.take(5))
        planned = self.add("--table", "TableB", "--fields", "RecordId=id", "--dry-run").stdout
        self.assertIn("+    fields: {RecordId: id}\n", planned)
        self.assertEqual(self.config.read_text(), before)
        added = self.add("--table", "TableB", "--fields", "RecordId=id").stdout
        self.assertIn(f"process {node.pid}: publish.TableB added, 1 pipeline unchanged", added)
        self.assertTrue(self.config.read_text().startswith(before))
        self.assertEqual(stat.S_IMODE(self.config.stat().st_mode), 0o640)
        self.wait_for("data/TableB", count=5)
        self.assertIn("there already", self.add("--table", "TableB", expect=78).stderr)
        removed = run_command("tables", "remove", "TableB", "--config", self.config).stdout
        self.assertIn("publish.TableB removed", removed)
        self.assertEqual(self.config.read_text(), before, "not a byte is left of it")
        b.insert(b.take(5))
        self.add("--table", "TableB", "--fields", "RecordId=id")
        self.wait_for("data/TableB", count=10)
        self.assert_once(range(1, 11), "data/TableB")
        self.assertEqual(self.connects("TableA"), [1, 1])
        self.assertEqual(node.stop(), 0)
        offline = run_command("tables", "remove", "TableB", "--config", self.config).stdout
        self.assertIn("no node runs", offline)
        self.assertEqual(self.config.read_text(), before)

    def test_what_is_missing_or_wrong_is_said_and_the_file_stays_as_it_is(self):
        node = self.begin(self.database(), count=1)
        before = self.config.read_text()
        self.server.sql("CREATE TABLE bare (a TEXT, b TEXT)")
        self.assertIn("--table is needed", self.add(expect=64).stderr)
        self.assertIn("there is no table nothing", self.add("--table", "nothing", expect=78).stderr)
        self.assertIn("--key is needed", self.add("--table", "bare", expect=64).stderr)
        wrong = self.add("--table", "bare", "--key", "a", "--topic", "data/#", "--broker", "none", expect=78).stderr
        self.assertIn("publish.bare.topic", wrong)
        self.assertIn("publish.bare.broker", wrong)
        self.assertIn("2 problems; the file is as before", wrong)
        self.assertIn("has no column c", self.add("--table", "bare", "--key", "a", "--topic", "x/{c}", expect=78).stderr)
        self.assertIn("there is no publish pipeline", run_command(
            "tables", "remove", "bare", "--config", self.config, expect=78).stderr)
        self.assertEqual(self.config.read_text(), before)
        self.assertEqual(node.status()["configuration"]["reads"], 0)
        self.config.write_text(json.dumps({
            "brokers": {"main": {"url": f"mqtt://127.0.0.1:{self.broker.port}"}}, "databases": {"plant": {"url": self.server.url}}}))
        by_hand = self.add("--table", "TableA", expect=64).stderr
        self.assertIn("edit it by hand", by_hand)
        self.assertIn("    table: TableA\n", by_hand)
        self.assertEqual(node.stop(), 0)

    def test_a_node_that_reads_another_file_is_left_alone(self):
        node = self.begin(self.database())
        other = self.folder / "other.yaml"
        other.write_text(self.text("TableA"))
        self.config, mine = other, self.config
        self.assertIn(f"reads {mine}, not this file", self.add("--table", "TableB", expect=1).stderr)
        self.assertEqual(node.status()["configuration"]["reads"], 0)
        self.assertEqual(node.stop(), 0)

    def test_on_a_terminal_it_asks_with_proposals(self):
        node = self.begin(self.database())
        ours, theirs = pty.openpty()
        process = subprocess.Popen([PENSTOCK, "tables", "add", "--config", self.config], stdin=theirs, stdout=theirs,
                                   stderr=subprocess.STDOUT)
        os.close(theirs)
        seen = ""

        def read_to(wanted: str):
            nonlocal seen
            while wanted not in seen:
                seen += os.read(ours, 4096).decode()
            seen = seen.split(wanted, 1)[1]

        for question, answer in (
            ("database [plant]: ", ""), ("table, or SCHEMA.TABLE: ", "TableB"), ("name of the pipeline [TableB]: ", "Second"),
            ("columns that identify a row [RecordId]: ", ""), ("which row is older [CreatedAt]: ", ""),
            ("keep their order [MonitorId]: ", ""), ("share the rows) [1]: ", "2"), ("broker [main]: ", ""),
            ("topic [data/TableB/{MonitorId}]: ", "second/{MonitorId}"), ("columns in the payload [all]: ", "RecordId=id"),
            ("a value of the order [all]: ", ""), ("add it [yes]: ", ""),
        ):
            read_to(question)
            os.write(ours, (answer + "\n").encode())
        read_to("publish.Second added")
        self.assertEqual(process.wait(60), 0)
        os.close(ours)
        self.assertIn('  Second:\n    database: plant\n    table: TableB\n    key: RecordId\n    order: CreatedAt\n'
                      '    shard_by: MonitorId\n    shards: 2\n    broker: main\n    topic: "second/{MonitorId}"\n'
                      '    fields: {RecordId: id}\n', self.config.read_text())
        self.assertEqual(len(node.status()["publish"]["Second"]["shards"]), 2)
        self.assertEqual(node.stop(), 0)


class Ingest(Case):
    def test_a_pipeline_is_changed_under_load_without_a_loss(self):
        broker = self.mosquitto()
        config = self.configure(broker)
        node = self.node(config).ready()
        load = self.start_load(config, "--count", 20_000, "--rate", 2_500)
        for number in range(1, 4):
            reached = number * 4_000
            wait_until(lambda reached=reached: node.pipeline()["account"]["received"] >= reached, "the load goes on")
            config.write_text(config.read_text().replace(f"batch: {{records_max: {5_001 - number}", f"batch: {{records_max: {5_000 - number}"))
            node.signal(signal.SIGHUP)
            wait_until(lambda number=number: node.status()["configuration"]["reads"] == number, "it is read")
            self.assertEqual(node.status()["configuration"]["outcome"], "ingest.telemetry changed (batch.records_max), 0 pipelines unchanged")
        self.assertEqual(load.wait(), 0)
        verdict = self.verify(config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))
        self.assert_balanced(node)
        self.assertEqual(node.stop(), 0)

    def test_a_pipeline_that_goes_is_told_what_its_broker_keeps(self):
        broker = self.mosquitto()
        config = self.configure(broker)
        node: Node = self.node(config).ready()
        text = config.read_text()
        config.write_text(text[: text.index("ingest:")])
        node.signal(signal.SIGHUP)
        wait_until(lambda: node.status()["configuration"]["reads"] == 1, "it is read")
        self.assertEqual(node.status()["pipelines"], {})
        self.assertIn("its MQTT sessions stay with the broker", node.log.read_text())
        self.assertEqual(node.get("/readyz")[0], 200)
        config.write_text(text)
        node.signal(signal.SIGHUP)
        node.ready()
        self.load(config, "--count", 500, "--rate", 5_000)
        self.assertEqual(self.verify(config)["missing"], 0)
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
