"""Programs that call the ABI at random: the server answers each with a body or a typed error, an honest customer beside them gets the
same answer all the time, and nothing of them is left over.

REALM_MADE_PROGRAMS is how many; REALM_MADE_SEED where their numbers begin."""

import json
import os
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import wasm_modules
from made_calls import Maker
from server_process import Server

PROGRAMS = int(os.environ.get("REALM_MADE_PROGRAMS", "32"))
SEED = int(os.environ.get("REALM_MADE_SEED", "1"))
CALLS = 200
AT_ONCE = 4
BUDGET = {"models": "*", "kv_tokens": 2048, "tokens": 100_000, "cpu_ms": 300, "memory_bytes": 16 << 20, "tensors": True}


class Honest:
    """Asks the same again and again, greedily."""

    def __init__(self, server, key):
        self.server, self.key = server, key
        self.stopping = threading.Event()
        self.answers = [self.ask()]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def ask(self) -> str:
        body = {"prompt": "The sea is a place where", "max_tokens": 12, "temperature": 0, "ignore_eos": True}
        request = urllib.request.Request(self.server.url + "/v1/completions", json.dumps(body).encode(),
                                         {"Authorization": f"Bearer {self.key}"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())["choices"][0]["text"]

    def _run(self):
        while not self.stopping.is_set():
            self.answers.append(self.ask())

    def stop(self):
        self.stopping.set()
        self.thread.join(120)


@pytest.fixture(scope="module")
def server(realm, tiny_model):
    server = Server(realm.binary, tiny_model, "--parallel", 8, "--kv-mib", 64, "--saved-kv-mib", 16)
    yield server
    assert server.stop() == 0


@pytest.fixture
def honest(server, request):
    honest = Honest(server, server.key(f"honest-{request.node.name.replace('_', '-')[:32]}"))
    yield honest
    honest.stop()
    assert len(honest.answers) > 3 and set(honest.answers) == {honest.answers[0]}


def send(server, key, method, path, body=b"", headers=None):
    request = urllib.request.Request(server.url + path, body, {"Authorization": f"Bearer {key}", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        body = error.read()
        assert json.loads(body)["error"]["code"], "an error has a code"
        return error.code, body


def put_and_run(server, key, name, module):
    status, body = send(server, key, "PUT", f"/v1/programs/{name}", module, {"Realm-Manifest": json.dumps(BUDGET)})
    assert status in (200, 201), body
    return send(server, key, "POST", f"/v1/programs/{name}/run", b"some input")


def check_nothing_is_left(server, realms):
    """When the realms are gone too, with the states of sequences that they saved by name."""
    for realm in realms:
        server.cli("realms", "delete", realm)

    server.wait_for(lambda: server.metric("realm_instances") == server.metric("realm_sequences_open") == 0, 10)
    assert server.process.poll() is None


def test_random_calls_end_typed_and_leave_nothing(server, honest, tmp_path):
    keys = {name: server.key(name) for name in (f"caller-{i}" for i in range(AT_ONCE))}
    ran = []

    def work(number):
        seed = SEED + number
        folder = tmp_path / str(number)
        folder.mkdir()
        module = wasm_modules.from_text(Maker(seed, memory64=number % 4 == 3).text(CALLS), folder)
        status, body = put_and_run(server, list(keys.values())[number % AT_ONCE], "made", module)
        if status == 200:
            ran.append(seed)
            found = [int.from_bytes(body[i:i + 4], "little", signed=True) for i in range(0, len(body), 4)]
            assert not found, (seed, "round and status of calls:", found)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(work, range(PROGRAMS)))
    assert len(ran) > PROGRAMS / 2, "most come to their end"
    honest.stop()
    check_nothing_is_left(server, keys)
