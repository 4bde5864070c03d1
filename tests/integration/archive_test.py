"""What was sent long ago moves to the archive and goes from there, and is never sent again; what was refused is sent again when asked."""

import json
import time
import unittest

import publish_test
from harness import run_command, wait_until

ROWS = 4_000
HOUR = 3_600_000_000  # in microseconds
KEPT = """    archive: {after: 1m, keep: 1m}
"""


class Archive:
    def number(self, sql: str) -> int:
        return int(self.plant.server.sql(sql).split()[-1])

    def sweep_once(self):
        """Returns when the sweep has been over the whole table. Under load it takes minutes: it rests 50 times as long as it works."""
        for place in ("in the middle", "at the end", "in the middle", "at the end"):
            wait_until(lambda: ("[" in self.plant.server.sql("SELECT max(sweep_at) FROM penstock_fence"))
                       == (place == "in the middle"), f"the sweep is {place}", 240)

    def test_what_is_old_goes_and_is_never_sent_again(self):
        self.begin(self.server(), more=KEPT).ready()
        for _ in range(8):
            self.plant.insert(self.plant.take(ROWS // 8))
        self.wait_for(ROWS)
        self.assert_all_sent(ROWS)
        # An hour later: both moves happen while the process is killed again and again.
        self.plant.server.sql(f"UPDATE mqtt_sent_records SET sent_at = sent_at - {HOUR}")
        for _ in range(4):
            time.sleep(self.random.uniform(0.5, 2.5))
            self.current.kill()
            self.current = self.node(self.config)
        wait_until(lambda: self.number("SELECT count(*) FROM mqtt_sent_records_archive") == ROWS, "all are archived", 60)
        self.assertEqual(self.number("SELECT count(*) FROM mqtt_sent_records"), 0)
        self.plant.server.sql(f"UPDATE mqtt_sent_records_archive SET archived_at = archived_at - {HOUR}")
        # A step a second: where the sweep is, is written once a second.
        self.config.write_text(self.config.read_text().replace("late_for: 1m", "late_for: 1m, sweep: 4s"))
        for _ in range(4):
            time.sleep(self.random.uniform(0.5, 2.5))
            self.current.kill()
            self.current = self.node(self.config)
        wait_until(lambda: self.number("SELECT count(*) FROM mqtt_sent_records_archive") == 0, "all have gone", 60)
        self.assertEqual(self.number("SELECT sum(last_id - first_id + 1) FROM penstock_sent_ranges"), ROWS)
        listed = json.loads(run_command("tables", "list", "--config", self.config, "--json").stdout)
        self.assertEqual(listed[0]["states"], {"deleted": ROWS})
        # Rows that are restored from a backup are no new ones; those in between and behind are.
        restored = range(100, 200)
        name, column = self.plant.name, self.plant.column("RecordId")
        self.plant.server.sql(f"DELETE FROM {name} WHERE {column} BETWEEN 100 AND 199")
        self.plant.insert(restored)
        self.plant.insert([0])
        self.plant.insert(self.plant.take(100))
        self.wait_for(ROWS + 101)
        self.sweep_once()
        self.wait_for(ROWS + 101)
        self.assert_exactly_once(range(0, ROWS + 101), in_order=False)
        self.assertEqual(self.current.stop(), 0)


class OnSqlite(Archive, publish_test.PublishCase):
    def server(self):
        return publish_test.Sqlite(self.folder / "plant")

    def test_a_refused_row_is_sent_again_at_once_when_asked(self):
        self.begin(self.server())
        text = self.config.read_text().replace("late_for: 1m", "late_for: 1m, sweep: never")
        self.config.write_text(text)
        self.current.kill()
        self.current = self.node(self.config).ready()
        self.plant.server.sql("INSERT INTO TableA VALUES (1, 'a#b', 1.5, '2026-11-25 00:00:01'), (2, 'c', 1.5, '2026-11-25 00:00:02')")
        wait_until(lambda: self.publish_status()["account"]["refused"] == 1, "one is refused")
        self.plant.server.sql("UPDATE TableA SET MonitorId = 'ab' WHERE RecordId = 1")
        run_command("tables", "retry", "TableA", "1", "--config", self.config)
        self.wait_for(2, 20)
        self.assert_exactly_once((1, 2), in_order=False)
        self.assertEqual(self.number("SELECT count(*) FROM penstock_retries"), 0)
        self.assertEqual(self.current.stop(), 0)


class OnPostgresql(Archive, publish_test.PublishCase):
    def server(self):
        return self.keep(publish_test.database_server.Postgresql(self.folder / "server"))


class OnMariadb(Archive, publish_test.PublishCase):
    def server(self):
        return self.keep(publish_test.database_server.Mariadb(self.folder / "server"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
