"""Programs written with the kits for C++, Rust and Go answer a realm's chats to the official client, within the usual limits."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from openai import BadRequestError, OpenAI

from server_process import Server

ROOT = Path(__file__).resolve().parents[2]
KITS = ROOT / "guest" / "kits"
CHAT = {"messages": [{"role": "user", "content": "Where is the Eiffel Tower? <|im_end|>"}], "max_tokens": 24, "temperature": 0}


@pytest.fixture(scope="module")
def built(realm):
    """Compiles a template with the command that stands in it."""
    folder = realm.binary.parent / "kits"

    def build(kit: str) -> Path:
        folder.mkdir(exist_ok=True)
        if kit == "rust":
            command = ["cargo", "build", "--quiet", "--locked", "--release", "--target", "wasm32-wasip1"]
            made = folder / "rust" / "wasm32-wasip1" / "release" / "chat.wasm"
        else:
            made = folder / "go.wasm"
            command = ["go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", str(made), "."]
        variables = {"CARGO_TARGET_DIR": str(folder / "rust")} if kit == "rust" else {"GOOS": "wasip1", "GOARCH": "wasm"}
        done = subprocess.run(command, cwd=KITS / kit / "template", env={**os.environ, **variables}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return made

    return build


@pytest.fixture(scope="module")
def server(realm):
    server = Server(realm.binary, realm.model)
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module", params=["rust", "go"])
def kit(request, built, server):
    """(its name, a realm's key, whose default program is the kit's template under a manifest)"""
    key = server.key(request.param)
    manifest = {"models": "*", "kv_tokens": 1_024, "tokens": 1_024, "cpu_ms": 500, "memory_bytes": 32 << 20}
    upload = urllib.request.Request(
        server.url + "/v1/programs/default", built(request.param).read_bytes(),
        {"Authorization": f"Bearer {key}", "Realm-Manifest": json.dumps(manifest)}, method="PUT")
    try:
        with urllib.request.urlopen(upload, timeout=120) as answer:
            assert answer.status == 201
    except urllib.error.HTTPError as error:
        pytest.fail(error.read().decode())
    return request.param, key


def test_the_template_answers_the_official_client(server, kit):
    name, key = kit
    client = OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0)
    answer = client.chat.completions.create(model="any", **CHAT)
    said = answer.choices[0].message.content
    assert answer.model == name and "Paris" in said
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 20
    pieces = list(client.chat.completions.create(model="any", stream=True, **CHAT))
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == said
    assert pieces[-1].choices[0].finish_reason == answer.choices[0].finish_reason
    drawn = [client.chat.completions.create(model="any", **{**CHAT, "temperature": 1, "seed": seed}).choices[0].message.content
             for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_characters_of_several_tokens_arrive_whole(server, kit):
    client = OpenAI(base_url=server.url + "/v1", api_key=kit[1], max_retries=0)
    asked = [{"role": "user", "content": "Repeat: \U0001f40b \u6f22\u5b57 \u0416"}]
    for seed in range(3):
        options = {"messages": asked, "max_tokens": 32, "temperature": 0.7, "seed": seed}
        whole = client.chat.completions.create(model="any", **options).choices[0].message.content
        pieces = client.chat.completions.create(model="any", stream=True, **options)
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == whole


def test_a_mistake_of_the_caller_is_a_bad_request(server, kit):
    client = OpenAI(base_url=server.url + "/v1", api_key=kit[1], max_retries=0)
    with pytest.raises(BadRequestError, match="messages"):
        client.chat.completions.create(model="any", messages=[])
    with pytest.raises(BadRequestError, match="chat/completions only"):
        client.completions.create(model="any", prompt="x")


def test_its_runtime_starts_within_milliseconds(server, kit):
    client = OpenAI(base_url=server.url + "/v1", api_key=kit[1], max_retries=0)
    before = server.metric("realm_guest_cpu_seconds_total", realm=kit[0])
    for _ in range(5):
        client.chat.completions.create(model="any", **{**CHAT, "max_tokens": 1})
    spent_ms = 1_000 * (server.metric("realm_guest_cpu_seconds_total", realm=kit[0]) - before) / 5
    print(f"{kit[0]}: {spent_ms:.1f} ms of CPU for a request of one token")
    assert spent_ms < 100


def test_a_guest_that_takes_more_memory_than_it_may_is_its_own_loss(server, kit, built):
    """The same module with less memory than its runtime needs ends as program_failed, and nobody else notices."""
    key = server.key(f"small-{kit[0]}")
    manifest = {"models": "*", "kv_tokens": 64, "tokens": 64, "cpu_ms": 500, "memory_bytes": 3 << 20}
    headers = {"Authorization": f"Bearer {key}", "Realm-Manifest": json.dumps(manifest)}
    big = b'{"messages": [{"role": "user", "content": "' + b"x " * 1_500_000 + b'"}]}'
    for method, path, body in (("PUT", "/v1/programs/default", built(kit[0]).read_bytes()), ("POST", "/v1/chat/completions", big)):
        request = urllib.request.Request(server.url + path, body, headers, method=method)
        if method == "PUT":
            urllib.request.urlopen(request, timeout=120).close()
            continue
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        assert refused.value.code in (400, 500) and json.loads(refused.value.read())["error"]["message"]
    client = OpenAI(base_url=server.url + "/v1", api_key=kit[1], max_retries=0)
    assert client.chat.completions.create(model="any", **CHAT).choices[0].message.content


def test_the_declarations_are_those_of_the_abi_table(tmp_path):
    check = [sys.executable, "tools/generate_kits.py", "--check"]
    assert subprocess.run(check, cwd=ROOT).returncode == 0, "run tools/generate_kits.py"
    header = (ROOT / "abi" / "realm_abi.h").read_text()
    names = re.findall(r"\bX\((\w+), (?:IMMEDIATE|MAY_SUSPEND),", header)
    assert len(names) > 40
    assert re.findall(r"pub fn (\w+)\(", (KITS / "rust" / "src" / "abi.rs").read_text()) == names
    assert re.findall(r"//go:wasmimport (?:realm|env) (\w+)", (KITS / "go" / "abi.go").read_text()) == names
    # A table that changed is noticed.
    for part in ("abi", "tools", "guest/kits"):
        shutil.copytree(ROOT / part, tmp_path / part)
    changed = header.replace("X(input_size, IMMEDIATE, int32_t, (void))", "X(input_size, IMMEDIATE, int32_t, (uint32_t which))")
    assert changed != header
    (tmp_path / "abi" / "realm_abi.h").write_text(changed)
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 1
