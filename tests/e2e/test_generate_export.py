"""The export `generate` of realm.wasm, called as an embedder calls it: docs/programs.md, realm.wasm.

The embedder is a function that is added to the text of realm.wasm and exported as `handle`. It puts the prompt of a bare request,
which has no other fields, into memory that realm_alloc returned, and emits what it reads at the result. Random bytes are fixed, so that
the native request with that seed has the same answer.
"""

import re
import subprocess

import pytest

SEED = 7
OPTIONS = ("--ctx", 256)  # the answer goes on until the context is full, or the model ends it
PROMPT_BEFORE, PROMPT_AFTER = len('{"prompt":"'), len('"}')


def imported(wat: str, name: str) -> int:
    return int(re.search(rf'\(import "realm" "{name}" \(func \(;(\d+);\)', wat)[1])


def exported(wat: str, name: str) -> int:
    return int(re.search(rf'\(export "{name}" \(func (\d+)\)\)', wat)[1])


@pytest.fixture(scope="module")
def embedder(realm, tmp_path_factory):
    """Runs realm.wasm with the embedder around it."""
    folder = tmp_path_factory.mktemp("generate")
    source, program = folder / "embedder.wat", folder / "embedder.wasm"
    subprocess.run(["wasm2wat", realm.program, "-o", source], check=True)
    wat = source.read_text()
    added = f"""
  (func $fixed_random (param $bytes i32) (param $count i32) (result i32)
    (i64.store (local.get $bytes) (i64.const {SEED}))
    (i32.const 0))
  (func $embedder (result i32) (local $prompt i32) (local $size i32) (local $result i32) (local $length i32)
    (local.set $size (i32.sub (call {imported(wat, "input_size")}) (i32.const {PROMPT_BEFORE + PROMPT_AFTER})))
    (local.set $prompt (call {exported(wat, "realm_alloc")} (local.get $size)))
    (drop (call {imported(wat, "input_read")} (local.get $prompt) (local.get $size) (i32.const {PROMPT_BEFORE})))
    (local.set $result (call {exported(wat, "generate")} (local.get $prompt) (local.get $size)))
    (local.set $length (i32.load align=1 (local.get $result)))
    (drop (call {imported(wat, "emit")} (i32.const 1) (i32.add (local.get $result) (i32.const 4)) (local.get $length)))
    ;; The byte after the text: `handle` fails with anything but zero.
    (i32.load8_u offset=4 (i32.add (local.get $result) (local.get $length))))
  (export "handle" (func $embedder))
"""
    text = re.sub(rf"(?m)^( +call) {imported(wat, 'random')}$", r"\1 $fixed_random", wat)
    text = re.sub(r'\(export "handle" \(func \d+\)\)', lambda _: added, text)
    source.write_text(text)
    subprocess.run(["wat2wasm", source, "-o", program], check=True)
    return {"args": ("--program", program, "--raw"), "env": {"XDG_CACHE_HOME": str(folder)}}


@pytest.mark.parametrize("prompt", ["What is the capital of France?", "Wie heißt die Hauptstadt von 日本? 🗼 " * 9])
def test_result_is_the_answer_of_the_native_request(realm, embedder, prompt):
    native = realm.answer(*OPTIONS, "--seed", SEED, prompt)
    assert native["completion_tokens"] >= 4
    boxed = realm.answer(*OPTIONS, *embedder["args"], prompt, env=embedder["env"])
    for name in ("text", "prompt_tokens", "completion_tokens"):
        assert boxed[name] == native[name]


def test_prompt_that_is_no_text_is_refused(realm, embedder):
    message = realm.refusal("run", *embedder["args"], stdin=b"caf\xe9", env=embedder["env"])
    assert "prompt" in message and "UTF-8" in message


def test_realm_wasm_begins_after_its_start(realm):
    listed = subprocess.run(["wasm-objdump", "-x", "-j", "Export", realm.program], capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r'-> "(\w+)"', listed))
    assert names == {"memory", "handle", "generate", "render", "realm_alloc", "realm_abi_v1"}, "no constructors are left to run"
