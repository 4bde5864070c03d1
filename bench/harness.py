"""What the benchmarks share: starting the programs, measuring a process, the pipeline against the stand-in broker, the table."""
import collections
import contextlib
import http.client
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")

HEAD = """\
data: .
node: {{name: bench, http: "127.0.0.1:0"}}
brokers: {{main: {{url: "mqtt://127.0.0.1:{port}"}}}}
databases: {{telemetry: {{url: "{database}"{database_options}}}}}
log: {{level: warning}}
"""
INGEST = """\
ingest:
  telemetry:
    broker: main
    topics: ["users/{{user_id}}/devices/{{device_id}}/telemetry"]
    qos: 1
    shards: {shards}
    writers: {writers}
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
"""
CONFIG = HEAD + INGEST

MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
max_inflight_messages 0
"""

Broker = collections.namedtuple("Broker", "port pid")


class Failed(Exception):
    pass


def wait_until(condition, what, limit=60.0, pause=0.02):
    end = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > end:
            raise Failed(f"waited {limit:.0f} s for {what}")
        time.sleep(pause)
    return value


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_seconds_of_server(pid):
    """With its children, also those that have ended: a PostgreSQL server has a process for each connection."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    total = sum(int(field) for field in fields[11:15]) / TICKS
    for child in children(pid):
        with contextlib.suppress(FileNotFoundError):
            total += cpu_seconds(child)
    return total


def cpu_ms(pid):
    """Finer than a tick; of the threads that are there."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e6


def rss_max_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def end(process, number=signal.SIGTERM, limit=30):
    """Ends a process that this script started; its exit status."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


class Http:
    """Asks a running penstock, over one connection."""

    def __init__(self, folder):
        self.address = json.loads((folder / "run.json").read_text())["http"]
        host, port = self.address.rsplit(":", 1)
        self.connection = http.client.HTTPConnection(host, int(port), timeout=10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def get(self, path):
        """Status and body. A node closes a connection on which nobody asks; the next question opens another."""
        for last in (False, True):
            try:
                self.connection.request("GET", path)
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.connection.close()
                if last:
                    raise

    def status(self):
        return json.loads(self.get("/status")[1])

    def wait_ready(self, limit=60.0):
        """Up is not yet connected: ready says so."""
        wait_until(lambda: self.get("/readyz")[0] == 200, "/readyz", limit)


class Programs:
    """The release build's programs, and what they are run on."""

    def __init__(self, build, count):
        self.build = build
        self.count = count

    def program(self, name):
        path = self.build / name
        if not path.exists():
            raise Failed(f"{path} is missing: ./dev build")
        return str(path)

    @contextlib.contextmanager
    def penstock(self, folder, port, database="sqlite:telemetry.db", database_options=", synchronous: normal", shards=2, writers=1):
        with self.configured_penstock(folder, CONFIG.format(
                port=port, database=database, database_options=database_options, shards=shards, writers=writers)) as process:
            yield process

    @contextlib.contextmanager
    def configured_penstock(self, folder, configuration):
        """Up when its folder has a run.json."""
        config = folder / "penstock.yaml"
        config.write_text(configuration)
        (folder / "run.json").unlink(missing_ok=True)
        with open(folder / "penstock.log", "w") as log:
            process = subprocess.Popen([self.program("penstock"), "run", "--config", str(config)], stdout=log, stderr=log)
        try:
            def up():
                if process.poll() is not None:
                    raise Failed("penstock ended: " + (folder / "penstock.log").read_text()[-500:])
                return (folder / "run.json").exists()
            wait_until(up, "run.json")
            yield process
        finally:
            status = end(process)
        if status != 0:
            raise Failed(f"penstock ended with {status}: " + (folder / "penstock.log").read_text()[-500:])

    @contextlib.contextmanager
    def mosquitto(self):
        with tempfile.TemporaryDirectory(prefix="penstock-bench-mosquitto-") as name:
            port = free_port()
            conf = pathlib.Path(name) / "mosquitto.conf"
            conf.write_text(MOSQUITTO.format(port=port))
            program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
            process = subprocess.Popen([program, "-c", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

            def listens():
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0
            try:
                wait_until(listens, "mosquitto")
                yield Broker(port, process.pid)
            finally:
                end(process)

    @contextlib.contextmanager
    def stand_in(self, count, rate="max", connections=2, port=0):
        process = subprocess.Popen(
            [self.program("bench-ingest-stand-in-broker"), "--count", str(count), "--rate", str(rate),
             "--connections", str(connections), "--port", str(port)],
            stdout=subprocess.PIPE, text=True)
        try:
            yield process, int(process.stdout.readline().split()[1])
        finally:
            end(process)

    def against_stand_in(self, count, count_rows, rate="max", **how):
        """Every message acknowledged after its commit; `count_rows(folder)` gives rows and dead letters afterwards."""
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
            folder = pathlib.Path(name)
            with self.stand_in(count, rate) as (broker, port):
                with self.penstock(folder, port, **how) as penstock:
                    # What it used before the first message is start-up, some 10 ms; it belongs to no message but is counted.
                    line = broker.stdout.readline()
                    if not line:
                        raise Failed("the stand-in broker ended early")
                    cpu = cpu_seconds(penstock.pid)
                    rss = rss_max_mb(penstock.pid)
                result = json.loads(line)
            found = count_rows(folder)
        if found != (count, 0):
            raise Failed(f"{found[0]} rows and {found[1]} dead letters in the database instead of {count} and 0")
        if result["acks_out_of_order"]:
            raise Failed("acknowledgements came out of order")
        return {"messages": result["messages"], "messages_per_second": result["messages_per_second"],
                "penstock_cpu_s_per_million": cpu / count * 1e6, "rss_max_mb": rss, "latency_ms": result["latency_ms"],
                "stand_in_cpu_s_per_million": result["cpu_seconds"] / count * 1e6}


def median_by(runs, key):
    return sorted(runs, key=lambda run: run[key])[len(runs) // 2]


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True).stdout.strip()
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "load_before": os.getloadavg()[0], "commit": commit}


def goals_of_parts(found, parts):
    """Rows of the table: what, measured, goal, met (None: no goal); of the parts that ran, by `parts`' functions."""
    rows = []
    for name, of in parts.items():
        if name in found:
            rows += [(name, found[name]["failed"], "", False)] if "failed" in found[name] else of(found[name])
    return rows


def table(rows):
    lines = ["| what | measured | goal | |", "|---|---|---|---|"]
    verdict = {True: "PASS", False: "FAIL", None: ""}
    return "\n".join(lines + [f"| {what} | {value} | {goal} | {verdict[met]} |" for what, value, goal, met in rows])


def keep(results, what, command, where, found, text):
    """bench/results/WHAT-DATE.json and .md"""
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{what}.json").write_text(json.dumps({"machine": where, "command": command} | found, indent=2) + "\n")
    (results / f"{what}.md").write_text(text)
    print(text)
