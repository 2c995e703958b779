"""Guests that harm by what they say: too much, in too small pieces, or in the shape of something else."""

import json

from programs_in_text import FUNCTIONS, program, times
from world import BUDGET


def test_05_the_host_never_calls_into_a_guest_while_it_serves_it(case, text):
    """Everything that a program exports but `handle` traps, and every function of the host is called."""
    names = ("generate", "render", "realm_alloc", "malloc", "_start", "on_event", "realm_abi_v1")
    exports = " ".join(f'(func (export "{name}") unreachable)' for name in names)
    calls = "".join(f"(drop (call ${one.name}" + " (i32.const 0)" * len(one.parameters) + "))" for one in FUNCTIONS
                    if one.name not in ("fail", "restart", "respond"))
    source = program(f"(call $ready) {calls} (call $note (i32.const 5)) (call $answer) (i32.const 0)", more=exports)
    case.upload(text(source.replace('(func (export "realm_abi_v1"))', "")))
    assert case.attack(case.run).numbers == [5]


def test_32_a_million_writes_of_one_byte_are_sent_together(case, text):
    budget = {**BUDGET, "cpu_ms": 10_000}
    for content, kind in ((4, 3), (2, 4)):
        case.upload(text(program(f"(local $i i32) (drop (call $respond (i32.const 200) (i32.const {content})))" + times(1_000_000, f"""
            (if (call $emit (i32.const {kind}) (i32.const 2048) (i32.const 1)) (then unreachable))""") + "(i32.const 0)",
                                 more='(data (i32.const 2048) "x")')), budget)
        answer = case.attack(case.run)
        assert answer.status == 200 and answer.body.count(b"x") == 1_000_000
        assert answer.seconds < 20
        assert len(answer.body) <= 17_000_000


def test_33_output_cannot_leave_its_frame_whatever_its_bytes(case, text):
    """Event data that imitates events, names with line breaks, bytes that are not UTF-8; the same as the message of a failure."""
    forged = r'a\n\nevent: forged\ndata: {}\n\n\0d\0d\0aevent: forged\0d\ff\fe\"'
    length = len(b'a') + len("\n\nevent: forged\ndata: {}\n\n\r\r\nevent: forged\r") + 3
    data = f'(data (i32.const 2048) "{forged}")'
    for name_begin, size in ((2048, length), (2050, length - 2)):
        case.upload(text(program(f"""(drop (call $respond (i32.const 200) (i32.const 2)))
            (drop (call $emit (i32.const 4) (i32.const {name_begin}) (i32.const {size}))) (i32.const 0)""", more=data)))
        body = case.attack(case.run).body
        assert body.endswith(b"\n\n") and body.count(b"\n\n") == 1, body
        assert all(line.startswith((b"data: ", b"event: a")) or line == b"event: " for line in body.rstrip(b"\n").split(b"\n")), body
    # Framing makes seven bytes of a line break, so an event of nothing else has the bound of what it becomes.
    case.upload(text(program("""(memory.fill (i32.const 65536) (i32.const 10) (i32.const 33554432))
        (drop (call $respond (i32.const 200) (i32.const 2)))
        (i32.store16 (i32.const 2048) (i32.const 0x300a))
        (i32.store8 (i32.const 2049) (i32.sub (i32.const 48) (call $emit (i32.const 4) (i32.const 65536) (i32.const 33554432))))
        (drop (call $emit (i32.const 4) (i32.const 2048) (i32.const 2))) (i32.const 0)""", pages=600)))
    assert case.run().body == b"data: 8\n\n", "REALM_CANCELLED: nobody will see it"
    case.upload(text(program(f"(drop (call $log (i32.const 2) (i32.const 2048) (i32.const {length})))"
                             f"(drop (call $fail (i32.const 1) (i32.const 2048) (i32.const {length}))) (i32.const 0)", more=data)))
    answer = case.run()
    assert answer.status == 400 and "forged" in json.loads(answer.body.decode())["error"]["message"], answer.body
    case.world.server.wait_for(lambda: any("program of realm" in line and "forged" in line for line in case.world.server.lines))
    assert all(json.loads(line) for line in case.world.server.lines if "forged" in line)


def test_34_a_flood_of_log_lines_is_dropped_and_counted(case, text):
    case.upload(text(program(r"""(local $dropped i32) (local $i i32)
        (memory.fill (i32.const 16384) (i32.const 108) (i32.const 40000))""" + times(100_000, """
        (if (i32.eq (call $log (i32.const 1) (i32.const 16384) (i32.const 40000)) (i32.const -4))
          (then (local.set $dropped (i32.add (local.get $dropped) (i32.const 1)))))""")
                             + "(call $note (local.get $dropped)) (call $answer) (i32.const 0)")), {**BUDGET, "cpu_ms": 10_000})
    before = sum("lllll" in line for line in case.world.server.lines)
    assert case.attack(case.run).numbers == [100_000 - 64]
    written = [line for line in case.world.server.lines if "lllll" in line]
    assert len(written) - before == 64 * len(case.seconds)
    assert max(map(len, written)) < 2_048
