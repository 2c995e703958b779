"""Fuzzes every target for FUZZ_SECONDS each and prints how far it came; `make fuzz` calls it. What ends a target stays in build/fuzz."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEEDS = HERE / "seeds"
WORK = HERE.parents[1] / "build" / "fuzz"
INPUT_BYTES_MAX = 4_096
INPUT_SECONDS_MAX = 20  # under the sanitizers; the sandbox allows a program less
RESIDENT_MIB_MAX = 2_048


def fuzz(program: Path, target: str, seconds: int) -> tuple[str, bool]:
    """A row of the report, and whether nothing was found."""
    corpus, crashes = WORK / target / "corpus", WORK / target / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(exist_ok=True)
    command = [program, f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", f"-timeout={INPUT_SECONDS_MAX}",
               f"-rss_limit_mb={RESIDENT_MIB_MAX}", f"-artifact_prefix={crashes}/", "-print_final_stats=1", corpus, SEEDS / target]
    environment = {**os.environ, "FUZZ_TARGET": target, "UBSAN_OPTIONS": "print_stacktrace=1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = done.stderr.decode(errors="replace")
    (WORK / target / "log").write_text(said)
    executions = re.search(r"number_of_executed_units: (\d+)", said)
    covered = re.findall(r"cov: (\d+)", said)
    outcome = "nothing found" if done.returncode == 0 else f"FOUND: exit code {done.returncode}, {WORK / target}/log"
    count = int(executions[1]) if executions else 0
    return f"{target:14} {count:>12,} executions, {covered[-1] if covered else 0:>6} edges, {outcome}", done.returncode == 0


def main():
    program = Path(sys.argv[1]).resolve()
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    names = sys.argv[2:] or sorted(path.name for path in SEEDS.iterdir())
    fine = True
    for name in names:
        row, good = fuzz(program, name, seconds)
        print(row, flush=True)
        fine &= good
    sys.exit(not fine)


if __name__ == "__main__":
    main()
