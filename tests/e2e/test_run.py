"""`realm run` with a prompt: what it prints, and what it says to bad input."""

import json
import os
import pty
import re
import subprocess

import pytest

QUESTION = "What is the capital of France? Answer in one short sentence."


def test_answer_alone_is_on_stdout(realm):
    done = realm.run("run", "--temp", "0", "-n", "24", QUESTION)
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout.decode()
    assert done.stderr == b""


def test_json_has_the_names_that_scripts_rely_on(realm):
    answer = realm.answer("-n", "8", "--temp", "0", QUESTION)
    types = {
        "text": str, "finish_reason": str, "prompt_tokens": int, "cached_tokens": int, "completion_tokens": int,
        "ttft_ms": float, "tokens_per_second": float, "memory_bytes": int,
    }
    assert {name: type(answer[name]) for name in types} == types
    assert answer["prompt_tokens"] > 10 and answer["completion_tokens"] <= 8 and answer["memory_bytes"] > 50_000_000
    assert answer["ttft_ms"] > 0 and answer["tokens_per_second"] > 0


def test_length_limit_is_told(realm):
    answer = realm.answer("-n", "5", "--ignore-eos", "Count to one hundred.")
    assert answer["finish_reason"] == "length" and answer["completion_tokens"] == 5


def test_end_of_the_answer_is_told(realm):
    answer = realm.answer("--temp", "0", "-n", "200", QUESTION)
    assert answer["finish_reason"] == "stop" and answer["completion_tokens"] < 200


def test_stop_string_ends_the_answer_before_it(realm):
    answer = realm.answer("--temp", "0", "-n", "40", "--stop", "Paris", QUESTION)
    assert answer["finish_reason"] == "stop" and "Paris" not in answer["text"] and answer["text"].startswith("The capital")


def test_greedy_is_repeatable(realm):
    first, second = (realm.answer("--temp", "0", "-n", "20", "Tell me a story.")["text"] for _ in range(2))
    assert first == second and len(first) > 20


def test_seed_decides_the_draw(realm):
    draw = lambda seed: realm.answer("--temp", "1.5", "--seed", seed, "-n", "16", "Tell me a story.")["text"]
    assert draw(1) == draw(1) != draw(2)


def test_system_message_reaches_the_model(realm):
    without = realm.answer("-n", "1", "--temp", "0", "Hello")
    with_system = realm.answer("-n", "1", "--temp", "0", "--system", "You are a pirate who answers in rhymes only.", "Hello")
    assert with_system["prompt_tokens"] != without["prompt_tokens"]


def test_raw_prompt_goes_without_the_template(realm):
    assert realm.answer("--raw", "-n", "2", "one two three")["prompt_tokens"] == 3


def test_piped_input_is_the_prompt_or_follows_it(realm):
    alone = realm.answer("-n", "1", "--temp", "0", stdin=b"Hello there")
    argument = realm.answer("-n", "1", "--temp", "0", "Hello there")
    both = realm.answer("-n", "1", "--temp", "0", "Summarise:", stdin=b"Hello there")
    assert alone["prompt_tokens"] == argument["prompt_tokens"] < both["prompt_tokens"]


def test_realms_answer_together_and_totals_add_up(realm):
    answer = realm.answer("--realms", "4", "-n", "12", "--ignore-eos", "Tell me about whales.")
    results = answer["results"]
    assert [result["realm"] for result in results] == ["realm-1", "realm-2", "realm-3", "realm-4"]
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens"):
        assert answer[name] == sum(result[name] for result in results)
    assert all(result["completion_tokens"] == 12 for result in results)
    assert answer["memory_bytes_per_realm"] > 0


def test_realms_print_a_table(realm):
    done = realm.run("run", "--realms", "2", "-n", "4", "Hello")
    text = done.stdout.decode()
    assert done.returncode == 0 and "realm-1" in text and "realm-2" in text and "together" in text and "MiB" in text
    assert done.stderr == b""


