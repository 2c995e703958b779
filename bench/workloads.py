"""Workloads of customers as they are: Realm and one llama-server with as many slots, in turns, loaded by `realm bench`.

Usage: bench/workloads.py [--rounds N] [--only NAME ...] [--short] [--plots FOLDER]; LLAMA_SERVER is llama-server's path. Same model,
threads, context, chats. Ends when both did not do the same work. Prints one JSON object; --plots draws it too (matplotlib).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from peers import LlamaServer, cpu_seconds, memory_kib
from server_load import Server

THREADS = os.cpu_count()
SAME_WORK = 0.02  # tokens of prompts may differ by this share: later turns repeat answers, which are not the same
GOOD = ("--good-first-token-ms", "3000", "--good-token-ms", "150")


@dataclass
class Workload:
    name: str
    what: str
    customers: int
    slots: int  # of llama-server, and streams
    context: int
    load: tuple  # options of `realm bench`
    second_model: str = ""  # of tools/fetch_model.py: as many customers again use it at the same time, with the same load


def steady(customers, chats_each):
    return Workload(f"steady {customers}", f"{customers} customers with a stream each, 48 words, 64 new tokens", customers, customers, 256,
                    ("--streams", customers, "--chats", customers * chats_each, "--prompt-words", 48, "-n", 64))


def workloads(short):
    each, arrivals = (1, 12) if short else (2, 40)
    return [
        steady(1, 2 * each), steady(4, each), steady(16, each), steady(64, 1), *([] if short else [steady(256, 1)]),
        Workload("arrivals", "chats of 16 customers, 0.4 a second arrive at random, 16 to 512 words, 16 to 128 new tokens", 16, 16, 1024,
                 ("--streams", 256, "--chats", arrivals, "--rate", 0.4, "--prompt-words", "16:512", "-n", "16:128")),
        Workload("chats", "16 customers at once, 5 turns each, 40 words, 32 new tokens a turn", 16, 16, 1024,
                 ("--streams", 16, "--chats", 16, "--turns", 5, "--prompt-words", 40, "-n", 32)),
        Workload("system prompts", "16 customers, each with a system prompt of 300 words, 3 chats, 16 words, 32 new tokens", 16, 16, 1024,
                 ("--streams", 16, "--chats", 16 * 3, "--system-words", 300, "--prompt-words", 16, "-n", 32)),
        Workload("two models", "8 customers of one model and 8 of another at the same time (llama-server: a process for each model), "
                 "48 words, 64 new tokens", 8, 8, 256, ("--streams", 8, "--chats", 16 * each, "--prompt-words", 48, "-n", 64), "gemma3"),
        *([] if short else [Workload("mostly idle", "1,000 customers, a chat arrives every second, 16 words, 24 new tokens", 1_000, 16, 256,
                                     ("--streams", 256, "--chats", 60, "--rate", 1, "--prompt-words", 16, "-n", 24))]),
    ]


@dataclass
class Part:
    """Customers of one model."""
    server: object
    keys: list
    model: str  # file


def model_files(workload):
    files = [os.environ["REALM_MODEL"]]
    if workload.second_model:
        tool = Path(__file__).resolve().parent.parent / "tools" / "fetch_model.py"
        done = subprocess.run([sys.executable, tool, workload.second_model], check=True, capture_output=True, text=True)
        files.append(done.stdout.strip())
    return files


class OfRealm:
    name = "realm"

    def __init__(self, workload, files):
        customers = workload.customers * len(files)
        more = ("--models", str(Path(files[1]).parent)) if len(files) > 1 else ()
        self.servers = [Server("--threads", str(THREADS), "--ctx", str(workload.context), "--max-realms", str(customers), *more)]
        with ThreadPoolExecutor(8) as threads:
            keys = list(threads.map(lambda i: self.servers[0].key(f"customer-{i}"), range(customers)))
        self.parts = [Part(self.servers[0], keys[i::len(files)], file) for i, file in enumerate(files)]


class OfLlama:
    name = "llama-server"

    def __init__(self, workload, files):
        self.servers = []
        for file in files:
            self.servers.append(LlamaServer(workload.slots, THREADS, "--no-kv-unified", context=workload.context, model=file))
        self.parts = [Part(server, [f"none-{i}" for i in range(workload.customers)], file) for server, file in zip(self.servers, files)]


def load(part, workload, number):
    """What `realm bench` says."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("\n".join(part.keys))
        file.flush()
        command = [os.environ["REALM_BINARY"], "bench", "--endpoint", f"http://127.0.0.1:{part.server.port}", "--keys", file.name, "--json",
                   "--model", Path(part.model).stem, "--seed", number + 1, *GOOD, *workload.load]
        done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        raise SystemExit(f"workloads: {workload.name}: realm bench ended with {done.returncode}")
    return json.loads(done.stdout)


