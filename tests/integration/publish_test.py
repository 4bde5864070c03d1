"""Rows reach the broker exactly once: whatever is killed, cut or restarted in between, and however late a row is committed.

The tests insert with the database's own client and receive with a client of their own, so that nothing of Penstock judges itself.
"""

import collections
import json
import os
import pathlib
import signal
import sqlite3
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import database_server  # noqa: E402
import small_mqtt  # noqa: E402
from harness import SOAK, Case, Node, run_command, wait_until  # noqa: E402

ROWS = 50_000
KILLS = 50 if SOAK else 20
SECONDS = 120 if SOAK else 30
MONITORS = 200

# The pipeline of all tests that publish.
TABLE_A = """\
publish:
  TableA:
    database: plant
    table: TableA
    key: RecordId
    order: CreatedAt
    shard_by: MonitorId
    shards: {shards}
    broker: main
    topic: "data/tableA/{{MonitorId}}"
    qos: {qos}
    fields: {{RecordId: id, MonitorId: monitor, Reading: value, CreatedAt: created}}
    detect: {{poll: {poll}, late_for: 1m}}
"""

CONFIGURATION = """
data: {data}
node: {{name: a, http: 127.0.0.1:0, admin: true}}
brokers:
  main: {{url: "mqtt://127.0.0.1:{port}", reconnect_max: 500ms}}
databases:
  plant: {{url: "{database}", busy_timeout: 2s{limits}}}
""" + TABLE_A + "{more}\n"


class Receiver:
    """A subscriber with QoS 2 that stays connected, and keeps what comes in the order of arrival."""

    def __init__(self, port: int, topic: str = "data/#", client_id: str = "receiver"):
        self.client = small_mqtt.SmallMqtt(port, client_id)
        self.messages: list[tuple[str, dict]] = []
        self.client.socket.sendall(
            small_mqtt._packet(0x82, struct.pack(">H", 1) + small_mqtt._text(topic) + b"\x02"))
        while self.client._read()[0] != 0x90:
            pass
        self.client.socket.settimeout(None)
        self.last = time.monotonic()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            while True:
                first, body = self.client._read()
                kind = first & 0xF0
                if kind == 0x30:
                    length = struct.unpack(">H", body[:2])[0]
                    packet_id = body[2 + length : 4 + length]
                    self.messages.append((body[2 : 2 + length].decode(), json.loads(body[4 + length :])))
                    self.last = time.monotonic()
                    # PUBREC for QoS 2, PUBACK for QoS 1
                    self.client.socket.sendall((b"\x50\x02" if first & 4 else b"\x40\x02") + packet_id)
                elif kind == 0x60:
                    self.client.socket.sendall(b"\x70\x02" + body[:2])
        except (OSError, ConnectionError):
            pass

    def count(self) -> int:
        return len(self.messages)


