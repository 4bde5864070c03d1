#!/usr/bin/env python3
"""The ingest benchmark: how fast, how cheap and how soon messages are acknowledged after their commit.

Called by `./dev bench ingest`; needs the release build. Writes bench/results/ingest-DATE.json and .md. Exit status 1 where a goal is missed.
"""
import argparse
import contextlib
import datetime
import json
import pathlib
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from harness import ROOT, Failed, Http, Programs, cpu_seconds, end, keep, machine, median_by, table, wait_until  # noqa: E402


class Ingest(Programs):
    def rows(self, folder):
        with contextlib.closing(sqlite3.connect(f"file:{folder}/telemetry.db?mode=ro", uri=True)) as database:
            letters = database.execute("SELECT count(*) FROM penstock_dead_letters").fetchone()[0]
            return database.execute("SELECT count(*) FROM raw_telemetry").fetchone()[0], letters

    def expect_rows(self, folder, count):
        rows, letters = self.rows(folder)
        if (rows, letters) != (count, 0):
            raise Failed(f"{rows} rows and {letters} dead letters in the database instead of {count} and 0")

    def sqlite(self, synchronous, count, rate="max"):
        return self.against_stand_in(count, self.rows, rate, database_options=f", synchronous: {synchronous}")

    def idle(self, seconds=20):
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, self.mosquitto() as broker:
            with self.penstock(pathlib.Path(name), broker.port) as penstock:
                time.sleep(2)
                before = cpu_seconds(penstock.pid)
                time.sleep(seconds)
                return {"cpu_percent": (cpu_seconds(penstock.pid) - before) / seconds * 100, "seconds": seconds}

    def publish(self, port, count):
        done = subprocess.run([self.program("bench-ingest-raw-publisher"), "--port", str(port), "--count", str(count)],
                              stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    def relay_to_penstock(self, count):
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, self.mosquitto() as broker:
            folder = pathlib.Path(name)
            # One session, as the bare subscriber has.
            with self.penstock(folder, broker.port, shards=1) as penstock:
                with Http(folder) as http:
                    http.wait_ready()
                published = self.publish(broker.port, count)
                with contextlib.closing(sqlite3.connect(f"file:{folder}/telemetry.db?mode=ro", uri=True)) as database:
                    query = "SELECT count(*) FROM raw_telemetry"
                    wait_until(lambda: database.execute(query).fetchone()[0] >= count, "the last row", pause=0.01)
                finished = time.monotonic()
                cpu = cpu_seconds(penstock.pid)
            self.expect_rows(folder, count)
        return {"messages_per_second": count / (finished - published["started_at"]), "penstock_cpu_s_per_million": cpu / count * 1e6}

    def relay_to_raw(self, count):
        with self.mosquitto() as broker:
            raw = subprocess.Popen(
                [self.program("bench-ingest-raw-subscriber"), "--port", str(broker.port), "--count", str(count), "--connections", "2"],
                stdout=subprocess.PIPE, text=True)
            try:
                raw.stdout.readline()
                published = self.publish(broker.port, count)
                received = json.loads(raw.communicate(timeout=120)[0])
            finally:
                end(raw)
        if received["messages"] != count:
            raise Failed(f"the bare subscriber received {received['messages']} of {count}")
        return {"messages_per_second": count / (received["finished_at"] - published["started_at"])}


def measure(bench, rounds):
    say = lambda text: print(text, file=sys.stderr, flush=True)
    found = {}
    for synchronous in ("normal", "full"):
        say(f"stand-in broker, {bench.count:,} messages, synchronous {synchronous}, {rounds} rounds ...")
        runs = [bench.sqlite(synchronous, bench.count) for _ in range(rounds)]
        found[f"stand_in_{synchronous}"] = median_by(runs, "messages_per_second") | {
            "rounds": [round(run["messages_per_second"]) for run in runs],
            "rss_max_mb": max(run["rss_max_mb"] for run in runs)}
    say("1,000 messages/s for 20 s, synchronous full ...")
    found["paced"] = bench.sqlite("full", 20_000, 1_000)
    say("idle for 20 s ...")
    found["idle"] = bench.idle()
    count = max(bench.count // 3, 1)
    say(f"one mosquitto, live publisher, {count:,} messages, {rounds} rounds of each in turn ...")
    ours, raw = [], []
    for _ in range(rounds):
        ours.append(bench.relay_to_penstock(count))
        raw.append(bench.relay_to_raw(count))
    rates = [[round(run["messages_per_second"]) for run in runs] for runs in (ours, raw)]
    found["mosquitto"] = {"penstock": statistics.median(rates[0]), "bare_subscriber": statistics.median(rates[1]),
                          "ratio": statistics.median(rates[0]) / statistics.median(rates[1]),
                          "penstock_rounds": rates[0], "bare_subscriber_rounds": rates[1],
                          "penstock_cpu_s_per_million": statistics.median(run["penstock_cpu_s_per_million"] for run in ours)}
    return found


def goals(found):
    """Rows of the table: what, measured, goal, met (None: no goal)."""
    normal, full, paced = found["stand_in_normal"], found["stand_in_full"], found["paced"]
    return [
        ("acknowledged after commit, synchronous NORMAL", f"{normal['messages_per_second']:,.0f} msg/s", "150,000 or more",
         normal["messages_per_second"] >= 150_000),
        ("  CPU in penstock", f"{normal['penstock_cpu_s_per_million']:.2f} s per million", "5 or less",
         normal["penstock_cpu_s_per_million"] <= 5),
        ("  memory, the most", f"{normal['rss_max_mb']:.0f} MB", "under 150", normal["rss_max_mb"] < 150),
        ("acknowledged after commit, synchronous FULL", f"{full['messages_per_second']:,.0f} msg/s", "", None),
        ("  CPU in penstock", f"{full['penstock_cpu_s_per_million']:.2f} s per million", "", None),
        ("  memory, the most", f"{full['rss_max_mb']:.0f} MB", "under 150", full["rss_max_mb"] < 150),
        ("one mosquitto, against a bare subscriber",
         f"{found['mosquitto']['ratio']:.2f} ({found['mosquitto']['penstock']:,.0f} / {found['mosquitto']['bare_subscriber']:,.0f} msg/s)",
         "0.90 or more", found["mosquitto"]["ratio"] >= 0.9),
        ("at 1,000 msg/s: publish to acknowledgement, p50", f"{paced['latency_ms']['p50']:.2f} ms", "under 5",
         paced["latency_ms"]["p50"] < 5),
        ("  p99", f"{paced['latency_ms']['p99']:.2f} ms", "under 20", paced["latency_ms"]["p99"] < 20),
        ("idle", f"{found['idle']['cpu_percent']:.2f} % of a core", "under 1", found["idle"]["cpu_percent"] < 1),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--count", type=int, default=1_000_000, help="messages a round (default 1,000,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "bench" / "results")
    options = parser.parse_args()
    where = machine()
    try:
        found = measure(Ingest(options.build.resolve(), options.count), options.rounds)
    except Failed as failure:
        print(f"bench ingest: {failure}", file=sys.stderr)
        return 1
    rows = goals(found)
    name = f"ingest-{datetime.date.today().isoformat()}"
    command = f"./dev bench ingest --count {options.count} --rounds {options.rounds}"
    text = (f"# Ingest, {datetime.date.today().isoformat()}\n\n{where['cores']} cores, {where['cpu']}, Linux {where['kernel']}, "
            f"commit {where['commit']}; load average before: {where['load_before']:.1f}\n\n`{command}`\n\n{table(rows)}\n\n"
            "Medians of the rounds; memory is the highest of all. The publish-to-acknowledgement time is an upper bound of publish to commit.\n"
            f"The stand-in broker itself took {found['stand_in_normal']['stand_in_cpu_s_per_million']:.2f} CPU seconds per million on the same cores.\n")
    keep(options.results, name, command, where, found, text)
    return 0 if all(met is not False for *_, met in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
