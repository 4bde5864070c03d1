"""Faults of a MariaDB server (database_faults.py)."""

import unittest

import database_faults
from database_faults import database_server


class Mariadb(database_faults.DatabaseFaults):
    kind = database_server.Mariadb
    lock_sql = "LOCK TABLES raw_telemetry WRITE; SELECT SLEEP({seconds}); UNLOCK TABLES"
    sleep_sql = "SELECT SLEEP({seconds});"
    bad_row_sql = ("ALTER TABLE raw_telemetry ADD CONSTRAINT no_fifty CHECK (battery <> 50);"
                   "ALTER TABLE raw_telemetry MODIFY user_id VARCHAR(12) COLLATE utf8mb4_nopad_bin NOT NULL")
    # InnoDB rolls back the transaction that has changed the least.
    deadlock_ballast_sql = "INSERT INTO ballast SELECT seq FROM seq_1_to_1000;"


del database_faults.DatabaseFaults  # only its children are tests


if __name__ == "__main__":
    unittest.main(verbosity=2)
