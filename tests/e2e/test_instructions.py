"""What a token costs besides computing it, in instructions: the same on every machine and under any load.

valgrind's callgrind counts those of two answers that differ in length alone; a token's are the difference. ggml, llama.cpp and our kernels
are left out, and so is the search for the largest logit, which goes with the vocabulary.
"""

import os
import re
import subprocess
from collections import Counter

SHORT, LONG = 4, 36
COMPUTED = ("ggml_", "void ggml_", "ggml::", "llama_", "void set_input_", "realm::kernels::", "__mem", "__exp", "__log", "__sincos",
            "realm::engine::(anonymous namespace)::maxima_of_blocks")
INSTRUCTIONS_MAX = 55_000  # 45,000 when it was set


def self_costs(profile):
    """Instructions by function, without those of the functions that it calls."""
    names, costs = {}, Counter()
    function, is_of_call = "", False
    for line in profile.read_text(errors="replace").splitlines():
        if named := re.match(r"(c?fn)=\((\d+)\)(?: (.*))?$", line):
            kind, number, name = named.groups()
            names.setdefault(number, name)
            if kind == "fn":
                function = names[number]
        elif line.startswith("calls="):
            is_of_call = True
        elif re.match(r"[-+*\d]\S* \d+$", line):
            if not is_of_call:
                costs[function] += int(line.split()[1])
            is_of_call = False
    return costs


def run(realm, model, tokens, tool):
    arguments = ["run", "--threads", "1", "--temp", "0", "-n", str(tokens), "--ignore-eos", "hello"]
    command = ["valgrind", "--quiet", *tool, realm.binary, *arguments]
    done = subprocess.run(command, env={**os.environ, "REALM_MODEL": str(model)}, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()


def test_a_token_costs_few_instructions_besides_its_computation(realm, tiny_model, tmp_path):
    # valgrind's processor is one of its own, for which realm.wasm is compiled first.
    run(realm, tiny_model, 1, ["--tool=none"])
    costs = {}
    for tokens in (SHORT, LONG):
        profile = tmp_path / f"{tokens}.out"
        run(realm, tiny_model, tokens, ["--tool=callgrind", f"--callgrind-out-file={profile}"])
        costs[tokens] = self_costs(profile)
    assert costs[LONG].total() > costs[SHORT].total() > 100_000_000
    a_token = {name: (count - costs[SHORT][name]) / (LONG - SHORT) for name, count in costs[LONG].items()}
    others = Counter({name: count for name, count in a_token.items() if not name.startswith(COMPUTED)})
    assert sum(a_token.values()) > 1_000_000, "the computation of a token was not counted"
    assert 1_000 < others.total() < INSTRUCTIONS_MAX, others.most_common(20)
