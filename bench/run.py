#!/usr/bin/env python3
"""./dev bench [ingest|publish|databases|cluster|micro] [options]: measures the release build; results go to bench/results/."""
import datetime
import json
import pathlib
import subprocess
import sys

BENCH = pathlib.Path(__file__).resolve().parent
BUILD = BENCH.parent / "build" / "release"


def micro(arguments):
    """Every micro-benchmark (Google Benchmark), one after the other; what follows `micro` is handed to them."""
    found = {}
    for program in sorted(BUILD.glob("bench_*")):
        if not program.is_file():
            continue
        print(f"\n{program.name}", flush=True)
        report = BUILD / f"{program.name}.json"
        status = subprocess.run([program, f"--benchmark_out={report}", "--benchmark_out_format=json", *arguments]).returncode
        if status != 0:
            return status
        found[program.name] = json.loads(report.read_text())
    if not found:
        print(f"there is no micro-benchmark in {BUILD}: ./dev build", file=sys.stderr)
        return 1
    results = BENCH / "results"
    results.mkdir(exist_ok=True)
    (results / f"micro-{datetime.date.today().isoformat()}.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


def main():
    what, *arguments = sys.argv[1:] or ["help"]
    if what in ("ingest", "publish", "databases", "cluster"):
        return subprocess.run([sys.executable, BENCH / what / "run.py", *arguments]).returncode
    if what == "micro":
        return micro(arguments)
    print(__doc__, file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main())
