"""Starts and ends real brokers and nodes for the integration tests, by pid, on loopback, on free ports.

PENSTOCK names the binary under test, PENSTOCK_NEXT its next version. PENSTOCK_SOAK=1 runs the stated lengths instead of seconds.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

PENSTOCK = os.environ.get("PENSTOCK", "build/asan/penstock")
PENSTOCK_NEXT = os.environ.get("PENSTOCK_NEXT", str(pathlib.Path(PENSTOCK).with_name("penstock_next")))
SOAK = os.environ.get("PENSTOCK_SOAK") == "1"
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
# A sanitized binary on a busy machine: generous, since a limit is only ever reached by a failure.
PATIENCE = 120

CONFIGURATION = """
data: ./data
node: {{name: a, http: 127.0.0.1:0, admin: true}}
brokers:
  main: {broker}
databases:
  telemetry: {{url: "{database}"{database_options}}}
ingest:
  telemetry:
    broker: main
    topics: ["users/{{user_id}}/devices/{{device_id}}/telemetry"]
    qos: {qos}
    shards: {shards}
    format: json
    database: telemetry
    table: raw_telemetry
    key: [time, user_id, device_id, sequence_id]
    columns:
      time:        {{from: payload.time, type: timestamp}}
      user_id:     {{from: topic.user_id, type: text}}
      device_id:   {{from: topic.device_id, type: text}}
      sequence_id: {{from: payload.sequence_id, type: integer}}
      temperature: {{from: payload.temperature, type: real, optional: true}}
      battery:     {{from: payload.battery, type: integer, optional: true}}
      extra_data:  {{from: payload.rest, type: json}}
    batch: {{records_max: 5000}}
{more}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what: str, patience: float = PATIENCE):
    """Waits for a true value, and returns it."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(0.02)


class Process:
    def __init__(self, arguments, log: pathlib.Path, **options):
        self.log = log
        with open(log, "ab") as sink:
            self.process = subprocess.Popen(
                [str(a) for a in arguments], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, **options
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int):
        if self.alive():
            self.process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        return self.process.wait(patience)

    def kill(self):
        """As a power cut would end it."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def stop(self, patience: float = PATIENCE) -> int:
        self.signal(signal.SIGTERM)
        return self.wait(patience)


class Mosquitto(Process):
    """A broker that keeps its sessions over a graceful restart."""

    def __init__(self, folder: pathlib.Path, more: str = ""):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.configuration = folder / "mosquitto.conf"
        self.configuration.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nmax_queued_messages 0\nmax_inflight_messages 0\n"
            + ("user root\n" if os.getuid() == 0 else "")
            + more
        )
        self.start()

    def start(self):
        super().__init__([MOSQUITTO, "-c", self.configuration], self.folder / "mosquitto.log")
        wait_until(self.listens, "mosquitto listens")

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def restart(self):
        self.stop()
        self.start()


