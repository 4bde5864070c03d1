#!/usr/bin/env python3
"""The publish benchmark: how fast, how cheap and how soon rows of a table reach a real broker, and what is confirmed is recorded.

Called by `./dev bench publish`; needs the release build. Starts a private PostgreSQL with its default durability (fsync on,
synchronous commit on), mosquittos and penstocks on loopback. Writes bench/results/publish-DATE.json and .md. Exit status 1 where a
goal is missed.
"""
import argparse
import contextlib
import datetime
import json
import pathlib
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2] / "tests" / "support")]
import database_server  # noqa: E402
from harness import (ROOT, Failed, Http, Programs, cpu_ms, cpu_seconds, cpu_seconds_of_server, end,  # noqa: E402
                     goals_of_parts, keep, machine, median_by, rss_max_mb, table, wait_until)

MONITORS = 10_000

HEAD = """\
data: .
node: {{name: bench, http: "127.0.0.1:0"}}
brokers: {{main: {{url: "mqtt://127.0.0.1:{port}"}}}}
databases: {{plant: {{url: "{database}"}}}}
log: {{level: warning}}
publish:
"""

PIPELINE = """\
  {name}:
    database: plant
    table: {name}
    key: RecordId
    order: CreatedAt
    shard_by: MonitorId
    shards: {shards}
    broker: main
    topic: "data/{name}/{{MonitorId}}"
    qos: {qos}
    fields: {{RecordId: id, MonitorId: monitor, Reading: value, Unit: unit, Quality: quality, CreatedAt: created}}
    detect: {{poll: {poll}, notify: auto}}
"""

CREATE_SQLITE = ("CREATE TABLE TableA (RecordId INTEGER PRIMARY KEY, MonitorId TEXT, Reading REAL, Unit TEXT, Quality INTEGER,"
                 " CreatedAt TEXT)")
OWN_TABLES = ("mqtt_sent_records", "mqtt_sent_records_archive", "penstock_sent_ranges", "penstock_retries", "penstock_pauses", "penstock_fence")


def create_postgresql(name="TableA"):
    return (f'CREATE TABLE "{name}" ("RecordId" BIGINT PRIMARY KEY, "MonitorId" TEXT, "Reading" DOUBLE PRECISION, "Unit" TEXT,'
            ' "Quality" INTEGER, "CreatedAt" TIMESTAMPTZ)')


def insert_postgresql(first, last, name="TableA", monitors=MONITORS):
    """Many rows in one statement, in a transaction of its own."""
    return (f"INSERT INTO \"{name}\" SELECT i, 'monitor-' || lpad((i % {monitors})::text, 5, '0'), i % 1000 + 0.5, 'mm/s', 192,"
            f" now() FROM generate_series({first}, {last}) i;\n")


class FilledPostgresql:
    """A server whose table has `count` rows; each round finds it as the first did."""

    def __init__(self, server, count):
        self.server = server
        self.url = server.url
        server.sql(f"DROP TABLE IF EXISTS \"TableA\"; {create_postgresql()}; {insert_postgresql(1, count)} VACUUM ANALYZE")

    @contextlib.contextmanager
    def round(self):
        for name in OWN_TABLES:
            self.server.sql(f"DROP TABLE IF EXISTS {name}")
        self.server.sql("CHECKPOINT")
        yield self.url

    def cpu_seconds(self):
        return cpu_seconds_of_server(self.server.pid)

    def sent(self):
        return int(self.server.sql("SELECT count(*) FROM mqtt_sent_records WHERE state = 'sent' AND payload IS NULL"))


