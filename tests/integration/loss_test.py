"""Nothing is lost and nothing repeated: under kill -9 of the node, restarts of the broker, bad and repeated messages."""

import time
import unittest

from harness import SOAK, Case, run_command

COUNT = 500_000 if SOAK else 50_000
RATE = 5_000 if SOAK else 2_500
KILLS = 50 if SOAK else 10
BROKER_RESTARTS = 10 if SOAK else 2


class Loss(Case):
    def test_kills_and_broker_restarts_lose_and_repeat_nothing_with_one_session(self):
        self.kills_and_broker_restarts(shards=1)

    def test_kills_and_broker_restarts_lose_and_repeat_nothing_with_a_shared_subscription(self):
        # What mosquitto 2.0.11 throws away after its restart, since it does not save shared subscriptions, it tells the
        # publisher: `unrouted`. All that it confirmed must be there.
        self.kills_and_broker_restarts(shards=2)

    def kills_and_broker_restarts(self, shards: int):
        broker = self.mosquitto()
        config = self.configure(broker, shards=shards)
        node = self.node(config).ready()
        load = self.start_load(config, "--count", COUNT, "--rate", RATE, "--devices", 500,
                               "--malformed", 1, "--duplicates", 5)
        # Random moments over the time of the load, in random order.
        events = ["kill"] * KILLS + ["restart"] * BROKER_RESTARTS
        self.random.shuffle(events)
        duration = COUNT / RATE
        moments = sorted(self.random.uniform(0.02, 0.95) * duration for _ in events)
        began = time.monotonic()
        for event, moment in zip(events, moments):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            if event == "kill":
                node.kill()
                node = self.node(config)  # at once, whatever state the broker is in
            else:
                broker.restart()
        self.assertEqual(load.wait(COUNT / RATE + 300), 0, (self.folder / "load.log").read_text()[-2000:])
        node.ready()
        verdict = self.verify(config)
        self.assertEqual(verdict["missing"], 0)
        self.assertEqual(verdict["repeated"], 0)
        self.assertEqual(verdict["dead_letters"]["missing"], 0)
        if shards == 1:
            self.assertEqual(verdict["unrouted"], 0)
            self.assertEqual(verdict["confirmed"], verdict["sent"])
            self.assertEqual(verdict["stored"], verdict["sent"])
        self.assertGreater(verdict["dead_letters"]["expected"], 0)
        self.assertEqual(verdict["dead_letters"]["refused"], 0)
        self.assert_balanced(node)
        self.assertEqual(node.stop(), 0)

    def test_the_embedded_broker_survives_a_kill_of_the_node_and_is_adopted(self):
        config = self.configure(None)
        node = self.node(config).ready()
        before = node.run_json()["brokers"]["main"]
        load = self.start_load(config, "--count", 10_000, "--rate", 2_500)
        time.sleep(1.5)
        node.kill()
        node = self.node(config).ready()
        after = node.run_json()["brokers"]["main"]
        self.assertEqual(after, before)
        self.assertEqual(load.wait(), 0, (self.folder / "load.log").read_text()[-2000:])
        verdict = self.verify(config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))
        self.assertEqual(node.stop(), 0)

    def test_a_graceful_stop_flushes_acknowledges_and_leaves_nothing_to_be_delivered_again(self):
        broker = self.mosquitto()
        config = self.configure(broker)
        node = self.node(config).ready()
        load = self.start_load(config, "--count", 10_000, "--rate", 2_500)
        time.sleep(2)
        self.assertEqual(node.stop(), 0)
        self.assertFalse((self.folder / "data" / "run.json").exists())
        node = self.node(config).ready()
        self.assertEqual(load.wait(), 0)
        verdict = self.verify(config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))
        self.assertEqual(self.assert_balanced(node)["duplicate"], 0)
        self.assertEqual(node.stop(), 0)

    def test_every_quality_of_service_and_protocol_version_arrives(self):
        broker = self.mosquitto()
        for qos, options in [(0, ""), (2, ""), (1, ", version: 3.1.1"), (2, ", version: 3.1.1")]:
            with self.subTest(qos=qos, options=options):
                config = self.configure(broker, qos=qos, broker_options=options)
                node = self.node(config).ready()
                self.load(config, "--count", 2_000, "--rate", 2_000, "--qos", qos)
                verdict = self.verify(config, wait="30s")
                # QoS 0 is never confirmed, so that nothing counts as missing: look at what arrived.
                self.assertEqual((verdict["stored"], verdict["repeated"]), (2_000, 0))
                self.assertEqual(node.stop(), 0)

    def test_a_broker_that_has_forgotten_its_sessions_while_no_node_ran(self):
        broker = self.mosquitto()
        config = self.configure(broker)
        node = self.node(config).ready()
        self.assertEqual(node.stop(), 0)
        node = self.node(config).ready()
        self.assertEqual([shard["sessions_lost"] for shard in node.pipeline()["shards"]], [0, 0])
        self.assertEqual(node.stop(), 0)
        broker.stop()
        (broker.folder / "mosquitto.db").unlink()
        broker.start()
        node = self.node(config).ready()
        self.assertEqual([shard["sessions_lost"] for shard in node.pipeline()["shards"]], [1, 1])
        self.assertIn("the broker has forgotten this shard's session", node.log.read_text())
        self.assertEqual(node.stop(), 0)

    def test_repeated_messages_are_counted_as_duplicates(self):
        broker = self.mosquitto()
        config = self.configure(broker)
        node = self.node(config).ready()
        self.load(config, "--count", 5_000, "--rate", 5_000, "--duplicates", 20, "--malformed", 2)
        verdict = self.verify(config)
        account = self.assert_balanced(node)
        self.assertEqual(account["committed"], verdict["stored"])
        self.assertGreater(account["duplicate"], 500)
        self.assertEqual(account["in_flight"], 0)
        listed = run_command("dead-letters", "list", "--config", config, "--json")
        self.assertIn("payload_malformed", listed.stdout)
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