class Node(Process):
    def __init__(self, folder: pathlib.Path, config: pathlib.Path, name: str = "", arguments: tuple[str, ...] = (),
                 binary: str = PENSTOCK):
        """`name`: of a node of a cluster; then `arguments` may say how it joins."""
        self.folder = folder
        self.config = config
        self.own = folder / "data" / "nodes" / name if name else folder / "data"
        as_node = ["--node", name] if name else []
        super().__init__([binary, "run", "--config", config, *as_node, *arguments],
                         folder / (f"node-{name}.log" if name else "node.log"))

    def run_json(self) -> dict | None:
        try:
            content = json.loads((self.own / "run.json").read_text())
        except (OSError, ValueError):
            return None
        return content if content["pid"] == self.pid else None

    def embedded_brokers(self) -> list[int]:
        """Those of the last node that ran in this folder and did not stop gracefully."""
        try:
            brokers = json.loads((self.own / "run.json").read_text())["brokers"]
        except (OSError, ValueError):
            return []
        return [broker["pid"] for broker in brokers.values() if broker["pid"]]

    def stop(self, patience: float = PATIENCE) -> int:
        # One that still starts does not wait for the signal yet.
        wait_until(lambda: self.run_json() or not self.alive(), "the node is up", patience)
        return super().stop(patience)

    def up(self) -> "Node":
        def running():
            if not self.alive():
                raise AssertionError(f"the node ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
            return self.run_json()

        wait_until(running, "the node is up")
        return self

    def ready(self) -> "Node":
        self.up()
        wait_until(lambda: self.get("/readyz")[0] == 200, "the node is ready")
        return self

    def get(self, path: str) -> tuple[int, str]:
        return self.ask("GET", path)

    def ask(self, method: str, path: str, headers: dict | None = None) -> tuple[int, str]:
        request = urllib.request.Request(
            f"http://{self.run_json()['http']}{path}", method=method, headers=headers or {},
            data=b"" if method == "POST" else None,
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()

    def status(self) -> dict:
        return json.loads(self.get("/status")[1])

    def pipeline(self) -> dict:
        return self.status()["pipelines"]["telemetry"]

    def resident_mb(self) -> float:
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0


def run_command(*arguments, expect: int | None = 0, patience: float = PATIENCE) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [PENSTOCK, *[str(a) for a in arguments]], capture_output=True, text=True, timeout=patience, stdin=subprocess.DEVNULL
    )
    if expect is not None and done.returncode != expect:
        raise AssertionError(
            f"penstock {' '.join(map(str, arguments))}: exit {done.returncode}, not {expect}\n{done.stdout}\n{done.stderr}"
        )
    return done


class Case(unittest.TestCase):
    """A test in a folder of its own; what it started is ended with it, and on a failure its logs are shown."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="penstock-test-"))
        self.processes: list[Process] = []
        self.addCleanup(self.end_everything)
        self.seed = int(os.environ.get("PENSTOCK_SEED", time.time_ns() % 1_000_000))
        self.random = random.Random(self.seed)

    def end_everything(self):
        for process in reversed(self.processes):
            embedded = process.embedded_brokers() if isinstance(process, Node) else []
            if process.alive():
                process.kill()
            for pid in embedded:  # they outlive a node that is killed
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        outcome = getattr(self, "_outcome", None)
        result = getattr(outcome, "result", None)
        failed = result is not None and any(test is self for test, _ in result.failures + result.errors)
        if failed:
            print(f"\nPENSTOCK_SEED={self.seed}; folder kept: {self.folder}")
            for log in sorted(self.folder.rglob("*.log")):
                print(f"--- {log.relative_to(self.folder)}\n{log.read_text(errors='replace')[-3000:]}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, process):
        self.processes.append(process)
        return process

    def mosquitto(self, more: str = "") -> Mosquitto:
        return self.keep(Mosquitto(self.folder / "broker", more))

    def configure(self, broker: Mosquitto | None, qos: int = 1, shards: int = 2, database: str = "sqlite:telemetry.db",
                  database_options: str = ", busy_timeout: 500ms", more: str = "", broker_options: str = "") -> pathlib.Path:
        where = (
            f'{{url: "mqtt://127.0.0.1:{broker.port}", reconnect_max: 1s{broker_options}}}'
            if broker
            else "{embedded: true, port: 0}"
        )
        config = self.folder / "penstock.yaml"
        config.write_text(
            CONFIGURATION.format(broker=where, qos=qos, shards=shards, database=database, database_options=database_options,
                                 more=more)
        )
        return config

    def node(self, config: pathlib.Path) -> Node:
        return self.keep(Node(self.folder, config))

    def start_load(self, config: pathlib.Path, *options, pipeline: str = "telemetry") -> Process:
        return self.keep(
            Process(
                [PENSTOCK, "load", "--config", config, "--pipeline", pipeline, "--ledger", self.ledger_of(pipeline), *options],
                self.folder / "load.log",
            )
        )

    def ledger_of(self, pipeline: str) -> pathlib.Path:
        return self.folder / f"{pipeline}.csv"

    @property
    def ledger(self) -> pathlib.Path:
        return self.ledger_of("telemetry")

    def load(self, config: pathlib.Path, *options, pipeline: str = "telemetry"):
        code = self.start_load(config, *options, pipeline=pipeline).wait(PATIENCE if not SOAK else 3600)
        self.assertEqual(code, 0, (self.folder / "load.log").read_text()[-2000:])

    def verify(self, config: pathlib.Path, wait: str = "90s", expect: int = 0, pipeline: str = "telemetry") -> dict:
        done = run_command(
            "verify", "--config", config, "--pipeline", pipeline, "--ledger", self.ledger_of(pipeline), "--wait", wait, "--json",
            expect=None, patience=PATIENCE * 4,
        )
        self.assertEqual(done.returncode, expect, f"{done.stdout}\n{done.stderr}")
        return json.loads(done.stdout)

    def assert_balanced(self, node: Node):
        account = node.pipeline()["account"]
        self.assertTrue(account["balanced"], account)
        return account
