"""Programs in WebAssembly's text form that call the program ABI as they like. What may be imported is read from abi/realm_abi.h."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "abi" / "realm_abi.h").read_text()
ROW = re.compile(r"X\((\w+), (IMMEDIATE|MAY_SUSPEND), (\w+),(?:\s|\\)*\(([^)]*)\)\)")
ELEMENT_BYTES = {"uint8_t": 1, "char": 1, "int32_t": 4, "float": 4}
FIELD_BYTES = {"float": 4, "int32_t": 4, "uint32_t": 4, "int64_t": 8, "uint64_t": 8}

BAD_HANDLE, FAULT, LIMIT, NOT_FOUND = -2, -3, -4, -5


@dataclass(frozen=True)
class Parameter:
    name: str
    kind: str  # "i32", "pointer"
    bytes: int = 0  # of an element, of a pointer
    alignment: int = 1
    counted: bool = False  # an array: its count follows


@dataclass(frozen=True)
class Function:
    name: str
    result: str
    parameters: tuple
    module: str = "realm"

    def imported(self, pointer: str) -> str:
        kinds = "".join(f" (param {pointer if one.kind == 'pointer' else 'i32'})" for one in self.parameters)
        return f'(import "{self.module}" "{self.name}" (func ${self.name}{kinds} (result {self.result})))'


def parameter(text: str) -> Parameter:
    words = re.findall(r"\w+", text.replace("const", ""))
    kind, name = words[0], words[-1]
    if "*" not in text:
        assert kind in ("int32_t", "uint32_t"), text
        return Parameter(name, "i32")
    if kind in ELEMENT_BYTES:
        return Parameter(name, "pointer", ELEMENT_BYTES[kind], ELEMENT_BYTES[kind], counted=True)
    return Parameter(name, "pointer", *STRUCTS[kind])


def abi_structs() -> dict:
    """Bytes and alignment of each. Their fields have no gaps but at the end."""
    found = {}
    for name, fields in re.findall(r"typedef struct (\w+) \{(.*?)\n\} \w+;", HEADER, re.S):
        sizes = [FIELD_BYTES[kind] for kind in re.findall(r"^  (\w+) \w+;", fields, re.M)]
        found[name + "_t"] = (-(-sum(sizes) // max(sizes)) * max(sizes), max(sizes))
    return found


def abi_functions() -> list[Function]:
    found = []
    for module, table in zip(("realm", "env"), HEADER.split("#define REALM_ENV_FUNCTIONS(X)")):
        for name, _, result, parameters in ROW.findall(table):
            listed = [part.strip() for part in parameters.replace("\\", " ").split(",") if part.strip() != "void"]
            found.append(Function(name, "i64" if result == "int64_t" else "i32", tuple(map(parameter, listed)), module))
    return found


STRUCTS = abi_structs()
FUNCTIONS = abi_functions()

# Numbers that a program found out are answered as a body of 32-bit words: $note adds one, $answer sends them.
REPORT = """
  (global $notes (mut i32) (i32.const 0)) (global $note_at (mut PTR) (PTR.const NOTES))
  (func $note (param $value i32)
    (i32.store (global.get $note_at) (local.get $value))
    (global.set $note_at (PTR.add (global.get $note_at) (PTR.const 4)))
    (global.set $notes (i32.add (global.get $notes) (i32.const 4))))
  (func $answer
    (drop (call $respond (i32.const 200) (i32.const 4)))
    (drop (call $emit (i32.const 3) (PTR.const NOTES) (global.get $notes))))"""

# A model, and a sequence of 48 tokens at most with four in it.
READY = """
  (global $model (mut i32) (i32.const 0)) (global $sequence (mut i32) (i32.const 0))
  (func $ready
    (global.set $model (call $model_open (PTR.const 0) (i32.const 0)))
    (if (i32.le_s (global.get $model) (i32.const 0)) (then unreachable))
    (i32.store (PTR.const 16) (i32.const 48)) (i32.store (PTR.const 20) (i32.const 1))
    (i32.store (PTR.const 24) (i32.const 0)) (i32.store (PTR.const 28) (i32.const 0))
    (global.set $sequence (call $seq_open (global.get $model) (PTR.const 16)))
    (if (i32.le_s (global.get $sequence) (i32.const 0)) (then unreachable))
    (i32.store (PTR.const 64) (i32.const 5)) (i32.store (PTR.const 68) (i32.const 6))
    (i32.store (PTR.const 72) (i32.const 7)) (i32.store (PTR.const 76) (i32.const 8))
    (if (call $seq_append (global.get $sequence) (PTR.const 64) (i32.const 4)) (then unreachable)))"""

# A tensor of the model: its embeddings. Their name stays at 32.
TENSOR = """
  (global $tensor (mut i32) (i32.const 0))
  (data (PTR.const 32) "token_embd.weight")
  (func $ready_tensor
    (call $ready)
    (global.set $tensor (call $memory64_tensor (global.get $model) (PTR.const 32) (i32.const 17)))
    (if (i32.le_s (global.get $tensor) (i32.const 0)) (then unreachable)))"""


def program(handle: str, more: str = "", pages: int = 1, memory64: bool = False, notes: int = 4096) -> str:
    """A program: `handle` is what it does and ends with an i32, `more` stands beside it. It imports the whole ABI."""
    pointer = "i64" if memory64 else "i32"
    imports = "\n  ".join(function.imported(pointer) for function in FUNCTIONS)
    text = (REPORT + READY + more).replace("NOTES", str(notes)).replace("PTR", pointer)
    return f"""(module
  {imports}
  (memory (export "memory") {"i64 " if memory64 else ""}{pages}){text}
  (func (export "realm_abi_v1"))
  (func (export "handle") (result i32)
    {handle.replace("PTR", pointer)}))"""


def times(count: int, body: str) -> str:
    """Does it so often; needs (local $i i32)."""
    return f"""(local.set $i (i32.const 0))
    (loop $again {body}
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const {count}))))"""
