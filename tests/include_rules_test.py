#!/usr/bin/env python3
"""Refuses an #include that the table of folders does not allow.

usage: include_rules_test.py SOURCE_DIR
"""

import pathlib
import re
import sys

ADAPTER = {"core", "record", "config", "telemetry", "security"}
ALLOWED = {
    "core": set(),
    "record": {"core"},
    "messages": {"core", "record"},
    "config": {"core"},
    "telemetry": {"core"},
    "security": {"core", "config"},
    "mqtt": ADAPTER,
    "storage": ADAPTER,
    "decode": {"core", "record", "config"},
    "web": ADAPTER,
    "cluster": {"messages", "record", "config", "core", "telemetry", "storage"},
}
ALLOWED["actors"] = set(ALLOWED)
ALLOWED["nodes"] = ALLOWED["actors"] | {"actors"}

# Libraries that must stay behind their adapters.
LIBRARIES = {
    "caf/": {"messages", "actors", "cluster", "nodes"},
    "soci/": {"storage"},
    "sqlite3.h": {"storage"},
    "boost/": {"mqtt", "web", "security"},
    "simdjson.h": {"decode"},
    "yaml-cpp/": {"config"},
    "spdlog/": {"telemetry"},
    "prometheus/": {"telemetry"},
    "mqtt/async_client.h": {"mqtt"},
    "CLI/": {"nodes"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)


def problems_of(source: pathlib.Path, root: pathlib.Path) -> list[str]:
    folder = source.relative_to(root).parts[0]
    found = []
    for target in INCLUDE.findall(source.read_text(encoding="utf-8")):
        first = target.split("/")[0]
        if first in ALLOWED and "/" in target and (root / first).is_dir():
            generated = target.endswith(".capnp.h")
            if not generated and not (root / target).exists():
                if not any(target.startswith(library) for library in LIBRARIES):
                    found.append(f"{source.relative_to(root)}: includes {target}, which is not there")
            elif first != folder and first not in ALLOWED[folder]:
                found.append(f"{source.relative_to(root)}: {folder}/ must not include {first}/ ({target})")
        for library, folders in LIBRARIES.items():
            if target.startswith(library) and folder not in folders:
                found.append(f"{source.relative_to(root)}: {target} belongs to {', '.join(sorted(folders))}")
        if target == "caf/all.hpp":
            found.append(f"{source.relative_to(root)}: caf/all.hpp costs seconds a file; include what is used")
    return found


def main() -> int:
    root = pathlib.Path(sys.argv[1]).resolve()
    sources = [p for folder in ALLOWED for p in sorted((root / folder).glob("*.[ch]pp"))]
    if not sources:
        print("no sources found", file=sys.stderr)
        return 1
    problems = [text for source in sources for text in problems_of(source, root)]
    print("\n".join(problems) or f"{len(sources)} files keep the rules")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
