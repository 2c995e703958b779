"""Guests that want more memory than is theirs, or what another guest left in it."""

from programs_in_text import program, times
from world import BUDGET

PAGES_MAX = 1024  # 64 MiB


def test_04_endless_recursion_is_a_stack_trap(case, text):
    case.upload(text(program("(call $deeper (i32.const 0))", more="""(func $deeper (param $n i32) (result i32)
        (i32.add (call $deeper (i32.add (local.get $n) (i32.const 1))) (i32.const 1)))""")))
    answer = case.attack(case.run)
    assert answer.outcome == "500 program_failed" and "stack" in answer.error["message"], answer.body


def test_06_memory_grows_to_the_limit_and_not_beyond(case, text):
    case.upload(text(program("""(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (call $note (memory.size)) (call $note (memory.grow (i32.const 65536))) (call $answer) (i32.const 0)""")))
    assert case.attack(case.run).numbers == [PAGES_MAX, -1]
    case.upload(text(program("""(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 67108864)) unreachable""")))
    answer = case.run()
    assert answer.outcome == "500 program_failed" and "memory" in answer.error["message"], answer.body


def test_07_a_memory_that_begins_over_the_limit_is_refused(case, text):
    for pages in (PAGES_MAX + 1, 65_536):
        answer = case.attack(lambda pages=pages: case.put(text(program("(i32.const 0)", pages=pages))))
        assert answer.outcome == "422 program_refused", answer.body


def test_08_a_table_that_grows_to_2_31_is_refused(case, text):
    case.upload(text(program("""(call $note (table.grow $t (ref.null func) (i32.const 0x80000000)))
        (call $note (table.grow $t (ref.null func) (i32.const 10000))) (call $note (table.size $t)) (call $answer) (i32.const 0)""",
                             more="(table $t 1 funcref)")))
    assert case.attack(case.run).numbers == [-1, -1, 1]


def test_17_memory_that_grew_between_two_calls_is_found_where_it_is_now(case, text):
    """Each round the input is read to the last bytes of a memory that has just become larger, and compared."""
    case.upload(text(program("(local $i i32) (local $at i32)" + times(200, """
        (drop (memory.grow (i32.const 5)))
        (local.set $at (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)))
        (if (i32.ne (call $input_read (local.get $at) (i32.const 8) (i32.const 0)) (i32.const 8)) (then unreachable))
        (if (i64.ne (i64.load (local.get $at)) (i64.const 0x3837363534333231)) (then unreachable))
        (if (i32.ne (call $input_read (local.get $at) (i32.const 9) (i32.const 0)) (i32.const -3)) (then unreachable))""")
                             + "(call $note (memory.size)) (call $answer) (i32.const 0)")))
    assert case.attack(lambda: case.run(b"12345678")).numbers == [1001]


def test_41_a_decompression_bomb_inside_a_guest_is_its_own_out_of_memory(case, text):
    """Run-length decoding of nine bytes to 64 MiB and further, memory as it is needed."""
    case.upload(text(program("""(local $at i32)
        (drop (call $input_read (i32.const 0) (i32.const 16) (i32.const 0)))
        (local.set $at (i32.const 65536))
        (loop $output
          (if (i32.ge_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))
            (then (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))))
          (i64.store (local.get $at) (i64.load (i32.const 0)))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br $output)) (i32.const 0)""")))
    answer = case.attack(lambda: case.run(b"AAAAAAAA\xff"))
    assert answer.outcome == "500 program_failed" and "memory" in answer.error["message"], answer.body


def test_42_a_thousand_instances_that_fill_memory_and_trap_leave_nothing_behind(case, text):
    """Each looks at all of its 4 MiB first; what another one left would end it in another way than the trap."""
    case.upload(text(program("""(local $at i32) (local $any i64)
        (loop $look
          (local.set $any (i64.or (local.get $any) (i64.load (local.get $at))))
          (br_if $look (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 4194304))))
        (if (i64.ne (local.get $any) (i64.const 0)) (then (return (i32.const 99))))
        (memory.fill (i32.const 0) (i32.const 255) (i32.const 4194304)) unreachable""", pages=64)), {**BUDGET, "cpu_ms": 1_000})
    answers = []

    def attack():
        answers.extend(case.run() for _ in range(50 if case.world.measures else 500))
        return answers[-1]

    case.attack(attack)
    while len(answers) < 1_000:
        answers.append(case.run())
    assert {answer.outcome for answer in answers} == {"500 program_failed"}
    assert all("unreachable" in answer.error["message"] for answer in answers), answers[-1].body