class Sqlite:
    """What the tests need of a database, as the servers of database_server have it."""

    def __init__(self, folder: pathlib.Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "plant.db"
        self.url = f"sqlite:{self.path}"
        with sqlite3.connect(self.path) as db:
            db.execute("PRAGMA journal_mode = WAL")

    def sql(self, text: str) -> str:
        db = sqlite3.connect(self.path, timeout=60)
        try:
            rows = []
            for statement in [each for each in text.split(";") if each.strip()]:
                rows = db.execute(statement).fetchall()
            db.commit()
            return "\n".join("|".join(map(str, row)) for row in rows)
        finally:
            db.close()

    def pause(self, node: Node):
        """Stops a node as a machine that hangs, while it does not write: one that does keeps the file locked for all others."""
        while True:
            node.signal(signal.SIGSTOP)
            os.waitid(os.P_PID, node.pid, os.WSTOPPED)  # all of its threads
            db = sqlite3.connect(self.path, timeout=2, isolation_level=None)
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                node.signal(signal.SIGCONT)
                time.sleep(0.05)
            finally:
                db.close()


CREATE = {
    "sqlite": 'CREATE TABLE TableA (RecordId INTEGER PRIMARY KEY, MonitorId TEXT, Reading REAL, CreatedAt TEXT)',
    "postgresql": 'CREATE TABLE "TableA" ("RecordId" BIGINT PRIMARY KEY, "MonitorId" TEXT, "Reading" DOUBLE PRECISION, '
                  '"CreatedAt" TIMESTAMPTZ)',
    "mysql": "CREATE TABLE TableA (RecordId BIGINT PRIMARY KEY, MonitorId VARCHAR(50), Reading DOUBLE, CreatedAt DATETIME(6))",
}


class Plant:
    """Inserts rows: rising ids, and rising times for each monitor."""

    def __init__(self, server):
        self.server = server
        self.kind = server.url.split(":")[0]
        self.name = '"TableA"' if self.kind == "postgresql" else "TableA"
        self.server.sql(CREATE[self.kind])
        self.next_id = 1

    def values(self, ids) -> str:
        return ", ".join(
            f"({i}, 'm{i % MONITORS}', {i}.5, '2026-11-25 {i // 3600 % 24:02}:{i // 60 % 60:02}:{i % 60:02}.000001')" for i in ids)

    def take(self, count: int) -> range:
        ids = range(self.next_id, self.next_id + count)
        self.next_id += count
        return ids

    def insert(self, ids):
        self.server.sql(f"INSERT INTO {self.name} VALUES {self.values(ids)}")

    def insert_again(self, ids):
        """Also where the server is restarted meanwhile; the outcome of a broken commit is looked up."""
        deadline = time.monotonic() + 120
        while True:
            try:
                there = self.server.sql(f'SELECT count(*) FROM {self.name} WHERE '
                                        f'{self.column("RecordId")} BETWEEN {ids[0]} AND {ids[-1]}').strip()
                if int(there.split()[-1]) == 0:
                    self.insert(ids)
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def column(self, name: str) -> str:
        return f'"{name}"' if self.kind == "postgresql" else name


class PublishCase(Case):
    def configure_publish(self, server, port: int, shards: int = 4, qos: int = 2, more: str = "", data: str = "./data",
                          name: str = "penstock.yaml", poll: str = "50ms") -> pathlib.Path:
        config = self.folder / name
        config.write_text(CONFIGURATION.format(port=port, database=server.url, shards=shards, qos=qos, more=more, data=data, poll=poll,
                                               limits="" if server.url.startswith("sqlite")
                                               else ", connect_timeout: 2s, statement_timeout: 5s"))
        return config

    def begin(self, server, qos: int = 2, more: str = "", shards: int = 4, poll: str = "50ms"):
        self.broker = self.mosquitto("max_queued_messages 0\n")
        self.plant = Plant(server)
        self.receiver = Receiver(self.broker.port)
        self.config = self.configure_publish(server, self.broker.port, qos=qos, more=more, shards=shards, poll=poll)
        self.current = self.node(self.config)
        return self.current

    def publish_status(self, node: Node | None = None) -> dict:
        return (node or self.current).status()["publish"]["TableA"]

    def wait_for(self, count: int, patience: float = 180):
        wait_until(lambda: self.receiver.count() >= count, f"{count} messages, there are {self.receiver.count()}", patience)
        wait_until(lambda: time.monotonic() - self.receiver.last > 1.5, "no more repeats come", patience)

    def assert_exactly_once(self, ids, in_order: bool = True):
        got = [message["id"] for _, message in self.receiver.messages]
        repeated = [i for i, count in collections.Counter(got).items() if count > 1]
        missing = sorted(set(ids) - set(got))
        self.assertEqual((len(missing), missing[:10], len(repeated), repeated[:10]), (0, [], 0, []))
        self.assertEqual(len(got), len(ids))
        if in_order:
            last = {}
            for topic, message in self.receiver.messages:
                self.assertEqual(topic, f"data/tableA/{message['monitor']}")
                self.assertGreater(message["id"], last.get(topic, 0), f"{topic} is out of order")
                last[topic] = message["id"]

    def assert_all_sent(self, count: int):
        wait_until(lambda: self.publish_status()["account"]["in_flight"] == 0, "nothing is in flight")
        account = self.publish_status()["account"]
        self.assertTrue(account["balanced"], account)
        states = self.plant.server.sql("SELECT count(*) FROM mqtt_sent_records WHERE state = 'sent' AND payload IS NULL")
        self.assertEqual(int(states.split()[-1]), count)

    def feed(self, rows: int, seconds: float, batch: int = 100) -> threading.Thread:
        def run():
            began = time.monotonic()
            for number in range(rows // batch):
                time.sleep(max(0.0, began + number * seconds * batch / rows - time.monotonic()))
                self.plant.insert_again(self.plant.take(batch))

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def kill_at_random(self, times: int, seconds: float, on_event=None):
        began = time.monotonic()
        for number, moment in enumerate(sorted(self.random.uniform(0.02, 0.95) * seconds for _ in range(times))):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            self.current.kill()
            if on_event:
                on_event(number)
            self.current = self.node(self.config)


class ExactlyOnce:
    """On every database."""

    def server(self):
        raise NotImplementedError

    def restart_server(self):
        pass

    def test_kills_lose_and_repeat_nothing(self):
        self.begin(self.server())
        feeding = self.feed(ROWS, SECONDS)
        restart_at = KILLS // 2
        self.kill_at_random(KILLS, SECONDS, lambda number: self.restart_server() if number == restart_at else None)
        feeding.join()
        self.wait_for(ROWS)
        self.assert_exactly_once(range(1, ROWS + 1))
        self.assert_all_sent(ROWS)
        self.assertEqual(self.current.stop(), 0)

    def test_a_backlog_is_published_in_order_and_what_is_new_behind_it(self):
        server = self.server()
        self.broker = self.mosquitto()
        self.plant = Plant(server)
        for _ in range(10):
            self.plant.insert(self.plant.take(500))
        self.receiver = Receiver(self.broker.port)
        self.config = self.configure_publish(server, self.broker.port)
        self.current = self.node(self.config).ready()
        self.wait_for(5_000)
        self.plant.insert(self.plant.take(10))
        self.wait_for(5_010)
        self.assert_exactly_once(range(1, 5_011))
        self.assert_all_sent(5_010)
        self.assertEqual(self.current.stop(), 0)

    def test_the_number_of_shards_changes_while_claims_are_open(self):
        self.begin(self.server(), shards=4).ready()
        feeding = self.feed(8_000, 8)
        for number, shards in enumerate([2, 5, 1]):
            wait_until(lambda number=number: self.receiver.count() > 1_500 * (number + 1), "messages come")
            self.broker.signal(signal.SIGSTOP)
            # More than a batch of rows is: so none is that the broker has answered already.
            wait_until(lambda: all(shard["account"]["in_flight"] > 100 for shard in self.publish_status()["shards"]),
                       "every shard has something in flight")
            self.current.kill()
            self.broker.signal(signal.SIGCONT)
            self.configure_publish(self.plant.server, self.broker.port, shards=shards)
            self.current = self.node(self.config).ready()
        feeding.join()
        self.wait_for(8_000)
        self.assert_exactly_once(range(1, 8_001))
        self.assert_all_sent(8_000)
        log = self.current.log.read_text()
        for shard in range(1, 5):
            self.assertIn(f"claims of shard {shard} are open, which the pipeline does not have any more", log)
        self.assertNotIn("has forgotten the session", log)
        self.assertEqual(self.current.stop(), 0)

    def test_rows_that_commit_late_are_found(self):
        self.begin(self.server()).ready()
        ids = list(self.plant.take(2_000))
        late = [i for i in ids if i % 7 == 0]
        self.plant.insert([i for i in ids if i % 7 != 0])
        self.wait_for(len(ids) - len(late))
        self.random.shuffle(late)
        for first in range(0, len(late), 20):
            self.plant.insert(sorted(late[first : first + 20]))
        self.wait_for(len(ids))
        self.assert_exactly_once(ids, in_order=False)
        self.assertEqual(self.publish_status()["found_late"], len(late))
        self.assertEqual(self.current.stop(), 0)


class OnSqlite(ExactlyOnce, PublishCase):
    def server(self):
        return Sqlite(self.folder / "plant")

    def test_the_connection_to_the_broker_is_cut_at_any_moment(self):
        self.broker = self.mosquitto()
        proxy = self.keep(database_server.Proxy(self.broker.port))
        self.plant = Plant(self.server())
        self.receiver = Receiver(self.broker.port)
        self.config = self.configure_publish(self.plant.server, proxy.port)
        self.current = self.node(self.config).ready()
        feeding = self.feed(20_000, 10)
        while feeding.is_alive():
            time.sleep(self.random.uniform(0.05, 0.5))
            proxy.cut()
        feeding.join()
        self.wait_for(20_000)
        self.assert_exactly_once(range(1, 20_001))
        self.assert_all_sent(20_000)
        self.assertEqual(self.current.stop(), 0)

    def test_graceful_restarts_of_the_broker(self):
        self.begin(self.server()).ready()
        feeding = self.feed(10_000, 10)
        # The receiver has a clean session: it would lose what comes while it is away. So it is the shards that are cut.
        time.sleep(3)
        self.current.signal(signal.SIGSTOP)
        time.sleep(1)
        self.current.signal(signal.SIGCONT)
        feeding.join()
        self.wait_for(10_000)
        self.assert_exactly_once(range(1, 10_001))
        self.assertEqual(self.current.stop(), 0)

    def test_every_actor_may_fail(self):
        self.begin(self.server()).ready()
        feeding = self.feed(10_000, 10)
        actors = ["TableA/poller", "TableA/publisher/0", "TableA/publisher/1", "TableA/poller", "TableA/publisher/2"]
        for actor in actors:
            time.sleep(1.5)
            self.assertEqual(self.current.ask("POST", f"/admin/actors/{actor}/kill")[0], 202)
        feeding.join()
        self.wait_for(10_000)
        self.assert_exactly_once(range(1, 10_001))
        self.assert_all_sent(10_000)
        self.assertEqual(self.current.stop(), 0)

    def test_at_least_once_repeats_only_what_was_in_flight(self):
        self.begin(self.server(), qos=1)
        feeding = self.feed(20_000, 10)
        self.kill_at_random(5, 10)
        feeding.join()
        wait_until(lambda: len({m["id"] for _, m in self.receiver.messages}) == 20_000, "all rows arrive")
        self.assertLess(self.receiver.count(), 20_000 + 5 * 4 * 1_000)
        self.assertEqual(self.current.stop(), 0)

    def test_a_zombie_publishes_nothing_that_its_successor_does(self):
        self.begin(self.server()).ready()
        feeding = self.feed(10_000, 10)
        time.sleep(2)
        zombie = self.current
        self.plant.server.pause(zombie)
        successor_folder = self.folder / "successor"
        successor_folder.mkdir()
        config = self.configure_publish(self.plant.server, self.broker.port, data="./successor/data", name="successor.yaml")
        self.current = self.keep(Node(successor_folder, config))
        self.current.ready()
        time.sleep(3)
        zombie.signal(signal.SIGCONT)
        feeding.join()
        self.wait_for(10_000)
        self.assert_exactly_once(range(1, 10_001))
        wait_until(lambda: self.publish_status(zombie)["state"] == "stopped", "the zombie knows that it is one")
        self.assertIn("another process", self.publish_status(zombie)["reason"])
        self.assertEqual(self.current.stop(), 0)
        self.assertEqual(zombie.stop(), 0)

    def test_rows_that_no_topic_fits_are_refused_and_hold_nothing_up(self):
        self.begin(self.server()).ready()
        self.plant.server.sql("INSERT INTO TableA VALUES (1, 'a/b', 1, '2026-11-25 10:00:00'), (2, 'm2', 1, NULL),"
                              " (3, NULL, 1, '2026-11-25 10:00:00'), (4, 'm#', 1, '2026-11-25 10:00:00')")
        self.wait_for(2)
        self.assertEqual(sorted(topic for topic, _ in self.receiver.messages), ["data/tableA/m2", "data/tableA/unknown"])
        wait_until(lambda: self.publish_status()["account"]["refused"] == 2, "two are refused")
        refused = self.plant.server.sql("SELECT record_id, reason FROM mqtt_sent_records WHERE state = 'refused'")
        self.assertIn("MonitorId", refused)
        listed = json.loads(run_command("tables", "unsent", "TableA", "--config", self.config, "--json").stdout)
        self.assertEqual(sorted(each["record"] for each in listed), ["1", "4"])
        self.assertIn("refused", run_command("tables", "list", "--config", self.config).stdout)
        self.plant.server.sql("UPDATE TableA SET MonitorId = 'mended' WHERE RecordId IN (1, 4)")
        run_command("tables", "retry", "TableA", "1", "--config", self.config)
        run_command("tables", "retry", "TableA", "77", "--config", self.config, expect=1)
        self.wait_for(3)
        run_command("tables", "retry", "TableA", "--all", "--config", self.config)
        self.wait_for(4)
        self.assert_exactly_once(range(1, 5), in_order=False)
        self.assertEqual(self.current.stop(), 0)

    def test_a_locked_database_is_waited_for(self):
        self.begin(self.server()).ready()
        self.plant.insert(self.plant.take(100))
        self.wait_for(100)
        rival = sqlite3.connect(self.plant.server.path, timeout=60, isolation_level=None)
        self.plant.insert(self.plant.take(100))
        rival.execute("BEGIN IMMEDIATE")
        wait_until(lambda: self.publish_status()["state"] == "waiting", "the status tells the truth")
        rival.execute("ROLLBACK")
        rival.close()
        self.wait_for(200)
        self.assert_exactly_once(range(1, 201))
        wait_until(lambda: self.current.get("/readyz")[0] == 200, "ready again")
        self.assertEqual(self.current.stop(), 0)

    def test_a_change_of_the_file_wakes_the_poller(self):
        self.begin(self.server(), poll="30s")
        self.current.ready()
        for number in range(1, 6):
            self.plant.insert(self.plant.take(1))
            wait_until(lambda: self.receiver.count() == number, "the row arrives", 15)
        self.assertEqual(self.current.stop(), 0)

    def test_a_broker_that_has_forgotten_the_session(self):
        for rule in ("resend", "hold"):
            with self.subTest(rule=rule):
                self.folder = self.folder / rule
                self.folder.mkdir()
                self.begin(self.server(), more=f"    on_lost_session: {rule}").ready()
                feeding = self.feed(5_000, 3)
                time.sleep(1)
                self.current.kill()
                forgetful = self.keep_broker_without_state()
                self.current = self.node(self.config).ready()
                feeding.join()
                wait_until(lambda: self.publish_status()["account"]["in_flight"] == 0
                           and self.tracked() == 5_000, "all rows have their end")
                account = self.publish_status()["account"]
                self.assertTrue(account["balanced"], account)
                if rule == "resend":
                    self.assertEqual(account["held"], 0)
                self.assertEqual(self.current.stop(), 0)
                forgetful.stop()

    def tracked(self) -> int:
        return int(self.plant.server.sql("SELECT count(*) FROM mqtt_sent_records WHERE state <> 'claimed'").split()[-1])

    def keep_broker_without_state(self):
        self.broker.stop()
        for file in self.broker.folder.glob("*.db"):
            file.unlink()
        self.broker.start()
        return self.broker


class OnPostgresql(ExactlyOnce, PublishCase):
    def server(self):
        self.database = self.keep(database_server.Postgresql(self.folder / "server"))
        return self.database

    def restart_server(self):
        self.database.kill()
        self.database.start()


    def test_a_trigger_wakes_the_poller(self):
        self.begin(self.server(), poll="30s")
        self.current.ready()
        printed = run_command("tables", "notify", "TableA", "--config", self.config).stdout
        self.assertIn("CREATE OR REPLACE TRIGGER", printed)
        run_command("tables", "notify", "--apply", "--config", self.config)
        for number in range(1, 6):
            self.plant.insert(self.plant.take(1))
            wait_until(lambda: self.receiver.count() == number, "the row arrives", 15)
        run_command("tables", "notify", "--remove", "--config", self.config)
        self.assertEqual(self.current.stop(), 0)


class OnMariadb(ExactlyOnce, PublishCase):
    def server(self):
        self.database = self.keep(database_server.Mariadb(self.folder / "server"))
        return self.database

    def restart_server(self):
        self.database.kill()
        self.database.start()


if __name__ == "__main__":
    unittest.main(verbosity=2)
