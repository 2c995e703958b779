"""Guests that want more than their time: they burn it, wait for ever, or make the host burn it."""

import time

from programs_in_text import program
from world import BUDGET, Answer, open_request

SLACK_S = 2.0  # of a machine that does other things too
TOKENIZE_CPU_S_MAX = 8.0  # for a megabyte in one call, which nothing interrupts, on a machine that does other things too


def cpu_s(case) -> float:
    """CPU time of the realm's programs so far."""
    return case.world.server.metric("realm_guest_cpu_seconds_total", realm=case.realm)


def check_cpu(case, answer: Answer, overrun_ms=200):  # the ticker may wait for a core
    """Ended for its CPU time, soon after its deadline."""
    assert answer.outcome == "500 program_failed" and "200 ms of CPU" in answer.error["message"], answer.body
    assert answer.seconds < 0.2 * 4 + SLACK_S
    used_ms = cpu_s(case) * 1_000 / len(case.seconds)
    assert 200 <= used_ms < 200 + overrun_ms, f"{used_ms} ms of CPU"


def test_00_no_guest_for_comparison(case):
    """What the table's ratio is worth: the victim against itself."""
    case.attack(lambda: time.sleep(0.01))
    case.outcome = "-"


def test_01_an_infinite_loop_is_stopped(case, text):
    case.upload(text(program("(loop (br 0)) (i32.const 0)")))
    check_cpu(case, case.attack(case.run))


def test_02_a_loop_that_retries_a_refused_call_is_stopped(case, text):
    case.upload(text(program("""(call $ready)
        (loop (drop (call $seq_truncate (global.get $sequence) (i32.const 99))) (br 0)) (i32.const 0)""")))
    check_cpu(case, case.attack(case.run))


def test_03_a_call_that_never_gets_ready_is_cancelled_with_its_client(case, text):
    case.upload(text(program("""(drop (call $respond (i32.const 200) (i32.const 2)))
        (loop (drop (call $emit (i32.const 4) (i32.const 0) (i32.const 32768))) (br 0)) (i32.const 0)""")))

    def leave():
        connection = open_request(case.world, case.key, "/v1/programs/hostile/run")
        connection.recv(1)
        running = lambda: [row for row in case.world.status()["realms"] if row["name"] == case.realm and row["requests_running"]]
        assert running()
        began = time.monotonic()
        connection.close()
        case.world.server.wait_for(lambda: not running(), 5)
        return time.monotonic() - began

    assert case.attack(leave) < 1 + SLACK_S
    case.outcome = "cancelled"
    assert case.world.server.metric("realm_request_success_total", realm=case.realm, outcome="cancelled") == len(case.seconds)


def test_09_copying_all_its_memory_in_a_loop_is_stopped(case, text):
    case.upload(text(program("""(drop (memory.grow (i32.const 1020)))
        (loop (memory.copy (i32.const 65536) (i32.const 0) (i32.const 66846720)) (br 0)) (i32.const 0)""")))
    check_cpu(case, case.attack(case.run))


def test_13_a_start_function_that_loops_is_stopped(case, text):
    case.upload(text(program("(i32.const 0)", more="(func $loop (loop (br 0))) (start $loop)")))
    check_cpu(case, case.attack(case.run))


def test_31_tokenising_without_end_is_stopped_and_one_call_has_a_bound(case, text):
    """A megabyte of text without a break in one call; more is refused."""
    fill = "(memory.fill (i32.const 65536) (i32.const {letter}) (i32.const 2097152))"
    call = "(call $tokenize (global.get $model) (i32.const 0) (i32.const 65536) (i32.const {bytes}) (i32.const 0) (i32.const 0))"
    too_long = call.format(bytes=(1 << 20) + 1)
    for letter in (ord("a"), ord(" "), ord("1"), 0xFF):
        case.upload(text(program(f"""(call $ready) {fill.format(letter=letter)} (call $note {too_long})
            (call $note {call.format(bytes=1 << 20)}) (call $answer) (i32.const 0)""", pages=64)), {**BUDGET, "cpu_ms": 10_000})
        before_s = cpu_s(case)
        numbers = case.run().numbers
        assert numbers[0] == -1 and numbers[1] != 0, letter
        assert cpu_s(case) - before_s < TOKENIZE_CPU_S_MAX, letter
    case.upload(text(program(f"""(call $ready) {fill.format(letter=ord('a'))}
        (loop (drop {call.format(bytes=1 << 20)}) (br 0)) (i32.const 0)""", pages=64)))
    before_s = cpu_s(case)
    answer = case.attack(case.run)
    assert "200 ms of CPU" in answer.error["message"]
    assert (cpu_s(case) - before_s) / len(case.seconds) < 0.2 + TOKENIZE_CPU_S_MAX


def test_37_a_burn_of_vector_instructions_is_stopped(case, text):
    body = "(local.set $v (f32x4.div (f32x4.sqrt (local.get $v)) (f32x4.mul (local.get $v) (v128.const f32x4 1.1 0.9 1e-38 1e38))))" * 8
    case.upload(text(program("(call $burn) (i32.const 0)", more=f"(func $burn (local $v v128) (loop {body} (br 0)))")))
    check_cpu(case, case.attack(case.run))
    for side in (64, 2_048):  # many small products; one that takes longer than all the time there is
        product = " ".join(f"(i32.const {number})" for number in (0, side**2, 0, side**2, 4 * side**2, side**2, side, side, side))
        case.upload(text(program(f"(loop (drop (call $candle_matmul {product})) (br 0)) (i32.const 0)", pages=600)),
                    {**BUDGET, "tensors": True})
        case.seconds.clear()
        before = cpu_s(case)
        answer = case.attack(case.run)
        assert answer.outcome == "500 program_failed" and "200 ms of CPU" in answer.error["message"], answer.body
        assert 0.2 <= (cpu_s(case) - before) / len(case.seconds) < 0.26


def test_38_a_huge_request_for_randomness_is_refused(case, text):
    """And a loop of allowed ones ends like any other."""
    case.upload(text(program("(loop (drop (call $random (i32.const 0) (i32.const 4096))) (br 0)) (i32.const 0)")))
    check_cpu(case, case.attack(case.run))
    case.upload(text(program("""(call $note (call $random (i32.const 0) (i32.const 4097))) (call $note (call $random (i32.const 0)
        (i32.const 67000000))) (call $note (call $random (i32.const 0) (i32.const 4096))) (call $answer) (i32.const 0)""",
                             pages=1024, notes=8192)))
    assert case.run().numbers == [-4, -4, 0]


