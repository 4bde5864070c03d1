"""What scripts rely on: exit codes, messages, files and addresses of every command."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import unittest
from unittest import mock

from harness import CONFIGURATION, Case, free_port, run_command

USAGE, UNAVAILABLE, BROKEN = 64, 69, 78
COMMANDS = {
    "": ["--version"],
    "run": ["--config", "--node", "--address", "--http", "--roles"],
    "demo": ["--devices", "--rate", "--seconds", "--data"],
    "check": ["FILE", "--connect", "--node"],
    "config show": ["--config", "--node", "--json"],
    "load": ["--config", "--pipeline", "--broker", "--topic", "--devices", "--count", "--rate", "--qos", "--connections",
             "--duplicates", "--malformed", "--ramp", "--seed", "--ledger", "--table", "--monitors", "--writers", "--late",
             "--late-for", "--updates", "--rollbacks", "--create"],
    "verify": ["--config", "--pipeline", "--ledger", "--wait", "--json", "--topic", "--client-id", "--subscribe"],
    "status": ["--config", "--node", "--url", "--json"],
    "cluster status": ["--json"],
    "cluster drain": ["NODE", "--undo"],
    "cluster move": ["SHARD", "NODE"],
    "dead-letters list": ["--config", "--node", "--url", "--json"],
    "dead-letters show": ["--config", "--node", "--url", "--json", "ID"],
    "dead-letters replay": ["--config", "--node", "--url", "--json", "--all", "--payload", "ID"],
}
TOPIC = "users/{user_id}/devices/{device_id}/telemetry"


class Usage(Case):
    def test_every_command_has_a_help_that_names_its_options_and_shows_how_it_is_used(self):
        for command, options in COMMANDS.items():
            with self.subTest(command):
                done = run_command(*command.split(), "--help")
                for option in options:
                    self.assertIn(option, done.stdout)
                self.assertRegex(done.stdout, rf"(?m)^  penstock {command} ?" if command else r"Begin with: penstock demo")
                self.assertEqual(done.stderr, "")

    def test_what_is_misspelt_or_left_out_is_named_and_ends_with_64(self):
        for arguments, named in {
            (): "subcommand",
            ("frobnicate",): "frobnicate",
            ("config", "hide"): "hide",
            ("dead-letters",): "subcommand",
            ("dead-letters", "eat"): "eat",
            ("run",): "--config",
            ("run", "--config", "x", "--frobnicate"): "--frobnicate",
            ("run", "--config"): "--config",
            ("check",): "--config",
            ("config", "show"): "--config",
            ("load",): "--config or --broker",
            ("load", "--config", "x", "--broker", "mqtt://127.0.0.1"): "--broker",
            ("load", "--broker", "mqtt://127.0.0.1"): "--topic",
            ("load", "--broker", "http://127.0.0.1", "--topic", "a"): "mqtt://",
            ("load", "--table", "t"): "--config (it says where the table is)",
            ("load", "--config", "x", "--table", "t", "--pipeline", "p"): "--table inserts rows",
            ("load", "--config", "x", "--table", "t", "--broker", "mqtt://127.0.0.1"): "--broker",
            ("load", "--config", "x", "--table", "t", "--devices", "3"): "--monitors",
            ("load", "--config", "x", "--late", "3"): "--table PIPELINE",
            ("load", "--config", "x", "--table", "t", "--updates", "101"): "--updates",
            ("load", "--config", "x", "--rate", "soon"): "--rate",
            ("load", "--config", "x", "--qos", "3"): "--qos",
            ("load", "--config", "x", "--duplicates", "101"): "--duplicates",
            ("load", "--config", "x", "--ramp", "later"): "--ramp",
            ("verify", "--config", "x"): "--ledger",
            ("verify", "--config", "x", "--topic", "t"): "--ledger",
            ("verify", "--config", "x", "--topic", "t", "--pipeline", "p", "--ledger", "x"): "give one of them",
            ("verify", "--config", "x", "--ledger", "x", "--subscribe"): "--topic PIPELINE",
            ("verify", "--config", "x", "--topic", "t", "--ledger", "x", "--subscribe"): "before the load",
            ("status",): "--config or --url",
            ("status", "--config", "x", "--url", "http://127.0.0.1"): "--url",
            ("status", "--url", "nonsense"): "nonsense",
            ("dead-letters", "list"): "--config or --url",
            ("dead-letters", "show", "--config", "x"): "ID",
            ("dead-letters", "replay", "--config", "x"): "ID or --all",
            ("version", "extra"): "extra",
        }.items():
            with self.subTest(arguments):
                done = run_command(*arguments, expect=USAGE)
                self.assertIn(named, done.stderr)
                self.assertEqual(done.stdout, "")

    def test_the_version_is_told(self):
        for arguments in [("version",), ("--version",)]:
            self.assertRegex(run_command(*arguments).stdout, r"^penstock \d+\.\d+\.\d+\n$")


class Configuration(Case):
    def write(self, text: str):
        file = self.folder / "penstock.yaml"
        file.write_text(text)
        return file

    def test_a_broken_configuration_ends_with_78_and_a_line_for_each_problem(self):
        file = self.write("""data: ./data
