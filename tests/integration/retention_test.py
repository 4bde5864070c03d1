"""How long rows and dead letters are kept (`retention`), in a running pipeline, on each kind of database."""

import contextlib
import datetime
import json
import pathlib
import re
import signal
import sqlite3
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import database_server  # noqa: E402
from harness import Case, wait_until  # noqa: E402
from small_mqtt import SmallMqtt  # noqa: E402

OPTIONS = ", busy_timeout: 1s, connect_timeout: 2s, statement_timeout: 4s"
# An hour for rows and a minute for letters: a round begins each second, and what is to stay is younger by far.
ROUNDS = "    retention: 1h\n    dead_letters: {retention: 1m}"
ROWS, LETTERS = 9_000, 2_500  # of a backlog: several transactions of a thousand each


def reading(age_s: float, sequence_id: int) -> str:
    time = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age_s)
    return json.dumps({"time": time.isoformat(), "sequence_id": sequence_id})


class Retention(Case):
    """The kinds of databases."""

    def setUp(self):
        super().setUp()
        self.broker = self.mosquitto()

    def start(self, more: str = ""):
        self.config = self.configure(self.broker, **self.database, more=more)
        self.running = self.node(self.config).ready()

    def publish(self, user: str, payloads: list[str]):
        """Returns once they are committed, by count."""
        before = self.accounted()
        client = SmallMqtt(self.broker.port)
        for first in range(0, len(payloads), 3_000):
            client.publish_many([(f"users/{user}/devices/d/telemetry", payload) for payload in payloads[first : first + 3_000]])
        client.close()
        wait_until(lambda: self.accounted() >= before + len(payloads), "the messages are in the database")

    def accounted(self) -> int:
        account = self.running.pipeline()["account"]
        return account["committed"] + account["dead_lettered"]

    def users(self) -> list[str]:
        """Whose rows and letters are there."""
        return self.sql("SELECT DISTINCT user_id FROM raw_telemetry").split()

    def topics(self) -> list[str]:
        return sorted(topic.split("/")[1] for topic in self.sql("SELECT topic FROM penstock_dead_letters").split())

    def make_older(self, user: str, seconds: int, column: str = "last_seen"):
        self.sql(f"UPDATE penstock_dead_letters SET {column} = {column} - {seconds * 1_000_000}"
                 f" WHERE topic = 'users/{user}/devices/d/telemetry'")

    def deleted(self) -> int:
        """What the log says of it."""
        return sum(map(int, re.findall(r"telemetry/archiver: (\d+) rows and dead letters deleted", self.running.log.read_text())))

    def assert_archiver_is_well(self):
        archiver = self.running.status()["actors"]["telemetry/archiver"]
        self.assertEqual((archiver["alive"], archiver["restarts"]), (True, 0))

    def test_what_is_older_goes_and_what_is_younger_stays(self):
        self.start(ROUNDS)
        self.publish("young", [reading(50 * 60, n) for n in range(3)] + ["young letter"])
        self.publish("seen_again", ["a letter that came first long ago"])
        self.make_older("seen_again", 3600, "first_seen")
        for round in (1, 2):
            self.publish("old", [reading(70 * 60, n) for n in range(3)] + ["old letter"])
            self.make_older("old", 70)
            wait_until(lambda: self.users() == ["young"], "the old rows are gone")
            wait_until(lambda: "old" not in self.topics(), "the old letter is gone")
            self.assertEqual(self.topics(), ["seen_again", "young"])
            wait_until(lambda: self.deleted() >= round * 4, "the log says so")
        self.assertEqual(self.deleted(), 8)
        self.assertEqual(self.sql("SELECT count(*) FROM raw_telemetry"), "3")
        self.assert_archiver_is_well()
        account = self.assert_balanced(self.running)  # what goes later was committed all the same
        self.assertEqual((account["committed"], account["dead_lettered"]), (9, 4))
        self.assertEqual(self.running.stop(), 0)

    def test_a_backlog_goes_under_load_and_takes_nothing_else_with_it(self):
        self.start()
        self.publish("old", [reading(2 * 3600, n) for n in range(ROWS)] + [f"old {n}" for n in range(LETTERS)])
        self.make_older("old", 2 * 3600)
        self.assertEqual(self.running.stop(), 0)
        self.assertEqual(self.backlog(), (ROWS, LETTERS))  # no retention: for ever
        load = self.start_load(self.config, "--count", 1_000_000, "--rate", 2_000, "--malformed", 1, "--duplicates", 5)
        self.start("    retention: 1h\n    dead_letters: {retention: 1h}")
        wait_until(lambda: self.backlog() == (0, 0), "the backlog is gone")
        committed = self.accounted()
        self.assertGreater(committed, 0)
        wait_until(lambda: self.accounted() > committed + 1_000, "the flow goes on")
        self.assertTrue(load.alive())
        load.signal(signal.SIGTERM)
        self.assertEqual(load.wait(), 0)
        verdict = self.verify(self.config)
        self.assertEqual((verdict["missing"], verdict["repeated"], verdict["foreign"]), (0, 0, 0))
        self.assertEqual((verdict["dead_letters"]["missing"], verdict["dead_letters"]["unexpected"]), (0, 0))
        self.assertGreater(verdict["dead_letters"]["expected"], 0)
        wait_until(self.deleted, "the log says so")
        self.assertEqual(self.deleted(), ROWS + LETTERS)
        self.assert_archiver_is_well()
        self.assert_balanced(self.running)
        self.assertEqual(self.running.stop(), 0)

    def backlog(self) -> tuple[int, int]:
        return (int(self.sql("SELECT count(*) FROM raw_telemetry WHERE user_id = 'old'")),
                int(self.sql("SELECT count(*) FROM penstock_dead_letters WHERE topic LIKE 'users/old/%'")))

    def test_an_outage_delays_it(self):
        self.start(ROUNDS)
        with self.outage():
            wait_until(lambda: "what is old stays" in self.running.log.read_text(), "the archiver has noticed")
        wait_until(lambda: self.running.get("/readyz")[0] == 200, "ready again")
        self.publish("old", [reading(70 * 60, 1)])
        wait_until(lambda: self.users() == [], "the old row is gone")
        # It says so after the commit that made the row vanish.
        wait_until(lambda: "what is old goes again" in self.running.log.read_text(), "the archiver says that it works")
        said = self.running.log.read_text()
        self.assertEqual((said.count("what is old stays"), said.count("what is old goes again")), (1, 1))
        self.assert_archiver_is_well()
        self.assertEqual(self.running.stop(), 0)


class Sqlite(Retention):
    database = {}  # as Case has it

    def connection(self) -> sqlite3.Connection:
        return sqlite3.connect(self.folder / "data" / "telemetry.db", timeout=60, isolation_level=None)

    def sql(self, text: str) -> str:
        with contextlib.closing(self.connection()) as connection:
            return "\n".join("\t".join(map(str, row)) for row in connection.execute(text))

    @contextlib.contextmanager
    def outage(self):
        with contextlib.closing(self.connection()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield


class OfServer(Retention):
    kind = None  # of database_server

    def setUp(self):
        super().setUp()
        self.server = self.keep(self.kind(self.folder / "server"))
        self.database = {"database": self.server.url, "database_options": OPTIONS}

    def sql(self, text: str) -> str:
        return self.server.sql(text)

    @contextlib.contextmanager
    def outage(self):
        self.server.stop()
        yield
        self.server.start()


class Postgresql(OfServer):
    kind = database_server.Postgresql


class Mariadb(OfServer):
    kind = database_server.Mariadb


del Retention, OfServer  # only their children are tests


if __name__ == "__main__":
    unittest.main(verbosity=2)
