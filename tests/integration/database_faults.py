"""What a database server can do to a node, the same for every kind of server: whatever it is, nothing is lost and nothing
repeated, memory is flat, and /readyz and the status tell the truth meanwhile. postgresql_test.py and mariadb_test.py name the
server."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import database_server  # noqa: E402
from harness import SOAK, Case, run_command, wait_until  # noqa: E402
from small_mqtt import SmallMqtt  # noqa: E402

RATE = 5_000 if SOAK else 2_000
SECONDS = 120 if SOAK else 8
LOCKED_S = 60 if SOAK else 6
# What a stalled node may grow by: the caps on what is in flight (2 shards), and what the allocator keeps.
GROWTH_MB = 100
OPTIONS = ", busy_timeout: 1s, connect_timeout: 2s, statement_timeout: 2s, alarm_after: 3s"


class DatabaseFaults(Case):
    """kind, and what differs in the SQL of the servers."""

    kind = None  # of database_server
    lock_sql = None  # holds the table for `seconds`
    sleep_sql = None  # for `seconds`
    bad_row_sql = None  # a table that refuses records with a battery of 50, and users longer than 12 characters
    deadlock_ballast_sql = ""  # makes the rival's transaction the larger one

    def setUp(self):
        super().setUp()
        self.server = self.keep(self.kind(self.folder / "server"))
        self.broker = self.mosquitto()

    def start_node(self, url=None, options=OPTIONS, writers=2, shards=2):
        self.config = self.configure(
            self.broker, shards=shards, database=url or self.server.url, database_options=options,
            more=f"    writers: {writers}\n    lag_warning: 2s",
        )
        return self.node(self.config)

    def flow(self, *more, seconds=SECONDS):
        load = self.start_load(self.config, "--count", RATE * seconds, "--rate", RATE, "--devices", 500,
                               "--malformed", 1, "--duplicates", 5, *more)
        wait_until(lambda: self.current.pipeline()["account"]["committed"] > 500, "the flow has begun")
        return load

    def begin(self, **how):
        self.current = self.start_node(**how).ready()
        self.before_mb = self.current.resident_mb()
        return self.current

    def wait_for_state(self, state: str) -> dict:
        """Of the writer; memory stays flat and the equation holds until then."""

        def reached():
            self.assertLess(self.current.resident_mb() - self.before_mb, GROWTH_MB)
            writer = self.assert_flow_balanced()["writer"]
            return writer if writer["state"] == state else None

        return wait_until(reached, f"the writer is {state}")

    def assert_flow_balanced(self) -> dict:
        pipeline = self.current.pipeline()
        self.assertTrue(pipeline["account"]["balanced"], pipeline["account"])
        return pipeline

    def assert_not_ready(self):
        self.assertEqual(self.current.get("/healthz")[0], 200)
        self.assertEqual(self.current.get("/readyz")[0], 503)

    def assert_all_landed(self, load, refused=0):
        self.assertEqual(load.wait(SECONDS + 300), 0, (self.folder / "load.log").read_text()[-2000:])
        verdict = self.verify(self.config, wait="120s")
        self.assertEqual((verdict["missing"], verdict["repeated"], verdict["dead_letters"]["missing"]), (0, 0, 0))
        self.assertEqual(verdict["dead_letters"]["refused"], refused)
        wait_until(lambda: self.current.get("/readyz")[0] == 200, "ready again")
        account = self.assert_flow_balanced()["account"]
        self.assertEqual(account["in_flight"], 0)
        self.assertLess(self.current.resident_mb() - self.before_mb, GROWTH_MB)
        self.assertEqual(self.current.stop(), 0)
        return verdict

    def test_a_server_that_is_killed_and_started_again_in_mid_load(self):
        self.begin()
        load = self.flow()
        for _ in range(5 if SOAK else 2):
            self.server.kill()
            self.wait_for_state("waiting")
            self.assert_not_ready()
            self.server.start()
            self.wait_for_state("running")
            time.sleep(0.5)
        self.assert_all_landed(load)

    def test_a_server_that_is_down_while_the_node_starts(self):
        self.server.stop()
        self.current = self.start_node().up()
        self.before_mb = self.current.resident_mb()
        self.assert_not_ready()
        self.server.start()
        wait_until(lambda: self.current.get("/readyz")[0] == 200, "ready")
        self.assert_all_landed(self.flow(seconds=2))

    def test_a_table_that_is_locked(self):
        self.begin()
        load = self.flow()
        rival = threading.Thread(target=self.server.sql, args=[self.lock_sql.format(seconds=LOCKED_S)])
        rival.start()
        writer = self.wait_for_state("waiting")
        self.assertIn("database_busy", writer["reason"])
        self.assert_not_ready()
        wait_until(lambda: self.current.pipeline()["writer"]["alarm"], "an outage longer than alarm_after is an alarm")
        rival.join()
        self.assertFalse(self.wait_for_state("running")["alarm"])
        self.assert_all_landed(load)
        self.assertIn("ALARM", self.current.log.read_text())

    def test_a_deadlock(self):
        self.begin(options=", busy_timeout: 5s, statement_timeout: 10s", writers=1, shards=1)
        client = SmallMqtt(self.broker.port)
        insert = ("INSERT INTO raw_telemetry (time, user_id, device_id, sequence_id, extra_data)"
                  " VALUES ('2026-01-01 00:00:0{n}', 'u', 'd', {n}, '{{}}');")
        self.server.sql("CREATE TABLE ballast (number INT PRIMARY KEY)")
        rival = threading.Thread(target=lambda: self.outcome.append(self.try_sql(
            "BEGIN;" + self.deadlock_ballast_sql + insert.format(n=2) + self.sleep_sql.format(seconds=0.8) + insert.format(n=1)
            + "ROLLBACK;")))
        self.outcome = []
        rival.start()
        time.sleep(0.3)
        self.current.signal(signal.SIGSTOP)  # both messages lie in its socket when it goes on
        # One burst, one batch: the first row is inserted, the second one waits for the rival, who then wants the first.
        client.publish_many([("users/u/devices/d/telemetry", f'{{"time": "2026-01-01T00:00:0{n}Z", "sequence_id": {n}}}')
                             for n in (1, 2)])
        self.current.signal(signal.SIGCONT)
        rival.join()
        wait_until(lambda: self.server.sql("SELECT count(*) FROM raw_telemetry") == "2", "both records are stored")
        client.close()
        account = self.assert_flow_balanced()["account"]
        self.assertEqual((account["received"], account["committed"]), (2, 2))
        failed = self.current.pipeline()["writer"]["last_error"]
        self.assertTrue("deadlock" in failed.lower() or "deadlock" in self.outcome[0].lower(), (failed, self.outcome))
        self.assertEqual(self.current.stop(), 0)

    def try_sql(self, text: str) -> str:
        try:
            return self.server.sql(text)
        except Exception as refused:  # the rival may be the one that is rolled back
            return str(refused)

    def test_connections_that_are_cut(self):
        proxy = self.keep(database_server.Proxy(self.server.port))
        self.begin(url=proxy.url(self.server))
        load = self.flow()
        for _ in range(8):
            time.sleep(0.4)
            proxy.cut()
        self.assert_all_landed(load)

    def test_a_network_that_swallows_everything(self):
        proxy = self.keep(database_server.Proxy(self.server.port))
        self.begin(url=proxy.url(self.server))
        load = self.flow()
        proxy.mode = "swallow"
        writer = self.wait_for_state("waiting")
        self.assertRegex(writer["reason"], "timed_out|connection_lost|connection_refused")
        self.assert_not_ready()
        time.sleep(3)
        proxy.mode = "forward"
        proxy.cut()
        self.wait_for_state("running")
        self.assert_all_landed(load)

    def test_a_network_that_dies_while_nothing_is_written(self):
        proxy = self.keep(database_server.Proxy(self.server.port))
        self.begin(url=proxy.url(self.server))
        proxy.mode = "swallow"
        self.wait_for_state("waiting")
        self.assert_not_ready()
        proxy.mode = "forward"
        proxy.cut()
        self.wait_for_state("running")
        self.assert_all_landed(self.flow(seconds=2))

    @unittest.skipUnless(os.getuid() == 0, "a small file system of its own takes root")
    def test_a_disk_that_is_full(self):
        disk = self.folder / "disk"
        disk.mkdir()
        size = 160 if self.kind is database_server.Postgresql else 200
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", disk], capture_output=True, text=True)
        if mounted.returncode != 0:
            self.skipTest(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=True)
        self.server.stop()
        self.server = self.keep(self.kind(self.folder / "small", data=disk / "data"))
        self.begin()
        load = self.flow()
        ballast = disk / "ballast"
        subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=1M"], capture_output=True)  # until it is full
        self.wait_for_state("waiting")
        self.assert_not_ready()
        time.sleep(2)
        ballast.unlink()
        if not self.server.alive():  # PostgreSQL gives up when its log finds no room
            self.server.wait()
            self.server.start()
        self.wait_for_state("running")
        self.assert_all_landed(load)

    def test_a_wrong_password_is_a_broken_configuration_at_start(self):
        url = self.server.url.replace(":" + self.server.password + "@", ":wrong@")
        node = self.start_node(url=url)
        self.assertEqual(node.wait(), 78)
        said = node.log.read_text()
        self.assertIn("ingest.telemetry", said)
        self.assertNotIn("wrong@", said)
        checked = run_command("check", "--connect", self.config, expect=None)
        self.assertNotEqual(checked.returncode, 0)
        self.assertIn("password", (checked.stdout + checked.stderr).lower())

    def test_a_password_that_changes_stops_the_pipeline_until_it_is_mended(self):
        self.begin()
        load = self.flow()
        self.server.set_password("another")
        self.server.end_sessions()
        writer = self.wait_for_state("stopped")
        self.assertIn("not_authorised", writer["reason"])
        self.assert_not_ready()
        self.server.set_password(self.server.password)
        self.wait_for_state("running")
        self.assert_all_landed(load)

    def test_a_column_that_goes_stops_the_pipeline_until_it_is_back(self):
        self.begin()
        load = self.flow()
        self.server.sql("ALTER TABLE raw_telemetry DROP COLUMN battery")
        writer = self.wait_for_state("stopped")
        self.assertIn("battery", writer["reason"])
        self.assert_not_ready()
        self.server.sql("ALTER TABLE raw_telemetry ADD COLUMN battery BIGINT")
        self.wait_for_state("running")
        self.assert_all_landed(load)

    def test_rows_that_the_table_refuses_become_dead_letters_and_fail_no_batch(self):
        self.begin()
        self.assertEqual(self.current.stop(), 0)
        self.server.sql(self.bad_row_sql)
        self.begin()
        load = self.flow()
        client = SmallMqtt(self.broker.port)
        client.publish_many([(f"users/a_name_that_is_too_long/devices/{n}/telemetry",
                              '{"time": "2026-01-01T00:00:00Z", "sequence_id": 1}') for n in range(3)])
        client.close()
        self.assertEqual(load.wait(SECONDS + 300), 0)
        verdict = self.verify(self.config, wait="120s")
        self.assertEqual((verdict["missing"], verdict["repeated"], verdict["dead_letters"]["missing"]), (0, 0, 0))
        self.assertGreater(verdict["dead_letters"]["refused"], 0)
        letters = json.loads(run_command("dead-letters", "list", "--config", self.config, "--limit", 0, "--json").stdout)
        too_long = [letter for letter in letters["dead_letters"] if "too_long" in letter["topic"]]
        self.assertEqual(len(too_long), 3)
        self.assertIn(too_long[0]["code"], ("row_refused", "field_range"))
        self.assertIn("user_id", too_long[0]["reason"])
        self.assert_flow_balanced()
        self.assertEqual(self.current.get("/readyz")[0], 200)
        self.assertEqual(self.current.stop(), 0)

    def test_one_bad_row_of_five_thousand_costs_only_itself(self):
        self.begin()
        self.assertEqual(self.current.stop(), 0)
        self.server.sql("ALTER TABLE raw_telemetry ADD CONSTRAINT not_this CHECK (sequence_id <> 2500)")
        self.begin(writers=1)
        client = SmallMqtt(self.broker.port)
        client.publish_many([("users/u/devices/d/telemetry", f'{{"time": "2026-01-01T00:00:00Z", "sequence_id": {n}}}')
                             for n in range(5_000)])
        wait_until(lambda: self.server.sql("SELECT count(*) FROM raw_telemetry") == "4999", "all others are stored")
        wait_until(lambda: self.current.pipeline()["account"]["in_flight"] == 0, "all are acknowledged")
        account = self.assert_flow_balanced()["account"]
        self.assertEqual((account["committed"], account["dead_lettered"]), (4_999, 1))
        client.close()
        self.assertEqual(self.current.stop(), 0)
