"""One realm keeps long prompts or many long answers in flight, another streams short ones: what the second one loses.

Usage: bench/flood.py [--seconds N], or flood_of_answers.py; REALM_BINARY and REALM_MODEL as `make bench` sets them. Prints one JSON object.
"""

import argparse
import http.client
import json
import statistics
import threading
import time

from server_load import Server, percentile, stream

FLOOD_PROMPTS = 15
FLOOD_WORDS = 1_500
FLOOD_ANSWERS = 31
FLOOD_ANSWER_TOKENS = 256
VICTIM_TOKENS = 48


def victim(port, key, seconds):
    """Short streams one after the other: tokens per second, TTFT, time between tokens."""
    ends, first, between, tokens = time.monotonic() + seconds, [], [], 0
    began, number = time.monotonic(), 0
    while time.monotonic() < ends:
        number += 1
        times, _ = stream(port, key, f"Tell me fact number {number} about the sea.", VICTIM_TOKENS)
        first.append(times[0])
        between += [b - a for a, b in zip(times, times[1:])]
        tokens += len(times)
    return {"tokens_per_second": tokens / (time.monotonic() - began), "ttft_ms_p50": 1e3 * statistics.median(first),
            "ttft_ms_p99": 1e3 * percentile(first, 0.99), "itl_ms_p50": 1e3 * statistics.median(between),
            "itl_ms_p99": 1e3 * percentile(between, 0.99), "streams": number}


def prompt_words(number):
    return " ".join(f"{word}{number * 7 % 911}" for word in ("wave", "rope", "salt", "gull", "tide") * (FLOOD_WORDS // 5))[:8_000]


def answer(port, key, prompt, tokens):
    """Not streamed: the flood's own process would otherwise be in the victim's way."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "ignore_eos": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {key}"})
    connection.getresponse().read()
    connection.close()


class Flood:
    """Keeps long prompts, or many answers, in flight."""

    def __init__(self, port, key, of):
        self.stopping = threading.Event()
        self.number = 0
        self.lock = threading.Lock()
        count = FLOOD_PROMPTS if of == "prompts" else FLOOD_ANSWERS
        self.threads = [threading.Thread(target=self._run, args=(port, key, of), daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, port, key, of):
        while not self.stopping.is_set():
            with self.lock:
                self.number += 1
                number = self.number
            try:
                if of == "prompts":
                    stream(port, key, prompt_words(number), 4, self.stopping)
                else:
                    answer(port, key, f"Tell me story number {number}.", FLOOD_ANSWER_TOKENS)
            except OSError:
                pass

    def stop(self):
        self.stopping.set()


class TokenRate:
    """Tokens of prompts, or of answers, computed per second from now on."""

    def __init__(self, server, of):
        self.server = server
        self.name = "realm_batch_prefill_tokens_total" if of == "prompts" else "realm_batch_decode_tokens_total"
        self.began, self.before = time.monotonic(), server.metric(self.name)

    def __call__(self):
        return (self.server.metric(self.name) - self.before) / (time.monotonic() - self.began)


def main(of="prompts"):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30)
    seconds = parser.parse_args().seconds
    server = Server()
    try:
        keys = {name: server.key(name) for name in ("victim", "flood")}
        victim(server.port, keys["victim"], 3)
        solo = victim(server.port, keys["victim"], seconds / 2)
        flood = Flood(server.port, keys["flood"], of)
        time.sleep(5)
        rate = TokenRate(server, of)
        beside = victim(server.port, keys["victim"], seconds)
        flood_rate = rate() - (beside["tokens_per_second"] if of == "answers" else 0)
        time.sleep(2)  # until the victim counts as gone
        rate = TokenRate(server, of)
        time.sleep(seconds / 2)
        flood_rate_alone = rate()
        flood.stop()
    finally:
        server.stop()
    kept = beside["tokens_per_second"] / solo["tokens_per_second"]
    print(json.dumps({"solo": solo, "beside_a_flood": beside, "kept": kept,
                      "ttft_p99_ratio": beside["ttft_ms_p99"] / solo["ttft_ms_p99"],
                      "itl_p99_ratio": beside["itl_ms_p99"] / solo["itl_ms_p99"],
                      "flood_tokens_per_second": flood_rate, "flood_alone_tokens_per_second": flood_rate_alone,
                      "flood_kept": flood_rate / flood_rate_alone, "kept_together": kept + flood_rate / flood_rate_alone}))


if __name__ == "__main__":
    main()