def test_realms_show_on_a_terminal_how_far_they_are(realm):
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [realm.binary, "run", "--realms", "3", "-n", "64", "--ignore-eos", "Tell me about whales."], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=inside, env={**os.environ, "REALM_MODEL": str(realm.model)})
    os.close(inside)
    seen = b""
    try:
        while piece := os.read(terminal, 65536):
            seen += piece
    except OSError:  # the other end was closed
        pass
    os.close(terminal)
    table, _ = process.communicate(timeout=240)
    assert process.returncode == 0 and b"together" in table and b"\033" not in table
    counts = [int(tokens) for tokens in re.findall(rb"[0-3] of 3 realms done, (\d+) tokens, \d+\.\d tokens/s", seen)]
    assert counts == sorted(counts) and 0 < counts[-1] <= 3 * 64
    assert seen.endswith(b"\r\033[K")


def test_more_realms_than_streams(realm):
    answer = realm.answer("--realms", "40", "--ctx", "256", "-n", "2", "--ignore-eos", "Hi")
    assert answer["completion_tokens"] == 80


def test_version_and_help(realm):
    assert realm.run("--version").stdout.startswith(b"realm ")
    text = realm.run("run", "--help").stdout.decode()
    assert "--realms" in text and "Examples" in text


def test_interrupt_ends_quietly(realm):
    process = subprocess.Popen(
        [realm.binary, "run", "--ignore-eos", "Tell me a very long story."], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "REALM_MODEL": str(realm.model)})
    assert process.stdout.read(1)
    process.send_signal(2)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1 and b"cancelled" in error


def test_closed_stdout_ends_it(realm):
    process = subprocess.Popen(
        [realm.binary, "run", "--ignore-eos", "Tell me a very long story."], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "REALM_MODEL": str(realm.model)})
    assert process.stdout.read(1)
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == b""


# -- bad input: one clear line, the right exit code


@pytest.mark.parametrize("arguments", [
    ("run", "--temp", "nan", "x"), ("run", "--temp", "-1", "x"), ("run", "--top-p", "0", "x"), ("run", "--top-p", "1.5", "x"),
    ("run", "--min-p", "2", "x"), ("run", "-n", "0", "x"), ("run", "--threads", "0", "x"), ("run", "--realms", "0", "x"),
    ("run", "--realms", "1001", "x"), ("run", "--backend", "abacus", "x"), ("run", "--nonsense"), ("nonsense",), (),
])
def test_wrong_usage_is_exit_code_2(realm, arguments):
    done = realm.run(*arguments)
    assert done.returncode == 2
    assert done.stdout == b"" and len(done.stderr.decode().splitlines()) == 1


@pytest.mark.parametrize("arguments", [("nonsense",), ("realms", "nonsense")])
def test_a_command_that_there_is_not_is_named(realm, arguments):
    assert "nonsense: no such command" in realm.refusal(*arguments, code=2)


def test_no_prompt_is_wrong_usage(realm):
    assert "prompt" in realm.refusal("run", code=2)


def test_missing_model_is_named(realm):
    assert "/nowhere/x.gguf" in realm.refusal("run", "--model", "/nowhere/x.gguf", "hi")


@pytest.mark.parametrize("content, word", [(b"", ""), (b"no gguf at all" * 100, "GGUF"), (b"GGUF" + b"\xff" * 1000, "")])
def test_what_is_no_model_is_refused(realm, tmp_path, content, word):
    file = tmp_path / "bad.gguf"
    file.write_bytes(content)
    message = realm.refusal("run", "--model", file, "hi")
    assert "bad.gguf" in message and word in message


def test_truncated_model_is_refused(realm, tmp_path):
    file = tmp_path / "short.gguf"
    file.write_bytes(realm.model.read_bytes()[:60_000_000])
    message = realm.refusal("run", "--model", file, "hi")
    assert "short.gguf" in message and "truncated" in message


def test_folder_is_no_model(realm, tmp_path):
    assert str(tmp_path) in realm.refusal("run", "--model", tmp_path, "hi")


def test_prompt_beyond_the_context_names_both_numbers(realm):
    message = realm.refusal("run", "--ctx", "256", "word " * 600)
    assert "631" in message and "256" in message


def test_invalid_utf8_is_refused(realm):
    assert "UTF-8" in realm.refusal("run", stdin=b"\xff\xfe broken")


def test_backend_that_is_not_there_says_what_is(realm):
    message = realm.refusal("run", "--backend", "cuda", "hi")
    assert "cuda" in message and "cpu" in message


def test_context_beyond_the_model_is_refused(realm):
    assert "context" in realm.refusal("run", "--ctx", "1000000", "hi")


