"""Rows and their changes, told by PostgreSQL's logical decoding: each version reaches the broker once, as it was when it was made,
whatever is killed meanwhile."""

import collections
import pathlib
import signal
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import database_server  # noqa: E402
import small_mqtt  # noqa: E402
from harness import SOAK, Node, run_command, wait_until  # noqa: E402
from publish_test import MONITORS, PublishCase, Plant, Receiver  # noqa: E402

ROWS = 100_000 if SOAK else 20_000
BATCH = 100
KILLS = 40 if SOAK else 12
SECONDS = 120 if SOAK else 30
LARGE = 200_000
SLOT = "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'penstock_%'"


class Logical(PublishCase):
    def begin(self, updates: bool = True, poll: str = "10s", more: str = "", start: bool = True, server: str = ""):
        self.database = self.keep(database_server.Postgresql(
            self.folder / "server", f"wal_level = logical\nwal_sender_timeout = 10s\nmax_wal_size = 2GB\n{server}"))
        self.broker = self.mosquitto("max_queued_messages 0\n")
        self.plant = Plant(self.database)
        self.receiver = Receiver(self.broker.port)
        more = "    add: {key: $id}\n" + ("    on_update: publish\n" if updates else "") + more
        self.config = self.configure_publish(self.database, self.broker.port, poll=f"{poll}, changes: logical", more=more)
        run_command("tables", "logical", "--apply", "--config", self.config)
        if start:
            self.current = self.node(self.config).ready()

    def update(self, ids, version: int):
        """Also where the server is restarted meanwhile: an update that was committed is not made again."""
        deadline = time.monotonic() + 120
        while True:
            try:
                return self.database.sql(f'UPDATE "TableA" SET "Reading" = {version} WHERE "RecordId" BETWEEN {ids[0]} AND {ids[-1]}'
                                         f' AND "Reading" <> {version}')
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def versions(self) -> dict:
        """Readings of each record in the order of their arrival."""
        readings = collections.defaultdict(list)
        for _, message in self.receiver.messages:
            readings[message["id"]].append(message["value"])
        return readings

    def assert_versions(self, expected: dict):
        got = self.versions()
        wrong = {i: (got.get(i), readings) for i, readings in expected.items() if got.get(i) != readings}
        self.assertEqual((len(wrong), dict(list(wrong.items())[:5])), (0, {}))
        self.assertEqual(len(got), len(expected))
        keys = [message["key"] for _, message in self.receiver.messages]
        self.assertEqual(len(keys), len(set(keys)), "each version has a message id of its own")

    def lag_bytes(self) -> int:
        return self.publish_status()["slot"]["lag_bytes"]

    def test_each_version_is_published_once_whatever_is_killed(self):
        self.begin(poll="1s")
        expected = {}
        batches = ROWS // BATCH

        def change():
            began = time.monotonic()
            for number in range(batches):
                time.sleep(max(0.0, began + number * SECONDS / batches - time.monotonic()))
                ids = list(self.plant.take(BATCH))
                self.plant.insert_again(ids)
                expected.update({i: [i + 0.5] for i in ids})
                for version in range(1, 1 + number % 3):
                    self.update(ids, version)
                    for i in ids:
                        expected[i].append(float(version))

        changing = threading.Thread(target=change)
        changing.start()

        def on_event(number):
            if number == KILLS // 2:
                self.database.kill()
                self.database.start()

        self.kill_at_random(KILLS, SECONDS, on_event)
        changing.join()
        total = sum(map(len, expected.values()))
        self.wait_for(total)
        self.assert_versions(expected)
        self.assert_all_sent(total)
        wait_until(lambda: self.lag_bytes() < 64 << 20, "the server keeps little of its log")
        self.assertEqual(self.current.stop(), 0)

    def test_an_insert_arrives_far_sooner_than_the_next_look(self):
        self.begin(updates=False, poll="1m")
        for number in range(1, 21):
            self.plant.insert(self.plant.take(1))
            wait_until(lambda: self.receiver.count() == number, "the row arrives", 20)
        self.update(range(1, 21), 7)  # not asked for
        self.plant.insert(self.plant.take(1))
        self.wait_for(21)
        self.assert_exactly_once(range(1, 22))
        self.assertEqual(self.current.stop(), 0)

    def test_a_large_transaction_comes_piece_by_piece(self):
        self.begin()
        self.plant.insert(self.plant.take(100))
        self.wait_for(100)
        before_mb = self.current.resident_mb()
        most_mb = [0.0]
        self.database.sql(f"""INSERT INTO "TableA" SELECT i, 'm' || i % {MONITORS}, i + 0.5, now() + i * interval '1 ms'
                              FROM generate_series(101, {LARGE}) i""")

        def arrived():
            most_mb[0] = max(most_mb[0], self.current.resident_mb())
            return self.receiver.count() >= LARGE

        wait_until(arrived, "all arrive", 400)
        self.wait_for(LARGE)
        self.assertLess(most_mb[0] - before_mb, 150)
        self.assert_exactly_once(range(1, LARGE + 1))
        self.assertEqual(self.current.stop(), 0)

    def test_rows_from_before_the_slot_are_found_by_queries(self):
        self.begin(start=False)
        for _ in range(10):
            self.plant.insert(self.plant.take(500))
        self.current = self.node(self.config).ready()
        self.wait_for(5_000)
        self.plant.insert(self.plant.take(10))
        self.wait_for(5_010)
        self.assert_exactly_once(range(1, 5_011))
        self.assertEqual(self.current.stop(), 0)

    def test_changes_made_while_no_node_runs_come_as_they_were(self):
        self.begin(poll="100ms")
        self.plant.insert(self.plant.take(10))
        self.wait_for(10)
        self.assertEqual(self.current.stop(), 0)
        ids = self.plant.take(500)
        self.plant.insert(ids)
        for version in (1, 2):
            self.update(ids, version)
        self.database.sql(f'DELETE FROM "TableA" WHERE "RecordId" = {ids[-1]}')
        self.current = self.node(self.config).ready()
        self.wait_for(10 + 3 * 500)
        self.assert_versions({i: [i + 0.5] + ([1.0, 2.0] if i in ids else []) for i in range(1, 511)})
        self.assertEqual(self.current.stop(), 0)

    def test_a_slot_that_is_dropped_is_made_anew_and_inserts_are_found(self):
        self.begin(poll="200ms")
        self.plant.insert(self.plant.take(100))
        self.wait_for(100)
        self.current.kill()
        slot = self.database.sql(SLOT)
        wait_until(lambda: self.database.sql(f"{SLOT} AND NOT active"), "nobody reads the slot")
        self.database.sql(f"SELECT pg_drop_replication_slot('{slot}')")
        self.plant.insert(self.plant.take(100))
        self.current = self.node(self.config).ready()
        self.wait_for(200)
        self.assert_exactly_once(range(1, 201))
        self.assertEqual(self.publish_status()["slot"]["name"], slot)
        self.assertEqual(self.publish_status()["slot"]["lost"], 1)
        self.update(range(1, 101), 3)
        self.wait_for(300)
        self.assertEqual(self.current.stop(), 0)

    def test_what_the_server_lacks_is_said_before_anything_starts(self):
        self.begin(start=False)
        run_command("tables", "logical", "--remove", "--config", self.config)
        self.database.more = "wal_level = replica"
        self.database.restart()
        for arguments in (("check", "--connect"), ("run",)):
            done = run_command(*arguments, "--config", self.config, expect=78)
            said = done.stdout + done.stderr
            for part in ("wal_level is replica", "there is no publication penstock_TableA", "tables logical TableA --apply"):
                self.assertIn(part, said)
        self.assertEqual(self.database.sql(SLOT), "")

    def test_the_log_of_other_tables_is_not_kept(self):
        self.begin(poll="1s")
        self.plant.insert(self.plant.take(1))
        self.wait_for(1)
        self.database.sql("CREATE TABLE other (t TEXT)")
        for _ in range(20):
            self.database.sql("INSERT INTO other SELECT repeat(md5(i::text), 30) FROM generate_series(1, 5000) i")
        wait_until(lambda: int(self.database.sql(
            "SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots")) < 1 << 20, "the slot follows", 60)
        self.assertEqual(self.current.stop(), 0)

    def test_while_paused_the_connection_stays_and_the_kept_log_is_shown(self):
        self.begin(more="control: {broker: main, control_topic: plant/control}\n")
        operator = small_mqtt.SmallMqtt(self.broker.port, "operator")
        self.addCleanup(operator.close)

        def paused() -> bool:
            operator.publish("plant/control", "pause TableA")  # said again until the node has subscribed
            return self.publish_status()["paused"]

        wait_until(paused, "it is paused")
        walsender = "SELECT pid FROM pg_stat_replication"
        pid = self.database.sql(walsender)
        self.database.sql("CREATE TABLE other (t TEXT)")
        for _ in range(25):  # longer than wal_sender_timeout
            self.database.sql("INSERT INTO other SELECT repeat(md5(i::text), 30) FROM generate_series(1, 3000) i")
            self.plant.insert(self.plant.take(10))
            time.sleep(0.6)
        wait_until(lambda: self.lag_bytes() > 1 << 20, "the status shows what is kept", 30)
        self.assertEqual(self.database.sql(walsender), pid)
        self.assertEqual(self.receiver.count(), 0)
        operator.publish("plant/control", "resume TableA")
        self.wait_for(250)
        self.assert_exactly_once(range(1, 251))
        self.assertEqual(self.current.stop(), 0)

    def test_a_successor_gets_the_slot_and_a_zombie_lets_go(self):
        self.begin(poll="1s")
        self.plant.insert(self.plant.take(1_000))
        self.wait_for(1_000)
        zombie = self.current
        zombie.signal(signal.SIGSTOP)
        folder = self.folder / "successor"
        folder.mkdir()
        more = "    add: {key: $id}\n    on_update: publish\n"
        config = self.configure_publish(self.database, self.broker.port, data="./successor/data", name="successor.yaml",
                                        poll="1s, changes: logical", more=more)
        self.current = self.keep(Node(folder, config)).up()
        self.plant.insert(self.plant.take(1_000))
        time.sleep(3)
        zombie.signal(signal.SIGCONT)
        self.update(range(1, 101), 5)
        self.wait_for(2_100)
        self.assert_versions({i: [i + 0.5] + ([5.0] if i <= 100 else []) for i in range(1, 2_001)})
        wait_until(lambda: self.publish_status(zombie)["state"] == "stopped", "the zombie knows that it is one")
        self.assertEqual(self.current.stop(), 0)
        self.assertEqual(zombie.stop(), 0)

    def test_a_slot_that_no_pipeline_reads_is_listed_with_what_drops_it(self):
        self.begin()
        self.assertNotIn("pg_drop_replication_slot", run_command("tables", "list", "--config", self.config).stdout)
        self.assertEqual(self.current.stop(), 0)
        other = self.folder / "other.yaml"
        other.write_text(self.config.read_text().replace("  TableA:", "  TableB:"))
        listed = run_command("tables", "list", "--config", other, expect=None).stdout
        self.assertIn(f"SELECT pg_drop_replication_slot('{self.database.sql(SLOT)}')", listed)
        run_command("tables", "logical", "--remove", "--config", self.config)
        self.assertEqual(self.database.sql(SLOT), "")
        self.assertEqual(self.database.sql("SELECT count(*) FROM pg_publication"), "0")

    def test_the_server_may_be_restarted_while_rows_wait(self):
        self.begin(poll="1s")
        self.broker.stop()
        self.plant.insert(self.plant.take(3_000))
        time.sleep(2)
        began = time.monotonic()
        self.database.restart()
        self.assertLess(time.monotonic() - began, 60)
        self.broker.start()
        self.receiver = Receiver(self.broker.port, client_id="again")
        wait_until(lambda: self.receiver.count() >= 3_000, "all arrive")
        self.assertEqual(self.current.stop(), 0)


del PublishCase  # unittest would run it as well

if __name__ == "__main__":
    unittest.main(verbosity=2)
