"""Programs that realms bring, through the running server: uploaded, run, versioned, limited, and harmless to others."""

import hashlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from openai import OpenAI

import wasm_modules as modules
from server_process import Server

CHAT = {"messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": 8}


def call(server, key, method, path, body=None, **headers):
    """Status, body, content type."""
    sent = {"Authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(server.url + path, body, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers["Content-Type"]


def put(server, key, name, module, manifest=None):
    headers = {"realm_manifest": json.dumps(manifest)} if manifest is not None else {}
    status, body, _ = call(server, key, "PUT", f"/v1/programs/{name}", module, **headers)
    return status, json.loads(body)


def run(server, key, name, body=b"", version=None):
    return call(server, key, "POST", f"/v1/programs/{name}/run" + (f"?version={version}" if version else ""), body)


def code_of(body) -> str:
    return json.loads(body)["error"]["code"]


@pytest.fixture(scope="module")
def server(realm, tiny_model):
    server = Server(realm.binary, tiny_model, "--max-realms", 64)
    yield server
    assert server.stop() == 0


@pytest.fixture
def acme(server, request):
    return server.key(request.node.name[:100].translate(str.maketrans("[]", "--")))


@pytest.fixture
def text(tmp_path):
    return lambda source: modules.from_text(source, tmp_path)


def test_a_program_is_uploaded_listed_run_and_deleted(server, acme, text):
    module = text(modules.saying("good day"))
    status, shown = put(server, acme, "greeter", module)
    assert status == 201 and shown["version"] == hashlib.sha256(module).hexdigest() and shown["bytes"] == len(module)
    assert run(server, acme, "greeter", b"anything")[:2] == (200, b"good day")
    assert json.loads(call(server, acme, "GET", "/v1/programs/greeter")[1]) == shown
    assert json.loads(call(server, acme, "GET", "/v1/programs")[1])["data"] == [shown]
    assert put(server, acme, "greeter", module)[0] == 200
    assert call(server, acme, "DELETE", "/v1/programs/greeter")[0] == 200
    assert run(server, acme, "greeter")[0] == 404
    assert json.loads(call(server, acme, "GET", "/v1/programs")[1])["data"] == []


def test_a_program_reads_bytes_and_answers_as_it_likes(server, acme, text):
    echo = text(modules.program("""(local $bytes i32)
      (local.set $bytes (call $input_read (i32.const 0) (i32.const 65536) (i32.const 0)))
      (drop (call $respond (i32.const 202) (i32.const 4)))
      (drop (call $emit (i32.const 3) (i32.const 0) (local.get $bytes))) (i32.const 0)"""))
    assert put(server, acme, "echo", echo)[0] == 201
    sent = bytes(range(256)) * 8
    assert run(server, acme, "echo", sent) == (202, sent, "application/octet-stream")
    events = text(modules.program("""(drop (call $respond (i32.const 200) (i32.const 2)))
      (drop (call $emit (i32.const 4) (i32.const 0) (i32.const 5)))
      (drop (call $emit (i32.const 4) (i32.const 0) (i32.const 5))) (i32.const 0)""", more='(data (i32.const 0) "a\\none")'))
    assert put(server, acme, "events", events)[0] == 201
    status, body, content_type = run(server, acme, "events")
    assert status == 200 and content_type.startswith("text/event-stream") and body == b"event: a\ndata: one\n\n" * 2


def test_its_own_program_answers_a_realms_chats(realm, tmp_path):
    """The official client talks to the realm's own code; another realm's chats stay what they were."""
    server = Server(realm.binary, realm.model)
    try:
        key, other = server.key("acme"), server.key("other")
        before = OpenAI(base_url=server.url + "/v1", api_key=key).chat.completions.create(model="", **CHAT)
        module = modules.from_cpp(modules.SHOUT, tmp_path)
        assert put(server, key, "default", module)[0] == 201
        client = OpenAI(base_url=server.url + "/v1", api_key=key)
        said = client.chat.completions.create(model="shout", **CHAT).choices[0].message.content
        assert len(said) > 10 and said == said.upper() and said != said.lower()
        pieces = client.chat.completions.create(model="shout", stream=True, **CHAT)
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == said
        others = OpenAI(base_url=server.url + "/v1", api_key=other).chat.completions.create(model="", **CHAT)
        assert others.model == before.model and others.usage.completion_tokens > 0
        assert call(server, key, "DELETE", "/v1/programs/default")[0] == 200
        assert client.chat.completions.create(model="", **CHAT).model == before.model
    finally:
        assert server.stop() == 0


def test_a_foreign_program_looks_like_a_missing_one(server, acme, text):
    other = server.key("a-stranger")
    assert put(server, acme, "secret", text(modules.saying("mine")))[0] == 201

    def seen(name):
        answers = [call(server, other, method, f"/v1/programs/{name}{path}", body)
                   for method, path, body in (("GET", "", None), ("DELETE", "", None), ("POST", "/run", b""))]
        return [(status, {**json.loads(body)["error"], "request_id": None}) for status, body, _ in answers]

    assert seen("secret") == seen("missing") and [status for status, _ in seen("secret")] == [404] * 3
    assert json.loads(call(server, other, "GET", "/v1/programs")[1])["data"] == []
    assert run(server, acme, "secret")[1] == b"mine"


def test_versions_by_hash(server, acme, text):
    first = put(server, acme, "one", text(modules.saying("first")))[1]["version"]
    second = put(server, acme, "one", text(modules.saying("second")))[1]["version"]
    assert run(server, acme, "one")[1] == b"second"
    assert run(server, acme, "one", version=first)[1] == b"first"
    assert run(server, acme, "one", version="0" * 64)[0] == 404 and run(server, acme, "one", version="x")[0] == 400
    shown = json.loads(call(server, acme, "GET", "/v1/programs/one")[1])
    assert [one["version"] for one in shown["versions"]] == [second, first]
    assert put(server, acme, "one", text(modules.saying("first")))[0] == 200
    assert run(server, acme, "one")[1] == b"first"
    assert call(server, acme, "DELETE", f"/v1/programs/one?version={first}")[0] == 200
    assert run(server, acme, "one")[1] == b"second" and run(server, acme, "one", version=first)[0] == 404


def test_a_restart_keeps_programs(realm, start_server, text, tmp_path):
    cold = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    server = start_server(env=cold)
    key = server.key("acme")
    put(server, key, "one", text(modules.saying("still here")), {"cpu_ms": 100, "memory_bytes": 1 << 20})
    server.stop(9)
    again = start_server(data=server.data, env=cold)
    assert run(again, key, "one")[1] == b"still here"
    again.stop()
    for code in (tmp_path / "cache" / "realm" / "code").glob("*.cwasm"):
        code.unlink()
    third = start_server(data=server.data, env=cold)
    assert run(third, key, "one")[1] == b"still here", "compiled again, from the module that was stored"
    shown = json.loads(call(third, key, "GET", "/v1/programs/one")[1])
    assert shown["manifest"] == {"cpu_ms": 100, "memory_bytes": 1 << 20}


HOSTILE_TEXT = {
    "memory-over-the-cap": modules.program(memory='(memory (export "memory") 2000)'),
    "table-over-the-cap": modules.program(more="(table 100000000 funcref)"),
    "wrong-signature": '(module (import "realm" "input_size" (func (param i64) (result i64))) (memory (export "memory") 1)'
                       ' (func (export "realm_abi_v1")) (func (export "handle") (result i32) (i32.const 0)))',
    "unknown-import": modules.program().replace('"seq_append"', '"seq_steal"'),
    "imported-memory": '(module (import "env" "memory" (memory 1)))',
    "no-memory": modules.program(memory="(memory 1)"),
    "not-a-program": '(module (memory (export "memory") 1))',
    "other-abi": modules.program().replace("realm_abi_v1", "realm_abi_v9"),
    "threads": modules.program(memory='(memory (export "memory") 1 1 shared)'),
    "multi-memory": modules.program(more="(memory 1)"),
    "gc": modules.program(more="(type (struct (field i32)))"),
    "exceptions": modules.program(more="(tag)"),
    "10000-imports": "(module" + '(import "realm" "input_size" (func (result i32)))' * 10_000 + ")",
}
HOSTILE_BYTES = {
    "huge-data": lambda: b"\0asm\1\0\0\0" + modules.section(5, b"\1\0\1") + b"\x0b\xff\xff\xff\xff\x0f",
    "malformed-section": lambda: b"\0asm\1\0\0\0\1\xff\xff\xff\xff\x0f",
    "custom-page-size": lambda: b"\0asm\1\0\0\0" + modules.section(5, b"\1\x08\1\0"),
    "component": lambda: b"\0asm\x0d\0\1\0",
    "native-code": lambda: b"\x7fELF" + bytes(1_000),
    "empty": lambda: b"",
    "text": lambda: b"(module)",
}


@pytest.fixture(scope="module")
def neighbour(server):
    """A realm that goes on chatting while others do harm."""
    key = server.key("neighbour")
    done, answers = threading.Event(), []

    def chat():
        while not done.is_set():
            answers.append(call(server, key, "POST", "/v1/chat/completions", json.dumps(CHAT).encode())[0])

    thread = threading.Thread(target=chat)
    thread.start()
    yield answers
    done.set()
    thread.join()
    assert len(answers) > 3 and set(answers) == {200}


@pytest.mark.parametrize("case", [*HOSTILE_TEXT, *HOSTILE_BYTES])
def test_a_hostile_module_is_refused_and_costs_nobody_else(server, acme, text, neighbour, case):
    module = text(HOSTILE_TEXT[case]) if case in HOSTILE_TEXT else HOSTILE_BYTES[case]()
    status, body = put(server, acme, "hostile", module)
    print(case, body)
    assert status == 422 and body["error"]["code"] == "program_refused", body
    assert len(body["error"]["message"]) > 10
    assert json.loads(call(server, acme, "GET", "/v1/programs")[1])["data"] == []
    before = len(neighbour)
    server.wait_for(lambda: len(neighbour) > before, 60)


def test_a_start_function_that_loops_ends_with_its_request(server, acme, text, neighbour):
    looping = text(modules.program(more="(func $loop (loop (br 0))) (start $loop)"))
    assert put(server, acme, "loop", looping, {"cpu_ms": 200, "memory_bytes": 1 << 20})[0] == 201
    status, body, _ = run(server, acme, "loop")
    assert status == 500 and code_of(body) == "program_failed" and "200 ms of CPU" in json.loads(body)["error"]["message"]


def test_what_a_manifest_does_not_name_is_denied(server, acme, text):
    """The program's exit tells how far it came: 1 no model, 2 no sequence, 3 no tokens."""
    tries = text(modules.program("""(local $model i32) (local $sequence i32)
      (local.set $model (call $model_open (i32.const 0) (i32.const 0)))
      (if (i32.lt_s (local.get $model) (i32.const 0)) (then (return (i32.const 1))))
      (local.set $sequence (call $seq_open (local.get $model) (i32.const 16)))
      (if (i32.lt_s (local.get $sequence) (i32.const 0)) (then (return (i32.const 2))))
      (if (i32.lt_s (call $seq_append (local.get $sequence) (i32.const 64) (i32.const 4)) (i32.const 0)) (then (return (i32.const 3))))
      (i32.const 0)""", more="""(data (i32.const 16) "\\20\\00\\00\\00\\01\\00\\00\\00")
      (data (i32.const 64) "\\01\\00\\00\\00\\01\\00\\00\\00\\01")"""))
    model = json.loads(call(server, acme, "GET", "/v1/models")[1])["data"][0]["id"]
    base = {"cpu_ms": 1_000, "memory_bytes": 1 << 20}
    for manifest, came_to in (({}, 1), ({"models": ["another"]}, 1), ({"models": [model]}, 2), ({"models": "*", "kv_tokens": 31}, 2),
                              ({"models": "*", "kv_tokens": 32, "tokens": 3}, 3), ({"models": [model], "kv_tokens": 32, "tokens": 4}, 0),
                              (None, 0)):
        status, body = put(server, acme, "tries", tries, None if manifest is None else {**base, **manifest})
        assert status in (200, 201), body
        status, body, _ = run(server, acme, "tries")
        said = "" if status == 200 else json.loads(body)["error"]["message"]
        assert (said == "") if came_to == 0 else said.endswith(f"returned {came_to}"), (manifest, said)


def test_weights_are_there_for_a_program_whose_manifest_names_them(server, acme, text):
    """The program's exit tells whether it may: the bits are is_enabled, a tensor, a product of floats."""
    tries = text(modules.program("""(local $model i32)
      (local.set $model (call $model_open (i32.const 0) (i32.const 0)))
      (i32.or (call $enabled) (i32.or
        (i32.shl (i32.gt_s (call $tensor (local.get $model) (i32.const 64) (i32.const 18)) (i32.const 0)) (i32.const 1))
        (i32.shl (i32.eqz (call $product (i32.const 256) (i32.const 4) (i32.const 256) (i32.const 4) (i32.const 512) (i32.const 4)
                                         (i32.const 2) (i32.const 2) (i32.const 2))) (i32.const 2))))""", memory="""
      (import "env" "memory64_is_enabled" (func $enabled (result i32)))
      (import "env" "memory64_tensor" (func $tensor (param i32 i32 i32) (result i32)))
      (import "env" "candle_matmul" (func $product (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 64) "output_norm.weight")"""))
    base = {"models": "*", "cpu_ms": 1_000, "memory_bytes": 1 << 20}
    for manifest, may in ((base, 0), ({**base, "tensors": False}, 0), ({**base, "tensors": True}, 7), (None, 7)):
        status, body = put(server, acme, "tries", tries, manifest)
        assert status in (200, 201), body
        status, body, _ = run(server, acme, "tries")
        said = "returned 0" if status == 200 else json.loads(body)["error"]["message"]
        assert said.endswith(f"returned {may}"), (manifest, said)
    assert put(server, acme, "tries", tries, {**base, "tensors": 1})[0] == 422


def test_a_bad_manifest_is_refused(server, acme, text):
    module = text(modules.saying("x"))
    good = {"cpu_ms": 10, "memory_bytes": 1 << 20}
    for manifest in ({}, {"cpu_ms": 10}, {**good, "files": 1}, {**good, "tokens": -1}, {**good, "tokens": "many"}, {**good, "models": "x"},
                     {**good, "models": [1]}, {**good, "models": ["../x"]}, {**good, "cpu_ms": 0}, []):
        status, body = put(server, acme, "one", module, manifest)
        assert status == 422 and "manifest" in body["error"]["message"], manifest
    status, body = put(server, acme, "one", module, {"cpu_ms": 10, "memory_bytes": 1_000})
    assert status == 422 and "memory" in body["error"]["message"]


def test_limits_of_a_realm(server, text):
    module = text(modules.saying("x"))
    limits = {"--program-bytes-max": len(module), "--programs-max": 2, "--program-stored-bytes-max": 3 * len(module)}
    small = server.key("small", *(str(part) for limit in limits.items() for part in limit))
    assert put(server, small, "one", module + b"\0")[0] == 413
    assert put(server, small, "one", module)[0] == 201 and put(server, small, "two", module)[0] == 201
    status, body = put(server, small, "three", module)
    assert status == 507 and "programs_max" in body["error"]["message"]
    assert put(server, small, "one", text(modules.saying("y")))[0] == 201
    status, body = put(server, small, "one", text(modules.saying("z")))
    assert status == 507 and "program_stored_bytes_max" in body["error"]["message"]
    assert put(server, small, "../x", module)[0] == 404 and put(server, small, "a%20b", module)[0] == 422
    assert put(server, server.cli("keys", "create")["key"], "one", module)[0] == 403


def test_an_upload_counts_as_a_request(server, text):
    slow = server.key("slow", "--requests-per-minute", "2")
    module = text(modules.saying("x"))
    assert [put(server, slow, "one", module)[0] for _ in range(3)] == [201, 200, 429]


def test_uploads_at_once_have_a_bound(server, acme):
    """Two uploads that never end take the realm's places; other realms have theirs, and the places come back."""
    host, port = server.url.removeprefix("http://").split(":")
    head = f"PUT /v1/programs/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {acme}\r\nContent-Length: 100\r\n\r\n".encode()
    sockets = [socket.create_connection((host, int(port))) for _ in range(2)]
    for one in sockets:
        one.sendall(head)
    server.wait_for(lambda: put(server, acme, "y", b"x")[0] == 429)
    assert put(server, server.key("has-places"), "y", b"x")[0] == 422
    for one in sockets:
        one.close()
    server.wait_for(lambda: put(server, acme, "y", b"x")[0] == 422)


def test_without_a_realm_there_are_no_programs(start_server, text):
    status, body = put(start_server(), "none", "one", text(modules.saying("x")))
    assert status == 403 and "realm" in body["error"]["message"]


def test_a_megabyte_is_live_soon(server, acme):
    module = modules.of_size(5_200, 14)
    began = time.monotonic()
    assert put(server, acme, "large", module)[0] == 201
    assert run(server, acme, "large")[0] == 200
    print(f"a module of {len(module)} bytes answered {time.monotonic() - began:.2f} s after its upload began")


def test_commands(realm, server, text, tmp_path):
    key = server.key("commands")
    file = tmp_path / "greeter.wasm"
    file.write_bytes(text(modules.saying("good day")))
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{\n "cpu_ms": 100,\n "memory_bytes": 1048576\n}')
    checked = json.loads(realm.run("programs", "check", file, "--json").stdout)
    assert checked["problems"] == [] and "realm.emit" in checked["imports"] and "handle" in checked["exports"]
    pushed = server.cli("programs", "push", file, "--realm", "commands", "--manifest", manifest)
    assert pushed["name"] == "greeter" and pushed["manifest"]["cpu_ms"] == 100
    customer = ("--endpoint", server.url, "--api-key", key)
    assert realm.run("programs", "run", "greeter", *customer, stdin=b"hello").stdout == b"good day"
    assert server.cli("programs", "run", "greeter", "--realm", "commands")["body"] == "good day"
    assert server.cli("programs", "list", "--realm", "commands")["data"] == [pushed]
    assert "greeter" in realm.run("programs", "list", *customer).stdout.decode()
    assert "no such program" in realm.refusal("programs", "rm", "missing", *customer)
    assert server.cli("programs", "rm", "greeter", "--realm", "commands") == {"deleted": "greeter"}
    assert "does not exist" in realm.refusal("programs", "list", "--realm", "nobody", "--data", server.data)
    assert "no server" in realm.refusal("programs", "list", "--data", tmp_path)
    file.write_bytes(b"nonsense")
    bad = realm.run("programs", "check", file)
    assert bad.returncode == 1 and b"not a WebAssembly module" in bad.stdout


def test_the_socket_alone_makes_an_operator(server, text):
    """Over TCP the header that names a realm has no effect."""
    owner = server.key("socket-owner")
    assert put(server, owner, "mine", text(modules.saying("mine")))[0] == 201
    assert len(server.cli("programs", "list", "--realm", "socket-owner")["data"]) == 1
    stranger = server.key("socket-stranger")
    assert json.loads(call(server, stranger, "GET", "/v1/programs", Realm_Name="socket-owner")[1])["data"] == []


def test_metrics(server, acme, text):
    compiled = server.metric("realm_program_compiles_total", outcome="ok")
    refused = server.metric("realm_program_compiles_total", outcome="refused")
    put(server, acme, "one", text(modules.saying(acme[:8])))
    put(server, acme, "two", b"\0asm\1\0\0\0")
    assert server.metric("realm_program_compiles_total", outcome="ok") == compiled + 1
    assert server.metric("realm_program_compiles_total", outcome="refused") == refused + 1
    assert server.metric("realm_programs_loaded") > 0 and server.metric("realm_programs") > 0
