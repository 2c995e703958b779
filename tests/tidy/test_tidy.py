"""Each rule of tools/tidy.py is seen to fire on a small made tree, and to stay silent on a clean one."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import tidy

ABI = """#define REALM_ABI_FUNCTIONS(X) \\
  X(input_size, IMMEDIATE, int32_t, (void)) \\
  X(seq_next, MAY_SUSPEND, int32_t, \\
    (int32_t sequence, int32_t *tokens, uint32_t capacity))
"""
CLEAN = {
    "CMakeLists.txt": "file(GLOB s src/${name}/*.cpp)\nrealm_layer(base)\nrealm_layer(engine)\nrealm_layer(runtime)\n",
    "Makefile": "test:\n\tpython3 tools/check.py\n",
    "README.md": "Start at docs/.\n",
    "abi/realm_abi.h": ABI,
    "docs/operations.md": "`REALM_LOG` sets the level.\n",
    "docs/programs.md": "### `input_size()`\n\n### `seq_next(sequence, tokens, capacity)` ~\n",
    "src/base/clock.cpp": '#include "base/clock.h"\n\n#include <cstdlib>\n\nchar* level() { return getenv("REALM' '_LOG"); }\n',
    "src/base/clock.h": "// Time. Read by src/engine. See docs/programs.md and docs/operations.md.\n",
    "src/engine/step.cpp": '#include <llama.h>\n#include "base/clock.h"\n',
    "src/runtime/host.cpp": '#include "abi/realm_abi.h"\n#include "base/clock.h"\n',
    "tools/check.py": "import os\n",
}


def check(tmp_path, changes=None):
    """The violations of the clean tree with these files replaced, as (file, line, rule)."""
    for path, text in {**CLEAN, **(changes or {})}.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    return [(v.file, v.line, v.rule) for v in tidy.violations(tmp_path)]


def test_a_clean_tree_has_no_violations(tmp_path):
    assert check(tmp_path) == []


@pytest.mark.parametrize(
    "path, line, expected",
    [
        ("src/base/clock.cpp", '#include "engine/step.h"', True),
        ("src/engine/step.cpp", '#include "sandbox/sandbox.h"', True),
        ("src/engine/step.cpp", '#include "runtime/runtime.h"', True),
        ("src/engine/step.cpp", '#include "abi/realm_abi.h"', True),
        ("src/engine/step.cpp", '#include "clock.h"', True),
        ("src/runtime/host.cpp", "#include <llama.h>", True),
        ("src/runtime/host.cpp", "#include <ggml-backend.h>", True),
        ("src/runtime/host.cpp", "#include <wasmtime.h>", True),
        ("src/engine/step.cpp", "#include <wasm.h>", True),
        ("src/engine/step.cpp", "#include <boost/asio/ip/tcp.hpp>", True),
        ("src/engine/step.cpp", "#include <sqlite3.h>", True),
        ("src/engine/step.cpp", "#include <CLI/CLI.hpp>", True),
        ("src/engine/step.cpp", '#include "llama-kv-cache.h"', False),
        ("src/runtime/host.cpp", '#include "engine/step.h"', False),
        ("src/runtime/host.cpp", "#include <vector>", False),
    ],
)
def test_layers_point_down(tmp_path, path, line, expected):
    found = check(tmp_path, {path: CLEAN[path] + line + "\n"})
    assert ((path, CLEAN[path].count("\n") + 1, "layer") in found) == expected


def test_an_unknown_layer_is_named(tmp_path):
    assert ("src/extras/thing.h", 1, "layer") in check(tmp_path, {"src/extras/thing.h": "\n"})


@pytest.mark.parametrize(
    "path",
    ["src/base/clock_util.h", "src/common/clock.h", "docs/misc.md", "tools/key_manager.py", "src/base/MyClock.h", "tools/a-b.sh"],
)
def test_vague_and_misspelt_names(tmp_path, path):
    assert (path, 1, "name") in check(tmp_path, {path: "\n"})


def test_unit_tests_are_named_so(tmp_path):
    with_tests = "#include <gtest/gtest.h>\n"
    found = check(tmp_path, {"src/base/checks.cpp": with_tests, "src/base/a_test.cpp": "\n", "src/base/b_test.cpp": with_tests})
    assert [v for v in found if v[2] == "name"] == [("src/base/a_test.cpp", 1, "name"), ("src/base/checks.cpp", 1, "name")]


@pytest.mark.parametrize(
    "text, line",
    [("int a;\n\tint b;\n", 2), ("int a; \n", 1), ("int a;\r\n", 1), ("int a;\nint b;", 2)],
    ids=["tab", "trailing blank", "carriage return", "final newline"],
)
def test_whitespace(tmp_path, text, line):
    assert check(tmp_path, {"src/engine/step.cpp": text}) == [("src/engine/step.cpp", line, "whitespace")]


def test_long_lines(tmp_path):
    longest = "//".ljust(tidy.LINE_LENGTH_MAX, "x")
    found = check(tmp_path, {"src/engine/step.cpp": f"\n{longest}\n{longest}x\n", "README.md": f"|{longest}\n"})
    assert found == [("src/engine/step.cpp", 3, "line length")]


def test_long_files(tmp_path):
    assert check(tmp_path, {"src/engine/step.cpp": "int a;\n" * 600}) == []
    assert check(tmp_path, {"src/engine/step.cpp": "int a;\n" * 601}) == [("src/engine/step.cpp", 601, "file length")]


@pytest.mark.parametrize(
    "head",
    [
        "int f(int a) {",
        "struct S { int f() const noexcept {",
        "class C final : public B { C() : B(1), a_(2) {",
        "template <class R, class... A> struct B<R(A...), 1> { auto f() -> int {",
        'extern "C" { void f(void) {',
        "const auto f = [](int a) {",
    ],
)
def test_long_functions(tmp_path, head):
    def tree(statements):
        text = "namespace realm {\n" + head + '\n  if (x) { const char* s = "}"; }  // }\n' + "  a();\n" * statements + "}\n"
        return {"src/engine/step.cpp": text + "};\n" * head.count(" { ")}

    assert check(tmp_path, tree(67)) == []
    assert check(tmp_path, tree(68)) == [("src/engine/step.cpp", 2, "function length")]


def test_long_python_functions(tmp_path):
    assert check(tmp_path, {"tools/check.py": "def f():\n" + "    a()\n" * 69}) == []
    assert check(tmp_path, {"tools/check.py": "def f():\n" + "    a()\n" * 70}) == [("tools/check.py", 1, "function length")]


@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "not imple" + "mented"])
def test_unfinished_work(tmp_path, word):
    assert check(tmp_path, {"src/engine/step.cpp": f"\n// {word}: later\n"}) == [("src/engine/step.cpp", 2, "unfinished")]


@pytest.mark.parametrize("word", ["Clau" + "de", "AI-gen" + "erated", "crates" + ".io", "pypi" + ".org", "deb.debian" + ".org"])
def test_forbidden_words(tmp_path, word):
    assert check(tmp_path, {"README.md": f"See {word}\n"}) == [("README.md", 1, "forbidden word")]
    assert check(tmp_path, {"README.md": "\n", "third_party/Cargo.lock": f"{word}\n"}) == []


@pytest.mark.parametrize(
    "path",
    ["src/base/unused.h", "src/sandbox/not_globbed.cpp", "bench/orphan.cpp", "tools/orphan.py", "tools/orphan.sh", "docs/orphan.md"],
)
def test_dead_files(tmp_path, path):
    assert check(tmp_path, {path: "\n"}) == [(path, 1, "dead file")]


def test_sources_that_cmake_names_are_alive(tmp_path):
    changes = {"guest/CMakeLists.txt": "add(x realm/main.cpp ${CMAKE_SOURCE_DIR}/third_party/a.cpp lib/*.cpp ${here}/c.cpp)\n"}
    changes |= {"guest/realm/main.cpp": "\n", "guest/c.cpp": "\n", "third_party/a.cpp": "\n", "guest/lib/b.cpp": "\n"}
    assert check(tmp_path, changes) == []


@pytest.mark.parametrize(
    "path, text",
    [
        ("README.md", "See docs/gone.md.\n"),
        ("README.md", "See [this](docs/gone.md).\n"),
        ("src/engine/step.cpp", "// As docs/gone.md says.\n"),
        ("src/engine/step.cpp", "/* src/gone/*.cpp */\n"),
        ("tools/check.py", "# See src/base/gone.h\n"),
    ],
)
def test_stale_paths(tmp_path, path, text):
    assert check(tmp_path, {path: text})[:1] == [(path, 1, "stale path")]


def test_paths_that_exist_and_text_that_is_no_path(tmp_path):
    readme = "docs/, src/base/clock.h, src/*/x, src/base/*.h, build/release/x, https://h.example/docs/x, [a](https://h.example)\n"
    code = 'const char* pattern = "docs/gone.md";\n'
    assert check(tmp_path, {"README.md": readme, "src/engine/step.cpp": code}) == []


@pytest.mark.parametrize(
    "page, where",
    [
        ("### `input_size()`\n", ("abi/realm_abi.h", 3)),
        (CLEAN["docs/programs.md"] + "### `seq_gone(a)`\n", ("docs/programs.md", 4)),
        ("### `input_size()`\n### `seq_next(sequence, capacity)` ~\n", ("docs/programs.md", 2)),
        ("### `input_size()`\n### `seq_next(sequence, tokens, capacity)`\n", ("docs/programs.md", 2)),
    ],
    ids=["missing", "no such function", "other parameters", "suspends"],
)
def test_the_abi_page_agrees_with_the_table(tmp_path, page, where):
    assert check(tmp_path, {"docs/programs.md": page}) == [(*where, "abi page")]


@pytest.mark.parametrize(
    "row, expected",
    [
        ("| it holds | `test_it_holds`, `StepTest.ItHolds` |", []),
        ("| it holds | `test_it_held` |", [("docs/threat_model.md", 4, "proof")]),
        ("| it holds | `StepTest.ItHeld` |", [("docs/threat_model.md", 4, "proof")]),
        ("| it holds | |", [("docs/threat_model.md", 4, "proof")]),
    ],
)
def test_promises_name_tests_that_exist(tmp_path, row, expected):
    changes = {
        "docs/threat_model.md": f"## Promises\n| promise | proof |\n|---|---|\n{row}\n",
        "README.md": CLEAN["README.md"] + "And docs/threat_model.md.\n",
        "tests/test_it.py": "def test_it_holds():\n    assert 1\n",
        "src/engine/step_test.cpp": "#include <gtest/gtest.h>\n\nTEST(StepTest, ItHolds) {}\n",
    }
    assert check(tmp_path, changes) == expected


@pytest.mark.parametrize(
    "path, use",
    [
        ("src/engine/step.cpp", 'auto v = std::getenv("@");\n'),
        ("tools/check.py", 'v = os.environ.get("@")\n'),
        ("tools/check.py", 'v = os.environ["@"]\n'),
        ("tools/run.sh", 'echo "${@:-1}"\n'),
        ("CMakeLists.txt", "if(DEFINED $ENV{@})\n"),
    ],
)
def test_variables_are_documented(tmp_path, path, use):
    begin = CLEAN.get(path, "")
    variable = "REALM" + "_NEW"
    changes = {path: begin + use.replace("@", variable), "Makefile": "test:\n\tcheck.py run.sh\n"}
    assert check(tmp_path, changes) == [(path, begin.count("\n") + 1, "variable")]
    assert check(tmp_path, {**changes, "README.md": CLEAN["README.md"] + f"`{variable}`\n"}) == []


def test_documented_variables_are_used(tmp_path):
    assert check(tmp_path, {"README.md": CLEAN["README.md"] + "`REALM_GONE`\n"}) == [("README.md", 2, "variable")]


def test_output_and_exit_status(tmp_path, capsys, monkeypatch):
    check(tmp_path, {"src/engine/step.cpp": "\tint a;\n"})
    monkeypatch.setattr(sys, "argv", ["tidy.py", str(tmp_path)])
    assert tidy.main() == 1
    assert capsys.readouterr().out == "src/engine/step.cpp:1: whitespace: tab\n"
