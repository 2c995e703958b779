"""One server, a victim that streams from it all the time, and hostile realms beside it."""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from server_process import Server

VICTIM = Path(__file__).with_name("victim.py")
RESTORED_WITHIN_S = 1.0
RESIDENT_SLACK_BYTES = 32 << 20  # allocator and caches; a guest's memory is twice that
WINDOW_S = 2  # when the victim is measured: an attack is repeated for so long, and so long is it left alone before
ATTACK_EVERY_S = 0.04  # at most: a client that spins takes a core from the server, which is not what the guest does
ROUNDS = 3  # of both, unless a case has many attacks; the ratio is the median of all
GAPS_MIN = 30  # fewer say nothing about a 99th percentile

BUDGET = {"kv_tokens": 2048, "tokens": 100_000, "cpu_ms": 200, "memory_bytes": 64 << 20}


@dataclass
class Answer:
    status: int
    body: bytes
    seconds: float

    @property
    def error(self) -> dict:
        return json.loads(self.body)["error"]

    @property
    def numbers(self) -> list[int]:
        """What $note of a program in text took down."""
        assert self.status == 200, self.body
        return [int.from_bytes(self.body[i:i + 4], "little", signed=True) for i in range(0, len(self.body), 4)]

    @property
    def outcome(self) -> str:
        return f"{self.status}" if self.status < 400 else f"{self.status} {self.error['code']}"


class Victim:
    """The times at which it got its tokens, read by a thread as they come."""

    def __init__(self, server, key, model, tokens=300):
        self.process = subprocess.Popen([sys.executable, VICTIM, str(server.port), key, model, str(tokens)], stdout=subprocess.PIPE)
        self.times = []
        self.failures = 0
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            with self.lock:
                self.failures += line == b"-1\n"
                self.times.append(max(int(line), 0))

    def count(self) -> int:
        with self.lock:
            return len(self.times)

    def gaps_ms(self, begin_ns, end_ns) -> list[float]:
        """Between tokens of one answer, of which the second came in this time."""
        with self.lock:
            times = self.times[:]
        return [(b - a) / 1e6 for a, b in zip(times, times[1:]) if a and begin_ns <= b <= end_ns]

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def p99(gaps) -> float | None:
    return statistics.quantiles(gaps, n=100)[98] if len(gaps) >= GAPS_MIN else None


