#!/usr/bin/env python3
"""Runs the benchmarks and writes the figures of each into docs/benchmarks.md as soon as it has them.

Usage: bench/run.py [NAME ...], by default all of them; bench/run.py --short prints the workloads, fewer and smaller ones, in some minutes.
`make bench` and `make bench-short` build first and set the environment.
"""

import json
import os
import platform
import subprocess
import sys
import textwrap
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures begin -->", "<!-- figures end -->"
BUILD = ROOT / "build" / "release"
REALMS = [1, 4, 16, 64]
PROMPT = "Write a story about a lighthouse keeper."
MIB = 1 << 20


def field(file, name):
    """The value after `name:` in a file of /proc."""
    lines = (line.partition(":") for line in Path(file).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "unknown")


def machine():
    memory_gib = int(field("/proc/meminfo", "MemTotal").split()[0]) / MIB
    cores = len(os.sched_getaffinity(0))
    return f"{field('/proc/cpuinfo', 'model name')} with {cores} cores and {memory_gib:.0f} GiB, {platform.system()} {platform.release()}"


def commit():
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip() or "unknown"
    sources = ["src", "guest", "abi", "bench", "third_party"]
    changed = subprocess.run([*git, "status", "--porcelain", "--", *sources], capture_output=True)
    return name + (" with changes" if changed.stdout else "")


def run(*command):
    print("bench:", *command, file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(map(str, command))} failed with exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def processes(binary):
    """`realm run` with a growing number of realms, as a user would start it."""
    rows = []
    for realms in REALMS:
        answer = run(binary, "run", "--json", "--realms", str(realms), "-n", "64", "--ignore-eos", "--ctx", "1024", PROMPT)[0]
        rows.append(
            {
                "realms": realms,
                "tokens_per_second": answer["tokens_per_second"],
                "first_token_ms_median": answer["ttft_ms"],
                "loaded_mib": answer["memory_bytes_before"] / MIB,
                "answering_mib": answer["memory_bytes"] / MIB,
                "mib_a_realm": answer["memory_bytes_per_realm"] / MIB,
                "sandbox_mib_a_realm": sum(each["memory_bytes"] for each in answer["results"]) / MIB / realms,
            }
        )
    return {"name": "processes", "figures": {"prompt": PROMPT, "new_tokens": 64, "context_tokens": 1024, "rows": rows}}


def of_server(binary, script, *args):
    """A script of this folder that measures `realm server`, with the help of server_load.py."""
    os.environ["REALM_BINARY"] = str(binary)
    return {"name": Path(script).stem, "figures": run(sys.executable, ROOT / "bench" / script, *args)[0]}


def shown(value):
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"
    if isinstance(value, list):
        return ", ".join(shown(each) for each in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def table(rows):
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [" | ".join(columns), "|".join(["---"] * len(columns))]
    lines += [" | ".join(shown(row.get(column, "")) for column in columns) for row in rows]
    return [f"| {line} |" if "---|" not in line else f"|{line}|" for line in lines]


def wrapped(line):
    return textwrap.wrap(line, 138, break_long_words=False, break_on_hyphens=False)


def section(name, figures):
    """Rows become a table, objects a row each, and single figures a line, or a table when there is nothing else."""
    rows = [*figures.get("rows", []), *({"of": key, **value} for key, value in figures.items() if isinstance(value, dict))]
    singles = {key: value for key, value in figures.items() if not isinstance(value, dict) and key != "rows"}
    line = ", ".join(f"{key} {shown(value)}" for key, value in singles.items())
    if not rows:
        rows, line = [{"figure": key, "value": value} for key, value in singles.items()], ""
    return [f"### {name}", *([*wrapped(line), ""] if line else []), *table(rows), ""]


# Of realm-bench, of this file, and scripts of this folder.
IN_PROCESS = ("greedy_equality", "guest_against_bare_loop", "busy_share", "start_latency", "guest_cpu", "host_call_cost",
              "memory_per_realm", "many_realms", "prefix_reuse", "no_mixing", "own_kernels")
OF_SERVER = ("server_latency.py", "flood.py", "flood_of_answers.py", "weights.py", "structured_output.py", "prefix_timing.py",
             "slow_connections.py", "against_llama_server.py", "density.py", "best_of_n.py", "workloads.py", "outside_witness.py")
ARGUMENTS = {"workloads.py": ("--plots", PAGE.parent)}
PLOTS = {"workloads": "workloads.svg"}  # beside the page
SLOW = ("program_cost", "llama_from_matmul", "multiplication_peak", "kernel_numerics", "kernels_by_type")
ALL = (*IN_PROCESS, "processes", *(Path(script).stem for script in OF_SERVER), *SLOW)


def measured(binary, name):
    if name == "processes":
        return processes(binary)["figures"]
    if f"{name}.py" in OF_SERVER:
        script = f"{name}.py"
        return of_server(binary, script, *ARGUMENTS.get(script, ()))["figures"]
    return run(BUILD / "realm-bench", name)[0]["figures"]


def with_section(page, name, lines):
    """The page with a section in place of the one of that name, or after the others."""
    before, found_begin, rest = page.partition(BEGIN)
    inside, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise SystemExit(f"bench: {PAGE} has lost its markers {BEGIN} and {END}")
    if f"| {name} |" not in before:
        raise SystemExit(f"bench: {PAGE} does not say what {name} measures")
    head, *sections = inside.split("\n### ")
    new = "\n".join(lines).removeprefix("### ")
    names = [each.split("\n", 1)[0] for each in sections]
    if name in names:
        sections[names.index(name)] = new
    else:
        sections.append(new)
    return before + BEGIN + "\n### ".join([head, *sections]) + END + after


def main():
    binary = Path(os.environ.get("REALM_BINARY", BUILD / "realm-runtime"))
    os.environ.setdefault("REALM_PROGRAM", str(BUILD / "realm.wasm"))
    where = f"{machine()}, {Path(os.environ['REALM_MODEL']).name}"
    if sys.argv[1:] == ["--short"]:
        print("\n".join(section("workloads", of_server(binary, "workloads.py", "--short")["figures"])))
        return
    failed = []
    for name in sys.argv[1:] or ALL:
        try:
            figures = measured(binary, name)
        except SystemExit as fault:
            print(fault, file=sys.stderr)
            failed.append(name)
            continue
        lines = section(name, figures)
        lines[1:1] = [*wrapped(f"{date.today().isoformat()}, commit {commit()}, {where}"), ""]
        if name in PLOTS:
            lines += [f"![{name}]({PLOTS[name]})", ""]
        PAGE.write_text(with_section(PAGE.read_text(), name, lines))
        print(f"bench: {name} is in {PAGE.relative_to(ROOT)}", file=sys.stderr)
    if failed:
        raise SystemExit(f"bench: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
