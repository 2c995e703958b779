"""What holding answers to a schema costs: 16 realms stream at once, free and under a JSON Schema, alternating.

Usage: bench/structured_output.py [--rounds N]. Prints one JSON object.
"""

import argparse
import json
import statistics
import time

from server_load import Server, at_once, stream

STREAMS = 16
TOKENS = 96
PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "story": {"type": "string"}},
          "required": ["name", "age", "story"], "additionalProperties": False}
PEOPLE = {"type": "array", "items": PERSON, "minItems": 20}
FORM = {"response_format": {"type": "json_schema", "json_schema": {"name": "people", "schema": PEOPLE, "strict": True}}}


def round_of(port, keys, number, form):
    """Tokens per second of all streams together, from the first token of each on."""

    def work(i):
        began = time.monotonic()
        times, usage = stream(port, keys[i], f"List people of town {i}, part {number}.", TOKENS, extra=form)
        return usage["completion_tokens"], began + times[0], began + times[-1]

    answers = at_once(STREAMS, work)
    return sum(tokens for tokens, _, _ in answers) / (max(end for _, _, end in answers) - min(begin for _, begin, _ in answers))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    server = Server("--ctx", "1024", "--max-realms", str(STREAMS))
    try:
        keys = [server.key(f"customer-{i}") for i in range(STREAMS)]
        free, held = [], []
        for number in range(rounds + 1):
            pair = round_of(server.port, keys, number, {}), round_of(server.port, keys, number, FORM)
            if number > 0:
                free.append(pair[0])
                held.append(pair[1])
    finally:
        server.stop()
    ratios = [b / a for a, b in zip(free, held)]
    print(json.dumps({"tokens_per_second_free": statistics.median(free), "tokens_per_second_held": statistics.median(held),
                      "ratio": statistics.median(ratios)}))


if __name__ == "__main__":
    main()
