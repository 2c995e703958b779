"""Two realms of weights 1 and 3 that both want more than there is: how many tokens each gets.

Usage: bench/weights.py [--seconds N]. Prints one JSON object.
"""

import argparse
import json
import threading
import time

from server_load import Server, stream

WEIGHTS = {"light": 1, "heavy": 3}
SEQUENCES = 8  # in the batch at once
STREAMS = 16  # of each realm, in flight or waiting
TOKENS = 32


class Demand:
    """Keeps `STREAMS` streams of a realm in flight; notes when each token came."""

    def __init__(self, port, key):
        self.stopping = threading.Event()
        self.times = []
        self.threads = [threading.Thread(target=self._run, args=(port, key), daemon=True) for _ in range(STREAMS)]
        for thread in self.threads:
            thread.start()

    def _run(self, port, key):
        while not self.stopping.is_set():
            began = time.monotonic()
            times, _ = stream(port, key, "Tell me about the sea.", TOKENS, self.stopping)
            self.times += [began + each for each in times]

    def between(self, begin, end):
        return sum(begin <= each < end for each in self.times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30)
    seconds = parser.parse_args().seconds
    server = Server("--parallel", str(SEQUENCES))
    try:
        demands = {name: Demand(server.port, server.key(name, "--weight", str(weight))) for name, weight in WEIGHTS.items()}
        time.sleep(5)
        begin = time.monotonic()
        time.sleep(seconds)
        end = time.monotonic()
        for demand in demands.values():
            demand.stopping.set()
        for demand in demands.values():
            for thread in demand.threads:
                thread.join(60)
        tokens = {name: demand.between(begin, end) for name, demand in demands.items()}
    finally:
        server.stop()
    print(json.dumps({"weights": list(WEIGHTS.values()), "tokens": list(tokens.values()), "share": tokens["heavy"] / tokens["light"],
                      "tokens_per_second": sum(tokens.values()) / seconds}))


if __name__ == "__main__":
    main()
