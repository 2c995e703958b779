"""Sixteen realms with a stream each against llama-server with 16 slots: same model, prompts and threads, alternating in one run.

Usage: bench/against_llama_server.py [--rounds N]; LLAMA_SERVER is the path of llama-server, built from the same llama.cpp. Prints one JSON
object.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import threading
import time
import urllib.request

from server_load import Server, percentile, stream

STREAMS = 16
TOKENS = 96
CONTEXT = 1_024
TOPICS = "harbours bridges clocks bees maps rivers trains glass salt wind stars ink bread wool snow mills".split()


class LlamaServer:
    def __init__(self, threads):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        command = [os.environ["LLAMA_SERVER"], "-m", os.environ["REALM_MODEL"], "-np", STREAMS, "-c", STREAMS * CONTEXT, "-t", threads,
                   "--port", self.port, "--no-webui"]
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5)
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("llama-server did not start") from None
                time.sleep(0.1)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def round_of(port, keys, number):
    """All streams at once: tokens per second of all, times to the first token, times between tokens."""
    answers = [None] * STREAMS

    def work(i):
        answers[i] = stream(port, keys[i], f"Write about {TOPICS[i]}, chapter {number}.", TOKENS)[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(STREAMS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    between = [b - a for times in answers for a, b in zip(times, times[1:])]
    return TOKENS * STREAMS / seconds, [times[0] for times in answers], between


def summary(rounds):
    first = [1e3 * each for _, times, _ in rounds for each in times]
    between = [1e3 * each for _, _, times in rounds for each in times]
    return {"tokens_per_second": statistics.median(rate for rate, _, _ in rounds), "ttft_ms_p50": percentile(first, 0.5),
            "ttft_ms_p99": percentile(first, 0.99), "itl_ms_p50": percentile(between, 0.5), "itl_ms_p99": percentile(between, 0.99)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    threads = os.cpu_count() // 2 if os.cpu_count() > 2 else os.cpu_count()
    realm = Server("--threads", str(threads), "--ctx", str(CONTEXT), "--max-realms", str(STREAMS))
    peer = LlamaServer(threads)
    try:
        keys = [realm.key(f"customer-{i}") for i in range(STREAMS)]
        measured = {"realm": [], "llama_server": []}
        for number in range(rounds + 1):
            of_realm, of_peer = round_of(realm.port, keys, number), round_of(peer.port, keys, number)
            if number > 0:  # the first one warms both up
                measured["realm"].append(of_realm)
                measured["llama_server"].append(of_peer)
    finally:
        realm.stop()
        peer.stop()
    figures = {name: summary(of) for name, of in measured.items()}
    ratio = figures["realm"]["tokens_per_second"] / figures["llama_server"]["tokens_per_second"]
    print(json.dumps({**figures, "tokens_per_second_ratio": ratio}))


if __name__ == "__main__":
    main()
