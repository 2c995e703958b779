"""Whole processes without a server between: `realm run` with a number of realms against llama.cpp's llama-batched-bench.

Usage: bench/against_batched_bench.py [--rounds N]; LLAMA_SERVER is the path of llama-server, beside which the other lies
(tools/build_peers.py builds both). Same model, threads, tokens of prompts and answers, in turns. Prints one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

SEQUENCES = (1, 4, 16, 64)
NEW_TOKENS = 64
PROMPT = " ".join(["A story that a traveller tells late at night to a friend who listens without a word"] * 3)
THREADS = os.cpu_count()


def lines_of(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                          text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed with exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def of_realm(sequences):
    """Tokens/s of all answers, prompts included, and tokens of a prompt."""
    answer = lines_of(os.environ["REALM_BINARY"], "run", "--json", "--model", os.environ["REALM_MODEL"], "--threads", THREADS, "--realms",
                      sequences, "-n", NEW_TOKENS, "--ignore-eos", "--ctx", "256", PROMPT)[0]
    counts = {(each["prompt_tokens"], each["cached_tokens"], each["completion_tokens"]) for each in answer["results"]}
    if len(counts) != 1 or counts != {(max(counts)[0], 0, NEW_TOKENS)}:
        raise SystemExit(f"realm run did other work: {counts}")
    return answer["tokens_per_second"], max(counts)[0]


def of_batched_bench(sequences, prompt_tokens):
    program = Path(os.environ["LLAMA_SERVER"]).parent / "llama-batched-bench"
    row = lines_of(program, "-m", os.environ["REALM_MODEL"], "-t", THREADS, "-tb", THREADS, "-c", sequences * 256, "-npp", prompt_tokens,
                   "-ntg", NEW_TOKENS, "-npl", sequences, "--output-format", "jsonl")[-1]
    if (row["pp"], row["tg"], row["pl"]) != (prompt_tokens, NEW_TOKENS, sequences):
        raise SystemExit(f"llama-batched-bench did other work: {row}")
    return sequences * NEW_TOKENS / (row["t_pp"] + row["t_tg"])


def compare(sequences, rounds):
    ours, theirs = [], []
    for _ in range(rounds):
        rate, prompt_tokens = of_realm(sequences)
        ours.append(rate)
        theirs.append(of_batched_bench(sequences, prompt_tokens))
        print(f"bench: {sequences}: realm {ours[-1]:.0f}, llama-batched-bench {theirs[-1]:.0f} tokens/s", file=sys.stderr)
    ratios = sorted(mine / other for mine, other in zip(ours, theirs))
    return {"sequences": sequences, "realm_run": statistics.median(ours), "llama_batched_bench": statistics.median(theirs),
            "ratio_median": statistics.median(ratios), "ratio_min": ratios[0], "ratio_max": ratios[-1]}, prompt_tokens


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    rows, prompt_tokens = [], 0
    for sequences in SEQUENCES:
        row, prompt_tokens = compare(sequences, rounds)
        rows.append(row)
    print(json.dumps({"unit": "tokens a second", "threads": THREADS, "prompt_tokens": prompt_tokens, "new_tokens": NEW_TOKENS,
                      "rows": rows}))


if __name__ == "__main__":
    main()
