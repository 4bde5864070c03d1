#!/usr/bin/env python3
"""The cluster benchmark: what it costs to spread a pipeline over processes, what a link carries, how long a shard stands still.

Called by `./dev bench cluster`; needs the release build. Starts a private PostgreSQL with its default durability (fsync on,
synchronous commit on), mosquittos and penstocks on loopback. Writes bench/results/cluster-DATE.json and .md. Exit status 1 where a
goal is missed.
"""
import argparse
import contextlib
import datetime
import itertools
import json
import pathlib
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2] / "tests" / "support"), str(HERE.parents[2] / "tests" / "integration")]
import database_server  # noqa: E402
import small_mqtt  # noqa: E402
from harness import (INGEST, ROOT, Failed, Http, Programs, cpu_seconds, cpu_seconds_of_server, end, free_port,  # noqa: E402
                     goals_of_parts, keep, machine, median_by, table, wait_until)

ALL = ("ingest", "publish", "write")

HEAD = """\
data: ./data
cluster: {{name: bench, state: telemetry, lease: {lease}}}
nodes:
{nodes}brokers: {{main: {{url: "mqtt://127.0.0.1:{port}", reconnect_max: 200ms}}}}
databases: {{telemetry: {{url: "{database}"}}}}
log: {{level: info}}
"""

PUBLISH = """\
publish:
  setpoints:
    database: telemetry
    table: setpoints
    key: id
    order: created
    shard_by: device
    shards: {shards}
    broker: main
    topic: "devices/{{device}}/setpoint"
    qos: 2
    detect: {{poll: 20ms}}
"""

# `stored`: when a row was inserted, some milliseconds before its commit.
TABLES = """\
CREATE TABLE raw_telemetry (time timestamptz, user_id text, device_id text, sequence_id bigint, temperature double precision,
  battery bigint, extra_data jsonb, stored timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (time, user_id, device_id, sequence_id));
CREATE TABLE setpoints (id bigserial PRIMARY KEY, device text, value double precision, created timestamptz DEFAULT now());
"""

# Processes and their roles. The first is what the others are held against.
ONE = "1 combined"
LAYOUTS = {
    ONE: [ALL],
    "1 ingest, 1 write": [("ingest",), ("write",)],
    "2 combined": [ALL] * 2,
    "2 ingest, 2 write": [("ingest",)] * 2 + [("write",)] * 2,
    "4 combined": [ALL] * 4,
}
SPLIT = [name for name in LAYOUTS if "write" in name]


def say(text):
    print(text, file=sys.stderr, flush=True)


