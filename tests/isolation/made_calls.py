"""Programs that call the program ABI in random order, with arguments that are mostly in order: handles that were given out, tokens of the
model, names that were used before, now and then something else. Made from the table of abi/realm_abi.h, as hostile_arguments.py is."""

import random

from programs_in_text import FUNCTIONS, TENSOR, Function, program

PAGES = 3
SEQUENCES = 4  # that a program remembers
TOKENS, NAMES, PARAMS, MASK, FREE = 4_096, 256, 16, 65_536, 131_072
MASK_BYTES = 6_144  # a bit for each token of the made model
WORST_STATUS = -9
# These end the instance or begin the answer, which the program needs itself.
LEFT_OUT = ("respond", "emit", "fail", "restart")
GIVES_SEQUENCE = ("seq_open", "seq_fork", "seq_load")
# What makes a program get on is called more often than the rest.
WEIGHTS = {"seq_next": 8, "seq_append": 5, "seq_open": 4, "seq_fork": 4, "seq_load": 3, "seq_save": 3, "seq_push": 3, "seq_reject": 3,
           "seq_mask": 3, "seq_truncate": 3, "seq_guess": 3, "seq_candidates": 3, "seq_sampler": 2, "seq_next_any": 2, "model_close": 0.1,
           "seq_close": 0.7, "memory64_tensor_close": 0.3}
STRANGE = [0, 1, -1, 2**31 - 1, -2**31, 65_536]

MORE = TENSOR + "".join(f"(global $s{i} (mut i32) (i32.const 0))" for i in range(SEQUENCES)) + f"""
  (data (PTR.const {NAMES}) "one two three four five six seven eight nine ten")
  (func $begin (local $i i32) (local $at PTR)
    (call $ready_tensor)
    (global.set $s0 (global.get $sequence))
    (memory.fill (PTR.const {MASK}) (i32.const 255) (PTR.const {MASK_BYTES}))
    (local.set $at (PTR.const {TOKENS}))
    (loop $next
      (i32.store (local.get $at) (i32.mul (local.get $i) (i32.const 37)))
      (local.set $at (PTR.add (local.get $at) (PTR.const 4)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 512)))))
  (func $check (param $answer i32) (param $round i32)
    (if (i32.lt_s (local.get $answer) (i32.const {WORST_STATUS}))
      (then (call $note (local.get $round)) (call $note (local.get $answer)))))"""


class Maker:
    def __init__(self, seed: int, memory64: bool):
        self.random = random.Random(seed)
        self.memory64 = memory64
        self.functions = [one for one in FUNCTIONS if one.name not in LEFT_OUT]
        self.weights = [WEIGHTS.get(one.name, 1) for one in self.functions]

    def pointer(self, parameter) -> int:
        if self.random.random() < 0.03:
            return self.random.choice([1, PAGES * 65_536 - 4, PAGES * 65_536, 2**31, 2**32 - 8])
        if parameter.name in ("name", "key", "prefix", "text"):
            return NAMES + self.random.randrange(3) * 4
        if parameter.name == "params":
            return PARAMS if parameter.bytes == 16 and self.random.random() < 0.9 else FREE + 64 * self.random.randrange(99)
        if parameter.name == "allowed":
            return MASK
        if "tokens" in parameter.name or parameter.name == "banned":
            return TOKENS + 4 * self.random.randrange(400)
        return FREE + 64 * self.random.randrange(600)

    def number(self, name: str) -> str:
        if name in ("model", "sequence", "tensor") and self.random.random() < 0.95:
            return f"(global.get $s{self.random.randrange(SEQUENCES)})" if name == "sequence" else f"(global.get ${name})"
        if self.random.random() < 0.03:
            return f"(i32.const {self.random.choice(STRANGE)})"
        return f"(i32.const {self.random.choice([self.random.randrange(4), self.random.randrange(48)])})"

    def count(self, array) -> int:
        if self.random.random() < 0.03:
            return self.random.choice(STRANGE)
        if array.name == "allowed":
            return MASK_BYTES
        return self.random.choice([3, self.random.randrange(16), self.random.randrange(512)])

    def call(self, function: Function) -> str:
        arguments = []
        for place, one in enumerate(function.parameters):
            if one.kind == "pointer":
                arguments.append(f"(PTR.const {self.pointer(one)})")
            elif place > 0 and function.parameters[place - 1].counted:
                arguments.append(f"(i32.const {self.count(function.parameters[place - 1])})")
            else:
                arguments.append(self.number(one.name))
        return f"(call ${function.name} {' '.join(arguments)})"

    def step(self, round_: int) -> str:
        function = self.random.choices(self.functions, self.weights)[0]
        made = self.call(function)
        if function.result == "i64":
            return f"(drop {made})"
        kept = f"$s{self.random.randrange(SEQUENCES)}" if function.name in GIVES_SEQUENCE else "$tensor"
        text = f"(local.set $answer {made}) (call $check (local.get $answer) (i32.const {round_}))"
        if function.name in GIVES_SEQUENCE or function.name == "memory64_tensor":
            text += f" (if (i32.gt_s (local.get $answer) (i32.const 0)) (then (global.set {kept} (local.get $answer))))"
        return text

    def text(self, calls: int) -> str:
        """A program that makes so many calls and answers with those whose status is none of the ABI's: the round and the status."""
        steps = "\n    ".join(self.step(round_) for round_ in range(calls))
        return program(f"(local $answer i32) (call $begin)\n    {steps}\n    (call $answer) (i32.const 0)", more=MORE, pages=PAGES,
                       memory64=self.memory64, notes=2_048)
