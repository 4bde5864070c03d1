"""A database that is locked or full: memory stays flat, the session lives, everything lands afterwards."""

import os
import sqlite3
import subprocess
import time
import unittest

from harness import SOAK, Case, wait_until

STALL_S = 600 if SOAK else 8
RATE = 5_000 if SOAK else 2_500
# What a stalled node may grow by: the caps on what is in flight (2 shards), and what the allocator keeps.
GROWTH_MB = 100


class Stall(Case):
    def test_while_the_database_is_locked_memory_is_flat_and_afterwards_all_lands(self):
        broker = self.mosquitto()
        config = self.configure(broker, more="    lag_warning: 2s")
        node = self.node(config).ready()
        load = self.start_load(config, "--count", RATE * STALL_S, "--rate", RATE, "--malformed", 1, "--duplicates", 5)
        wait_until(lambda: node.pipeline()["account"]["committed"] > 1_000, "the flow has begun")
        before = node.resident_mb()
        lock = sqlite3.connect(self.folder / "data" / "telemetry.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        ends = time.monotonic() + STALL_S
        highest = before
        while time.monotonic() < ends:
            highest = max(highest, node.resident_mb())
            self.assert_balanced(node)
            time.sleep(0.2)
        stalled = node.pipeline()
        self.assertEqual(stalled["writer"]["state"], "waiting")
        self.assertGreater(stalled["lag_ms"], 2_000)
        self.assertEqual(node.get("/healthz")[0], 200)
        self.assertEqual(node.get("/readyz")[0], 503)
        self.assertLess(highest - before, GROWTH_MB)
        lock.execute("ROLLBACK")
        lock.close()
        self.assertEqual(load.wait(STALL_S + 300), 0)
        verdict = self.verify(config, wait="300s")
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))
        self.assertEqual(verdict["stored"], verdict["sent"])
        wait_until(lambda: node.get("/readyz")[0] == 200, "ready again")
        self.assertRegex(node.log.read_text(), r"slow of telemetry is raised: lag [0-9.]+ s, over 2s")
        wait_until(lambda: "slow of telemetry is cleared" in node.log.read_text(), "it says that it has caught up")
        self.assert_balanced(node)
        self.assertEqual(node.stop(), 0)

    def test_a_stop_during_a_stall_gives_up_in_time_and_loses_nothing(self):
        broker = self.mosquitto()
        config = self.configure(broker)
        node = self.node(config).ready()
        load = self.start_load(config, "--count", 5_000, "--rate", 2_500)
        wait_until(lambda: node.pipeline()["account"]["committed"] > 100, "the flow has begun")
        lock = sqlite3.connect(self.folder / "data" / "telemetry.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        self.assertEqual(load.wait(), 0)
        node.stop(patience=90)
        lock.execute("ROLLBACK")
        lock.close()
        node = self.node(config).ready()
        verdict = self.verify(config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))

    @unittest.skipUnless(os.getuid() == 0, "a small file system of its own takes root")
    def test_a_full_disk_stops_the_flow_and_room_lets_it_go_on(self):
        disk = self.folder / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, text=True)
        if mounted.returncode != 0:
            self.skipTest(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=True)
        broker = self.mosquitto()
        config = self.configure(broker, database=f"sqlite:{disk}/telemetry.db")
        node = self.node(config).ready()
        load = self.start_load(config, "--count", 40_000, "--rate", 10_000, "--malformed", 1, "--duplicates", 5)
        full = wait_until(
            lambda: next((w for w in [node.pipeline()["writer"]] if w["state"] == "waiting"), None), "the disk is full"
        )
        self.assertIn("database_full", full["reason"])
        self.assertEqual(node.get("/readyz")[0], 503)
        self.assertEqual(load.wait(), 0)
        self.assert_balanced(node)
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        verdict = self.verify(config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))
        self.assertEqual(node.stop(), 0)

    def test_a_small_window_of_the_broker_does_not_wait_for_a_batch(self):
        broker = self.mosquitto(more="max_inflight_messages 20\n")
        config = self.configure(broker, broker_options=", version: 3.1.1")
        node = self.node(config).ready()
        self.load(config, "--count", 4_000, "--rate", 2_000)
        verdict = self.verify(config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))
        # A timer of 100 ms a batch of 20 would let 200 messages/s a shard through, and lag 8 s behind by now.
        self.assertLess(node.pipeline()["latency_ms"]["p50"], 1_000)
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
