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


def table() -> dict[str, tuple[bool, list[str]]]:
    """Of each function of the program ABI: whether it may suspend, and the names of its parameters."""
    header = (ROOT / "abi" / "realm_abi.h").read_text().replace("\\\n", " ")
    rows = re.findall(r"\bX\((\w+),\s*(IMMEDIATE|MAY_SUSPEND),\s*\w+,\s*\((.*?)\)\)", header, re.S)
    functions = {}
    for name, waits, parameters in rows:
        names = [re.search(r"(\w+)\s*$", one)[1] for one in parameters.split(",")]
        functions[name] = (waits == "MAY_SUSPEND", [] if names == ["void"] else names)
    return functions


def test_every_function_of_the_table_has_its_section_and_no_other_has_one():
    functions = table()
    assert len(functions) > 30
    page = (ROOT / "docs" / "programs.md").read_text()
    sections = {}
    for name, parameters, suspends in re.findall(r"^### `(\w+)\((.*?)\)`( ~)?$", page, re.M):
        assert name not in sections, f"{name} has two sections"
        sections[name] = (suspends != "", [one.strip() for one in parameters.split(",")] if parameters else [])
    assert sections == functions


def test_every_function_says_what_it_costs_and_only_one_that_may_suspend_waits():
    page = (ROOT / "docs" / "programs.md").read_text()
    sections = dict(re.findall(r"^### `(\w+)\(.*?\)`(?: ~)?\n(.*?)(?=^##)", page, re.M | re.S))
    for name, (suspends, _) in table().items():
        costs = re.findall(r"^Cost: (.+\.)$", sections[name], re.M)
        assert len(costs) == 1, f"{name} has no line that says its cost"
        assert suspends == bool(re.search(r"\bwaits?\b", costs[0])), f"{name}: a wait is what suspends, and nothing else"
