"""Guests that take sequences and KV and do not give them back, or end while the batch works for them."""

import time

from programs_in_text import LIMIT, program, times
from world import BUDGET, open_request

STAY = "(loop (drop (call $emit (i32.const 4) (i32.const 8192) (i32.const 32768))) (br 0))"  # until the client, who reads nothing, has gone
LOOK = """(func $look (local $at i32) (local $any i64)
    (loop $next
      (local.set $any (i64.or (local.get $any) (i64.load (local.get $at))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 65536))))
    (if (i64.ne (local.get $any) (i64.const 0)) (then unreachable)))"""


def test_22_handles_end_at_the_limit_of_an_instance(case, text):
    case.upload(text(program("""(local $count i32) (call $ready) (i32.store (i32.const 16) (i32.const 1))
        (loop $more (if (i32.gt_s (call $seq_open (global.get $model) (i32.const 16)) (i32.const 0))
          (then (local.set $count (i32.add (local.get $count) (i32.const 1))) (br $more))))
        (call $note (local.get $count)) (call $note (call $seq_open (global.get $model) (i32.const 16)))
        (call $note (call $model_open (i32.const 0) (i32.const 0))) (call $answer) (i32.const 0)""")))
    assert case.attack(case.run).numbers == [254, LIMIT, LIMIT]


