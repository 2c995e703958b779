"""Modules that are made to be hard to compile, or to be something else than a program: refused in the child that reads them."""

import random
import subprocess
import time
from pathlib import Path

import wasm_modules as modules
from programs_in_text import program

CHILD_S = 12  # of CPU it gets 10
GENERATED = 24


def refused(case, module: bytes, name: str):
    answer = case.attack(lambda: case.put(module))
    assert answer.outcome == "422 program_refused" and len(answer.error["message"]) > 10, (name, answer.body)


def test_10_a_compile_bomb_costs_its_child_only(case):
    for name, module in (("br_table", modules.br_table_bomb()), ("functions", modules.many_functions(900_000)),
                         ("data", b"\0asm\1\0\0\0" + modules.section(5, b"\1\0\1") + b"\x0b\xff\xff\xff\xff\x0f"),
                         ("data of 15 MiB", b"\0asm\1\0\0\0" + modules.section(5, b"\1\0\1")
                          + modules.section(11, b"\1\0\x41\0\x0b" + modules.leb(15 << 20) + bytes(15 << 20)))):
        began = time.monotonic()
        refused(case, module, name)
        assert time.monotonic() - began < CHILD_S * 6, name


def test_11_ten_thousand_imports_are_refused(case, text):
    refused(case, text("(module" + '(import "realm" "input_size" (func (result i32)))' * 10_000 + ")"), "imports")


def test_12_a_wrong_signature_or_an_unknown_import_is_refused(case, text):
    good = program("(i32.const 0)")
    for name, source in (("signature", good.replace("$input_size (result i32)", "$input_size (param i64) (result i32)")),
                         ("unknown", good.replace('"realm" "input_size"', '"realm" "input_steal"')),
                         ("module", good.replace('"realm" "input_size"', '"env" "input_size"')),
                         ("file", good.replace('"realm" "input_size"', '"wasi_snapshot_preview1" "path_open"')),
                         ("memory", '(module (import "env" "memory" (memory 1)))')):
        refused(case, text(source), name)


def test_14_a_program_without_a_memory_is_refused(case, text):
    refused(case, text(program("(i32.const 0)").replace('(memory (export "memory") 1)', "(memory 1)")), "memory")


def test_35_threads_and_shared_memory_are_refused(case, text):
    good = program("(i32.const 0)")
    shared = good.replace('(memory (export "memory") 1)', '(memory (export "memory") 1 2 shared)')
    refused(case, text(shared), "shared")
    refused(case, text(good.replace("(i32.const 0)))", "(i32.atomic.rmw.add (i32.const 0) (i32.const 1))))")), "atomics")
    refused(case, text('(module (import "wasi" "thread-spawn" (func (param i32) (result i32))) (memory (export "memory") 1)'
                       ' (func (export "realm_abi_v1")) (func (export "handle") (result i32) (i32.const 0)))'), "spawn")


def test_39_malformed_sections_and_a_million_exports_are_refused(case, text):
    good = text(program("(i32.const 0)"))
    names = b"".join(b"\7%07d\0\0" % i for i in range(1_000_000))
    exports = (b"\0asm\1\0\0\0" + modules.section(1, b"\1\x60\0\0") + modules.section(3, b"\1\0")
               + modules.section(7, modules.leb(1_000_000) + names) + modules.section(10, b"\1" + modules.body(b"\x0b")))
    refused(case, exports, "exports")
    refused(case, b"\0asm\1\0\0\0\1\xff\xff\xff\xff\x0f", "length of a section")
    refused(case, b"\0asm\1\0\0\0" + modules.section(1, b"\xff\xff\xff\xff\x0f"), "count of types")
    refused(case, good + good[8:], "sections twice")
    for length in range(1, len(good), len(good) // 20):
        refused(case, good[:length], f"cut at {length}")


def test_40_native_code_is_refused_even_the_servers_own(case, text):
    case.upload(text(program("(i32.const 40)")))
    cache = Path.home() / ".cache" / "realm" / "code"
    compiled = max(cache.glob("*.cwasm"), key=lambda file: file.stat().st_mtime)
    refused(case, compiled.read_bytes(), "cwasm")
    refused(case, Path("/bin/true").read_bytes(), "ELF")


def test_43_a_generated_module_ends_well_or_in_a_trap_or_is_refused(case, text, tmp_path):
    """Random modules by wasm-opt, grown from a program so that they can be run; the same in every test run."""
    base = tmp_path / "base.wasm"
    base.write_bytes(text("""(module (memory (export "memory") 1 16) (func (export "realm_abi_v1"))
        (func (export "handle") (result i32) (local i32 i64 f64) (loop (result i32) (i32.const 0))))"""))
    ends = {}
    for seed in range(GENERATED):
        noise = tmp_path / "noise"
        noise.write_bytes(random.Random(seed).randbytes(3_000))
        made = tmp_path / "made.wasm"
        features = ["--enable-bulk-memory", "--enable-threads" if seed % 4 == 3 else "--enable-simd"]
        subprocess.run(["wasm-opt", noise, "-ttf", f"--initial-fuzz={base}", "--remove-imports", "-o", made, *features],
                       check=True, capture_output=True)
        answer = case.attack(lambda: case.put(made.read_bytes()))
        if answer.status in (200, 201):
            answer = case.attack(case.run)
        assert answer.outcome in ("200", "422 program_refused", "500 program_failed"), (seed, answer.body)
        ends[answer.outcome] = ends.get(answer.outcome, 0) + 1
    case.outcome = ", ".join(f"{count}x {end}" for end, count in sorted(ends.items()))
    assert len(ends) > 1, "all of them ended alike: they reached nothing"
