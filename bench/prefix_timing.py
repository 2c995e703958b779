"""Does the time to the first token tell whether another realm has sent this prompt? And the positive control: does it tell an own prompt?

In each round the victim sends a prompt that nobody knows; then the attacker sends either the same one (a hit) or one that nobody has
sent (a miss), in random order, and times the answer's first token. In the control the victim is the attacker itself. AUC is the share
of pairs of a hit and a miss in which the hit was faster: 0.5 tells nothing, 1 tells all.

Usage: bench/prefix_timing.py [--rounds N] [--words N]. Prints one JSON object.
"""

import argparse
import json
import random

from server_load import Server, percentile, stream

WORDS = "amber basalt cedar delta ember fjord garnet heron iris jasper kelp lagoon maple nectar opal pebble quartz reed slate".split()


def prompt(words):
    return " ".join(random.choices(WORDS, k=words))


def auc(hits, misses):
    """Mann-Whitney's U over the number of pairs; a tie counts half."""
    wins = sum((hit < miss) + 0.5 * (hit == miss) for hit in hits for miss in misses)
    return wins / (len(hits) * len(misses))


def first_token_s(server, key, text):
    return stream(server.port, key, text, 1)[0][0]


def probe(server, attacker, victim, words, rounds):
    """Times of hits and misses. With `victim` the attacker itself, hits are its own."""
    times = {"hit": [], "miss": []}
    for kind in random.sample(["hit", "miss"] * rounds, 2 * rounds):
        secret = prompt(words)
        first_token_s(server, victim, secret)
        times[kind].append(first_token_s(server, attacker, secret if kind == "hit" else prompt(words)))
    return times


def figures_of(times):
    return {"auc": auc(times["hit"], times["miss"]), "hit_p50_ms": 1e3 * percentile(times["hit"], 0.5),
            "miss_p50_ms": 1e3 * percentile(times["miss"], 0.5), "probes": len(times["hit"]) + len(times["miss"])}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=300, help="hits, and as many misses")
    parser.add_argument("--words", type=int, default=200)
    options = parser.parse_args()
    random.seed(1)
    server = Server()
    try:
        attacker, victim = server.key("attacker"), server.key("victim")
        probe(server, attacker, victim, options.words, 3)
        of_another = probe(server, attacker, victim, options.words, options.rounds)
        own = probe(server, attacker, attacker, options.words, max(10, options.rounds // 10))
    finally:
        server.stop()
    print(json.dumps({"prompt_words": options.words, "prompt_of_another_realm": figures_of(of_another), "own_prompt": figures_of(own)}))


if __name__ == "__main__":
    main()
