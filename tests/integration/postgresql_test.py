"""Faults of a PostgreSQL server (database_faults.py)."""

import unittest

import database_faults
from database_faults import database_server


class Postgresql(database_faults.DatabaseFaults):
    kind = database_server.Postgresql
    lock_sql = "BEGIN; LOCK TABLE raw_telemetry IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
    sleep_sql = "SELECT pg_sleep({seconds});"
    bad_row_sql = ("ALTER TABLE raw_telemetry ADD CONSTRAINT no_fifty CHECK (battery <> 50);"
                   "ALTER TABLE raw_telemetry ALTER COLUMN user_id TYPE varchar(12)")

    def test_through_pgbouncer_in_transaction_mode(self):
        pool = self.keep(database_server.Pgbouncer(self.folder / "pgbouncer", self.server))
        self.begin(url=pool.url)
        load = self.flow()
        self.server.end_sessions()  # of the pool
        self.assert_all_landed(load)


del database_faults.DatabaseFaults  # only its children are tests


if __name__ == "__main__":
    unittest.main(verbosity=2)