def load_all(contender, workload, number):
    """A report for each model, loaded at the same time, with the CPU time that all took for a thousand tokens."""
    def taken():
        return sum(cpu_seconds(server.process.pid) for server in contender.servers)

    before = taken()
    with ThreadPoolExecutor(len(contender.parts)) as threads:
        reports = list(threads.map(lambda part: load(part, workload, number), contender.parts))
    cpu_s = (taken() - before) * 1_000 / max(1, sum(report["output_tokens"] for report in reports))
    return [report | {"cpu_s": cpu_s} for report in reports]


def check_same_work(name, of_realm, of_llama):
    for mine, theirs in zip(of_realm, of_llama):
        same = (mine["requests"], mine["output_tokens"]) == (theirs["requests"], theirs["output_tokens"])
        if not same or abs(mine["prompt_tokens"] - theirs["prompt_tokens"]) > SAME_WORK * theirs["prompt_tokens"]:
            raise SystemExit(f"workloads: {name}: not the same work: {mine} {theirs}")


def summary(contender, reports):
    def middle(*path):
        values = []
        for report in reports:
            for part in path:
                report = report[part] if report else None
            if report is not None:
                values.append(report)
        return statistics.median(values) if values else None

    speeds = [report["output_tokens_per_second"] for report in reports]
    memory = [memory_kib(server.process.pid) for server in contender.servers]
    row = {"server": contender.name, "tokens_per_second": statistics.median(speeds), "slowest": min(speeds), "fastest": max(speeds)}
    for title, key in (("ttft_ms", "first_token_ms"), ("itl_ms", "between_tokens_ms"), ("request_ms", "request_ms")):
        for share in ("p50", "p95", "p99"):
            row[f"{title}_{share}"] = middle(key, share)
    return row | {"good_a_second": middle("good_requests_per_second"), "jain": middle("jain"), "cpu_s_a_1000_tokens": middle("cpu_s"),
                  "resident_mib": sum(resident for resident, _ in memory) / 1024,
                  "private_mib": sum(private for _, private in memory) / 1024, "failed": sum(r["requests_failed"] for r in reports)}


def compare(workload, rounds):
    contenders, files = [], model_files(workload)
    try:
        for kind in (OfRealm, OfLlama):
            contenders.append(kind(workload, files))
        rounds_of = {contender.name: [] for contender in contenders}  # in each a report for each model
        for number in range(rounds):
            for contender in contenders:
                reports = load_all(contender, workload, number)
                rounds_of[contender.name].append(reports)
                rates = ", ".join(f"{report['output_tokens_per_second']:.0f}" for report in reports)
                print(f"bench: {workload.name}: {contender.name}: {rates} tokens/s", file=sys.stderr)
        rows = []
        for i, file in enumerate(files):
            name = workload.name if len(files) == 1 else f"{workload.name}, {Path(file).stem.split('.')[0]}"
            of = {each: [reports[i] for reports in done] for each, done in rounds_of.items()}
            check_same_work(name, *of.values())
            rows += [{"workload": name, **summary(contender, of[contender.name])} for contender in contenders]
        return rows
    finally:
        for contender in contenders:
            for server in contender.servers:
                server.stop()


def draw(rows, folder):
    """A page of bars for each of the figures: ours beside theirs for each workload."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "realm"  # the same figures, the same file
    from matplotlib import pyplot

    names = list(dict.fromkeys(row["workload"] for row in rows))
    servers = list(dict.fromkeys(row["server"] for row in rows))
    figures = {"tokens_per_second": "output tokens a second", "ttft_ms_p50": "to the first token, median, ms",
               "itl_ms_p99": "between tokens, 99th percentile, ms", "good_a_second": "good requests a second"}
    page, axes = pyplot.subplots(len(figures), 1, figsize=(9, 11), constrained_layout=True)
    for axis, (key, title) in zip(axes, figures.items()):
        for place, server in enumerate(servers):
            values = [next((row[key] or 0 for row in rows if row["workload"] == name and row["server"] == server), 0) for name in names]
            axis.bar([i + 0.4 * place for i in range(len(names))], values, 0.4, label=server)
        axis.set_xticks([i + 0.2 for i in range(len(names))], names, fontsize=8, rotation=20, ha="right")
        axis.set_title(title, fontsize=9)
        axis.grid(axis="y", alpha=0.3)
    axes[0].legend(fontsize=8)
    page.savefig(Path(folder) / "workloads.svg", metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--short", action="store_true", help="fewer and smaller workloads, one round: some minutes")
    parser.add_argument("--plots", help="folder for workloads.svg")
    options = parser.parse_args()
    rounds = 1 if options.short else options.rounds
    chosen = [workload for workload in workloads(options.short) if not options.only or workload.name in options.only]
    rows = [row for workload in chosen for row in compare(workload, rounds)]
    if options.plots:
        draw(rows, options.plots)
    print(json.dumps({"threads": THREADS, "rounds": rounds, **{f"{each.name}:": each.what for each in chosen}, "rows": rows}))


if __name__ == "__main__":
    main()
