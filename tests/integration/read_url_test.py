"""A replica for what only reads (`read_url`), with servers that replicate: who asks it, and that ingest never needs it."""

import json
import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import database_server  # noqa: E402
from harness import Case, run_command, wait_until  # noqa: E402
from small_mqtt import SmallMqtt  # noqa: E402

# How long it waits for a replica that answers nothing: connect_wait_max of nodes/dead_letter_routes.cpp. A node answers nobody
# meanwhile, /healthz neither.
SILENCE_S = 2
OPTIONS = ", busy_timeout: 1s, connect_timeout: 4s, statement_timeout: 4s"
TOPIC = "users/ada/devices/d1/telemetry"


class ReadUrl(Case):
    """The kinds of servers."""

    primary_of = None  # makes a primary in a folder
    replica_of = None  # and a replica of it in another one

    def setUp(self):
        super().setUp()
        self.primary = self.keep(self.primary_of(self.folder / "primary"))
        self.replica = self.keep(self.replica_of(self.folder / "replica", self.primary))
        self.broker = self.mosquitto()

    def start(self, read_url=None):
        self.config = self.configure(
            self.broker, database=self.primary.url, database_options=f', read_url: "{read_url or self.replica.url}"{OPTIONS}')
        self.running = self.node(self.config).ready()
        self.both_ways = (["--config", self.config], ["--url", "http://" + self.running.run_json()["http"]])

    def publish(self, *payloads):
        """Returns once they are committed."""
        before = self.accounted()
        client = SmallMqtt(self.broker.port)
        for payload in payloads:
            client.publish(TOPIC, payload)
        client.close()
        wait_until(lambda: self.accounted() == before + len(payloads), "the messages are in the database")

    def accounted(self) -> int:
        account = self.running.pipeline()["account"]
        return account["committed"] + account["dead_lettered"]

    def letters(self, how=None) -> set[str]:
        """The ids that are listed."""
        listed = json.loads(run_command("dead-letters", "list", *(how or self.both_ways[0]), "--json").stdout)
        return {letter["id"] for letter in listed["dead_letters"]}

    def replay(self, letter: str, how, expect: int = 0):
        """With a repaired payload."""
        repaired = self.folder / "repaired.json"
        repaired.write_text('{"time": "2026-01-01T00:00:00Z", "sequence_id": -1}')
        run_command("dead-letters", "replay", letter, *how, "--payload", repaired, expect=expect)
        if expect == 0:
            self.assertEqual(self.primary.sql("SELECT count(*) FROM raw_telemetry WHERE sequence_id = -1"), "1")

    def assert_all_landed(self):
        verdict = self.verify(self.config, wait="60s")
        self.assertEqual((verdict["missing"], verdict["repeated"], verdict["dead_letters"]["missing"]), (0, 0, 0))
        self.assertEqual(verdict["stored"], verdict["sent"])
        self.assert_balanced(self.running)
        self.assertEqual(self.running.stop(), 0)

    def test_what_only_reads_sees_the_replica_and_what_writes_the_primary(self):
        self.start()
        self.publish("first")
        first, = wait_until(self.letters, "the replica has it")
        self.replica.freeze()
        self.publish("second")
        self.load(self.config, "--count", 2_000, "--malformed", 1)
        for how in self.both_ways:
            self.assertEqual(self.letters(how), {first})
            run_command("dead-letters", "show", first, *how)
        behind = self.verify(self.config, wait="0s", expect=1)
        self.assertEqual((behind["stored"], behind["dead_letters"]["expected"]), (0, 0))
        self.assertIn("replica: ok", run_command("check", "--connect", self.config).stdout)

        self.replay(first, self.both_ways[1])
        self.assertEqual(self.letters(), {first})  # as the replica still has it
        self.replay(first, self.both_ways[0], expect=1)  # the primary has it no more

        self.replica.thaw()
        wait_until(lambda: first not in self.letters(), "the replica has the replay")
        self.assert_all_landed()

    def test_the_replica_answers_while_the_primary_is_away(self):
        self.start()
        self.load(self.config, "--count", 2_000, "--malformed", 1)
        self.verify(self.config)
        letters = self.letters()
        self.primary.stop()
        wait_until(lambda: self.running.get("/readyz")[0] == 503, "the node misses its primary")
        self.verify(self.config, wait="0s")
        for how in self.both_ways:
            self.assertEqual(self.letters(how), letters)
            run_command("dead-letters", "show", min(letters), *how)
            self.replay(min(letters), how, expect=69)
        checked = run_command("check", "--connect", self.config, expect=69).stdout
        self.assertIn("replica: ok", checked)
        self.primary.start()
        wait_until(lambda: self.running.get("/readyz")[0] == 200, "ready again")
        self.replay(min(letters), self.both_ways[0])
        wait_until(lambda: min(letters) not in self.letters(), "the replica follows again")
        self.assertEqual(self.running.stop(), 0)

    def test_ingest_needs_no_replica(self):
        self.replica.kill()
        self.start()
        load = self.start_load(self.config, "--count", 6_000, "--rate", 2_000, "--malformed", 1)
        wait_until(lambda: self.accounted() > 1_000, "the flow has begun")
        for how in self.both_ways:
            for command in (["list"], ["show", "aa"]):
                refused = run_command("dead-letters", *command, *how, expect=69)
                self.assertRegex(refused.stderr, "database telemetry: .*connection_refused")
        checked = run_command("check", "--connect", self.config, expect=69).stdout
        self.assertIn("database telemetry: ok", checked)
        self.assertRegex(checked, "database telemetry, replica: connection_refused")
        self.assertEqual(self.running.get("/readyz")[0], 200)
        self.assertEqual(load.wait(), 0, (self.folder / "load.log").read_text()[-2000:])
        wait_until(lambda: self.accounted() == 6_000, "all is committed")
        unread = run_command("verify", "--config", self.config, "--ledger", self.ledger, "--wait", "0s", expect=69)
        self.assertIn("the database cannot be read: connection_refused", unread.stderr)
        # What writes does not need it either.
        letter = self.primary.sql("SELECT min(hash) FROM penstock_dead_letters")
        self.replay(letter, self.both_ways[1])
        self.replica.start()
        wait_until(lambda: letter not in self.letters(), "the replica has caught up")
        writer = self.running.pipeline()["writer"]
        self.assertEqual((writer["state"], writer["last_error"]), ("running", ""))
        self.assert_balanced(self.running)
        self.assertEqual(self.running.stop(), 0)

    def test_a_replica_that_answers_nothing_holds_up_no_ingest(self):
        network = self.keep(database_server.Proxy(self.replica.port))
        self.start(network.url(self.replica))
        load = self.start_load(self.config, "--count", 100_000, "--rate", 2_000, "--malformed", 1)
        wait_until(lambda: self.accounted() > 1_000, "the flow has begun")
        wait_until(self.letters, "the replica answers")
        network.mode = "swallow"
        for how in self.both_ways:
            before, began = self.accounted(), time.monotonic()
            refused = run_command("dead-letters", "list", *how, expect=69)
            self.assertIn("timed_out", refused.stderr)
            self.assertGreater(time.monotonic() - began, SILENCE_S)
            self.assertGreater(self.accounted() - before, 1_000)  # half a second's
        network.mode = "forward"
        network.cut()
        self.assertTrue(load.alive())
        load.stop()
        self.assert_all_landed()


class Postgresql(ReadUrl):
    primary_of = database_server.Postgresql
    replica_of = database_server.PostgresqlReplica


class Mariadb(ReadUrl):
    @staticmethod
    def primary_of(folder):
        return database_server.Mariadb(folder, database_server.MariadbReplica.LOG)

    replica_of = database_server.MariadbReplica


del ReadUrl  # only its children are tests


if __name__ == "__main__":
    unittest.main(verbosity=2)
