"""Presence and control over MQTT: a retained status with a last will; pause, resume and status on request."""

import json
import unittest

from harness import Case, wait_until
from small_mqtt import SmallMqtt

CONTROL = "control: {broker: main, control_topic: 'plant/{node}/control', status_topic: 'plant/{node}/status'}"


class Control(Case):
    def watcher(self, broker, client_id: str) -> SmallMqtt:
        client = SmallMqtt(broker.port, client_id)
        self.addCleanup(client.close)
        return client

    def next_status(self, client: SmallMqtt, wanted: str) -> dict:
        while True:
            topic, payload = client.message()
            self.assertEqual(topic, "plant/a/status")
            status = json.loads(payload)
            if status.get("status") == wanted:
                return status

    def test_the_status_is_retained_and_the_last_will_tells_of_a_kill(self):
        broker = self.mosquitto()
        config = self.configure(broker, more=CONTROL)
        node = self.node(config).ready()
        early = self.watcher(broker, "early")
        early.subscribe("plant/a/status")
        self.assertEqual(self.next_status(early, "online")["pid"], node.pid)
        node.kill()
        self.next_status(early, "offline")
        node = self.node(config).ready()
        self.assertEqual(self.next_status(early, "online")["pid"], node.pid)
        late = self.watcher(broker, "late")
        late.subscribe("plant/a/status")
        self.assertEqual(self.next_status(late, "online")["node"], "a")
        self.assertEqual(node.stop(), 0)
        self.next_status(late, "offline")

    def test_pause_resume_and_status_on_the_control_topic(self):
        broker = self.mosquitto()
        config = self.configure(broker, more=CONTROL)
        node = self.node(config).ready()
        client = self.watcher(broker, "operator")

        def paused() -> bool:
            return all(shard["paused"] for shard in node.pipeline()["shards"])

        def pause() -> bool:
            client.publish("plant/a/control", "pause telemetry")
            return paused()

        wait_until(pause, "paused")  # said again until the node has subscribed
        self.load(config, "--count", 1_000, "--rate", 5_000)
        # The read that was under way may still bring some; then the socket is left alone.
        self.assertLess(node.pipeline()["account"]["committed"], 100)
        client.publish("plant/a/control", "nonsense")
        client.publish("plant/a/control", "resume")
        wait_until(lambda: not paused(), "resumed")
        verdict = self.verify(config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))
        client.subscribe("plant/a/status")
        client.publish("plant/a/control", "status")
        while "pipelines" not in (status := json.loads(client.message()[1])):
            pass
        self.assertEqual(status["pipelines"]["telemetry"]["account"]["committed"], 1_000)
        self.assertIn("not a command: 'nonsense'", node.log.read_text())
        self.assertEqual(node.stop(), 0)

    def test_without_a_control_topic_nobody_listens(self):
        broker = self.mosquitto()
        config = self.configure(broker, more="control: {broker: main}")
        node = self.node(config).ready()
        client = self.watcher(broker, "operator")
        client.publish("penstock/a/control", "pause")
        client.publish("penstock/a/status", "pause")
        self.assertFalse(any(shard["paused"] for shard in node.pipeline()["shards"]))
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
