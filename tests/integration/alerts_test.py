"""Alerts: raised, shown, logged, published and cleared, with real brokers that go away and come back."""

import datetime
import json
import sqlite3
import unittest

from harness import Case, Mosquitto, run_command, wait_until
from publish_test import Plant, PublishCase, Sqlite, database_server
from small_mqtt import SmallMqtt


class AlertCase(PublishCase):
    def subscribe(self, broker: Mosquitto, topic: str, client_id: str = "operator") -> SmallMqtt:
        client = SmallMqtt(broker.port, client_id)
        self.addCleanup(client.close)
        client.subscribe(topic)
        return client

    def next_state(self, client: SmallMqtt, topic: str, state: str) -> dict:
        """The next message of this topic that tells this state."""
        while True:
            at, payload = client.message(patience=60)
            alert = json.loads(payload)
            if at == topic and alert["state"] == state:
                return alert

    def raised(self) -> list[tuple[str, str]]:
        return [(alert["rule"], alert["pipeline"]) for alert in self.current.status()["alerts"]]

    def insert(self, count: int, monitor: str = "m1"):
        """Rows that are made now."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
        values = ", ".join(f"({i}, '{monitor}', 0.5, '{now}')" for i in self.plant.take(count))
        self.plant.server.sql(f"INSERT INTO TableA VALUES {values}")

    def sent(self) -> int:
        return self.publish_status()["account"]["sent"]


class Alerts(AlertCase):
    def test_a_broker_that_is_away_raises_lag_on_another_one_until_it_is_back(self):
        data = self.mosquitto()
        watch = self.keep(Mosquitto(self.folder / "watch"))
        self.plant = Plant(Sqlite(self.folder / "plant"))
        rules = "{slow: {over: 2s}, down: {when: outage, over: 1s, pipelines: [TableA]}}"
        self.config = self.configure_publish(
            self.plant.server, data.port, shards=2,
            more="alerts: {broker: watch, topic: 'plant/{node}/{rule}/{pipeline}', rules: " + rules + "}")
        text = self.config.read_text().replace(
            "\ndatabases:", f'\n  watch: {{url: "mqtt://127.0.0.1:{watch.port}", reconnect_max: 500ms}}\ndatabases:')
        self.config.write_text(text)
        self.current = self.node(self.config).ready()
        operator = self.subscribe(watch, "plant/#")
        self.insert(10)
        wait_until(lambda: self.sent() == 10, "the rows are sent")
        self.assertEqual(self.raised(), [])

        data.stop()
        self.insert(10)  # nobody can read them: there is no session
        alert = self.next_state(operator, "plant/a/slow/TableA", "raised")
        self.assertEqual((alert["node"], alert["metric"], alert["unit"], alert["threshold"]), ("a", "lag", "ms", 2_000))
        self.assertGreater(alert["value"], 2_000)
        wait_until(lambda: sorted(self.raised()) == [("down", "TableA"), ("slow", "TableA")], "both are shown")
        self.assertIn("slow of TableA is raised: lag", self.current.log.read_text())
        shown = run_command("status", "--config", self.config).stdout
        self.assertRegex(shown, r"(?m)^  ALERT slow of TableA, since [-0-9T:.Z]+: lag [0-9.]+ s, over 2s$")
        self.assertRegex(shown, r"down of TableA, since [-0-9T:.Z]+: outage [0-9.]+ s, over 1s: TableA/[01] is not")
        self.assertIn('penstock_alerts_raised{rule="slow",pipeline="TableA"} 1', self.current.get("/metrics")[1])

        data.start()
        self.next_state(operator, "plant/a/slow/TableA", "cleared")
        wait_until(lambda: self.raised() == [], "nothing is raised")
        self.assertEqual(self.sent(), 20)
        self.assertIn("slow of TableA is cleared after", self.current.log.read_text())
        # The last state is retained.
        late = self.subscribe(watch, "plant/a/slow/TableA", "late")
        self.assertEqual(json.loads(late.message()[1])["state"], "cleared")
        self.assertEqual(self.current.stop(), 0)

    def test_refused_rows_raise_a_failure_rate_on_the_broker_of_control(self):
        broker = self.mosquitto()
        self.plant = Plant(Sqlite(self.folder / "plant"))
        self.config = self.configure_publish(self.plant.server, broker.port, shards=1,
                                             more="alerts: {broker: main}\ncontrol: {broker: main}")
        self.current = self.node(self.config).ready()
        operator = self.subscribe(broker, "penstock/a/alerts/failing/+")
        topic = "penstock/a/alerts/failing/TableA"
        wait_until(lambda: self.current.status()["actors"]["alerter"]["alive"], "the alerter runs")
        self.assertNotIn("presence/alerts", self.current.status()["actors"])  # one connection does both
        self.insert(99)
        self.insert(1, "a/+")  # no level of a topic: 1 % is not over 1 %
        wait_until(lambda: self.publish_status()["account"]["refused"] == 1, "it is refused")
        # Once an alert has not been over its threshold for a time, it is cleared.
        self.assertEqual(self.next_state(operator, topic, "cleared")["threshold"], 1)
        self.assertEqual(self.raised(), [])
        self.insert(3, "#")
        alert = self.next_state(operator, topic, "raised")
        self.assertGreater(alert["value"], 1)
        self.assertEqual(alert["unit"], "percent")
        self.assertEqual(self.raised(), [("failing", "TableA")])
        # A new connection is told again what is raised: here the broker has forgotten all of it.
        broker.kill()
        (self.folder / "broker" / "mosquitto.db").unlink(missing_ok=True)
        broker.start()
        again = self.subscribe(broker, "penstock/a/alerts/failing/+", "again")
        self.assertEqual(self.next_state(again, topic, "raised")["since"], alert["since"])
        self.assertEqual(self.current.stop(), 0)

    def test_connections_of_a_server_are_counted_while_they_are_open(self):
        broker = self.mosquitto()
        server = self.keep(database_server.Postgresql(self.folder / "server"))
        self.plant = Plant(server)
        self.config = self.configure_publish(server, broker.port)
        self.config.write_text(self.config.read_text().replace("statement_timeout: 5s",
                                                               "statement_timeout: 5s, connections_max: 7"))
        self.current = self.node(self.config).ready()

        def connections() -> int:
            used = self.current.status()["databases"]["plant"]
            self.assertEqual(used["connections_max"], 7)
            return used["connections"]

        # One reads the source, one writes the tracking table, one is told of changes.
        wait_until(lambda: connections() == 3, "three connections")
        self.assertIn('penstock_database_connections{database="plant"} 3', self.current.get("/metrics")[1])
        server.kill()
        wait_until(lambda: connections() == 0, "none is open while the server is away")
        server.start()
        wait_until(lambda: connections() == 3, "three connections again")
        self.assertEqual(self.current.stop(), 0)

    def test_wrong_rules_are_named_with_their_lines(self):
        broker = self.mosquitto()
        config = self.configure(broker, more="alerts:\n  broker: mian\n  rules:\n    slow: {over: 1%}\n"
                                             "    mine: {when: lag, over: 5s, pipelines: [telemetrie]}\n")
        line = config.read_text().splitlines().index("alerts:") + 1
        for command in "check", "run":
            with self.subTest(command):
                shown = run_command(command, "--config", config, expect=78)
                said = shown.stdout + shown.stderr
                self.assertIn(f":{line + 1}:11: alerts.broker: 'mian' is not in `brokers`; did you mean 'main'", said)
                self.assertIn(f":{line + 3}:18: alerts.rules.slow.over: must be a duration", said)
                self.assertIn("alerts.rules.mine.pipelines[0]: 'telemetrie' is no pipeline; did you mean 'telemetry'",
                              said)


class OfIngest(Case):
    def test_a_locked_database_raises_lag_of_an_ingest_pipeline(self):
        broker = self.mosquitto()
        config = self.configure(broker, more="    lag_warning: 2s\nalerts: {broker: main}\n")
        node = self.node(config).ready()
        operator = SmallMqtt(broker.port, "operator")
        self.addCleanup(operator.close)
        operator.subscribe("penstock/a/alerts/slow/telemetry")
        lock = sqlite3.connect(self.folder / "data" / "telemetry.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        self.load(config, "--count", 100, "--rate", 1_000)
        states = []
        while not states or states[-1]["state"] != "raised":
            states.append(json.loads(operator.message(patience=60)[1]))
        self.assertEqual(states[-1]["threshold"], 2_000)
        lock.execute("ROLLBACK")
        lock.close()
        while states[-1]["state"] != "cleared":
            states.append(json.loads(operator.message(patience=60)[1]))
        self.assertEqual(node.status()["alerts"], [])
        verdict = self.verify(config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
