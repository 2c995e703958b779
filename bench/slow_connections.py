"""A thousand connections, 900 of them slow: what the other 100 see of it, against the same 100 alone.

A third of the slow ones send their head a byte a second, a third their body, a third read their answer's stream a few bytes a second. A
connection that the server ends is opened again. The hundred take turns, with a few requests in flight at once.

Usage: bench/slow_connections.py [--seconds N] [--slow N]. Prints one JSON object.
"""

import argparse
import http.client
import itertools
import json
import socket
import statistics
import threading
import time

from server_load import Server, percentile

QUICK = 100
IN_FLIGHT = 4
BODY = json.dumps({"messages": [{"role": "user", "content": "Say something short."}], "max_tokens": 4}).encode()
# Few tokens and many bytes: what is measured is connections, not a batch of 300 sequences.
LONG = json.dumps({"messages": [{"role": "user", "content": "Count."}], "max_tokens": 12, "ignore_eos": True, "stream": True,
                   "logprobs": True, "top_logprobs": 20}).encode()
SETTLE_S_MAX = 120  # in which the slow ones' answers are computed
KINDS = ("head", "body", "reader")


class Slow:
    """All the slow connections, driven by one thread."""

    def __init__(self, port, keys, count):
        self.port, self.keys, self.count = port, keys, count
        self.opened, self.reopened = 0, dict.fromkeys(KINDS, 0)
        self.stopping = threading.Event()
        self.sockets = [self._open(i) for i in range(count)]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _head(self, number, length):
        key = self.keys[number % len(self.keys)]
        return f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n".encode()

    def _open(self, number):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.connect(("127.0.0.1", self.port))
        kind = KINDS[number % len(KINDS)]
        if kind == "reader":
            sock.sendall(self._head(number, len(LONG)) + b"\r\n" + LONG)
        else:
            sock.sendall(self._head(number, 4_096) + (b"\r\n{" if kind == "body" else b""))
        sock.setblocking(False)
        self.opened += 1
        return sock

    def _touch(self, number):
        """One slow step; a connection that has ended is opened again."""
        sock, kind = self.sockets[number], KINDS[number % len(KINDS)]
        try:
            if kind == "reader":
                ended = sock.recv(64) == b""
            else:
                sock.send(b"x" if kind == "head" else b" ")
                ended = False
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            sock.close()
            self.sockets[number] = self._open(number)
            self.reopened[kind] += 1

    def _run(self):
        while not self.stopping.is_set():
            began = time.monotonic()
            for number in range(self.count):
                self._touch(number)
                if number % 30 == 29:
                    time.sleep(0.001)
            self.stopping.wait(max(0.0, 1 - (time.monotonic() - began)))

    def stop(self):
        self.stopping.set()
        self.thread.join(30)
        for sock in self.sockets:
            sock.close()


def settle(server):
    """Until every answer is computed: what is compared is connections, and not a batch of 300."""
    end = time.monotonic() + SETTLE_S_MAX
    quiet = 0
    while quiet < 5:
        if time.monotonic() > end:
            raise SystemExit(f"after {SETTLE_S_MAX} s the slow readers' answers are still being computed")
        time.sleep(1)
        quiet = 0 if server.metric("realm_num_sequences_running", "realm_num_requests_waiting") else quiet + 1


def quick_requests(port, key, seconds):
    """Latencies of requests that go round the hundred kept connections."""
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(QUICK)]
    turn, taking, latencies, failures = itertools.cycle(range(QUICK)), threading.Lock(), [], []
    free = [threading.Lock() for _ in range(QUICK)]
    end = time.monotonic() + seconds

    def work():
        while time.monotonic() < end:
            with taking:
                number = next(turn)
            with free[number]:
                began = time.monotonic()
                connections[number].request("POST", "/v1/chat/completions", BODY, {"Authorization": f"Bearer {key}"})
                answer = connections[number].getresponse()
                answer.read()
                latencies.append(time.monotonic() - began)
                if answer.status != 200:
                    failures.append(answer.status)

    threads = [threading.Thread(target=work) for _ in range(IN_FLIGHT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in connections:
        connection.close()
    return {"p50_ms": 1e3 * statistics.median(latencies), "p99_ms": 1e3 * percentile(latencies, 0.99), "requests": len(latencies),
            "failures": len(failures)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--slow", type=int, default=900)
    options = parser.parse_args()
    server = Server("--max-realms", "64")
    try:
        quick = server.key("quick")
        slow_keys = [server.key(f"slow-{i}", "--concurrent-requests-max", "1000") for i in range(16)]
        quick_requests(server.port, quick, 3)
        alone = quick_requests(server.port, quick, options.seconds)
        slow = Slow(server.port, slow_keys, options.slow)
        settle(server)
        beside = quick_requests(server.port, quick, options.seconds)
        slow.stop()
        again = quick_requests(server.port, quick, options.seconds)
    finally:
        server.stop()
    p99_alone = statistics.mean([alone["p99_ms"], again["p99_ms"]])
    print(json.dumps({"slow_connections": options.slow, "reopened": slow.reopened, "p99_ratio": beside["p99_ms"] / p99_alone,
                      "alone": alone, "beside_the_slow": beside, "alone_again": again}))


if __name__ == "__main__":
    main()