def wat(tmp_path, text):
    source, target = tmp_path / "program.wat", tmp_path / "program.wasm"
    source.write_text(text)
    subprocess.run(["wat2wasm", source, "-o", target], check=True)
    return target


def test_missing_program_is_named(realm):
    assert "/nowhere/realm.wasm" in realm.refusal("run", "--program", "/nowhere/realm.wasm", "hi")


def test_foreign_program_is_refused(realm, tmp_path):
    file = tmp_path / "realm.wasm"
    file.write_bytes(b"not wasm at all")
    assert "WebAssembly" in realm.refusal("run", "--program", file, "hi")
    program = wat(tmp_path, '(module (func (export "handle") (result i32) (i32.const 0)))')
    assert "realm_abi_v1" in realm.refusal("run", "--program", program, "hi")


def test_program_of_another_version_is_refused(realm, tmp_path):
    program = wat(tmp_path, '(module (func (export "realm_abi_v9")) (func (export "handle") (result i32) (i32.const 0)))')
    message = realm.refusal("run", "--program", program, "hi")
    assert "version 9" in message and "version 1" in message


def test_unknown_import_is_named(realm, tmp_path):
    program = wat(tmp_path, '(module (import "realm" "seq_teleport" (func)) (func (export "realm_abi_v1")))')
    assert "realm.seq_teleport" in realm.refusal("run", "--program", program, "hi")


def test_cache_that_cannot_be_written_is_only_a_warning(realm, tmp_path):
    (tmp_path / "realm").write_text("a file where the folder should be")
    done = realm.run("run", "-n", "2", "--temp", "0", "hi", env={"XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 0 and done.stdout
    assert b"warning" in done.stderr


def test_full_disk_leaves_no_half_file(realm, tmp_path):
    # A file size limit is what a full disk looks like to a writer. It holds for the image of a program's memory too, which is smaller.
    done = subprocess.run(
        ["bash", "-c", 'trap "" XFSZ; ulimit -f 2048; exec "$0" run -n 2 --temp 0 hi', realm.binary],
        capture_output=True, stdin=subprocess.DEVNULL, timeout=240,
        env={**os.environ, "REALM_MODEL": str(realm.model), "XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert b"warning" in done.stderr
    assert list((tmp_path / "realm" / "code").iterdir()) == []


def test_not_enough_memory_is_an_error(realm):
    done = subprocess.run(
        ["bash", "-c", 'ulimit -v 3000000; exec "$0" run -n 2 hi', realm.binary], capture_output=True, stdin=subprocess.DEVNULL,
        timeout=240, env={**os.environ, "REALM_MODEL": str(realm.model)})
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert lines and lines[-1].startswith("realm: "), done.stderr


def test_doctor_finds_everything_in_order(realm):
    done = realm.run("doctor")
    text = done.stdout.decode()
    assert done.returncode == 0, text
    assert "not ok" not in text and text.count("ok ") >= 8
    assert "a trap is caught" in text and "an endless loop is stopped" in text and "a memory hog is stopped" in text


def test_four_attacks_are_stopped_while_a_neighbour_is_served(realm, tiny_model):
    done = realm.run("doctor", "--attacks", "--json", "--model", tiny_model)
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["ok"], report
    told = {attack["name"]: attack["how"] for attack in report["attacks"]}
    assert list(told) == ["out-of-bounds access", "infinite loop", "memory hog", "a try at the device"]
    assert "out of bounds" in told["out-of-bounds access"] and "200 ms of CPU" in told["infinite loop"]
    assert "64 MiB of memory" in told["memory hog"] and "path_open" in told["a try at the device"]
    for attack in report["attacks"]:
        assert attack["stopped"] and attack["times"] > 0 and 0 < attack["ms"] < 5_000
        assert 0 < attack["neighbour_p50_ms"] <= attack["neighbour_p99_ms"]
    assert 0 < report["alone_p50_ms"] <= report["alone_p99_ms"]
    shown = realm.run("doctor", "--attacks", "--model", tiny_model).stdout.decode()
    assert "not ok" not in shown and all(name in shown for name in told)


def test_doctor_finds_a_broken_model(realm, tmp_path):
    file = tmp_path / "bad.gguf"
    file.write_bytes(b"nonsense")
    done = realm.run("doctor", "--model", file)
    assert done.returncode == 1 and b"not ok model" in done.stdout
