#!/usr/bin/env python3
"""Runs all benchmarks and writes their figures into docs/benchmarks.md. `make bench` builds first and sets REALM_MODEL."""

import json
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures begin -->", "<!-- figures end -->"
BUILD = ROOT / "build" / "release"
REALMS = [1, 4, 16, 64]
PROMPT = "Write a story about a lighthouse keeper."
MIB = 1 << 20
TIMEOUT_S = 1800


def field(file, name):
    """The value after `name:` in a file of /proc."""
    lines = (line.partition(":") for line in Path(file).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "unknown")


def machine():
    memory_kib = int(field("/proc/meminfo", "MemTotal").split()[0])
    return {
        "processor": field("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_kib / MIB:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
    }


def commit():
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip() or "unknown"
    changed = subprocess.run([*git, "status", "--porcelain", "--", "src", "guest", "abi", "bench", "third_party"], capture_output=True)
    return name + (" with changes" if changed.stdout else "")


def run(*command):
    print("bench:", *command[1:], file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(map(str, command))} failed with exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def processes(binary):
    """`realm run` with a growing number of realms, as a user would start it."""
    results = []
    for realms in REALMS:
        answer = run(binary, "run", "--json", "--realms", str(realms), "-n", "64", "--ignore-eos", "--ctx", "1024", PROMPT)[0]
        results.append(
            {
                "realms": realms,
                "tokens/s": answer["tokens_per_second"],
                "first token, ms": answer["ttft_ms"],
                "model loaded, MiB": answer["memory_bytes_before"] / MIB,
                "answering, MiB": answer["memory_bytes"] / MIB,
                "a realm, MiB": answer["memory_bytes_per_realm"] / MIB,
                "of it sandbox, MiB": sum(each["memory_bytes"] for each in answer["results"]) / MIB / realms,
            }
        )
    params = {"prompt": PROMPT, "tokens": 64, "context": 1024}
    return {"name": "processes", "unit": "as named; resident memory", "params": params, "results": results}


def shown(value):
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def table(rows):
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [" | ".join(columns), "|".join(["---"] * len(columns))]
    lines += [" | ".join(shown(row.get(column, "")) for column in columns) for row in rows]
    return [f"| {line} |" if "---|" not in line else f"|{line}|" for line in lines]


def section(benchmark):
    params = ", ".join(f"{name} {shown(value)}" for name, value in benchmark.get("params", {}).items())
    note = "; ".join(part for part in [f"Unit: {benchmark['unit']}" if benchmark.get("unit") else "", params] if part)
    return [f"### {benchmark['name']}", f"{note}.", "", *table(benchmark["results"]), ""]


def page_with(text, figures):
    before, found_begin, rest = text.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise SystemExit(f"bench: {PAGE} has lost its markers {BEGIN} and {END}")
    return before + "\n".join([BEGIN, "", *figures, END]) + after


def main():
    binary = Path(os.environ.get("REALM_BINARY", BUILD / "realm-runtime"))
    benchmarks = [*run(BUILD / "realm-bench"), processes(binary)]
    figures = [f"## Figures of {date.today().isoformat()}", "", "| | |", "|---|---|"]
    facts = {**machine(), "model": Path(os.environ.get("REALM_MODEL", "the bundled one")).name, "commit": commit()}
    figures += [f"| {name} | {value} |" for name, value in facts.items()] + [""]
    for benchmark in benchmarks:
        figures += section(benchmark)
    PAGE.write_text(page_with(PAGE.read_text(), figures))
    print(f"bench: wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
