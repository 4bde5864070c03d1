"""Dead letters of a real node: looked at, repaired and replayed, by its configuration and by its URL."""

import hashlib
import json
import sqlite3
import time
import unittest

from harness import PENSTOCK, Case, Process, run_command, wait_until
from small_mqtt import SmallMqtt

TOPIC = "users/ada/devices/d1/telemetry"
TABLE = """CREATE TABLE raw_telemetry (time BIGINT NOT NULL, user_id TEXT NOT NULL, device_id TEXT NOT NULL,
  sequence_id BIGINT NOT NULL, temperature REAL, battery BIGINT CHECK (battery BETWEEN 0 AND 100), extra_data TEXT NOT NULL,
  PRIMARY KEY (time, user_id, device_id, sequence_id))"""
LIST_KEYS = {"id", "pipeline", "topic", "code", "reason", "first_seen", "last_seen", "seen", "attempts", "payload_bytes"}


def reading(sequence_id: int, battery: int = 50) -> str:
    return json.dumps({"time": "2026-01-01T00:00:00Z", "sequence_id": sequence_id, "battery": battery})


class DeadLetters(Case):
    def setUp(self):
        super().setUp()
        (self.folder / "data").mkdir()
        self.sql(TABLE)

    def sql(self, statement: str) -> list:
        connection = sqlite3.connect(self.folder / "data" / "telemetry.db", timeout=60)
        try:
            with connection:
                return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def start(self):
        self.config = self.configure(None, more="")
        self.running = self.node(self.config).ready()
        self.url = "http://" + self.running.run_json()["http"]
        self.by_config = ["--config", self.config]
        self.by_url = ["--url", self.url]

    def publish(self, *payloads):
        client = SmallMqtt(self.running.run_json()["brokers"]["main"]["port"])
        for payload in payloads:
            client.publish(TOPIC, payload)
        client.close()
        wait_until(lambda: self.accounted() >= len(payloads), "the messages are in the database")

    def accounted(self) -> int:
        account = self.running.pipeline()["account"]
        return account["committed"] + account["duplicate"] + account["dead_lettered"]

    def letters(self, how, *command, expect: int = 0):
        return json.loads(run_command("dead-letters", *command, *how, "--json", expect=expect).stdout)

    def listed(self) -> dict:
        return {letter["id"]: letter for letter in self.letters(self.by_config, "list")["dead_letters"]}

    def repaired(self, payload) -> str:
        file = self.folder / "repaired.json"
        file.write_text(payload)
        return str(file)

    def test_letters_are_shown_repaired_and_replayed_by_configuration_and_by_url(self):
        self.start()
        self.publish("no json", reading(1), '{"sequence_id": 2}', reading(3, battery=101), b"\xff\x00", reading(4, battery=-1))
        self.assertEqual(self.sql("SELECT sequence_id FROM raw_telemetry"), [(1,)])

        by_config, by_url = self.letters(self.by_config, "list"), self.letters(self.by_url, "list")
        self.assertEqual(by_config, by_url)
        self.assertEqual(json.loads(self.running.get("/dead-letters")[1]), by_config)
        self.assertEqual(set(by_config), {"dead_letters", "total"})
        self.assertEqual(by_config["total"], 5)
        for letter in by_config["dead_letters"]:
            self.assertEqual(set(letter), LIST_KEYS)
            self.assertEqual((letter["topic"], letter["seen"], letter["attempts"]), (TOPIC, 1, 0))
        codes = sorted(letter["code"] for letter in by_config["dead_letters"])
        self.assertEqual(codes, ["field_missing", "payload_malformed", "payload_malformed", "row_refused", "row_refused"])
        self.assertEqual(len(self.letters(self.by_url, "list", "--limit", "2")["dead_letters"]), 2)

        shown = {}
        for id in self.listed():
            shown[id] = self.letters(self.by_config, "show", id)
            self.assertEqual(self.letters(self.by_url, "show", id[:16]), shown[id])
            text = [run_command("dead-letters", "show", id, *how).stdout for how in (self.by_config, self.by_url)]
            self.assertEqual(text[0], text[1])
        by_payload = {letter.get("payload", letter.get("payload_hex")): id for id, letter in shown.items()}
        self.assertIn("CHECK constraint failed", shown[by_payload[reading(3, battery=101)]]["reason"])

        # Nothing is mended: the letter stays, with the attempt.
        bad = by_payload["no json"]
        for attempts, how in enumerate((self.by_config, self.by_url), 1):
            answer = self.letters(how, "replay", bad, expect=1)
            self.assertEqual(set(answer), {"replayed", "failed"})
            self.assertEqual((answer["replayed"], answer["failed"][0]["id"]), (0, bad))
            self.assertEqual(set(answer["failed"][0]), {"id", "code", "reason"})
            self.assertEqual(self.listed()[bad]["attempts"], attempts)

        # A repaired one becomes a row, and goes.
        repairs = [(bad, 10, self.by_config), (by_payload[reading(3, battery=101)], 3, self.by_url), (by_payload["ff00"], 11, self.by_url)]
        for id, sequence_id, how in repairs:
            answer = self.letters(how, "replay", id, "--payload", self.repaired(reading(sequence_id)))
            self.assertEqual(answer, {"replayed": 1, "failed": []})
            self.assertEqual(self.sql(f"SELECT battery FROM raw_telemetry WHERE sequence_id = {sequence_id}"), [(50,)])
            self.assertNotIn(id, self.listed())
            run_command("dead-letters", "show", id, *how, expect=1)
        self.assertEqual(len(self.listed()), 2)
        self.assertEqual(self.running.stop(), 0)
        # The configuration needs no node, a URL does.
        self.letters(self.by_config, "replay", "--all", expect=1)
        run_command("dead-letters", "list", *self.by_url, expect=69)

    def test_a_replay_that_is_killed_leaves_a_row_or_a_letter_of_each_message(self):
        config = self.configure(None)
        run_command("check", "--connect", config, expect=None)  # makes penstock's tables; no broker runs
        count = 10_000
        connection = sqlite3.connect(self.folder / "data" / "telemetry.db")
        with connection:
            for number in range(count):
                payload = reading(number).encode()
                id = hashlib.sha256(TOPIC.encode() + b"\0" + payload).hexdigest()
                connection.execute("INSERT INTO penstock_dead_letters VALUES ('telemetry', ?, ?, ?, 200, 'x', 1, 1, 1, 0)",
                                   (id, TOPIC, payload))
        connection.close()

        def counted() -> tuple[int, int]:
            return self.sql("SELECT (SELECT count(*) FROM raw_telemetry), (SELECT count(*) FROM penstock_dead_letters)")[0]

        for kills in range(1, 6):
            command = [PENSTOCK, "dead-letters", "replay", "--all", "--config", config]
            replay = self.keep(Process(command, self.folder / "replay.log"))
            rows_before = counted()[0]
            wait_until(lambda: counted()[0] > rows_before or not replay.alive(), "rows appear")
            time.sleep(self.random.uniform(0, 0.05))
            replay.kill()
            rows, letters = counted()
            self.assertEqual(rows + letters, count, f"after {kills} kills")
            if kills == 1:
                self.assertTrue(rows > 0 and letters > 0, "killed in the middle")
        run_command("dead-letters", "replay", "--all", "--config", config)
        self.assertEqual(counted(), (count, 0))

    def test_wrong_use_has_its_exit_codes(self):
        self.start()
        self.publish("no json", "none either")
        for how in (self.by_config, self.by_url):
            run_command("dead-letters", "show", "zz", *how, expect=1)
            run_command("dead-letters", "show", "", *how, expect=1)
            run_command("dead-letters", "list", "--pipeline", "nothing", *how, expect=78)
            run_command("dead-letters", "replay", *how, expect=64)
            run_command("dead-letters", "replay", "aa", "--all", *how, expect=64)
            run_command("dead-letters", "replay", "aa", "--payload", self.folder / "nothing", *how, expect=64)
        for command in (["list"], ["show", "aa"], ["replay", "--all"]):
            run_command("dead-letters", *command, expect=64)
            run_command("dead-letters", *command, *self.by_config, *self.by_url, expect=64)
        body = {"Content-Type": "application/json"}
        self.assertEqual(self.running.ask("POST", "/dead-letters/replay", body | {"Origin": "http://evil.example"})[0], 403)
        self.assertEqual(self.running.ask("POST", "/dead-letters/replay", body | {"Host": "evil.example"})[0], 403)
        self.assertEqual(self.running.ask("POST", "/dead-letters/replay", body)[0], 400)
        self.assertEqual(self.running.stop(), 0)
        self.config.write_text(self.config.read_text().replace(", admin: true", ""))
        self.running = self.node(self.config).ready()
        refused = run_command("dead-letters", "replay", "--all", "--url", "http://" + self.running.run_json()["http"], expect=78)
        self.assertIn("admin: true", refused.stderr)
        self.assertTrue(all(letter["attempts"] == 0 for letter in self.listed().values()))
        self.assertEqual(self.running.stop(), 0)

    def test_all_are_replayed_by_url_while_the_node_runs_under_load(self):
        self.replay_under_load(lambda: self.by_url)

    def test_all_are_replayed_by_configuration_while_the_node_runs_under_load(self):
        self.replay_under_load(lambda: self.by_config)

    def replay_under_load(self, how):
        self.sql("CREATE TRIGGER closed BEFORE INSERT ON raw_telemetry WHEN new.sequence_id % 3 = 0"
                 " BEGIN SELECT RAISE(ABORT, 'closed for repairs'); END")
        self.start()
        load = self.start_load(self.config, "--count", 20_000, "--rate", 2_500, "--devices", 200)
        wait_until(lambda: self.running.pipeline()["account"]["dead_lettered"] > 1_000, "letters are there")
        self.sql("DROP TRIGGER closed")  # no letter is added after this
        before = self.letters(self.by_config, "list", "--limit", "1")["total"]
        self.assertTrue(load.alive(), "the load has ended too early for this test")
        self.assertEqual(self.letters(how(), "replay", "--all"), {"replayed": before, "failed": []})
        self.assertEqual(self.letters(self.by_url, "list")["total"], 0)
        self.assertEqual(load.wait(), 0, (self.folder / "load.log").read_text()[-2000:])
        verdict = self.verify(self.config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0))
        self.assertEqual(verdict["stored"], verdict["sent"])
        self.assert_balanced(self.running)
        self.assertEqual(self.running.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
