"""Honest and hostile customers together, for SOAK_SECONDS, in rounds. After each round the server has nothing to do, and what it holds is
taken down: memory that stays flat and descriptors that do not grow, for as long as one likes to look. `make soak` calls it for an hour."""

import http.client
import json
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent), str(HERE.parent / "server")]
import wasm_modules
from programs_in_text import program, times
from server_process import Server

ROUNDS = 6
ROUND_S_MAX = 60
WARM_UP = 1 / 3  # of the rounds: caches fill, the allocator finds its size
RESIDENT_SLACK_BYTES = 24 << 20
HONEST, HOSTILE = 4, 4
SAME_TEXT_MIN = 0.99  # of greedy answers: sums in another order may tip a close choice
BUDGET = {"models": "*", "kv_tokens": 2048, "tokens": 10_000, "cpu_ms": 50, "memory_bytes": 64 << 20}

PROGRAMS = {
    "loop": "(loop (br 0)) (i32.const 0)",
    "trap": "(drop (call $respond (i32.const 200) (i32.const 3))) (call $ready) unreachable",
    "memory": "(loop (drop (memory.grow (i32.const 16))) (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536)) (br 0)) (i32.const 0)",
    "forks": "(call $ready) (loop (br_if 0 (i32.gt_s (call $seq_fork (global.get $sequence) (i32.const 4)) (i32.const 0)))) (i32.const 0)",
    "opens": "(local $i i32) " + times(400, "(drop (call $model_open (PTR.const 0) (i32.const 0)))") + "(call $ready) (i32.const 0)",
    "output": """(drop (call $respond (i32.const 200) (i32.const 2)))
                 (loop (drop (call $emit (i32.const 4) (i32.const 0) (i32.const 32768))) (br 0)) (i32.const 0)""",
    "recursion": "(call $deep) (i32.const 0)",
}
DEEP = "(func $deep (call $deep) (call $deep))"


@dataclass
class Quiet:
    """What the server holds when it has nothing to do."""

    seconds: float
    resident_bytes: int
    descriptors: int


