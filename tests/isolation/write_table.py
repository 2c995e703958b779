"""Runs the hostile guests with the victim measured and writes the table of docs/threat_model.md. `make isolation` calls it.

Usage: write_table.py [--missing]: only the cases that an earlier run, which failed or was stopped, has left out.
"""

import json
import os
import subprocess
import sys
import textwrap
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "threat_model.md"
RESULTS = HERE.parents[1] / "build" / "isolation.jsonl"
BEGIN, END = "<!-- made by `make isolation` -->", "<!-- end -->"
CASES = 43  # and case 0, without a guest


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def table(rows) -> list[str]:
    lines = ["| case | guest | outcome for its owner | time to stop | victim's p99, ratio | baseline restored |",
             "|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row["case"]):
        name = " ".join(row["title"].split("_")[2:])
        ratio = f"{row['ratio']:.2f}" if row["ratio"] else "-"
        stop = f"{row['seconds'] * 1_000:,.0f} ms"
        lines.append(f"| {row['case']} | {name} | {row['outcome']} | {stop} | {ratio} | {row['restored_s'] * 1_000:,.0f} ms |")
    return lines


def measured() -> list[dict]:
    """The last row of each case."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return list({row["case"]: row for row in map(json.loads, lines)}.values())


def main():
    chosen = []
    if "--missing" in sys.argv[1:]:
        missing = set(range(CASES + 1)) - {row["case"] for row in measured()}
        chosen = ["-k", " or ".join(f"test_{case:02}_" for case in sorted(missing))]
    else:
        RESULTS.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--ignore", HERE / "test_soak.py", *chosen, HERE]
    done = subprocess.run(command, env={**os.environ, "REALM_ISOLATION_RESULTS": str(RESULTS)})
    rows = measured()
    missing = set(range(CASES + 1)) - {row["case"] for row in rows}
    if done.returncode != 0 or missing:
        raise SystemExit(f"isolation: the table stays as it was: exit code {done.returncode}, cases missing: {sorted(missing)}")
    before, found_begin, rest = PAGE.read_text().partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise SystemExit(f"isolation: {PAGE} has lost its markers {BEGIN} and {END}")
    head = f"{len(rows) - 1} of {CASES} cases, {date.today().isoformat()}, {processor()}, model {Path(os.environ['REALM_MODEL']).name}. "
    head += "Case 0 has no guest: what its ratio is above 1 comes from the measurement and the machine."
    PAGE.write_text(before + "\n".join([BEGIN, "", *textwrap.wrap(head, 138), "", *table(rows), "", END]) + after)
    print(f"isolation: wrote {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
