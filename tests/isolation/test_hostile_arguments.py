"""Guests that call the host with what they should not: ranges, handles, tokens, numbers."""

from hostile_arguments import all_with_pointers, hostile_arguments
from programs_in_text import BAD_HANDLE, FUNCTIONS, LIMIT, NOT_FOUND, TENSOR, program, times
from world import BUDGET, open_request

INVALID_ARGUMENT = -1


def all_edges(case, text, memory64):
    functions = all_with_pointers()
    assert len(functions) >= 32 and len(FUNCTIONS) > len(functions)
    calls = 0
    for function in functions:
        source, made = hostile_arguments(function, memory64)
        case.upload(text(source), {**BUDGET, "cpu_ms": 5_000, "tensors": True})
        answer = case.attack(case.run)
        assert answer.numbers == [], (function.name, "round, status:", answer.numbers[:8])
        calls += made
    case.outcome = f"{calls:,} calls of {len(functions)} functions: REALM_FAULT"


def test_15_every_pointer_and_length_at_its_edges_is_a_fault_that_touches_nothing(case, text):
    all_edges(case, text, memory64=False)


def test_36_a_64_bit_memory_has_the_same_faults_and_other_proposals_are_refused(case, text):
    all_edges(case, text, memory64=True)
    good, memory = program("(i32.const 0)"), '(memory (export "memory") 1)'
    for source in (good.replace(memory, memory + "(memory 1)"), good.replace(memory, memory + "(type (struct (field i32)))"),
                   good.replace(memory, memory + "(tag)")):
        answer = case.put(text(source))
        assert answer.outcome == "422 program_refused", answer.body
    assert case.put(b"\0asm\1\0\0\0\5\4\1\x08\1\0").outcome == "422 program_refused", "custom page sizes"
    case.outcome += "; 422 program_refused"


def test_16_overlapping_buffers_give_what_separate_ones_give(case, text):
    """Text over its own tokens, tokens over their own text, a list of handles over itself."""
    case.upload(text(program("""(call $ready)
        (i64.store (i32.const 256) (i64.const 0x2061206e6f207055))
        (call $note (call $tokenize (global.get $model) (i32.const 0) (i32.const 256) (i32.const 8) (i32.const 512) (i32.const 16)))
        (call $note (call $tokenize (global.get $model) (i32.const 0) (i32.const 256) (i32.const 8) (i32.const 256) (i32.const 16)))
        (call $note (i64.eq (i64.load (i32.const 256)) (i64.load (i32.const 512))))
        (call $note (call $detokenize (global.get $model) (i32.const 1) (i32.const 512) (i32.const 3) (i32.const 768) (i32.const 99)))
        (call $note (call $detokenize (global.get $model) (i32.const 1) (i32.const 512) (i32.const 3) (i32.const 514) (i32.const 99)))
        (call $note (i64.eq (i64.load (i32.const 768)) (i64.load (i32.const 514))))
        (i32.store (i32.const 1024) (global.get $sequence))
        (call $note (call $seq_next_any (i32.const 1024) (i32.const 1) (i32.const 1024) (i32.const 1)))
        (call $note (i32.eq (i32.load (i32.const 1024)) (global.get $sequence)))
        (call $answer) (i32.const 0)""")))
    numbers = case.attack(case.run).numbers
    assert numbers[0] == numbers[1] > 0 and numbers[3] == numbers[4] > 0
    assert numbers[2] == numbers[5] == numbers[7] == 1 and numbers[6] == 1


def test_18_a_million_guessed_handles_and_a_foreign_one_are_the_same_error(case, text):
    guesses = "(local $i i32) " + times(500_000, """
        (if (i32.ne (call $seq_length (local.get $i)) (i32.const -2)) (then unreachable))
        (if (i32.ne (call $seq_length (i32.mul (local.get $i) (i32.const 40503))) (i32.const -2)) (then unreachable))""")
    case.upload(text(program(guesses + "(call $answer) (i32.const 0)")), {**BUDGET, "cpu_ms": 10_000})
    assert case.attack(case.run).numbers == []
    # An instance that holds a sequence, tells its handle and stays; another one tries it.
    case.upload(text(program("""(call $ready) (i32.store (i32.const 0) (global.get $sequence))
        (drop (call $respond (i32.const 200) (i32.const 2))) (drop (call $emit (i32.const 4) (i32.const 2048) (i32.const 1)))
        (i32.store (i32.const 4096) (global.get $sequence)) (i32.store8 (i32.const 4095) (i32.const 10))
        (drop (call $emit (i32.const 4) (i32.const 4095) (i32.const 5)))
        (loop (drop (call $emit (i32.const 4) (i32.const 8192) (i32.const 32768))) (br 0)) (i32.const 0)""")), name="holder")
    holder = open_request(case.world, case.key, "/v1/programs/holder/run")
    seen = b""
    while b"data: " not in seen or len(seen.split(b"data: ")) < 3:
        seen += holder.recv(4096)
    case.upload(text(program("""(drop (call $input_read (i32.const 0) (i32.const 4) (i32.const 0)))
        (call $note (call $seq_length (i32.load (i32.const 0)))) (call $note (call $seq_close (i32.load (i32.const 0))))
        (call $note (call $seq_fork (i32.load (i32.const 0)) (i32.const 1))) (call $answer) (i32.const 0)""")), name="thief")
    handle = (1 << 15 | 2 << 12 | 1).to_bytes(4, "little")  # as src/runtime/handle_table.h makes the second one of an instance
    assert handle.rstrip(b"\0") in seen, "the guess of the handle is the handle"
    assert case.run(handle, "thief").numbers == [BAD_HANDLE] * 3
    holder.close()