def test_23_a_fork_bomb_ends_at_the_kv_that_it_may_hold(case, text):
    """48 tokens of KV each, 2,048 together; all of them generate."""
    case.upload(text(program("""(local $count i32) (local $fork i32) (call $ready)
        (loop $more
          (local.set $fork (call $seq_fork (global.get $sequence) (call $seq_length (global.get $sequence))))
          (if (i32.gt_s (local.get $fork) (i32.const 0)) (then
            (i32.store (i32.add (i32.const 16384) (i32.mul (local.get $count) (i32.const 4))) (local.get $fork))
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (drop (call $seq_next_any (i32.const 16384) (local.get $count) (i32.const 32768) (local.get $count)))
            (br $more))))
        (call $note (local.get $count)) (call $note (local.get $fork)) (call $answer)
        (loop (drop (call $seq_fork (global.get $sequence) (i32.const 1))) (br 0)) (i32.const 0)""")))
    answer = case.attack(case.run)
    assert answer.outcome == "500 program_failed" and "CPU" in answer.error["message"]
    case.upload(text(program("""(local $count i32) (call $ready)
        (loop $more (if (i32.gt_s (call $seq_fork (global.get $sequence) (i32.const 4)) (i32.const 0))
            (then (local.set $count (i32.add (local.get $count) (i32.const 1))) (br $more))))
        (call $note (local.get $count)) (call $note (call $seq_fork (global.get $sequence) (i32.const 4))) (call $answer)
        (i32.const 0)""")))
    assert case.run().numbers == [2048 // 48 - 1, LIMIT]


def test_24_kv_that_is_held_idle_makes_room_for_who_needs_it(case, text):
    """A realm takes all there is, computes a little in each sequence, and stays. A newcomer, who needs more than is left, is served."""
    capacity = int(case.world.server.metric("realm_kv_tokens_capacity", model=case.world.model))
    count = capacity // 1_024
    assert 4 < count < 64
    case.upload(text(program(f"""(local $i i32) (local $sequence i32) (call $ready) (i32.store (i32.const 16) (i32.const 1024))
        (loop $more
          (local.set $sequence (call $seq_open (global.get $model) (i32.const 16)))
          (if (i32.le_s (local.get $sequence) (i32.const 0)) (then unreachable))
          (drop (call $seq_append (local.get $sequence) (i32.const 64) (i32.const 4)))
          (drop (call $seq_next (local.get $sequence) (i32.const 128) (i32.const 1)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $i) (i32.const {count}))))
        (drop (call $respond (i32.const 200) (i32.const 2))) {STAY} (i32.const 0)""")),
                {**BUDGET, "kv_tokens": capacity * 2, "cpu_ms": 9_000})
    newcomer = case.world.server.key("case-24-newcomer")
    chat = b'{"model": "%s", "prompt": "%s", "max_tokens": 8}' % (case.world.model.encode(), b"x " * 1_100)

    def hold():
        holder = open_request(case.world, case.key, "/v1/programs/hostile/run")
        assert b"HTTP/1.1 200" in holder.recv(16)
        began = time.monotonic()
        answer = case.world.call(newcomer, "POST", "/v1/completions", chat)
        took = time.monotonic() - began
        holder.close()
        assert answer.status == 200, answer.body
        return took

    alone = case.world.call(newcomer, "POST", "/v1/completions", chat).seconds
    took = case.attack(hold)
    assert took < alone * 4 + 2, f"{took} s, alone {alone} s"
    case.outcome = "idle sequences are parked, a newcomer is admitted"


def test_25_an_answer_that_nobody_reads_is_bounded_and_then_dropped(case, text):
    case.upload(text(program(f"(drop (call $respond (i32.const 200) (i32.const 2))) {STAY} (i32.const 0)")))

    def read_nothing():
        connections = [open_request(case.world, case.key, "/v1/programs/hostile/run") for _ in range(16)]
        mine = lambda: [row for row in case.world.status()["realms"] if row["name"] == case.realm and row["requests_running"]]
        case.world.server.wait_for(mine)
        peak = case.world.resident_bytes()
        case.world.server.wait_for(lambda: not mine(), 15)
        for connection in connections:
            connection.close()
        return peak

    peak = case.attack(read_nothing)
    assert peak < case.resident_before + (64 << 20), "256 KiB each, and their instances"
    case.outcome = "suspended, dropped after --write-timeout-ms (2 s here)"


def test_26_a_trap_or_a_cancel_with_a_decode_in_flight_writes_into_no_memory(case, text):
    trap = "(call $look) (call $ready) (drop (call $seq_next (global.get $sequence) (i32.const 128) (i32.const 8))) unreachable"
    wait = """(call $look) (call $ready) (drop (call $respond (i32.const 200) (i32.const 2)))
        (drop (call $emit (i32.const 4) (i32.const 64) (i32.const 4)))
        (loop (drop (call $seq_truncate (global.get $sequence) (i32.const 4)))
              (drop (call $seq_next (global.get $sequence) (i32.const 128) (i32.const 8))) (br 0)) (i32.const 0)"""
    case.upload(text(program(trap, more=LOOK)))
    case.upload(text(program(wait, more=LOOK)), name="waiting")

    def attack():
        for _ in range(20):
            connection = open_request(case.world, case.key, "/v1/programs/waiting/run")
            connection.recv(16)
            connection.close()
            answer = case.run()
            assert answer.outcome == "500 program_failed" and "unreachable" in answer.error["message"], answer.body
        return answer

    case.attack(attack)
    case.upload(text(program("(call $look) (call $answer) (i32.const 0)", more=LOOK)), name="look")
    assert all(case.run(name="look").numbers == [] for _ in range(20))


def test_27_a_sequence_closed_while_it_is_in_the_batch_disturbs_no_other(case, text):
    """The next sequence in its place draws the same greedy tokens every time."""
    case.upload(text(program("(local $i i32) (call $ready)" + times(50, """
        (drop (call $seq_next (global.get $sequence) (i32.const 128) (i32.const 1)))
        (call $note (i32.load (i32.const 128)))
        (drop (call $seq_close (global.get $sequence)))
        (global.set $sequence (call $seq_open (global.get $model) (i32.const 16)))
        (drop (call $seq_append (global.get $sequence) (i32.const 64) (i32.const 4)))""") + "(call $answer) (i32.const 0)")))
    numbers = case.attack(case.run).numbers
    assert len(numbers) == 50 and len(set(numbers)) == 1, numbers