class Nodes:
    """The processes of a cluster, by name."""

    def __init__(self, bench, folder, roles, pipelines, **settings):
        self.bench = bench
        self.folder = folder
        self.config = folder / "cluster.yaml"
        self.running = {}
        listed = "".join(f"  {name}: {{address: \"127.0.0.1:{free_port()}\", http: \"127.0.0.1:0\", roles: [{', '.join(each)}]}}\n"
                         for name, each in roles.items())
        self.config.write_text(HEAD.format(nodes=listed, **settings) + pipelines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            end(process)

    def own(self, name):
        return self.folder / "data" / "nodes" / name

    def start(self, *names):
        for name in names:
            (self.own(name) / "run.json").unlink(missing_ok=True)
            with open(self.folder / f"{name}.log", "a") as log:
                self.running[name] = subprocess.Popen(
                    [self.bench.program("penstock"), "run", "--config", str(self.config), "--node", name], stdout=log, stderr=log)
        for name in names:
            wait_until(lambda: self.is_up(name), f"node {name}")

    def is_up(self, name):
        if self.running[name].poll() is not None:
            raise Failed(f"node {name} ended: " + (self.folder / f"{name}.log").read_text()[-500:])
        return (self.own(name) / "run.json").exists()

    def kill(self, name):
        end(self.running.pop(name), signal.SIGKILL)

    def command(self, *arguments):
        done = subprocess.run([self.bench.program("penstock"), "cluster", *arguments, "--config", str(self.config)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failed(f"penstock cluster {' '.join(arguments)}: {done.stdout}")
        return done.stdout

    def owners(self):
        """Shard and its living owner; of those that have none: None."""
        shards = json.loads(self.command("status", "--json"))["shards"]
        return {each["shard"]: each["owner"] if each["owned"] else None for each in shards}

    def wait_owned(self, count):
        """Until all shards are owned, and stay where they are for two renewals."""
        def settled():
            owners = self.owners()
            return len(owners) == count and None not in owners.values() and owners
        seen, since = None, 0.0
        while seen is None or time.monotonic() - since < 2.5:
            now = wait_until(settled, f"{count} shards are owned", pause=0.2)
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.2)
        return seen

    def pin(self, shard, name):
        self.command("move", shard, name)

    def wait_pinned(self, wanted):
        wait_until(lambda: self.owners().items() >= wanted.items(), f"shards are where they are pinned: {wanted}", pause=0.2)

    def cpu_seconds(self):
        return sum(cpu_seconds(process.pid) for process in self.running.values())


class Progress:
    """How far each shard is at each node, by what the nodes say; once for each look."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.http = {}
        self.seen = {}  # (node, shard): the most that was seen

    @staticmethod
    def counts(status):
        pipeline = status["pipelines"]["telemetry"]
        for shard in pipeline["shards"]:
            yield f"telemetry/{shard['shard']}", shard["account"]["committed"]
        for writer in pipeline["writers"]:
            yield f"telemetry/batch-writer/{writer['lane']}", writer["commits"]
        for shard in status["publish"]["setpoints"]["shards"]:
            yield f"setpoints/{shard['shard']}", shard["account"]["sent"]

    def look(self):
        """The shards that have got on since the last look."""
        moved = set()
        for name in self.nodes.running:
            if name not in self.http:
                self.http[name] = Http(self.nodes.own(name))
            for shard, count in self.counts(self.http[name].status()):
                if count > self.seen.get((name, shard), 0):
                    self.seen[name, shard] = count
                    moved.add(shard)
        return moved

    def forget(self, name):
        """Its process is gone."""
        if name in self.http:
            self.http.pop(name).connection.close()
        for key in [key for key in self.seen if key[0] == name]:
            del self.seen[key]


class Load:
    """A steady flow in both directions: messages to the broker, and rows into the table."""

    def __init__(self, port, server, rate, devices=1_000):
        self.port = port
        self.server = server
        self.rate = rate
        self.devices = devices
        self.published = self.inserted = 0
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=each) for each in (self.publish, self.insert)]
        self.failure = None

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        if self.failure:
            raise Failed(f"the load: {self.failure}")

    def paced(self, send):
        """Every 10 ms what is due."""
        began, sent = time.monotonic(), 0
        try:
            while not self.ended.wait(0.01):
                due = int((time.monotonic() - began) * self.rate)
                if due > sent:
                    send(sent, due)
                sent = due
        except (OSError, AssertionError, RuntimeError) as failure:
            self.failure = failure

    def publish(self):
        client = small_mqtt.SmallMqtt(self.port, "load")

        def send(first, last):
            now = datetime.datetime.now(datetime.timezone.utc).isoformat()
            client.publish_many([(f"users/u/devices/d{number % self.devices}/telemetry",
                                  json.dumps({"time": now, "sequence_id": number, "temperature": 36.6, "battery": 80}))
                                 for number in range(first, last)])
            self.published = last
        self.paced(send)

    def insert(self):
        with self.server.session() as session:
            def send(first, last):
                session.run(f"INSERT INTO setpoints (device, value) SELECT 'd' || i % {self.devices}, i "
                            f"FROM generate_series({first}, {last - 1}) i;\n")
                self.inserted = last
            self.paced(send)


class Cluster(Programs):
    def placement(self):
        done = subprocess.run([self.program("bench_cluster"), "--benchmark_format=json"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=True)
        runs = {run["name"]: run for run in json.loads(done.stdout)["benchmarks"]}
        plan = runs["plan_of_a_node/shards:1000/nodes:100"]
        changes = {name: runs[f"change/shards:1000/before:100/after:{after}"] for name, after in (("leaves", 99), ("joins", 101))}
        return {"plan_ms": plan["real_time"], "plan_cpu_ms": plan["cpu_time"]} | {
            f"a_node_{name}": {key: round(run[key]) for key in ("moved", "needlessly")} for name, run in changes.items()}

    # --- links

    def links(self, seconds, frame=500, demand=10_000):
        """Frames of a writer's peer that sends one and the same frame as fast as demand allows, plain and with TLS."""
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
            folder = pathlib.Path(name)
            return {kind: self.link(folder, seconds, frame, demand, tls) | {"frame": frame, "demand": demand}
                    for kind, tls in (("plain", []), ("tls", make_certificates(folder)))}

    def link(self, folder, seconds, frame, demand, tls):
        ports = {"a": free_port(), "b": free_port()}

        def start(name, peer, *options):
            with open(folder / name, "wb") as output:
                return subprocess.Popen([self.program("link_node"), name, "--listen", f"127.0.0.1:{ports[name]}",
                                         "--peer", f"{peer}=127.0.0.1:{ports[peer]}", *map(str, [*options, *tls])],
                                        stdout=output, stderr=subprocess.DEVNULL)
        processes = {"b": start("b", "a", "--write", "--demand", demand), "a": start("a", "b", "--send", "--frame", frame)}
        time.sleep(seconds)
        last = {}
        for name, process in processes.items():
            end(process)
            last[name] = json.loads((folder / name).read_text().splitlines()[-1])
        if not all("records" in each for each in last.values()):
            raise Failed(f"no records went over the link: {last}")
        return {"records_per_second": last["b"]["records"] / last["b"]["seconds"],
                "writer_cpu_s_per_million": last["b"]["cpu_seconds"] / last["b"]["records"] * 1e6,
                "ingestor_cpu_s_per_million": last["a"]["cpu_seconds"] / last["a"]["records"] * 1e6}

    # --- the broker

    def broker(self, devices=8_000, messages_each=10):
        """What a mosquitto spends where each device has a connection of its own and sends one message at a time: QoS 1, to one subscriber."""
        count = devices * messages_each
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # which mosquitto inherits
        with self.mosquitto() as broker:
            idle_kb, idle_cpu = rss_kb(broker.pid), cpu_seconds(broker.pid)
            connections = [small_mqtt.SmallMqtt(broker.port, f"device-{number}") for number in range(devices)]
            grown_kb, dialled_cpu = rss_kb(broker.pid) - idle_kb, cpu_seconds(broker.pid) - idle_cpu
            subscriber = subprocess.Popen([self.program("bench-ingest-raw-subscriber"), "--port", str(broker.port), "--count", str(count),
                                           "--connections", "1"], stdout=subprocess.PIPE, text=True)
            try:
                subscriber.stdout.readline()
                before = cpu_seconds(broker.pid)
                for number in range(count):
                    connections[number % devices].send(f"users/u/devices/d{number % devices}/telemetry", "x" * 150)
                received = json.loads(subscriber.communicate(timeout=60)[0])["messages"]
                used = cpu_seconds(broker.pid) - before
            finally:
                end(subscriber)
                for each in connections:
                    each.close()
        if received != count:
            raise Failed(f"the subscriber received {received:,} of {count:,}")
        return {"devices": devices, "cpu_s_per_million": used / count * 1e6, "kb_per_connection": grown_kb / devices,
                "connect_cpu_ms": dialled_cpu / devices * 1e3}

    # --- roles

    def roles(self, server, rounds, shards=4):
        """Each layout between two runs of one combined process, since the machine is now faster, now slower."""
        runs, ratios = {}, {}
        for number in range(rounds):
            before = self.layout(server, LAYOUTS[ONE], shards)
            runs.setdefault(ONE, []).append(before)
            for name in (name for name in LAYOUTS if name != ONE):
                run, after = self.layout(server, LAYOUTS[name], shards), self.layout(server, LAYOUTS[ONE], shards)
                runs.setdefault(name, []).append(run)
                runs[ONE].append(after)
                one = (before["cpu_s_per_million"] + after["cpu_s_per_million"]) / 2
                ratios.setdefault(name, []).append(round(run["cpu_s_per_million"] / one, 3))
                before = after
            say(f"  round {number + 1}: CPU to that of {ONE}: " + ", ".join(f"{name}: {each[-1]:.2f}" for name, each in ratios.items()))
        return {name: median_by(each, "cpu_s_per_million") | {"rounds": [round(run["cpu_s_per_million"], 3) for run in each],
                                                              "ratios": ratios.get(name, [])}
                for name, each in runs.items()}

    def layout(self, server, layout, shards):
        """All messages from the stand-in broker to the database; the shards and lanes are dealt evenly."""
        make_tables(server)
        port = free_port()
        nodes = {f"n{number}": roles for number, roles in enumerate(layout)}
        pipeline = INGEST.format(shards=shards, writers=shards)
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, \
                Nodes(self, pathlib.Path(folder), nodes, pipeline, port=port, database=server.url, lease="3s") as cluster:
            cluster.start(*nodes)
            cluster.wait_owned(2 * shards)
            wanted = {}
            for role, of in (("ingest", "telemetry"), ("write", "telemetry/batch-writer")):
                able = [name for name, roles in nodes.items() if role in roles]
                wanted |= {f"{of}/{shard}": able[shard % len(able)] for shard in range(shards)}
            for shard, name in wanted.items():
                cluster.pin(shard, name)
            cluster.wait_pinned(wanted)
            # Only now: it knows no session that moves.
            with self.stand_in(self.count, connections=shards, port=port) as (broker, _):
                def usage():
                    return cluster.cpu_seconds(), cpu_seconds_of_server(server.pid)
                before = usage()
                line = broker.stdout.readline()
                used = [(now - then) / self.count * 1e6 for now, then in zip(usage(), before)]
        if not line:
            raise Failed("the stand-in broker ended early")
        result = json.loads(line)
        stored = int(server.sql("SELECT count(*) FROM raw_telemetry"))
        if stored != self.count or result["acks_out_of_order"]:
            raise Failed(f"{stored:,} rows instead of {self.count:,}, {result['acks_out_of_order']} acknowledgements out of order")
        return {"cpu_s_per_million": used[0], "server_cpu_s_per_million": used[1],
                "messages_per_second": result["messages_per_second"],
                "bytes_per_row": int(server.sql("SELECT pg_total_relation_size('raw_telemetry')")) / self.count}

    # --- shards that move

    @contextlib.contextmanager
    def loaded(self, server, names, shards, lanes, rate, lease):
        """Nodes with all roles between a real broker and a database, and a load; behind the block all of it must have arrived once."""
        make_tables(server)
        pipelines = INGEST.format(shards=shards, writers=lanes) + PUBLISH.format(shards=shards)
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, self.mosquitto() as broker, \
                Nodes(self, pathlib.Path(folder), dict.fromkeys(names, ALL), pipelines, port=broker.port, database=server.url,
                      lease=f"{lease}ms") as cluster, Arrivals(broker.port) as arrivals:
            cluster.start(*names)
            cluster.wait_owned(2 * shards + lanes)
            with Load(broker.port, server, rate) as load:
                yield cluster, arrivals
            wait_until(lambda: int(server.sql("SELECT count(*) FROM raw_telemetry")) >= load.published, "the last message is stored")
            wait_until(lambda: len(arrivals.times) >= load.inserted, "the last row is published")
            stored = int(server.sql("SELECT count(*) FROM raw_telemetry"))
            if (stored, len(arrivals.times)) != (load.published, load.inserted):
                raise Failed(f"{stored:,} rows of {load.published:,} messages, {len(arrivals.times):,} messages of "
                             f"{load.inserted:,} rows")

    def takeover(self, server, rounds, lease, rate=1_000, shards=6, lanes=3):
        """From SIGKILL until each of the node's shards has got something done at its new owner."""
        found = []
        with self.loaded(server, "abc", shards, lanes, rate, lease) as (cluster, _):
            progress = Progress(cluster)
            for number in range(rounds):
                owners = cluster.wait_owned(2 * shards + lanes)
                victim = random.choice(sorted(set(owners.values())))
                waiting = {shard for shard, owner in owners.items() if owner == victim}
                progress.look()
                cluster.kill(victim)
                killed = time.monotonic()
                progress.forget(victim)
                progress.look()  # what the others had done before
                while waiting:
                    if time.monotonic() - killed > 60:
                        raise Failed(f"60 s after the death of {victim} nothing comes from {', '.join(sorted(waiting))}")
                    time.sleep(0.005)
                    now = progress.look() & waiting
                    waiting -= now
                    found += [{"round": number, "shard": shard, "ms": (time.monotonic() - killed) * 1e3} for shard in now]
                say(f"  round {number + 1}: {victim}'s last shard went on after "
                    f"{max(each['ms'] for each in found if each['round'] == number):,.0f} ms")
                cluster.start(victim)
        times = [each["ms"] for each in found]
        return {"lease_ms": lease, "rounds": rounds, "rate": rate, "shards": found, "median_ms": statistics.median(times),
                "max_ms": max(times)}

    def move(self, server, rounds, lease, rate=500):
        """The only shard of each direction, and the only lane, between two nodes: the longest gap that the other end sees."""
        found = {}
        with self.loaded(server, "ab", 1, 1, rate, lease) as (cluster, arrivals):
            def stored(since):
                """When rows came, and the ages of their messages."""
                lines = server.sql("SELECT extract(epoch FROM stored), extract(epoch FROM stored - time) FROM raw_telemetry "
                                   f"WHERE stored >= to_timestamp({since}) ORDER BY stored").splitlines()
                return [tuple(map(float, line.split("|"))) for line in lines]

            def seen(flow, since):
                came = stored(since) if flow != "setpoints/0" else [each for each in zip(arrivals.times, arrivals.ages)
                                                                    if each[0] >= since]
                gaps = (later - earlier for earlier, later in itertools.pairwise([since, *(at for at, _ in came)]))
                return {"gap_ms": max(gaps, default=0.0) * 1e3, "age_ms": max((age for _, age in came), default=0.0) * 1e3}
            time.sleep(5)
            undisturbed = {shard: seen(shard, time.time() - 3) for shard in ("telemetry/0", "setpoints/0")}
            for _ in range(rounds):
                for shard in ("telemetry/0", "telemetry/batch-writer/0", "setpoints/0"):
                    target = "b" if cluster.owners()[shard] == "a" else "a"
                    since = time.time()
                    cluster.pin(shard, target)
                    cluster.wait_pinned({shard: target})
                    time.sleep(2)
                    found.setdefault(shard, []).append(seen(shard, since))
                say("  " + ", ".join(f"{shard}: {moves[-1]['gap_ms']:.0f} ms" for shard, moves in found.items()))
        return {"lease_ms": lease, "rate": rate, "undisturbed": undisturbed, "moves": found}


class Arrivals:
    """A subscriber of what is published: when each message came, and how old its row was then, in seconds."""

    def __init__(self, port):
        self.client = small_mqtt.SmallMqtt(port, "arrivals")
        self.client.subscribe("devices/#")
        self.times = []
        self.ages = []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.client.close()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                _, payload = self.client.message(patience=600)
                now = time.time()
                self.ages.append(now - datetime.datetime.fromisoformat(json.loads(payload)["created"]).timestamp())
                self.times.append(now)


def rss_kb(pid):
    return next(int(line.split()[1]) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                if line.startswith("VmRSS:"))


def make_tables(server):
    server.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public; " + TABLES)
    server.sql("CHECKPOINT")


def make_certificates(folder):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=bench", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *curve, "-subj", "/CN=node", "-keyout", "node.key", "-out", "node.request")
    openssl("x509", "-req", "-in", "node.request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", "node.pem")
    return ["--ca", folder / "ca.pem", "--certificate", folder / "node.pem", "--key", folder / "node.key"]


def measure(bench, options):
    """What fails is told in its place, and the others are measured all the same."""
    found = {}

    def part(name, what, how, *arguments):
        if name not in options.parts:
            return
        say(what + " ...")
        try:
            found[name] = how(*arguments)
        except (Failed, AssertionError, RuntimeError, OSError, subprocess.SubprocessError) as failure:
            say(f"  failed: {failure}")
            found[name] = {"failed": str(failure)}

    part("placement", "placement of 1,000 shards over 100 nodes", bench.placement)
    part("links", f"frames over a link, {options.link_seconds} s each", bench.links, options.link_seconds)
    part("broker", "a mosquitto and 8,000 devices", bench.broker)
    if {"roles", "takeover", "move"} & set(options.parts):
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, \
                database_server.Postgresql(pathlib.Path(folder) / "server") as server:
            part("roles", f"{bench.count:,} messages through {len(LAYOUTS)} layouts, {options.rounds} rounds of each in turn",
                 bench.roles, server, options.rounds)
            part("takeover", f"a node is killed, {options.move_rounds} rounds", bench.takeover, server, options.move_rounds, options.lease)
            part("move", f"shards are moved, {options.move_rounds} rounds", bench.move, server, options.move_rounds, options.lease)
    return found


def goals_of_placement(run):
    rows = [("one node's plan, 1,000 shards and 100 nodes", f"{run['plan_ms']:.1f} ms ({run['plan_cpu_ms']:.1f} ms of CPU)", "under 10 ms",
             run["plan_ms"] < 10)]
    for name in ("leaves", "joins"):
        change = run[f"a_node_{name}"]
        rows.append((f"  a node {name}: shards that move, of them needlessly", f"{change['moved']}, {change['needlessly']}", "0 needlessly",
                     change["needlessly"] == 0))
    return rows


def goals_of_links(found):
    rows = []
    for kind, goal in (("plain", 2_000_000), ("tls", 500_000)):
        run = found[kind]
        rows += [(f"frames between two processes, {kind}", f"{run['records_per_second']:,.0f} records/s", f"{goal:,} or more",
                  run["records_per_second"] >= goal),
                 ("  CPU at the writer's end, at the ingestor's",
                  f"{run['writer_cpu_s_per_million']:.2f}, {run['ingestor_cpu_s_per_million']:.2f} s per million", "", None)]
    return rows


def goals_of_broker(run):
    return [(f"mosquitto, {run['devices']:,} devices that send one message at a time, QoS 1, to one subscriber: CPU",
             f"{run['cpu_s_per_million']:.1f} s per million, so {1e6 / run['cpu_s_per_million']:,.0f} msg/s at most", "", None),
            ("  a connection: memory, CPU to make it", f"{run['kb_per_connection']:.1f} KB, {run['connect_cpu_ms']:.3f} ms", "", None)]


def goals_of_roles(found):
    rows = []
    for name, run in found.items():
        ratio = statistics.median(run["ratios"] or [1])
        is_split = name in SPLIT
        rows.append((f"{name}: CPU in all of them", f"{run['cpu_s_per_million']:.2f} s per million, ratio {ratio:.2f} "
                     f"({run['messages_per_second']:,.0f} msg/s)", "ratio 1.25 or less" if is_split else "",
                     ratio <= 1.25 if is_split else None))
    server = found[ONE]
    rows.append((f"the database, with {ONE}: CPU, table and index",
                 f"{server['server_cpu_s_per_million']:.1f} s per million, {server['bytes_per_row']:.0f} bytes a row", "", None))
    return rows


def goals_of_takeover(run):
    most = run["lease_ms"] + 1_000
    return [(f"a node is killed, lease {run['lease_ms']:,} ms: until the last of its shards goes on, the longest of {run['rounds']} rounds",
             f"{run['max_ms']:,.0f} ms", f"{most:,} or less", run["max_ms"] <= most),
            ("  the median of all shards and lanes", f"{run['median_ms']:,.0f} ms", "", None)]


def goals_of_move(run):
    rows = []
    for shard, moves in run["moves"].items():
        gaps = [each["gap_ms"] for each in moves]
        rows += [(f"{shard} is moved: the longest gap in its flow, of {len(moves)} moves",
                  f"{max(gaps):.0f} ms (median {statistics.median(gaps):.0f})", "under 300 ms", max(gaps) < 300),
                 ("  the oldest record that came within 2 s of it", f"{max(each['age_ms'] for each in moves):,.0f} ms", "", None)]
    for shard, calm in run["undisturbed"].items():
        rows.append((f"{shard}, 3 s without a move: the longest gap, the oldest record",
                     f"{calm['gap_ms']:.0f} ms, {calm['age_ms']:,.0f} ms", "", None))
    return rows


# What there is to measure.
GOALS = {"placement": goals_of_placement, "links": goals_of_links, "broker": goals_of_broker, "roles": goals_of_roles,
         "takeover": goals_of_takeover, "move": goals_of_move}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--count", type=int, default=1_500_000, help="messages a round of `roles` (default 1,500,000)")
    parser.add_argument("--rounds", type=int, default=3, help="of `roles`")
    parser.add_argument("--move-rounds", type=int, default=5, help="of `takeover` and `move`")
    parser.add_argument("--lease", type=int, default=3_000, help="of `takeover` and `move`, milliseconds (default 3000)")
    parser.add_argument("--link-seconds", type=float, default=10)
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(GOALS), help=f"some of {','.join(GOALS)} (default all)")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "bench" / "results")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(GOALS):
        parser.error(f"--parts: there is no {', '.join(sorted(unknown))}")
    where = machine()
    found = measure(Cluster(options.build.resolve(), options.count), options)
    rows = goals_of_parts(found, GOALS)
    day = datetime.date.today().isoformat()
    command = (f"./dev bench cluster --count {options.count} --rounds {options.rounds} --move-rounds {options.move_rounds} "
               f"--lease {options.lease} --link-seconds {options.link_seconds:g} --parts {','.join(options.parts)}")
    text = (f"# Cluster, {day}\n\n{where['cores']} cores, {where['cpu']}, Linux {where['kernel']}, commit {where['commit']}; load average "
            f"before: {where['load_before']:.1f}\n\n`{command}`\n\n{table(rows)}\n\n"
            "Roles: from the stand-in broker to PostgreSQL, 4 shards and 4 lanes, dealt evenly over the processes; the CPU of all\n"
            "processes of penstock together, and its ratio to that of one process just before and after; medians. Links: frames of\n"
            "500 records, 10,000 records of demand, an ingestor that sends one and the same frame, a writer that opens each and throws it\n"
            "away. Killed and moved: under a steady load in both directions, which has arrived whole and once at the end; gaps are those\n"
            "between rows at the database, and between messages at a subscriber. All processes, broker and database share the cores.\n")
    keep(options.results, f"cluster-{day}", command, where, found, text)
    return 0 if rows and all(met is not False for *_, met in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
