"""Programs built with the kit, run by the real binary."""

import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="module")
def compile_program(tmp_path_factory):
    """Compiles a program of this folder with the command that docs/programs.md gives."""

    def compile(source: str) -> Path:
        page = (ROOT / "docs" / "programs.md").read_text()
        command = re.search(r"```sh\n(clang\+\+.*?[^\\])\n", page, re.S)[1]
        target = tmp_path_factory.mktemp("program") / "program.wasm"
        command = command.replace("without_e.cpp", str(HERE / source)).replace("without_e.wasm", str(target))
        subprocess.run(["bash", "-ec", command], cwd=ROOT, check=True)
        return target

    return compile


SMALL = pytest.mark.parametrize("small", [True, False], ids=["tiny model", "SmolLM2"])


@SMALL
def test_sequences_fork_wait_together_and_are_saved(realm, tiny_model, compile_program, small):
    model = ["--model", tiny_model] if small else []
    done = realm.run("run", *model, "--program", compile_program("sequences.cpp"), "--raw", "-")
    assert done.stdout.decode() == "all of it holds\n", done.stderr.decode()


@SMALL
def test_weights_are_looked_at_and_multiplied_by(realm, tiny_model, compile_program, small):
    model = ["--model", tiny_model] if small else []
    done = realm.run("run", *model, "--program", compile_program("tensors.cpp"), "--raw", "-")
    assert done.stdout.decode() == "all of it holds\n", done.stderr.decode()
