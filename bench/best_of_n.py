"""Best of 8 by forks against 8 requests of the same prompt at once, each of a realm of its own with n = 1 (guest/examples/best_of_n.cpp).

Usage: bench/best_of_n.py [--rounds N]. Prints one JSON object.
"""

import argparse
import json
import os
import statistics
import time
import urllib.request
from pathlib import Path

from server_load import Server, at_once

N = 8
TOKENS = 32
PROMPT = ("The lighthouse stood at the end of the old pier, and every evening the keeper climbed its ninety steps with a can of oil. "
          "He had no family left in the village, but the fishermen waved when they came home, and that was enough for him. ") * 19


def call(port, key, method, path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Authorization": f"Bearer {key}"}, method=method)
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.loads(answer.read())


def tokens_per_second(port, keys, number, n):
    """Of the answers of `keys` together, n each."""

    def work(i):
        body = {"prompt": f"{number}. {PROMPT}", "n": n, "max_tokens": TOKENS, "seed": 100 * number + i}
        return call(port, keys[i], "POST", "/v1/programs/best_of_n/run", json.dumps(body).encode())["tokens"]

    began = time.monotonic()
    tokens = at_once(len(keys), work)
    return sum(tokens) / (time.monotonic() - began)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    program = (Path(os.environ["REALM_PROGRAM"]).parent / "examples" / "best_of_n.wasm").read_bytes()
    server = Server("--ctx", "2048", "--max-realms", "16")
    try:
        keys = [server.key(f"customer-{i}") for i in range(N)]
        for key in keys:
            call(server.port, key, "PUT", "/v1/programs/best_of_n", program)
        forked, separate = [], []
        for number in range(rounds):
            forked.append(tokens_per_second(server.port, keys[:1], 2 * number, N))
            separate.append(tokens_per_second(server.port, keys, 2 * number + 1, 1))
        tokens = len(call(server.port, keys[0], "POST", "/tokenize", json.dumps({"content": PROMPT}).encode())["tokens"])
    finally:
        server.stop()
    print(json.dumps({"prompt_tokens": tokens, "answers": N, "tokens_per_second_forked": statistics.median(forked),
                      "tokens_per_second_separate": statistics.median(separate),
                      "ratio": statistics.median(a / b for a, b in zip(forked, separate))}))


if __name__ == "__main__":
    main()
