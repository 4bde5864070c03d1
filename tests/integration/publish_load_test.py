"""A plant at work: several writers, transactions that commit late or are rolled back, rows that change; the node is killed
meanwhile. `penstock load --table` writes and `penstock verify --topic` judges."""

import json
import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import database_server  # noqa: E402
from harness import PENSTOCK, SOAK, Case, Process, run_command  # noqa: E402
from publish_test import Sqlite  # noqa: E402

COUNT = 200_000 if SOAK else 10_000
RATE = 2_000

CONFIGURATION = """
data: ./data
node: {{name: a, http: 127.0.0.1:0, admin: true}}
brokers:
  main: {{url: "mqtt://127.0.0.1:{port}", reconnect_max: 500ms}}
databases:
  plant: {{url: "{database}", busy_timeout: 5s}}
publish:
  TableA:
    database: plant
    table: table_a
    key: {key}
    order: CreatedAt
    shard_by: MonitorId
    shards: 3
    broker: main
    topic: "data/tableA/{{MonitorId}}"
    detect: {{poll: 50ms, late_for: 1m, sweep: 100ms}}
{more}
"""


class Plant:
    def server(self):
        raise NotImplementedError

    def begin(self, key: str = "RecordId", more: str = ""):
        self.broker = self.mosquitto()
        self.config = self.folder / "penstock.yaml"
        self.config.write_text(CONFIGURATION.format(port=self.broker.port, database=self.server().url, key=key, more=more))
        run_command("verify", "--config", self.config, "--topic", "TableA", "--subscribe")

    def load(self, *options) -> Process:
        return self.keep(Process([PENSTOCK, "load", "--config", self.config, "--table", "TableA", "--ledger", self.ledger,
                                  "--rate", RATE, *options], self.folder / "load.log"))

    def judge(self, load: Process, expect_late: bool = True) -> dict:
        self.assertEqual(load.wait(COUNT / RATE + 120), 0, (self.folder / "load.log").read_text()[-2000:])
        done = run_command("verify", "--config", self.config, "--topic", "TableA", "--ledger", self.ledger, "--wait", "30s",
                           "--json", expect=None, patience=600)
        verdict = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr}")
        self.assertEqual((verdict["missing"], verdict["repeated"], verdict["reordered"]), (0, 0, 0))
        if expect_late:
            self.assertGreater(verdict["late"], 0)
        return verdict

    def create(self):
        """The table, so that a node finds it."""
        self.assertEqual(self.load("--create", "--count", 1).wait(60), 0, (self.folder / "load.log").read_text()[-2000:])

    def kills(self, times: int, seconds: float):
        for _ in range(times):
            time.sleep(self.random.uniform(0.5, 1.5) * seconds / times / 2)
            self.current.kill()
            self.current = self.node(self.config)

    def test_late_commits_and_rollbacks_skip_nothing(self):
        self.begin()
        load = self.load("--create", "--count", COUNT, "--writers", 4, "--late", 10, "--late-for", "4s", "--rollbacks", 5)
        time.sleep(1)  # the table is there
        self.current = self.node(self.config).ready()
        self.kills(4, COUNT / RATE)
        self.judge(load)
        self.assertEqual(self.current.stop(), 0)

    def test_every_version_of_a_row_is_published_once(self):
        self.begin(more="    on_update: publish\n    version: RowVersion")
        load = self.load("--create", "--count", COUNT // 2, "--writers", 4, "--updates", 20)
        time.sleep(1)
        self.current = self.node(self.config).ready()
        self.kills(2, COUNT / RATE / 2)
        self.judge(load, expect_late=False)
        self.assertEqual(self.current.stop(), 0)


class OnSqlite(Plant, Case):
    def server(self):
        return Sqlite(self.folder / "plant")


class OnPostgresql(Plant, Case):
    def server(self):
        return self.keep(database_server.Postgresql(self.folder / "server"))


class OnMariadb(Plant, Case):
    def server(self):
        return self.keep(database_server.Mariadb(self.folder / "server"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
