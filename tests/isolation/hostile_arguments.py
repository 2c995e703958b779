"""Programs that call one function of the program ABI with every pointer and length at its edges. Generated from the table of
abi/realm_abi.h, so that no function can be added without them."""

from programs_in_text import FUNCTIONS, TENSOR, Function, program

PAGES = 2
SIZE = PAGES * 65_536
FILLED = 0xA5
ENDS_THE_INSTANCE = ("fail", "restart")

EDGES = [0, 1, SIZE - 1, SIZE, SIZE + 1, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 8, (1 << 32) - 1]
WIDE_EDGES = [*EDGES, 1 << 32, (1 << 32) + 8, (1 << 63) - 1, 1 << 63, (1 << 64) - SIZE, (1 << 64) - 1]


def is_bad(pointer: int, count: int, parameter) -> bool:
    """Does the range not lie inside the memory, or not on its alignment?"""
    return pointer + count * parameter.bytes > SIZE or pointer % parameter.alignment != 0


def ranges(function: Function, memory64: bool):
    """For each pointer of the function, its place in the list and all pairs of edges, of which each is a bad range or a good one."""
    pointers = WIDE_EDGES if memory64 else EDGES
    for place, parameter in enumerate(function.parameters):
        if parameter.kind != "pointer":
            continue
        for pointer in pointers:
            for count in EDGES if parameter.counted else [1]:
                yield place, pointer, count, is_bad(pointer, count, parameter)


def harmless(parameters, place: int) -> str:
    """An argument that is in order: a handle, or zero; for a pointer the begin of the memory; for a count, one."""
    name = parameters[place].name
    if parameters[place].kind == "pointer":
        return "(PTR.const 1024)"
    if place > 0 and parameters[place - 1].counted:
        return "(i32.const 1)"
    return f"(global.get ${name})" if name in ("model", "sequence", "tensor") else "(i32.const 1)"


def call(function: Function, place: int, pointer: int, count: int) -> str:
    arguments = [harmless(function.parameters, i) for i in range(len(function.parameters))]
    arguments[place] = f"(PTR.const {pointer:#x})"
    if function.parameters[place].counted:
        arguments[place + 1] = f"(i32.const {count:#x})"
    return f"(call ${function.name} {' '.join(arguments)})"


CHECKS = """
  (func $fill (memory.fill (PTR.const 32768) (i32.const FILLED) (PTR.const 98304)))
  (func $untouched (result i32) (local $at PTR)
    (local.set $at (PTR.const 32768))
    (loop $look
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0xA5A5A5A5A5A5A5A5)) (then (return (i32.const 0))))
      (local.set $at (PTR.add (local.get $at) (PTR.const 8)))
      (br_if $look (PTR.lt_u (local.get $at) (PTR.const 131072))))
    (i32.const 1))
  (func $expect_fault (param $answer i32) (param $round i32)
    (if (i32.eq (local.get $answer) (i32.const -3)) (then (if (call $untouched) (then (return)))))
    (call $note (local.get $round)) (call $note (local.get $answer)))"""


def hostile_arguments(function: Function, memory64: bool) -> tuple[str, int]:
    """The program and how many calls it makes. Bad ranges must be REALM_FAULT and leave all memory as it was; what is not so is noted
    down with its round. Good ranges may have any answer. Functions that end the instance get bad ranges only."""
    calls = []
    for round_, (place, pointer, count, bad) in enumerate(ranges(function, memory64)):
        made = call(function, place, pointer, count)
        if bad:
            calls.append(f"(call $expect_fault {made} (i32.const {round_}))")
        elif function.name not in ENDS_THE_INSTANCE and not (place + 1 < len(function.parameters) and function.name == "emit"):
            calls.append(made.replace("(global.get $model)", "(i32.const 0)").replace("(global.get $sequence)", "(i32.const 0)"))
            calls[-1] = f"(drop {calls[-1]}) (call $fill)"
    body = "(call $ready_tensor) (call $fill)\n    " + "\n    ".join(calls) + "\n    (call $answer) (i32.const 0)"
    return program(body, more=TENSOR + CHECKS.replace("FILLED", str(FILLED)), pages=PAGES, memory64=memory64, notes=8192), len(calls)


def all_with_pointers() -> list[Function]:
    return [function for function in FUNCTIONS if any(one.kind == "pointer" for one in function.parameters)]
