"""Faults of a MariaDB server (database_faults.py)."""

import unittest

import database_faults
from database_faults import database_server
from harness import Case, wait_until


class Mariadb(database_faults.DatabaseFaults):
    kind = database_server.Mariadb
    lock_sql = "LOCK TABLES raw_telemetry WRITE; SELECT SLEEP({seconds}); UNLOCK TABLES"
    sleep_sql = "SELECT SLEEP({seconds});"
    bad_row_sql = ("ALTER TABLE raw_telemetry ADD CONSTRAINT no_fifty CHECK (battery <> 50);"
                   "ALTER TABLE raw_telemetry MODIFY user_id VARCHAR(12) COLLATE utf8mb4_nopad_bin NOT NULL")
    # InnoDB rolls back the transaction that has changed the least.
    deadlock_ballast_sql = "INSERT INTO ballast SELECT seq FROM seq_1_to_1000;"


class StatementLog(Case):
    """A server whose binary log holds statements takes no bulk ones, and reads otherwise."""

    def test_records_are_stored_once_whatever_is_killed(self):
        server = self.keep(database_server.Mariadb(self.folder / "server", "log-bin = log\nbinlog_format = STATEMENT\n"))
        config = self.configure(self.mosquitto(), database=server.url, database_options="")
        node = self.node(config).ready()
        load = self.start_load(config, "--count", 10_000, "--rate", 2_000, "--malformed", 1, "--duplicates", 5)
        wait_until(lambda: node.pipeline()["account"]["committed"] > 2_000, "the flow has begun")
        node.kill()
        node = self.node(config)
        self.assertEqual(load.wait(), 0)
        verdict = self.verify(config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0), verdict)
        self.assertEqual(node.stop(), 0)


del database_faults.DatabaseFaults  # only its children are tests


if __name__ == "__main__":
    unittest.main(verbosity=2)