colour: blue
brokers:
  main: {url: "http://127.0.0.1:1"}
databases:
  telemetry: {url: "sqlite:t.db", busy_timeout: soon}
ingest:
  telemetry:
    broker: other
    topics: ["users/{user_id}"]
    qos: 3
    database: telemetry
    table: t
    key: [time]
    columns:
      time: {from: payload.time, type: date}
      user: {from: topic.device, type: text}
""")
        expected = [(2, "colour"), (4, "brokers.main.url"), (6, "databases.telemetry.busy_timeout"),
                    (9, "ingest.telemetry.broker"), (11, "ingest.telemetry.qos"),
                    (16, "ingest.telemetry.columns.time.type"), (17, "ingest.telemetry.columns.user.from")]
        ledger = self.folder / "ledger.csv"
        for arguments in [
            ("check", file), ("check", "--connect", file), ("run", "--config", file), ("config", "show", "--config", file),
            ("load", "--config", file), ("verify", "--config", file, "--ledger", ledger), ("status", "--config", file),
            ("dead-letters", "list", "--config", file),
        ]:
            with self.subTest(arguments):
                done = run_command(*arguments, expect=BROKEN)
                found = re.findall(rf"^{re.escape(str(file))}:(\d+):\d+: ([\w.]+): .", done.stderr, re.MULTILINE)
                self.assertEqual([(int(line), path) for line, path in found], expected)
        self.assertFalse((self.folder / "data").exists())

    def test_a_file_that_cannot_be_read_ends_with_78_and_its_name(self):
        for name, content in {"missing.yaml": None, "binary.yaml": b"\xff\xfe\x00", "empty.yaml": b"",
                              "open.yaml": b"a: [1, 2\n"}.items():
            with self.subTest(name):
                file = self.folder / name
                if content is not None:
                    file.write_bytes(content)
                self.assertIn(str(file), run_command("check", file, expect=BROKEN).stderr)
        self.assertIn(str(self.folder), run_command("check", self.folder, expect=BROKEN).stderr)

    def test_nodes_without_a_cluster_are_told_what_to_do(self):
        file = self.configure(None, more="nodes: {west: {}}")
        self.assertIn("add a section `cluster`", run_command("check", file, expect=BROKEN).stderr)
        file = self.configure(None)
        done = run_command("run", "--config", file, "--node", "x", "--address", "127.0.0.1:1", expect=BROKEN)
        self.assertIn("--address, --http and --roles are for joining a cluster", done.stderr)

    @unittest.skipIf(os.getuid() == 0, "root reads everything")
    def test_a_file_without_permission_ends_with_78(self):
        file = self.configure(None)
        file.chmod(0)
        self.assertIn(str(file), run_command("check", file, expect=BROKEN).stderr)

    def test_variables_of_the_environment_stand_in_a_configuration(self):
        file = self.write(CONFIGURATION.format(
            broker='{url: "mqtt://${HOST:-127.0.0.1}:1883", password: "${SECRET:?is the password of the broker}", user: u}',
            database="sqlite:${DATABASE}.db", database_options="", qos=1, shards=2, more=""))
        done = run_command("check", file, expect=BROKEN)
        self.assertIn("SECRET is not set: is the password of the broker", done.stderr)
        self.assertIn("DATABASE", done.stderr)
        with mock.patch.dict(os.environ, {"SECRET": "hunter2", "DATABASE": "other"}):
            run_command("check", file)
            shown = json.loads(run_command("config", "show", "--config", file, "--json").stdout)
        self.assertEqual(shown["brokers"]["main"]["url"], "mqtt://127.0.0.1:1883")
        self.assertEqual(shown["databases"]["telemetry"]["url"], "sqlite:other.db")

    def test_secrets_are_not_shown_and_the_defaults_are(self):
        (self.folder / "password").write_text("hunter3\n")
        file = self.write(CONFIGURATION.format(
            broker='{url: "mqtt://u:hunter2@127.0.0.1:1883"}\n'
            '  second: {url: "mqtt://127.0.0.1:1884", user: u, password_file: password}\n'
            '  third: {url: "mqtt://127.0.0.1:1885", user: u, password: hunter4}',
            database="sqlite:t.db", database_options="", qos=1, shards=2, more=""))
        text = run_command("config", "show", "--config", file).stdout
        as_json = run_command("config", "show", "--config", file, "--json").stdout
        shown = json.loads(as_json)
        for printed in [text, as_json]:
            self.assertNotIn("hunter", printed)
        self.assertEqual(shown["brokers"]["main"]["password"], "***")
        self.assertEqual(shown["brokers"]["main"]["user"], "u")
        self.assertEqual(shown["databases"]["telemetry"]["synchronous"], "full")

    def test_the_same_tree_is_taken_as_json(self):
        shown = run_command("config", "show", "--config", self.configure(None), "--json").stdout
        (self.folder / "penstock.json").write_text(shown)
        again = run_command("config", "show", "--config", self.folder / "penstock.json", "--json").stdout
        self.assertEqual(json.loads(again), json.loads(shown))


class Unreachable(Case):
    def unreachable(self, more: str = ""):
        file = self.folder / "penstock.yaml"
        file.write_text(CONFIGURATION.format(
            broker=f'{{url: "mqtt://127.0.0.1:{free_port()}", connect_timeout: 1s{more}}}', database="sqlite:t.db", database_options="", qos=1, shards=2,
            more=""))
        return file

    def test_what_needs_a_broker_a_node_or_a_database_ends_with_69_without_it(self):
        file = self.unreachable()
        nowhere = f"http://127.0.0.1:{free_port()}"
        self.assertIn("cannot be reached",
                      run_command("load", "--config", file, "--count", 10, "--timeout", "1s", expect=UNAVAILABLE).stderr)
        self.assertIn("penstock run",
                      run_command("status", "--config", file, expect=UNAVAILABLE).stderr)
        self.assertIn(nowhere, run_command("status", "--url", nowhere, expect=UNAVAILABLE).stderr)
        run_command("dead-letters", "list", "--url", nowhere, expect=UNAVAILABLE)
        done = run_command("check", "--connect", file, expect=UNAVAILABLE)
        self.assertRegex(done.stdout, r"(?m)^broker main \(127.0.0.1:\d+\): connection_refused")
        self.assertRegex(done.stdout, r"(?m)^database telemetry: ok$")

    def test_a_database_that_cannot_be_opened_is_named(self):
        broker = self.mosquitto()
        file = self.configure(broker)
        ledger = self.ledger
        self.load(file, "--count", 10)
        (self.folder / "data").mkdir(exist_ok=True)
        shutil.rmtree(self.folder / "data")
        (self.folder / "data" / "telemetry.db").mkdir(parents=True)
        done = run_command("check", "--connect", file, expect=UNAVAILABLE)
        self.assertRegex(done.stdout, r"(?m)^broker main .*: ok$")
        self.assertRegex(done.stdout, r"(?m)^database telemetry: .*telemetry\.db")
        run_command("verify", "--config", file, "--ledger", ledger, expect=UNAVAILABLE)
        run_command("dead-letters", "list", "--config", file, expect=UNAVAILABLE)

    def test_a_database_that_cannot_be_opened_at_the_start_ends_with_78_and_the_remedy(self):
        file = self.configure(None)
        (self.folder / "data" / "telemetry.db").mkdir(parents=True)
        node = self.node(file)
        self.assertEqual(node.wait(), BROKEN)
        self.assertRegex(node.log.read_text(), r"telemetry\.db.*it is a folder: name a file")

    def test_a_table_that_does_not_fit_ends_with_78_before_anything_starts(self):
        file = self.configure(None)
        (self.folder / "data").mkdir()
        with sqlite3.connect(self.folder / "data" / "telemetry.db") as database:
            database.execute("CREATE TABLE raw_telemetry (time TEXT PRIMARY KEY, other TEXT NOT NULL)")
        database.close()
        node = self.node(file)
        self.assertEqual(node.wait(), BROKEN)
        log = node.log.read_text()
        for expected in ["raw_telemetry", "user_id"]:
            self.assertIn(expected, log)
        self.assertNotIn("mosquitto", log)
        self.assertFalse((self.folder / "data" / "run.json").exists())
        done = run_command("check", "--connect", file, expect=BROKEN)
        self.assertIn("raw_telemetry", done.stdout)
        run_command("check", file)


class Connecting(Case):
    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def authority(self, name: str):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                     "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")

    def certificate(self, name: str, authority: str, subject: str):
        (self.folder / "extensions").write_text(f"subjectAltName={subject}\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                     "-keyout", f"{name}.key", "-out", f"{name}.request")
        self.openssl("x509", "-req", "-in", f"{name}.request", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
                     "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", f"{name}.pem")

    def check(self, url: str, options: str, expect: int) -> str:
        file = self.folder / "penstock.yaml"
        file.write_text(CONFIGURATION.format(broker=f'{{url: "{url}", connect_timeout: 5s{options}}}', database="sqlite:t.db", database_options="", qos=1,
                                             shards=2, more=""))
        return run_command("check", "--connect", file, expect=expect).stdout

    def test_a_broker_that_takes_the_connection_is_ok(self):
        broker = self.mosquitto()
        self.assertRegex(self.check(f"mqtt://127.0.0.1:{broker.port}", "", 0), r"(?m)^broker main .*: ok$")

    def test_the_certificate_of_a_tls_broker_is_checked(self):
        self.authority("right")
        self.authority("wrong")
        self.certificate("broker", "right", "IP:127.0.0.1")
        port = free_port()
        self.mosquitto(f"listener {port} 127.0.0.1\ncertfile {self.folder}/broker.pem\nkeyfile {self.folder}/broker.key\n")
        url = f"mqtts://127.0.0.1:{port}"
        self.assertRegex(self.check(url, ", tls: {ca: right.pem}", 0), r"(?m)^broker main .*: ok$")
        self.assertIn("certificate", self.check(url, ", tls: {ca: wrong.pem}", UNAVAILABLE))
        self.assertIn("certificate", self.check(url, "", UNAVAILABLE))
        self.assertRegex(self.check(url, ", tls: {verify: false}", 0), r"(?m)^broker main .*: ok$")
        self.assertIn("missing.pem", self.check(url, ", tls: {ca: missing.pem}", UNAVAILABLE))
        # The right authority, another host's name.
        self.assertIn("certificate", self.check(f"mqtts://localhost:{port}", ", tls: {ca: right.pem}", UNAVAILABLE))
        # Plain text to a TLS listener, TLS to a plain one.
        self.check(f"mqtt://127.0.0.1:{port}", "", UNAVAILABLE)
        self.check(f"mqtts://127.0.0.1:{self.processes[0].port}", ", tls: {ca: right.pem}", UNAVAILABLE)

    def test_a_broker_may_ask_for_a_certificate(self):
        self.authority("right")
        self.authority("wrong")
        self.certificate("broker", "right", "IP:127.0.0.1")
        self.certificate("client", "right", "DNS:client")
        self.certificate("stranger", "wrong", "DNS:client")
        port = free_port()
        self.mosquitto(f"listener {port} 127.0.0.1\ncafile {self.folder}/right.pem\ncertfile {self.folder}/broker.pem\n"
                       f"keyfile {self.folder}/broker.key\nrequire_certificate true\n")
        url = f"mqtts://127.0.0.1:{port}"
        self.check(url, ", tls: {ca: right.pem, certificate: client.pem, key: client.key}", 0)
        self.check(url, ", tls: {ca: right.pem, certificate: stranger.pem, key: stranger.key}", UNAVAILABLE)
        self.check(url, ", tls: {ca: right.pem}", UNAVAILABLE)

    def test_a_wrong_password_is_told(self):
        passwords = self.folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "u", "right"], check=True, capture_output=True)
        passwords.chmod(0o644)
        broker = self.mosquitto(f"password_file {passwords}\nallow_anonymous false\n")
        url = f"mqtt://127.0.0.1:{broker.port}"
        (self.folder / "secret").write_text("right\n")
        self.check(url, ", user: u, password: right", 0)
        self.check(url, ", user: u, password_file: secret", 0)
        for options in [", user: u, password: wrong-one", ", user: nobody, password: right", "",
                        ", version: \"3.1.1\", user: u, password: wrong-one"]:
            with self.subTest(options):
                said = self.check(url, options, UNAVAILABLE)
                self.assertRegex(said, r"(?i)broker main .*(not authori[sz]ed|bad user name or password)")
                self.assertNotIn("wrong-one", said)


class Running(Case):
    def test_the_actual_ports_and_the_pid_stand_in_run_json_while_the_node_runs(self):
        node = self.node(self.configure(None)).ready()
        stated = node.run_json()
        self.assertEqual((stated["pid"], stated["node"]), (node.pid, "a"))
        self.assertRegex(stated["http"], r"^127\.0\.0\.1:[1-9]\d*$")
        embedded = stated["brokers"]["main"]
        self.assertGreater(embedded["port"], 0)
        os.kill(embedded["pid"], 0)
        self.assertEqual(node.stop(), 0)
        self.assertFalse((self.folder / "data" / "run.json").exists())
        with self.assertRaises(ProcessLookupError):
            os.kill(embedded["pid"], 0)

    def test_a_node_answers_what_monitors_ask(self):
        config = self.configure(None)
        node = self.node(config).ready()
        self.assertEqual(node.get("/healthz")[0], 200)
        self.assertEqual(node.get("/readyz")[0], 200)
        self.assertEqual(node.get("/nothing")[0], 404)
        self.load(config, "--count", 200, "--rate", 2_000, "--malformed", 10)
        self.verify(config)
        code, metrics = node.get("/metrics")
        self.assertEqual(code, 200)
        for line in metrics.splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) (penstock|process)_\w+ .*|(penstock|process)_\w+(\{[^}]*\})? \S+)$")
        stored = sum(float(v) for v in re.findall(r"(?m)^penstock_committed_total\{.*\} (\S+)$", metrics))
        status = json.loads(run_command("status", "--config", config, "--json").stdout)
        by_url = run_command("status", "--url", f"http://{node.run_json()['http']}", "--json").stdout
        for answer in [status, json.loads(by_url), node.status()]:
            self.assertLessEqual({"node", "taken", "ready", "not_ready", "balanced", "pipelines", "actors", "brokers"},
                                 answer.keys())
            pipeline = answer["pipelines"]["telemetry"]
            self.assertLessEqual({"account", "received_per_second", "committed_per_second", "lag_ms", "credit",
                                  "unacknowledged_bytes", "latency_ms", "writer", "shards"}, pipeline.keys())
            account = pipeline["account"]
            self.assertEqual(account["committed"], stored)
            self.assertGreater(account["dead_lettered"], 0)
            self.assertEqual(account["received"], account["committed"] + account["duplicate"] + account["dead_lettered"]
                             + sum(account["rejected"].values()) + account["in_flight"])
            self.assertEqual(len(pipeline["shards"]), 2)
        text = run_command("status", "--config", config).stdout
        for expected in ["telemetry", "received", "committed", "in flight", "restarts"]:
            self.assertIn(expected, text)
        self.assertEqual(node.stop(), 0)
        run_command("status", "--config", config, expect=UNAVAILABLE)

    def test_a_node_without_its_broker_is_alive_and_not_ready(self):
        broker = self.mosquitto()
        config = self.configure(broker)
        broker.stop()
        node = self.node(config).up()
        self.assertEqual(node.get("/healthz")[0], 200)
        code, reasons = node.get("/readyz")
        self.assertEqual(code, 503)
        self.assertIn("telemetry", reasons)
        broker.start()
        node.ready()
        self.assertEqual(node.stop(), 0)

    def test_a_node_whose_address_is_taken_names_it_and_ends_with_69(self):
        first = self.node(self.configure(None)).ready()
        second = self.folder / "second"
        second.mkdir()
        config = second / "penstock.yaml"
        taken = first.run_json()["http"]
        config.write_text((self.folder / "penstock.yaml").read_text().replace("127.0.0.1:0", taken))
        done = run_command("run", "--config", config, expect=UNAVAILABLE)
        self.assertIn(taken, done.stderr)

    def test_load_publishes_to_a_broker_without_a_configuration(self):
        broker = self.mosquitto()
        config = self.configure(broker)
        node = self.node(config).ready()
        done = run_command("load", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--topic", TOPIC, "--count", 300, "--rate",
                           "max", "--devices", 7, "--qos", 2, "--ledger", self.ledger)
        self.assertIn("300", done.stdout + done.stderr)
        verdict = self.verify(config)
        self.assertEqual((verdict["sent"], verdict["missing"], verdict["repeated"]), (300, 0, 0))
        self.assertEqual(node.stop(), 0)

    def test_a_row_that_is_missing_makes_the_verdict_1(self):
        broker = self.mosquitto()
        config = self.configure(broker)
        node = self.node(config).ready()
        self.load(config, "--count", 50)
        self.verify(config)
        self.assertEqual(node.stop(), 0)
        with sqlite3.connect(self.folder / "data" / "telemetry.db") as database:
            lost = database.execute(
                "DELETE FROM raw_telemetry WHERE device_id IN (SELECT device_id FROM raw_telemetry LIMIT 3)").rowcount
        self.assertGreater(lost, 0)
        database.close()
        self.assertEqual(self.verify(config, wait="0s", expect=1)["missing"], lost)


if __name__ == "__main__":
    unittest.main(verbosity=2)
