"""Every actor can be killed at any moment; failures that do not end escalate to the root and end the process."""

import signal
import time
import unittest

from harness import Case, wait_until


class Supervision(Case):
    def kill_actor(self, node, name: str, headers=None) -> int:
        return node.ask("POST", f"/admin/actors/{name}/kill", headers)[0]

    def test_every_actor_is_killed_under_load_and_nothing_is_lost(self):
        config = self.configure(None, more="supervision: {restarts_max: 1000}\ncontrol: {broker: main}")
        node = self.node(config).ready()
        load = self.start_load(config, "--count", 20_000, "--rate", 2_500, "--malformed", 1, "--duplicates", 5)
        wait_until(lambda: node.pipeline()["account"]["committed"] > 500, "the flow has begun")
        names = list(node.status()["actors"])
        for expected in ["telemetry", "telemetry/batch-writer/0", "telemetry/ingestor/0", "telemetry/ingestor/1",
                         "broker/main", "presence"]:
            self.assertIn(expected, names)
        for _ in range(2):
            self.random.shuffle(names)
            for name in names:
                before = node.status()["actors"][name]["restarts"]
                self.assertEqual(self.kill_actor(node, name), 202, name)
                wait_until(lambda: node.status()["actors"][name]["restarts"] > before, f"{name} is restarted")
                wait_until(lambda: all(a["alive"] for a in node.status()["actors"].values()), f"{name} lives again")
                self.assert_balanced(node)
                time.sleep(0.1)
        self.assertEqual(load.wait(), 0)
        verdict = self.verify(config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))
        self.assertEqual(verdict["stored"], verdict["sent"])
        account = wait_until(
            lambda: next((a for a in [node.pipeline()["account"]] if a["in_flight"] == 0), None), "nothing is in flight"
        )
        self.assertTrue(account["balanced"], account)
        restarts = {name: a["restarts"] for name, a in node.status()["actors"].items()}
        self.assertGreaterEqual(restarts["telemetry/batch-writer/0"], 2)
        self.assertEqual(node.stop(), 0)

    def test_an_actor_that_keeps_failing_escalates_to_the_root_and_ends_the_process_with_70(self):
        config = self.configure(None, more="supervision: {restarts_max: 1, window: 60s}")
        node = self.node(config).ready()
        broker = node.run_json()["brokers"]["main"]["pid"]

        def kill_until_it_ends():
            try:
                self.kill_actor(node, "telemetry/batch-writer/0")
            except (OSError, TypeError):
                pass
            return not node.alive()

        wait_until(kill_until_it_ends, "the process has given up")
        self.assertEqual(node.wait(), 70)
        last = node.log.read_text().strip().splitlines()
        self.assertTrue(any("the supervision tree gave up" in line and "70" in line for line in last[-5:]), last[-5:])
        self.assertGreater(broker, 0)

    def test_the_kill_switch_is_off_by_default_and_refuses_other_origins(self):
        config = self.configure(None)
        node = self.node(config).ready()
        name = "telemetry/ingestor/0"
        self.assertEqual(self.kill_actor(node, name, {"Origin": "http://evil.example"}), 403)
        self.assertEqual(self.kill_actor(node, name, {"Host": "evil.example"}), 403)
        self.assertEqual(self.kill_actor(node, "nobody"), 404)
        self.assertEqual(node.ask("GET", f"/admin/actors/{name}/kill")[0], 405)
        node.stop()
        config.write_text(config.read_text().replace(", admin: true", ""))
        node = self.node(config).ready()
        self.assertEqual(self.kill_actor(node, name), 403)
        self.assertEqual(node.stop(), 0)

    def test_a_second_signal_ends_at_once_with_128_and_the_number(self):
        import sqlite3

        broker = self.mosquitto()
        config = self.configure(broker)
        node = self.node(config).ready()
        lock = sqlite3.connect(self.folder / "data" / "telemetry.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")  # so that the first signal has something to wait for
        self.load(config, "--count", 500, "--rate", 5_000)
        wait_until(lambda: node.pipeline()["account"]["in_flight"] > 0, "messages wait")
        node.signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in node.log.read_text(), "it stops")
        time.sleep(0.3)
        node.signal(signal.SIGINT)
        self.assertEqual(node.wait(), 128 + signal.SIGINT)
        lock.close()
        node = self.node(config).ready()
        verdict = self.verify(config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))

    def test_two_nodes_do_not_work_in_one_folder(self):
        config = self.configure(None)
        node = self.node(config).ready()
        second = self.node(config)
        self.assertEqual(second.wait(), 69)
        self.assertIn(str(node.pid), node.log.read_text())
        self.assertEqual(node.get("/healthz")[0], 200)
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