def held(process_id: int) -> tuple[int, int]:
    status = Path(f"/proc/{process_id}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) << 10
    return resident, len(os.listdir(f"/proc/{process_id}/fd"))


class Soak:
    def __init__(self, binary, model, folder: Path):
        self.server = Server(binary, model, "--max-realms", 8, "--saved-kv-mib", 8, "--write-timeout-ms", 1_000, "--kv-mib", 8)
        self.modules = {name: wasm_modules.from_text(program(body, DEEP), folder) for name, body in PROGRAMS.items()}
        self.keys = [self.server.key(f"honest-{i}") for i in range(HONEST)]
        self.foes = [self.server.key(f"hostile-{i}") for i in range(HOSTILE)]
        for key in self.foes:
            for name, module in self.modules.items():
                assert self.call(key, "PUT", f"/v1/programs/{name}", module)[0] in (200, 201)
        self.lock = threading.Lock()
        self.answers = self.same = self.attacks = 0
        self.wrong = []
        self.expected = {}
        self.quiet = []

    def call(self, key, method, path, body=None):
        headers = {"Authorization": f"Bearer {key}"}
        if method == "PUT":
            headers["Realm-Manifest"] = json.dumps(BUDGET)
        request = urllib.request.Request(self.server.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (http.client.HTTPException, OSError):  # a body cut short: its program failed, or a reader that was too slow
            return 0, b""

    # -- honest

    def ask(self, key, numbers):
        which = numbers.randrange(12)
        body = {"prompt": f"question {which} " * (1 + which * 3), "max_tokens": 4 + which, "temperature": 0, "ignore_eos": True}
        status, answer = self.call(key, "POST", "/v1/completions", json.dumps(body).encode())
        good = status == 200 and json.loads(answer)["usage"]["completion_tokens"] == body["max_tokens"]
        text = json.loads(answer)["choices"][0]["text"] if good else None
        with self.lock:
            self.answers += 1
            self.same += good and self.expected.setdefault(which, text) == text
            if not good:
                self.wrong.append((status, answer[:200]))

    # -- hostile

    def run_program(self, key, numbers):
        self.call(key, "POST", f"/v1/programs/{numbers.choice(list(PROGRAMS))}/run", b"x" * numbers.randrange(1_000))

    def leave(self, key, numbers):
        """Asks for a lot and reads next to nothing of it."""
        body = json.dumps({"prompt": "a b c", "max_tokens": 2_000, "stream": True, "ignore_eos": True}).encode()
        with self.sent(self.head(key, "/v1/completions", len(body)) + body) as connection:
            connection.recv(numbers.randrange(1, 2_000))

    def break_off(self, key, numbers):
        """A request that ends anywhere."""
        text = self.head(key, "/v1/chat/completions", 500) + b"{" * 300
        with self.sent(text[:numbers.randrange(len(text))]):
            pass

    def talk_nonsense(self, key, numbers):
        odd = [b"\0" * 100, b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"A" * 40_000,
               self.head(key, "/v1/completions", 5_000) + b"[" * 5_000,
               b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"]
        with self.sent(numbers.choice(odd)) as connection:
            connection.recv(1_000)

    def send_grammar(self, key, numbers):
        odd = [{"grammar": "root ::= root"}, {"regex": "(a{1,9000}){1,9000}"}, {"json_schema": {"$ref": "#"}},
               {"prompt": "x" * 300_000}, {"prompt": ["y"] * 5_000}, {"max_tokens": -1}]
        body = {"prompt": "x", "max_tokens": 8, **numbers.choice(odd)}
        self.call(key, "POST", "/v1/completions", json.dumps(body).encode())

    def upload(self, key, numbers):
        name = numbers.choice(list(PROGRAMS))
        module = bytearray(self.modules[name])
        spoilt = numbers.random() < 0.7
        for _ in range(8 if spoilt else 0):
            module[numbers.randrange(len(module))] = numbers.randrange(256)
        self.call(key, "PUT", "/v1/programs/spoilt" if spoilt else f"/v1/programs/{name}", bytes(module))

    def head(self, key, path, length) -> bytes:
        return f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n".encode()

    def sent(self, text: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=30)
        connection.sendall(text)
        return connection

    def attack(self, key, numbers):
        kinds = [self.run_program] * 6 + [self.leave, self.break_off, self.talk_nonsense, self.send_grammar, self.upload]
        try:
            numbers.choice(kinds)(key, numbers)
        except OSError:  # the server had enough of it
            pass
        with self.lock:
            self.attacks += 1

    # -- rounds

    def round(self, number, seconds):
        end = time.monotonic() + seconds

        def work(act, key, seed):
            numbers = random.Random(seed)
            while time.monotonic() < end and self.server.process.poll() is None:
                act(key, numbers)

        actors = [(self.ask, key) for key in self.keys] + [(self.attack, key) for key in self.foes]
        threads = [threading.Thread(target=work, args=(act, key, number * 100 + i)) for i, (act, key) in enumerate(actors)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def become_quiet(self, began):
        server = self.server
        server.wait_for(lambda: server.metric("realm_instances") == 0 and server.metric("realm_sequences_open") == 0, 30)
        fewest = min((one.descriptors for one in self.quiet), default=0)
        deadline = time.monotonic() + 3
        while held(server.process.pid)[1] > fewest and time.monotonic() < deadline:
            time.sleep(0.05)  # connections that were broken off end within the time for a write
        self.quiet.append(Quiet(time.monotonic() - began, *held(server.process.pid)))

    def run(self, seconds, tell=lambda line: None):
        began = time.monotonic()
        for which in range(24):  # what is right, before anybody disturbs
            self.ask(self.keys[0], random.Random(which))
        rounds = max(ROUNDS, round(seconds / ROUND_S_MAX))
        for number in range(rounds):
            self.round(number, seconds / rounds)
            self.become_quiet(began)
            now = self.quiet[-1]
            tell(f"{now.seconds:6.0f} s: {now.resident_bytes / 2**20:7.1f} MiB resident, {now.descriptors} descriptors, "
                 f"{self.answers} answers ({self.answers - self.same} other than the first), {self.attacks} attacks")

    def check(self):
        assert self.server.process.poll() is None, "the server has ended:\n" + "\n".join(self.server.lines[-20:])
        assert not self.wrong, self.wrong[:3]
        assert self.same >= SAME_TEXT_MIN * self.answers, f"{self.same} of {self.answers} greedy answers were the same"
        assert self.attacks > HOSTILE * len(self.quiet)
        warm = self.quiet[max(1, int(len(self.quiet) * WARM_UP)) - 1:]
        early, late = warm[:max(2, len(warm) // 3)], warm[-max(2, len(warm) // 3):]
        grown = statistics.median(one.resident_bytes for one in late) - statistics.median(one.resident_bytes for one in early)
        assert grown < RESIDENT_SLACK_BYTES, f"resident memory grew by {grown / 2**20:.1f} MiB: {self.quiet}"
        assert min(one.descriptors for one in late) <= min(one.descriptors for one in early), f"descriptors grew: {self.quiet}"


def main():
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(os.environ["REALM_BINARY"]), Path(os.environ["REALM_TINY_MODEL"]), Path(folder))
        try:
            soak.run(float(os.environ.get("SOAK_SECONDS", "3600")), lambda line: print(line, flush=True))
            soak.check()
        finally:
            code = soak.server.stop()
        assert code == 0, f"the server ended with exit code {code}"


if __name__ == "__main__":
    main()
