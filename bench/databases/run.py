#!/usr/bin/env python3
"""The database benchmark: what PostgreSQL and MariaDB take through the storage interface, beside the fastest way by hand, and
what the whole pipeline acknowledges after its commit.

Called by `./dev bench databases`; needs the release build. Starts private servers on loopback with their default durability
(fsync on, synchronous commit on). Writes bench/results/databases-DATE.json and .md. Exit status 1 where a goal is missed.
"""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2] / "tests" / "support")]
import database_server  # noqa: E402
from harness import ROOT, Failed, Programs, keep, machine, median_by, table  # noqa: E402

SERVERS = {"postgresql": database_server.Postgresql, "mariadb": database_server.Mariadb}
PIPELINE_GOAL = 80_000


class Databases(Programs):
    def storage(self, rounds, url=None):
        """Medians of interleaved rounds: {benchmark: {rows, cpu}}."""
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            pattern = "by_hand|server_store_write" if url else "(raw_loop|store_write).*full:1"
            done = subprocess.run(
                [self.program("bench_storage"), f"--benchmark_filter={pattern}", f"--benchmark_repetitions={rounds}",
                 "--benchmark_enable_random_interleaving=true", f"--benchmark_out={report.name}", "--benchmark_out_format=json"],
                stdout=subprocess.DEVNULL, env={**os.environ, **({"PENSTOCK_BENCH_DATABASE": url} if url else {})})
            if done.returncode != 0:
                raise Failed(f"bench_storage ended with {done.returncode}")
            runs = [run for run in json.load(open(report.name))["benchmarks"] if run["run_type"] == "iteration"]
        failed = [run["error_message"] for run in runs if run.get("error_occurred")]
        if failed or not runs:
            raise Failed(f"bench_storage: {failed[:1]}")
        found = {}
        for run in runs:
            found.setdefault(run["name"].split("/iterations")[0], []).append(run)
        return {name: {key: statistics.median(run[key] for run in all_runs) for key in ("rows", "cpu")}
                for name, all_runs in found.items()}

    def pipeline(self, server, writers):
        server.sql("DROP TABLE IF EXISTS raw_telemetry; DROP TABLE IF EXISTS penstock_dead_letters")

        def rows(_):
            return tuple(int(server.sql(f"SELECT count(*) FROM {table}")) for table in ("raw_telemetry", "penstock_dead_letters"))
        return self.against_stand_in(self.count, rows, database=server.url, database_options="", writers=writers)


def measure(bench, rounds):
    say = lambda text: print(text, file=sys.stderr, flush=True)
    say(f"storage alone, sqlite, {rounds} rounds ...")
    found = {"sqlite": {"storage": bench.storage(rounds)}}
    for kind, make in SERVERS.items():
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, make(pathlib.Path(folder) / kind) as server:
            say(f"storage alone, {kind}, {rounds} rounds ...")
            found[kind] = {"storage": bench.storage(rounds, server.url)}
            for writers in (1, 2):
                say(f"pipeline from the stand-in broker, {kind}, {writers} writer(s), {bench.count:,} messages, {rounds} rounds ...")
                runs = [bench.pipeline(server, writers) for _ in range(rounds)]
                found[kind][f"pipeline_{writers}"] = median_by(runs, "messages_per_second") | {
                    "rounds": [round(run["messages_per_second"]) for run in runs]}
    return found


def goals(found):
    rows = []
    for kind, results in found.items():
        storage = results["storage"]
        for count in (1000, 5000):
            ours, best = (("store_write/rows:%d/frames:1/full:1", "raw_loop/rows:%d/full:1") if kind == "sqlite"
                          else ("server_store_write/rows:%d", "by_hand/rows:%d"))
            ours, best = storage[ours % count], storage[best % count]
            ratio = ours["rows"] / best["rows"]
            rows.append((f"{kind}: {count:,} rows a transaction, against the best by hand",
                         f"{ratio:.2f} ({ours['rows']:,.0f} / {best['rows']:,.0f} rows/s; "
                         f"{ours['cpu']:.2f} / {best['cpu']:.2f} CPU s per million)", "0.90 or more", ratio >= 0.9))
        pipelines = [key for key in results if key.startswith("pipeline")]
        best_of = max((results[key]["messages_per_second"] for key in pipelines), default=0)
        for key in pipelines:
            run = results[key]
            is_best = run["messages_per_second"] == best_of
            rows.append((f"{kind}: pipeline, {key[-1]} writer(s), acknowledged after commit", f"{run['messages_per_second']:,.0f} msg/s",
                         f"{PIPELINE_GOAL:,} or more" if is_best else "", best_of >= PIPELINE_GOAL if is_best else None))
            rows.append(("  CPU in penstock", f"{run['penstock_cpu_s_per_million']:.2f} s per million", "under 4",
                         run["penstock_cpu_s_per_million"] < 4))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--count", type=int, default=600_000, help="messages a round of the pipeline (default 600,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "bench" / "results")
    options = parser.parse_args()
    where = machine()
    try:
        found = measure(Databases(options.build.resolve(), options.count), options.rounds)
    except (Failed, RuntimeError) as failure:
        print(f"bench databases: {failure}", file=sys.stderr)
        return 1
    rows = goals(found)
    command = f"./dev bench databases --count {options.count} --rounds {options.rounds}"
    text = (f"# Databases, {datetime.date.today().isoformat()}\n\n{where['cores']} cores, {where['cpu']}, Linux {where['kernel']}, "
            f"commit {where['commit']}; load average before: {where['load_before']:.1f}\n\n`{command}`\n\n{table(rows)}\n\n"
            "Medians of the rounds, which are interleaved for storage alone. By hand: SQLite a prepared VALUES of 100 rows; PostgreSQL\n"
            "binary COPY into a temporary table and INSERT SELECT; MariaDB arrays bound to one INSERT. The server, penstock and the\n"
            "stand-in broker share the cores; the servers have their default settings (fsync on, synchronous commit on).\n")
    keep(options.results, f"databases-{datetime.date.today().isoformat()}", command, where, found, text)
    return 0 if all(met is not False for *_, met in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
