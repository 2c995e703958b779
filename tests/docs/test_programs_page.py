"""The complete program in docs/programs.md compiles with the command that stands below it, and does what the page says."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_complete_program_compiles_and_runs(realm, tmp_path):
    page = (ROOT / "docs" / "programs.md").read_text()
    source = re.search(r"```cpp\n(.*?)```", page, re.S)[1]
    compiler = re.search(r"```sh\n(clang\+\+.*?[^\\])\n", page, re.S)[1]
    (tmp_path / "without_e.cpp").write_text(source)
    command = compiler.replace("without_e.", f"{tmp_path}/without_e.")
    subprocess.run(["bash", "-ec", command], cwd=ROOT, check=True)

    done = realm.run("run", "--program", tmp_path / "without_e.wasm", "--raw", "The old ship")
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert len(text) > 20 and "e" not in text.lower()