class FilledSqlite:
    def __init__(self, folder, count):
        self.filled = folder / "filled.db"
        self.path = folder / "plant.db"
        with contextlib.closing(sqlite3.connect(self.filled)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(CREATE_SQLITE)
            database.execute(f"""
                INSERT INTO TableA WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
                SELECT i, printf('monitor-%05d', i % {MONITORS}), i % 1000 + 0.5, 'mm/s', 192,
                       strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') FROM n""")
            database.commit()

    @contextlib.contextmanager
    def round(self):
        shutil.copy(self.filled, self.path)
        try:
            yield f"sqlite:{self.path}"
        finally:
            for path in self.path.parent.glob("plant.db*"):
                path.unlink()

    def cpu_seconds(self):
        return 0.0  # it is in penstock's

    def sent(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as database:
            return database.execute(
                "SELECT count(*) FROM mqtt_sent_records WHERE state = 'sent' AND payload IS NULL").fetchone()[0]


def accounts(status):
    return [pipeline["account"] for pipeline in status["publish"].values()]


def total(status, what="sent"):
    return sum(account[what] for account in accounts(status))


class Publish(Programs):
    def __init__(self, build, count, in_flight):
        super().__init__(build, count)
        self.window = f"    in_flight_max: {in_flight}\n" if in_flight else ""

    def configuration(self, port, database, qos=2, names=("TableA",), shards=5, poll="100ms"):
        return HEAD.format(port=port, database=database) + "".join(
            PIPELINE.format(name=name, shards=shards, qos=qos, poll=poll) + self.window for name in names)

    @contextlib.contextmanager
    def broker(self):
        """A mosquitto that routes: one subscriber takes all. What it received is in `result` of what is yielded, behind the block."""
        class Relay:
            result = None
        with self.mosquitto() as relay_broker:
            subscriber = subprocess.Popen(
                [self.program("bench-ingest-raw-subscriber"), "--port", str(relay_broker.port), "--filter", "data/#", "--qos", "0",
                 "--count", "0", "--idle-ms", "1000"], stdout=subprocess.PIPE, text=True)
            try:
                subscriber.stdout.readline()
                relay = Relay()
                relay.port, relay.pid = relay_broker
                yield relay
                subscriber.terminate()
                counted = subscriber.communicate(timeout=60)[0]
                if subscriber.returncode != 0:
                    raise Failed("the subscriber failed")
                relay.result = json.loads(counted)
            finally:
                end(subscriber)

    def bare(self, qos, window=1_000):
        with self.broker() as broker:
            done = subprocess.run(
                [self.program("bench-publish-raw-publisher"), "--port", str(broker.port), "--count", str(self.count), "--qos", str(qos),
                 "--connections", "5", "--window", str(window), "--monitors", str(MONITORS)], stdout=subprocess.PIPE, text=True)
            if done.returncode != 0:
                raise Failed("the bare publisher failed")
            broker_cpu = cpu_seconds(broker.pid)
        found = json.loads(done.stdout)
        self.expect(self.count, broker)
        return {"rows_per_second": found["messages_per_second"], "publisher_cpu_s_per_million": found["cpu_seconds"] / self.count * 1e6,
                "broker_cpu_s_per_million": broker_cpu / self.count * 1e6,
                "payload_bytes": broker.result["payload_bytes"] / self.count}

    @staticmethod
    def expect(count, broker, tracked=None):
        """Exactly as many as there were rows: none lost, none repeated."""
        if broker.result["messages"] != count:
            raise Failed(f"the subscriber received {broker.result['messages']:,} messages instead of {count:,}")
        if tracked is not None and tracked != count:
            raise Failed(f"{tracked:,} rows are tracked as sent instead of {count:,}")

    def backlog(self, plant, qos):
        """All rows are there before penstock starts. From the first to the last that is acknowledged and recorded."""
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, self.broker() as broker, plant.round() as url:
            folder = pathlib.Path(name)

            def usage():
                return cpu_seconds(penstock.pid), cpu_seconds(broker.pid), plant.cpu_seconds()
            with self.configured_penstock(folder, self.configuration(broker.port, url, qos)) as penstock, Http(folder) as http:
                first = wait_until(lambda: total(http.status()), "the first row", pause=0.005)
                began, before = time.monotonic(), usage()
                wait_until(lambda: total(http.status()) >= self.count, f"{self.count:,} rows", limit=60 + self.count / 500)
                seconds = time.monotonic() - began
                used = [now - then for now, then in zip(usage(), before)]
                rss = rss_max_mb(penstock.pid)
                status = http.status()["publish"]["TableA"]
                account = status["account"]
            tracked = plant.sent()
        self.expect(self.count, broker, tracked)
        if not account["balanced"] or account["sent"] != self.count:
            raise Failed(f"the account is wrong: {account}")
        rows = self.count - first
        per_million = [each / rows * 1e6 for each in used]
        return {"rows_per_second": rows / seconds, "seconds": seconds, "penstock_cpu_s_per_million": per_million[0],
                "broker_cpu_s_per_million": per_million[1], "server_cpu_s_per_million": per_million[2], "rss_max_mb": rss,
                "rows_per_commit": self.count / status["commits"], "payload_bytes": broker.result["payload_bytes"] / self.count}

    def xl(self, server, seconds, tables=10, monitors=50_000, shards=100, rate=16_700):
        """Rows come in, ten times a second into each table, and leave as they come."""
        names = [f"Table{number:02}" for number in range(1, tables + 1)]
        for name in (*names, *OWN_TABLES):
            server.sql(f'DROP TABLE IF EXISTS "{name}"')
        for name in names:
            server.sql(create_postgresql(name))
        server.sql("CHECKPOINT")
        count_each = rate * seconds // tables
        ticks = seconds * 10
        with contextlib.ExitStack() as stack:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
            broker = stack.enter_context(self.broker())
            sessions = [stack.enter_context(server.session()) for _ in range(2)]
            text = self.configuration(broker.port, server.url, names=names, shards=shards // tables)
            with self.configured_penstock(folder, text) as penstock, Http(folder) as http:
                http.wait_ready()
                before = cpu_seconds(penstock.pid), cpu_seconds(broker.pid), cpu_seconds_of_server(server.pid)
                began = time.monotonic()
                for tick in range(ticks):
                    time.sleep(max(0.0, began + tick / 10 - time.monotonic()))
                    first, last = count_each * tick // ticks + 1, count_each * (tick + 1) // ticks
                    for number, name in enumerate(names):
                        sessions[number % 2].tell(insert_postgresql(first, last, name, monitors))
                for session in sessions:
                    session.run()
                inserted_in = time.monotonic() - began
                behind = count_each * tables - total(http.status())
                wait_until(lambda: total(http.status()) >= count_each * tables, "the last row", limit=120 + seconds * 5, pause=0.2)
                after = cpu_seconds(penstock.pid), cpu_seconds(broker.pid), cpu_seconds_of_server(server.pid)
                rss = rss_max_mb(penstock.pid)
                pipelines = http.status()["publish"].values()
            tracked = int(server.sql("SELECT count(*) FROM mqtt_sent_records WHERE state = 'sent'"))
        self.expect(count_each * tables, broker, tracked)
        used = [(now - then) / (count_each * tables) * 1e6 for now, then in zip(after, before)]
        return {"rows": count_each * tables, "seconds": seconds, "inserted_per_second": count_each * tables / max(seconds, inserted_in),
                "rate": rate, "behind_at_the_end": behind,
                "rows_per_commit": count_each * tables / sum(pipeline["commits"] for pipeline in pipelines),
                "lag_ms": {key: max(pipeline["lag_ms"][key] for pipeline in pipelines) for key in ("p50", "p90", "p99", "max")},
                "penstock_cpu_s_per_million": used[0], "broker_cpu_s_per_million": used[1],
                "server_with_inserts_cpu_s_per_million": used[2], "rss_max_mb": rss}

    def notified(self, server, seconds, rate=100):
        """One row after the other, each committed alone."""
        for name in ("TableA", *OWN_TABLES):
            server.sql(f'DROP TABLE IF EXISTS "{name}"')
        server.sql(create_postgresql())
        count = rate * seconds
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, self.broker() as broker, server.session() as session:
            folder = pathlib.Path(name)
            with self.configured_penstock(folder, self.configuration(broker.port, server.url)) as penstock, Http(folder) as http:
                http.wait_ready()
                by_trigger = self.add_trigger(folder, server)
                before = cpu_seconds(penstock.pid)
                began = time.monotonic()
                for number in range(1, count + 1):
                    time.sleep(max(0.0, began + number / rate - time.monotonic()))
                    session.tell(insert_postgresql(number, number))
                session.run()
                wait_until(lambda: total(http.status()) >= count, "the last row")
                cpu = cpu_seconds(penstock.pid) - before
                lag = http.status()["publish"]["TableA"]["lag_ms"]
        self.expect(count, broker)
        return {"rows": count, "rate": rate, "trigger": by_trigger, "lag_ms": lag, "penstock_cpu_percent": cpu / seconds * 100}

    def add_trigger(self, folder, server):
        """False where this build knows of none: rows are found by polling then."""
        made = subprocess.run([self.program("penstock"), "tables", "notify", "TableA", "--config", str(folder / "penstock.yaml")],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if made.returncode != 0:
            return False
        server.sql(made.stdout)
        return True

    def look(self, server, sizes, rounds, looks=20, new=100):
        """From the commit of new rows until all are claimed, and the CPU time of penstock and of its connections' processes
        meanwhile, beside many rows that were sent before. Penstock looks each millisecond, so that it waits for little. What comes
        behind the claim, which is the handshakes' and no part of a look, is measured apart."""
        shards = 5
        found = {size: {"ms": [], "penstock_cpu_ms": [], "server_cpu_ms": [], "acknowledged_ms": []} for size in sizes}
        with self.broker() as broker:
            for size in sizes:
                self.fill_sent(server, broker.port, size, shards)
            for _ in range(rounds):
                for size in sizes:
                    self.look_round(server, broker.port, size, looks, new, found[size])
        return {str(size): {key: statistics.median(values) for key, values in each.items()} |
                {"ms_quartiles": [round(value, 2) for value in statistics.quantiles(each["ms"], n=4)]} for size, each in found.items()}

    def fill_sent(self, server, port, size, shards):
        database = f"sent_{size}"
        url = server.url.removesuffix("/penstock") + "/" + database
        server.sql(f"CREATE DATABASE {database}", "postgres")
        server.sql(create_postgresql(), database)
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
            folder = pathlib.Path(name)
            with self.configured_penstock(folder, self.configuration(port, url, shards=shards)), Http(folder) as http:
                http.wait_ready()  # it has made its tables
        # As a pipeline would have left it.
        with server.session(database) as session:
            session.run(f"""
            {insert_postgresql(1, size)}
            INSERT INTO mqtt_sent_records (pipeline, source_table, record_id, record_version, shard, epoch, claim_seq, packet_id,
                                           state, topic, payload, correlation_id, claimed_at, sent_at, attempts)
              SELECT 'TableA', 'TableA', i, '', i % {shards}, 1, i / {shards} + 1, i / {shards} % 1000 + 1, 'sent',
                     'data/TableA/monitor-' || lpad((i % {MONITORS})::text, 5, '0'), NULL, md5(i::text)::uuid,
                     1790000000000000 + i, 1790000000000000 + i, 1 FROM generate_series(1, {size}) i;
            UPDATE penstock_fence SET claimed_seq = {size // shards + 1}, released_seq = {size // shards + 1},
                                      settled_seq = {size // shards + 1},
                                      read_floor = '["n{size}"]', read_high = '["n{size}"]';
            VACUUM ANALYZE;
            CHECKPOINT;
        """)

    def look_round(self, server, port, size, looks, new, found):
        database = f"sent_{size}"
        url = server.url.removesuffix("/penstock") + "/" + database
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, server.session(database) as session:
            folder = pathlib.Path(name)
            with self.configured_penstock(folder, self.configuration(port, url, poll="1ms")) as penstock, Http(folder) as http:
                http.wait_ready()
                next_id = int(server.sql('SELECT max("RecordId") + 1 FROM "TableA"', database))
                backends = [int(pid) for pid in server.sql(
                    f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND client_addr IS NOT NULL").split()]
                claimed, sent = (total(http.status(), what) for what in ("claimed", "sent"))
                for _ in range(looks):
                    time.sleep(0.02)
                    before = cpu_ms(penstock.pid), sum(map(cpu_ms, backends))
                    session.run(insert_postgresql(next_id, next_id + new - 1))
                    began = time.monotonic()
                    next_id, claimed, sent = next_id + new, claimed + new, sent + new
                    wait_until(lambda: total(http.status(), "claimed") >= claimed, f"{new} rows", pause=0.0005)
                    found["ms"].append((time.monotonic() - began) * 1e3)
                    found["penstock_cpu_ms"].append(cpu_ms(penstock.pid) - before[0])
                    found["server_cpu_ms"].append(sum(map(cpu_ms, backends)) - before[1])
                    wait_until(lambda: total(http.status()) >= sent, f"{new} rows", pause=0.0005)
                    found["acknowledged_ms"].append((time.monotonic() - began) * 1e3)


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure_backlog(bench, server, rounds):
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        plants = {"postgresql": FilledPostgresql(server, bench.count), "sqlite": FilledSqlite(pathlib.Path(folder), bench.count)}
        runs = {}
        for number in range(rounds):
            for qos in (2, 1):
                for kind, plant in plants.items():
                    runs.setdefault(f"{kind}_qos{qos}", []).append(bench.backlog(plant, qos))
                runs.setdefault(f"bare_qos{qos}", []).append(bench.bare(qos))
            say(f"  round {number + 1}: " + ", ".join(f"{key} {each[-1]['rows_per_second']:,.0f}" for key, each in runs.items()))
    return {key: median_by(each, "rows_per_second") | {"rounds": [round(run["rows_per_second"]) for run in each]} |
            ({"rss_max_mb": max(run["rss_max_mb"] for run in each)} if "rss_max_mb" in each[0] else {}) for key, each in runs.items()}


def measure_poll(bench, options):
    # Without autovacuum, which would work beside one round and not beside another.
    settings = "shared_buffers = 512MB\nmax_wal_size = 8GB\nautovacuum = off"
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, \
            database_server.Postgresql(pathlib.Path(folder) / "server", settings) as server:
        return bench.look(server, options.poll_sizes, options.poll_rounds)


def measure(bench, options):
    """What fails is told in its place, and the others are measured all the same."""
    found = {}

    def part(name, what, how, *arguments):
        if name not in options.parts:
            return
        say(what + " ...")
        try:
            found[name] = how(*arguments)
        except (Failed, AssertionError, RuntimeError, OSError) as failure:
            say(f"  failed: {failure}")
            found[name] = {"failed": str(failure)}

    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, \
            database_server.Postgresql(pathlib.Path(folder) / "server") as server:
        part("backlog", f"a backlog of {bench.count:,} rows, {options.rounds} rounds of each in turn",
             measure_backlog, bench, server, options.rounds)
        part("xl", f"10 tables, 50,000 monitors, 100 shards, 16,700 rows/s for {options.xl_seconds} s",
             bench.xl, server, options.xl_seconds)
        part("notify", f"100 rows/s for {options.notify_seconds} s", bench.notified, server, options.notify_seconds)
    sizes = ", ".join(f"{size:,}" for size in options.poll_sizes)
    part("poll", f"100 new rows beside {sizes} that were sent, {options.poll_rounds} rounds (filling takes minutes)",
         measure_poll, bench, options)
    return found


def goals_of_backlog(found):
    rows = []
    for qos, goal in ((2, 25_000), (1, 50_000)):
        bare = found[f"bare_qos{qos}"]
        for kind in ("postgresql", "sqlite"):
            run = found[f"{kind}_qos{qos}"]
            ratio = run["rows_per_second"] / bare["rows_per_second"]
            what = "exactly once (QoS 2)" if qos == 2 else "at least once (QoS 1)"
            rows += [
                (f"{what} from {kind}", f"{run['rows_per_second']:,.0f} rows/s", f"{goal:,} or more", run["rows_per_second"] >= goal),
                ("  against a bare publisher", f"{ratio:.2f} ({run['rows_per_second']:,.0f} / {bare['rows_per_second']:,.0f})",
                 "0.50 or more" if qos == 2 else "", ratio >= 0.5 if qos == 2 else None),
                ("  CPU in penstock, in mosquitto" + (", in the server" if kind == "postgresql" else ""),
                 f"{run['penstock_cpu_s_per_million']:.1f}, {run['broker_cpu_s_per_million']:.1f}" +
                 (f", {run['server_cpu_s_per_million']:.1f}" if kind == "postgresql" else "") + " s per million", "", None),
                ("  memory of penstock, the most; rows a commit", f"{run['rss_max_mb']:.0f} MB; {run['rows_per_commit']:,.0f}", "", None)]
        rows.append((f"the bare publisher, QoS {qos}: CPU in it, in mosquitto",
                     f"{bare['publisher_cpu_s_per_million']:.1f}, {bare['broker_cpu_s_per_million']:.1f} s per million", "", None))
    return rows


def goals_of_xl(run):
    offered = run["inserted_per_second"] >= 0.98 * run["rate"]
    lag = run["lag_ms"]
    return [
        ("10 tables, 50,000 monitors, 100 shards: inserted", f"{run['inserted_per_second']:,.0f} rows/s for {run['seconds']} s",
         f"{run['rate']:,}", offered),
        ("  row to acknowledgement, p99 of the slowest table", f"{lag['p99']:,.0f} ms", "under 2,000", lag["p99"] < 2_000),
        ("  p50, the longest", f"{lag['p50']:,.0f} ms, {lag['max']:,.0f} ms", "", None),
        ("  behind when the last row was inserted", f"{run['behind_at_the_end']:,} rows", "", None),
        ("  CPU in penstock, in mosquitto, in the server with the inserts",
         f"{run['penstock_cpu_s_per_million']:.1f}, {run['broker_cpu_s_per_million']:.1f}, "
         f"{run['server_with_inserts_cpu_s_per_million']:.1f} s per million", "", None),
        ("  memory of penstock, the most; rows a commit", f"{run['rss_max_mb']:.0f} MB; {run['rows_per_commit']:,.1f}", "", None)]


def goals_of_notify(run):
    how = "notified by a trigger" if run["trigger"] else "found by polling (100 ms): there is no notification"
    return [(f"{run['rate']} rows/s, {how}: row to acknowledgement, p99", f"{run['lag_ms']['p99']:.1f} ms", "under 50",
             run["lag_ms"]["p99"] < 50),
            ("  p50", f"{run['lag_ms']['p50']:.1f} ms", "", None),
            ("  CPU in penstock", f"{run['penstock_cpu_percent']:.1f} % of a core", "", None)]


def goals_of_poll(found):
    rows = []
    least = found[min(found, key=int)]
    for size, run in found.items():
        cpu, least_cpu = (each["penstock_cpu_ms"] + each["server_cpu_ms"] for each in (run, least))
        is_least = run is least
        for what, value, ratio in (("commit of 100 rows to all claimed", run["ms"], run["ms"] / least["ms"]),
                                   ("  CPU meanwhile in penstock and its connections", cpu, cpu / least_cpu)):
            rows.append((f"{what}, {int(size):,} sent before", f"{value:.1f} ms" + ("" if is_least else f", ratio {ratio:.2f}"),
                         "" if is_least else "ratio 1.5 or less", None if is_least else ratio <= 1.5))
        rows.append((f"  commit to all acknowledged, {int(size):,} sent before", f"{run['acknowledged_ms']:.1f} ms", "", None))
    return rows


# What there is to measure.
GOALS = {"backlog": goals_of_backlog, "xl": goals_of_xl, "notify": goals_of_notify, "poll": goals_of_poll}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--count", type=int, default=300_000, help="rows of the backlog (default 300,000)")
    parser.add_argument("--rounds", type=int, default=3, help="of the backlog")
    parser.add_argument("--in-flight-max", type=int, default=0, help="setting of each pipeline (default: without it)")
    parser.add_argument("--xl-seconds", type=int, default=60)
    parser.add_argument("--notify-seconds", type=int, default=30)
    parser.add_argument("--poll-sizes", type=lambda text: [int(size) for size in text.split(",")],
                        default=[10_000, 1_000_000, 5_000_000], help="rows that were sent before (default 10000,1000000,5000000)")
    parser.add_argument("--poll-rounds", type=int, default=5)
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(GOALS),
                        help=f"some of {','.join(GOALS)}; poll takes long (default all)")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "bench" / "results")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(GOALS):
        parser.error(f"--parts: there is no {', '.join(sorted(unknown))}")
    where = machine()
    found = measure(Publish(options.build.resolve(), options.count, options.in_flight_max), options)
    rows = goals_of_parts(found, GOALS)
    day = datetime.date.today().isoformat()
    command = (f"./dev bench publish --count {options.count} --rounds {options.rounds} --in-flight-max {options.in_flight_max} "
               f"--xl-seconds {options.xl_seconds} --notify-seconds {options.notify_seconds} "
               f"--poll-sizes {','.join(map(str, options.poll_sizes))} "
               f"--poll-rounds {options.poll_rounds} --parts {','.join(options.parts)}")
    text = (f"# Publish, {day}\n\n{where['cores']} cores, {where['cpu']}, Linux {where['kernel']}, commit {where['commit']}; load average "
            f"before: {where['load_before']:.1f}\n\n`{command}`\n\n{table(rows)}\n\n"
            "The backlog: all rows are there before penstock starts; 5 shards, one mosquitto, one subscriber with QoS 0 that received\n"
            "each row once; from the first row that is acknowledged and recorded to the last. Medians of interleaved rounds, the highest\n"
            "memory. The bare publisher sends packets of the same size that it made beforehand, over as many connections, with a window\n"
            "of 1,000 each, and reads no database. Lag is counted from the start of the inserting transaction (the row's `CreatedAt`).\n"
            "The cost of a look: penstock looks each millisecond; medians over all looks of interleaved rounds. All share the cores.\n")
    keep(options.results, f"publish-{day}", command, where, found, text)
    return 0 if rows and all(met is not False for *_, met in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
