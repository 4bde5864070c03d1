#!/usr/bin/env python3
"""Frames between two processes over loopback, plain and TLS: records a second, and CPU seconds per million records on each side.

usage: run.py [--seconds N] [--frame RECORDS] [--demand RECORDS] [--save]
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK_NODE = os.environ.get("LINK_NODE", ROOT / "build" / "release" / "link_node")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_certificates(folder):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=bench", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *curve, "-subj", "/CN=node", "-keyout", "node.key", "-out", "node.request")
    openssl("x509", "-req", "-in", "node.request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", "node.pem")
    return ["--ca", folder / "ca.pem", "--certificate", folder / "node.pem", "--key", folder / "node.key"]


def start(folder, name, port, peer, peer_port, *options):
    with open(folder / name, "wb") as output:
        return subprocess.Popen([LINK_NODE, name, "--listen", f"127.0.0.1:{port}", "--peer", f"{peer}=127.0.0.1:{peer_port}",
                                 *map(str, options)], stdout=output)


def measure(folder, seconds, frame, demand, tls):
    ports = free_port(), free_port()
    writer = start(folder, "b", ports[1], "a", ports[0], "--write", "--demand", demand, *tls)
    ingestor = start(folder, "a", ports[0], "b", ports[1], "--send", "--frame", frame, *tls)
    time.sleep(seconds)
    found = {}
    for role, process in (("writer", writer), ("ingestor", ingestor)):
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        last = json.loads((folder / ("b" if role == "writer" else "a")).read_text().splitlines()[-1])
        found[role] = last["cpu_seconds"] / last["records"] * 1e6
        if role == "writer":
            found["records_per_second"] = last["records"] / last["seconds"]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--frame", type=int, default=500, help="records in a frame")
    parser.add_argument("--demand", type=int, default=10_000, help="records that the writer lets be in flight")
    parser.add_argument("--save", action="store_true", help="write bench/results/cluster-DATE.json")
    chosen = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for kind, tls in (("plain", []), ("tls", make_certificates(folder))):
            results[kind] = measure(folder, chosen.seconds, chosen.frame, chosen.demand, tls)
            print(f"{kind:5}  {results[kind]['records_per_second']:12,.0f} records/s   CPU s per million: "
                  f"writer {results[kind]['writer']:.3f}, ingestor {results[kind]['ingestor']:.3f}", flush=True)
    if chosen.save:
        day = datetime.date.today().isoformat()
        kept = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "frame": chosen.frame,
                "demand": chosen.demand, "seconds": chosen.seconds, "links": results}
        (ROOT / "bench" / "results" / f"cluster-{day}.json").write_text(json.dumps(kept, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
