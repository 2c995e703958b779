"""The small durable store that a realm's programs have: what is put is there, within bounds, for that realm alone, after any crash."""

import json
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

from server_process import Server
from wasm_modules import GUEST_CXX, ROOT

LIMIT, NOT_FOUND, INVALID, UNSUPPORTED = -4, -5, -1, -9
BASE = {"cpu_ms": 2_000, "memory_bytes": 32 << 20}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    made = tmp_path_factory.mktemp("store") / "store.wasm"
    subprocess.run([*GUEST_CXX, ROOT / "tests" / "server" / "store_calls.cpp", "-o", made], cwd=ROOT, check=True)
    return made


class Store:
    """A realm whose program carries out store calls."""

    def __init__(self, server, program, realm, *args, manifest=None, key=None):
        self.server = server
        self.key = key or server.key(realm, *args)
        headers = {"Realm-Manifest": json.dumps(manifest)} if manifest else {}
        self.call("PUT", "/v1/programs/store", program.read_bytes(), headers)

    def call(self, method, path, body, headers=None):
        request = urllib.request.Request(self.server.url + path, body, {"Authorization": f"Bearer {self.key}", **(headers or {})},
                                         method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def run(self, *calls):
        return self.call("POST", "/v1/programs/store/run", json.dumps({"calls": calls}).encode())["results"]


@pytest.fixture(scope="module")
def server(realm, tiny_model):
    server = Server(realm.binary, tiny_model)
    yield server
    assert server.stop() == 0


@pytest.fixture
def store(server, program, request):
    return Store(server, program, request.node.name[:100])


def test_what_is_put_is_found_by_later_requests(store):
    assert store.run(["get", "a"], ["list", ""]) == [NOT_FOUND, []]
    assert store.run(["put", "a", "one"], ["get", "a"], ["put", "a", "two"], ["put", "ab", "\u0000 \U0001f40b \n"]) == [0, "one", 0, 0]
    assert store.run(["get", "a"], ["get", "ab"], ["list", ""], ["list", "ab"], ["list", "b"]) == [
        "two", "\u0000 \U0001f40b \n", ["a", "ab"], ["ab"], []]
    assert store.run(["put", "a", ""], ["get", "a"], ["put", "a", ""], ["list", ""]) == [0, NOT_FOUND, 0, ["ab"]]
    large = "x" * 100_000
    assert store.run(["put", "large", large]) == [0] and store.run(["get", "large"]) == [large]


def test_keys_are_listed_in_the_order_of_their_bytes(store):
    keys = ["b", "a", "\u00e9", "a/2", "a/10", "Z", "a" * 128]
    assert store.run(*(["put", key, "x"] for key in keys)) == [0] * len(keys)
    assert store.run(["list", ""], ["list", "a/"]) == [sorted(keys, key=str.encode), ["a/10", "a/2"]]


def test_odd_arguments_are_refused(store):
    assert store.run(["get", ""], ["put", "", "x"], ["get", "k" * 129], ["put", "k" * 129, "x"], ["get", "k"]) == [
        INVALID, INVALID, INVALID, INVALID, NOT_FOUND]
    assert store.run(["fill", "k", (1 << 20) + 1, "x"], ["list", ""]) == [LIMIT, []]


def test_a_realms_bytes_are_bounded(server, program):
    store = Store(server, program, "bounded", "--store-bytes-max", "1000")
    refused = server.metric("realm_store_puts_refused_total")
    assert store.run(["fill", "a", 500, "a"], ["fill", "b", 400, "b"], ["fill", "b", 300, "b"]) == [0, LIMIT, 0]
    assert server.metric("realm_store_puts_refused_total") == refused + 1
    # A value counts itself, its key and 64 bytes: 565 + 365 are taken.
    assert store.run(["fill", "c", 6, "c"], ["fill", "c", 5, "c"], ["fill", "c", 6, "c"], ["get", "c"]) == [LIMIT, 0, LIMIT, "ccccc"]
    assert store.run(["put", "a", ""], ["fill", "c", 100, "c"], ["list", ""]) == [0, 0, ["b", "c"]]
    assert server.cli("realms", "show", "bounded")["limits"]["store_bytes_max"] == 1_000


def test_a_requests_puts_are_bounded(store):
    assert store.run(*(["put", "a", str(i)] for i in range(258))) == [0] * 256 + [LIMIT] * 2
    assert store.run(["get", "a"]) == ["255"]


def test_a_manifest_that_names_no_store_denies_it(server, program):
    store = Store(server, program, "denied", manifest=BASE)
    assert store.run(["put", "a", "x"], ["get", "a"]) == [LIMIT, LIMIT]
    small = Store(server, program, "denied", manifest={**BASE, "store_bytes": 200}, key=store.key)
    assert small.run(["fill", "a", 135, "x"], ["fill", "b", 1, "x"], ["get", "a"]) == [0, LIMIT, "x" * 135]


def test_a_realm_sees_nothing_of_another_ones(server, program):
    one, other = Store(server, program, "one"), Store(server, program, "other")
    assert one.run(["put", "secret", "mine"]) == [0]
    assert other.run(["get", "secret"], ["list", ""], ["put", "secret", ""], ["put", "secret", "theirs"]) == [NOT_FOUND, [], 0, 0]
    assert one.run(["get", "secret"], ["list", ""]) == ["mine", ["secret"]]
    server.cli("realms", "delete", "one")
    assert Store(server, program, "one").run(["get", "secret"]) == [NOT_FOUND], "a new realm of the same name is another one"
    assert other.run(["get", "secret"]) == ["theirs"]


def test_requests_at_once_see_whole_values(store):
    """Sixteen writers of one key: a reader never sees half of a value."""
    values = [chr(ord("a") + i) * 20_000 for i in range(16)]
    seen = []
    writers = [threading.Thread(target=lambda c=value[0]: store.run(*[["fill", "shared", 20_000, c]] * 8)) for value in values]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        seen += store.run(["get", "shared"])
    for thread in writers:
        thread.join()
    assert store.run(["get", "shared"])[0] in values
    assert all(value == NOT_FOUND or value in values for value in seen) and len(seen) > 0


def test_what_was_put_outlives_a_kill(realm, start_server, program):
    """Ended by kill -9 while it puts, again and again: every value whose put has returned is there."""
    server = start_server()
    key = server.key("acme")
    done = 0
    for _ in range(3):
        store = Store(server, program, "acme", key=key)
        answered = []

        def put(first=done):
            try:
                for i in range(first, first + 10_000):
                    answered.append((i, store.run(["put", f"key-{i % 50}", str(i)])))
            except (urllib.error.URLError, ConnectionError, json.JSONDecodeError, OSError):
                return

        writer = threading.Thread(target=put)
        writer.start()
        server.wait_for(lambda: len(answered) > 20)
        server.stop(9)
        writer.join()
        assert all(result == [0] for _, result in answered)
        done = answered[-1][0] + 1
        server = start_server(data=server.data)
        store = Store(server, program, "acme", key=key)
        last = {f"key-{i % 50}": str(i) for i in range(done)}
        found = {name: store.run(["get", name])[0] for name in last}
        # The one that was not answered may be there too.
        assert {name: value for name, value in found.items() if value != str(done)} == {
            name: value for name, value in last.items() if found[name] != str(done)}


def test_without_a_realm_there_is_no_store(realm, tiny_model, program):
    calls = json.dumps({"calls": [["get", "a"], ["put", "a", "x"]]})
    done = realm.run("run", "--model", tiny_model, "--program", program, "--raw", calls)
    assert json.loads(done.stdout)["results"] == [UNSUPPORTED, UNSUPPORTED], done.stderr.decode()



def test_metrics(server, store):
    before, puts = server.metric("realm_store_bytes"), server.metric("realm_store_puts_total")
    store.run(["fill", "abc", 1_000, "x"], ["get", "abc"])
    assert server.metric("realm_store_bytes") == before + 1_067
    assert server.metric("realm_store_puts_total") == puts + 1 and server.metric("realm_store_reads_total") > 0