class World:
    def __init__(self, binary, model, data, measures: bool):
        kv_mib = 360 if measures else 4  # some 16,000 tokens of the small model, or of the tiny one
        # Few cached prefixes, so that they do not look like memory that a guest has kept.
        self.server = Server(binary, model, "--max-realms", 64, "--write-timeout-ms", 2_000, "--kv-mib", kv_mib, "--saved-kv-mib", 16,
                             data=data)
        self.measures = measures
        self.model = model.stem
        try:
            self._begin()
        except BaseException:
            self.server.stop(signal.SIGKILL)
            raise

    def _begin(self):
        self.operator = self.server.cli("keys", "create")["key"]
        self.victim_key = self.server.key("victim")
        for name in ("private", self.model):
            # What is made at the first use is there before anything is measured.
            long = b'"prompt": "%s", "max_tokens": 1' % (b"x " * 1_100)
            for path, body in (("completions", long), ("embeddings", b'"input": ["x", "y", "z", "x y z"]')):
                assert self.call(self.victim_key, "POST", f"/v1/{path}", b'{"model": "%s", %s}' % (name.encode(), body)).status == 200
        self.victim = Victim(self.server, self.victim_key, self.model)
        enough = 1_200 if self.measures else 20  # tokens: the victim's own prefixes are in the cache
        self.server.wait_for(lambda: self.victim.count() > enough, 60)

    def call(self, key, method, path, body=None, headers=None) -> Answer:
        request = urllib.request.Request(self.server.url + path, body, {"Authorization": f"Bearer {key}", **(headers or {})}, method=method)
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        return Answer(status, content, time.monotonic() - began)

    def status(self) -> dict:
        return json.loads(self.server.get("/admin/v1/status", self.operator))

    def resident_bytes(self) -> int:
        """Without pages of files: the model's come as tokens are first looked up, whoever has them."""
        lines = Path(f"/proc/{self.server.process.pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))

    def alive(self) -> bool:
        return self.server.process.poll() is None

    def stop(self) -> int:
        self.victim.stop()
        return self.server.stop()


@dataclass
class Case:
    """One hostile guest: its realm, what it did, how it ended."""

    world: World
    number: int
    key: str
    resident_before: int = 0
    seconds: list = field(default_factory=list)
    ratios: list = field(default_factory=list)
    outcome: str = ""
    restored_s: float | None = None

    @property
    def realm(self) -> str:
        return f"case-{self.number}"

    def put(self, module: bytes, manifest=BUDGET, name="hostile") -> Answer:
        headers = {"Realm-Manifest": json.dumps({"models": [self.world.model], **manifest})}
        return self.world.call(self.key, "PUT", f"/v1/programs/{name}", module, headers)

    def upload(self, module: bytes, manifest=BUDGET, name="hostile"):
        answer = self.put(module, manifest, name)
        assert answer.status in (200, 201), answer.body

    def run(self, body=b"", name="hostile") -> Answer:
        return self.world.call(self.key, "POST", f"/v1/programs/{name}/run", body)

    def attack(self, action):
        """Does it, once or, when the victim is measured, again and again; the answer of the last time."""
        answer = self._measured(action) if self.world.measures else self._timed(action)
        if isinstance(answer, Answer):
            self.outcome = answer.outcome
        return answer

    def _measured(self, action):
        for _ in range(max(1, ROUNDS - len(self.ratios))):
            before = p99(self._gaps_alone())
            began_ns = time.monotonic_ns()
            while time.monotonic_ns() - began_ns < WINDOW_S * 1e9:
                answer = self._timed(action)
                time.sleep(max(0.0, ATTACK_EVERY_S - self.seconds[-1]))
            during = p99(self.world.victim.gaps_ms(began_ns, time.monotonic_ns()))
            if before and during:
                self.ratios.append(during / before)
        return answer

    def _timed(self, action):
        began = time.monotonic()
        answer = action()
        self.seconds.append(time.monotonic() - began)
        return answer

    def _gaps_alone(self):
        began = time.monotonic_ns()
        time.sleep(WINDOW_S)
        return self.world.victim.gaps_ms(began, time.monotonic_ns())

    def left_over(self) -> list[str]:
        """What the guest still holds."""
        held = []
        for row in self.world.status()["realms"]:
            if row["name"] == self.realm:
                counts = ("requests_running", "sequences_active", "sequences_waiting", "kv_tokens_reserved")
                held += [f"{name} {row[name]}" for name in counts if row[name] > 0]
        if (instances := self.world.server.metric("realm_instances")) > 1:
            held.append(f"instances {instances}")
        if (opened := self.world.server.metric("realm_sequences_open")) > 1:
            held.append(f"sequences open {opened}")
        resident = self.world.resident_bytes()
        if resident > self.resident_before + RESIDENT_SLACK_BYTES:
            held.append(f"resident bytes {resident} after {self.resident_before}")
        return held

    def check_restored(self):
        began = time.monotonic()
        while (held := self.left_over()) and time.monotonic() - began < RESTORED_WITHIN_S:
            time.sleep(0.02)
        assert not held, held
        self.restored_s = time.monotonic() - began

    def check_neighbours(self):
        assert self.world.alive()
        seen = self.world.victim.count()
        self.world.server.wait_for(lambda: self.world.victim.count() > seen + 20, 20)
        assert self.world.victim.failures == 0

    def record(self, title: str):
        path = os.environ.get("REALM_ISOLATION_RESULTS")
        if path:
            row = {"case": self.number, "title": title, "outcome": self.outcome, "seconds": statistics.median(self.seconds),
                   "ratio": statistics.median(self.ratios) if self.ratios else None, "restored_s": self.restored_s}
            with open(path, "a") as file:
                file.write(json.dumps(row) + "\n")


def open_request(world: World, key: str, path: str, body: bytes = b"") -> socket.socket:
    """Sends a request whose answer nobody reads yet."""
    connection = socket.create_connection(("127.0.0.1", world.server.port))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection
