"""Sixteen customers with a stream each: realm against llama-server with 16 slots (KV split and unified), and against 16 with a slot each.

Usage: bench/against_llama_server.py [--rounds N] [--model FILE]; LLAMA_SERVER is llama-server's path (tools/build_peers.py builds one).
Same model, threads (together), context and prompts, in turns in one run; it ends when prompts or answers have not the same number of tokens
everywhere. Prints one JSON object.
"""

import argparse
import json
import os
import statistics
import sys
import time

from peers import CONTEXT, LlamaServer, cpu_seconds, memory_kib
from server_load import Server, at_once, percentile, stream

STREAMS = 16
TOKENS = 64
PROMPT_WORDS = 48
TOPICS = "harbours bridges clocks bees maps rivers trains glass salt wind stars ink bread wool snow mills".split()
FILLER = "that a traveller tells late at night to a friend who listens without a word while rain falls on the roof".split()


class Contender:
    """Servers, and for each of the streams the port and the key that it uses."""

    def __init__(self, servers, ports, keys):
        self.servers, self.ports, self.keys, self.rounds = servers, ports, keys, []

    def cpu_seconds(self):
        return sum(cpu_seconds(server.process.pid) for server in self.servers)

    def memory_mib(self):
        each = [memory_kib(server.process.pid) for server in self.servers]
        return {"resident_mib": sum(rss for rss, _ in each) / 1024, "private_mib": sum(private for _, private in each) / 1024}


def prompt(stream_number, round_number):
    words = ["Chapter", str(round_number), "about", TOPICS[stream_number], *FILLER]
    while len(words) < PROMPT_WORDS:
        words += ["and", "then", *FILLER]
    return " ".join(words[:PROMPT_WORDS])


def measure(contender, number):
    """All streams at once."""
    cpu, began = contender.cpu_seconds(), time.monotonic()
    answers = at_once(STREAMS, lambda i: stream(contender.ports[i], contender.keys[i], prompt(i, number), TOKENS))
    seconds = time.monotonic() - began
    if not all(usage for _, usage in answers):
        raise SystemExit("a stream was cut off or refused")
    counts = [(usage["prompt_tokens"], usage["completion_tokens"]) for _, usage in answers]
    tokens = sum(completion for _, completion in counts)
    return {"counts": counts, "tokens_per_second": tokens / seconds, "cpu_s": (contender.cpu_seconds() - cpu) * 1_000 / tokens,
            "first": [1e3 * times[0] for times, _ in answers],
            "between": [1e3 * (b - a) for times, _ in answers for a, b in zip(times, times[1:])],
            "jain": jain([1 / times[-1] for times, _ in answers])}


def jain(rates):
    """Jain's index of fairness: 1 when all are served alike, 1/n when one has everything."""
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates))


def summary(contender):
    rounds = contender.rounds
    first = [each for round_ in rounds for each in round_["first"]]
    between = [each for round_ in rounds for each in round_["between"]]
    rates = [round_["tokens_per_second"] for round_ in rounds]
    return {"tokens_per_second": statistics.median(rates), "slowest": min(rates), "fastest": max(rates),
            "ttft_ms_p50": percentile(first, 0.5), "ttft_ms_p99": percentile(first, 0.99),
            "itl_ms_p50": percentile(between, 0.5), "itl_ms_p99": percentile(between, 0.99),
            "jain": min(round_["jain"] for round_ in rounds),
            "cpu_s_a_1000_tokens": statistics.median(round_["cpu_s"] for round_ in rounds), **contender.memory_mib()}


def start(threads):
    realm = Server("--threads", str(threads), "--ctx", str(CONTEXT), "--max-realms", str(STREAMS))
    contenders = {"realm": Contender([realm], [realm.port] * STREAMS, [realm.key(f"customer-{i}") for i in range(STREAMS)])}
    keys = ["none"] * STREAMS
    for name, args in (("llama_server_16_slots", ("--no-kv-unified",)), ("llama_server_16_slots_unified", ("--kv-unified",))):
        server = LlamaServer(STREAMS, threads, *args)
        contenders[name] = Contender([server], [server.port] * STREAMS, keys)
    # Their best: with more threads they wait for each other by spinning, and for cores that others spin on.
    many = [LlamaServer(1, max(1, threads // STREAMS)) for _ in range(STREAMS)]
    contenders["llama_server_16_processes"] = Contender(many, [server.port for server in many], keys)
    return contenders


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", help="instead of REALM_MODEL")
    options = parser.parse_args()
    os.environ["REALM_MODEL"] = options.model or os.environ["REALM_MODEL"]
    threads = max(1, os.cpu_count() // 2) if os.cpu_count() > 2 else os.cpu_count()
    contenders = start(threads)
    try:
        for number in range(options.rounds + 1):
            for name, contender in contenders.items():
                measured = measure(contender, number)
                if number > 0:  # the first one warms all up
                    contender.rounds.append(measured)
                print(f"bench: {name}: {measured['tokens_per_second']:.0f} tokens/s", file=sys.stderr)
            if len({str(contender.rounds[-1]["counts"]) for contender in contenders.values() if contender.rounds}) > 1:
                raise SystemExit("bench: the contenders count other tokens, so they did not do the same work")
        figures = {name: summary(contender) for name, contender in contenders.items()}
    finally:
        for contender in contenders.values():
            for server in contender.servers:
                server.stop()
    ours = figures["realm"]["tokens_per_second"]
    ratios = {f"times_{name}": ours / each["tokens_per_second"] for name, each in figures.items() if name != "realm"}
    print(json.dumps({"streams": STREAMS, "threads": threads, "context_tokens": CONTEXT, "prompt_words": PROMPT_WORDS, "new_tokens": TOKENS,
                      **ratios, **figures}))


if __name__ == "__main__":
    main()