def test_19_a_sequence_used_after_it_was_closed_is_a_bad_handle(case, text):
    uses = " ".join(f"(call $note {one})" for one in (
        "(call $seq_length (local.get $old))", "(call $seq_append (local.get $old) (i32.const 64) (i32.const 1))",
        "(call $seq_next (local.get $old) (i32.const 0) (i32.const 4))", "(call $seq_fork (local.get $old) (i32.const 1))",
        "(call $seq_truncate (local.get $old) (i32.const 0))", "(call $seq_save (local.get $old) (i32.const 64) (i32.const 4))"))
    case.upload(text(program(f"""(local $old i32) (call $ready) (local.set $old (global.get $sequence))
        (drop (call $seq_close (local.get $old))) {uses}
        (drop (call $seq_open (global.get $model) (i32.const 16))) {uses} (call $answer) (i32.const 0)""")))
    assert case.attack(case.run).numbers == [BAD_HANDLE] * 12, "also when the place has been given out again"


def test_20_a_sequence_closed_twice_is_a_bad_handle(case, text):
    case.upload(text(program("""(call $ready) (call $note (call $seq_close (global.get $sequence)))
        (call $note (call $seq_close (global.get $sequence))) (call $note (call $model_close (global.get $model)))
        (call $note (call $model_close (global.get $model))) (call $answer) (i32.const 0)""")))
    assert case.attack(case.run).numbers == [0, BAD_HANDLE, 0, BAD_HANDLE]


def test_21_a_handle_of_another_kind_is_a_bad_handle(case, text):
    case.upload(text(program("""(call $ready) (call $note (call $seq_length (global.get $model)))
        (call $note (call $seq_close (global.get $model))) (call $note (call $model_close (global.get $sequence)))
        (call $note (call $token_flags (global.get $sequence) (i32.const 1)))
        (call $note (call $seq_open (global.get $sequence) (i32.const 16))) (call $answer) (i32.const 0)""")))
    assert case.attack(case.run).numbers == [BAD_HANDLE] * 5


def test_28_tokens_positions_and_biases_outside_their_ranges_never_reach_the_batch(case, text):
    model = "(call $model_info (global.get $model) (i32.const 2048))"
    vocabulary = "(i32.load (i32.const 2056))"
    tokens = "".join(f"(i32.store (i32.const 128) {token}) (call $note {call})" for token in (
        "(i32.const -1)", vocabulary, "(i32.const 0x80000000)", "(i32.const 0x7fffffff)") for call in (
        "(call $seq_append (global.get $sequence) (i32.const 128) (i32.const 1))",
        "(call $seq_push (global.get $sequence) (i32.const 128) (i32.const 1))",
        "(call $token_flags (global.get $model) (i32.load (i32.const 128)))",
        "(call $detokenize (global.get $model) (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 0) (i32.const 0))",
        "(call $seq_reject (global.get $sequence) (i32.const 4) (i32.const 128) (i32.const 1))",
        "(call $bias)"))
    positions = "".join(f"(call $note (call $seq_truncate (global.get $sequence) (i32.const {at})))"
                        f"(call $note (call $seq_reject (global.get $sequence) (i32.const {at}) (i32.const 0) (i32.const 0)))"
                        for at in ("5", "0x80000000", "-1"))
    case.upload(text(program(f"(call $ready) (drop {model}) {tokens} {positions} (call $answer) (i32.const 0)", more=SAMPLER)))
    numbers = case.attack(case.run).numbers
    assert numbers == [INVALID_ARGUMENT] * (4 * 6 + 6), numbers


# Sampler parameters at 1024 in order, then with a bias of 1.0 for the token at 128; or with one field set to a number.
SAMPLER = """
  (func $greedy (memory.fill (i32.const 1024) (i32.const 0) (i32.const 56))
    (f32.store (i32.const 1032) (f32.const 1)) (f32.store (i32.const 1040) (f32.const 1)) (f32.store (i32.const 1044) (f32.const 1)))
  (func $bias (result i32) (call $greedy) (f32.store (i32.const 192) (f32.const 1))
    (call $seq_sampler (global.get $sequence) (i32.const 1024) (i32.const 128) (i32.const 1) (i32.const 192) (i32.const 1)))
  (func $with (param $at i32) (param $value f32) (result i32) (call $greedy) (f32.store (local.get $at) (local.get $value))
    (call $seq_sampler (global.get $sequence) (i32.const 1024) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))"""


# Two by two numbers; sizes that are not those of the counts, or wrap to them; an output over an input; the least square beyond the limit;
# handles of other kinds.
SIDE = 2_581
PRODUCTS = """(call $ready_tensor)
    (f32.store (PTR.const 256) (f32.const 1)) (f32.store (PTR.const 260) (f32.const 2))
    (f32.store (PTR.const 264) (f32.const 3)) (f32.store (PTR.const 268) (f32.const 4))
    (f32.store (PTR.const 272) (f32.const 5)) (f32.store (PTR.const 276) (f32.const 6))
    (f32.store (PTR.const 280) (f32.const 7)) (f32.store (PTR.const 284) (f32.const 8))""" + "".join(f"""
    (call $note (call ${name} (PTR.const 256) (i32.const 4) (PTR.const 272) (i32.const 4) (PTR.const 512) (i32.const 4)
                      (i32.const 2) (i32.const 2) (i32.const 2)))
    """ + "".join(f"(call $note (i32.trunc_f32_s (f32.load (PTR.const {512 + 4 * i}))))" for i in range(4))
    for name in ("candle_matmul", "candle_matmul_transposed")) + "".join(f"""
    (call $note (call $candle_matmul (PTR.const 256) (i32.const {a}) (PTR.const 272) (i32.const 4) (PTR.const {out}) (i32.const {count})
                      {" ".join(f"(i32.const {size})" for size in sizes)}))""" for a, out, count, sizes in (
        (4, 512, 4, (2, 2, 3)), (0, 512, 0, (0, 2, 2)), (4, 512, 4, (0x80000002, 2, 2)), (4, 512, 4, (2, 0x80000002, 2)),
        (4, 260, 4, (2, 2, 2)))) + """
    (call $note (call $candle_matmul (PTR.const 0) (i32.const SQUARE) (PTR.const 0) (i32.const SQUARE)
                      (PTR.const 26650000) (i32.const SQUARE)
                      (i32.const SIDE) (i32.const SIDE) (i32.const SIDE)))
    (call $note (call $candle_matmul_tensor (global.get $model) (PTR.const 256) (i32.const 4) (PTR.const 512) (i32.const 4) (i32.const 1)))
    (call $note (call $memory64_tensor_close (global.get $sequence)))
    (call $answer) (i32.const 0)""".replace("SQUARE", str(SIDE**2)).replace("SIDE", str(SIDE))


def test_29_numbers_that_are_none_are_refused_and_products_that_overflow_cannot_be_asked_for(case, text):
    """NaN and the infinities as sampling parameters and biases; a row of logits for more than the vocabulary."""
    fields = [1024, 1032, 1036, 1040, 1044, 1048, 1052]  # the floats of realm_sampler_params_t
    wrong = "".join(f"(call $note (call $with (i32.const {at}) (f32.const {value})))" for at in fields for value in ("nan", "inf", "-inf"))
    case.upload(text(program(f"""(call $ready) (i32.store (i32.const 128) (i32.const 1)) {wrong}
        (call $greedy) (f32.store (i32.const 192) (f32.const nan))
        (call $note (call $seq_sampler (global.get $sequence) (i32.const 1024) (i32.const 128) (i32.const 1) (i32.const 192) (i32.const 1)))
        (call $note (call $bias)) (call $answer) (i32.const 0)""", more=SAMPLER)))
    assert case.attack(case.run).numbers == [INVALID_ARGUMENT] * (3 * len(fields) + 1) + [0]
    for memory64 in (False, True):
        case.upload(text(program(PRODUCTS, more=TENSOR, memory64=memory64, pages=820)), {**BUDGET, "tensors": True})
        numbers = case.attack(case.run).numbers
        assert numbers == [0, 19, 22, 43, 50, 0, 17, 23, 39, 53] + [INVALID_ARGUMENT] * 5 + [LIMIT, BAD_HANDLE, BAD_HANDLE], memory64
    for foreign in ('(import "env" "candle_matmul"', '(import "env" "candle_softmax"'):  # of another type, or not there
        unoffered = program("(i32.const 0)", more="").replace('(import "realm" "input_size"', foreign)
        assert case.put(text(unoffered)).outcome == "422 program_refused"


def test_30_a_foreign_private_model_looks_like_none(case, text):
    case.world.server.cli("models", "allow", "private", "victim")
    case.upload(text(program("""(call $note (call $model_open (i32.const 64) (i32.const 7)))
        (call $note (call $model_open (i32.const 65) (i32.const 7))) (call $answer) (i32.const 0)""",
                             more='(data (i32.const 64) "private")')))
    assert case.attack(case.run).numbers == [NOT_FOUND] * 2
    chat = b'{"model": "private", "prompt": "x", "max_tokens": 1}'
    answer = case.world.call(case.key, "POST", "/v1/completions", chat)
    missing = case.world.call(case.key, "POST", "/v1/completions", chat.replace(b"private", b"missing"))
    assert answer.status == missing.status == 404
    assert answer.error["message"].replace("private", "missing") == missing.error["message"]
    assert case.world.call(case.world.victim_key, "POST", "/v1/completions", chat).status == 200

