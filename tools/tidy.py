#!/usr/bin/env python3
"""Checks the source tree against the rules of docs/style.md. Prints `file:line: rule: message`, exits with 1 when there is any."""

import argparse
import ast
import bisect
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LINE_LENGTH_MAX = 140
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

# A layer may include itself and what stands here. The four of the middle are strangers to each other.
STRANGERS = ["sandbox", "engine", "models", "tenants"]
LAYERS = {
    "base": [],
    "kernels": [],
    **{layer: ["base"] for layer in STRANGERS},
    "engine": ["base", "kernels"],
    "runtime": ["base", *STRANGERS, "abi"],
    "http": ["base", *STRANGERS, "abi", "runtime"],
    "cli": ["base", *STRANGERS, "abi", "runtime", "http"],
}

# Third-party headers and the one layer (or two) that may know them.
THIRD_PARTY = [
    (re.compile(r"(wasmtime|wasm|wasi)(\.h|/)"), ["sandbox"]),
    (re.compile(r"(llama|ggml|gguf)[-\w/]*\.h"), ["engine", "kernels"]),
    (re.compile(r"boost/(beast|asio)"), ["http"]),
    (re.compile(r"(sqlite3|libpq)[-\w/]*\.h"), ["tenants"]),
    (re.compile(r"CLI/|(histedit|editline/readline)\.h"), ["cli"]),
    (re.compile(r"boost/json"), ["models", "http", "cli"]),
]

CPP = {".cpp", ".cc", ".c", ".h", ".hpp"}
SCRIPTS = {".py", ".sh"}
BUILD = {".cmake", ".mk"}
BUILD_NAMES = {"CMakeLists.txt", "Makefile"}
TEXT = CPP | SCRIPTS | BUILD | {".md", ".rs", ".toml", ".json", ".yml", ".yaml", ".txt", ".jinja"}
TOP_FOLDERS = {"abi", "bench", "cmake", "console", "deploy", "docs", "guest", "sdks", "src", "tests", "third_party", "tools"}

VAGUE_NAMES = {"helper", "helpers", "util", "utils", "common", "misc", "manager", "managers"}
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b|(?i:\bnot\s+implemente[d]\b)")
FORBIDDEN = re.compile(
    r"(?i:clau[d]e|chatgp[t]|\bAI[- ]generate[d])|crates\.io\b|pypi\.org\b|pythonhosted\.org\b|registry\.npmjs\.org\b"
    r"|deb\.debian\.org\b|proxy\.golang\.org\b"
)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
PATH = re.compile(rf"(?<![\w./$}}~-])(?:{'|'.join(sorted(TOP_FOLDERS))})/[\w./*{{}},<>$-]*")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
ABI_ROW = re.compile(r"X\((\w+), (IMMEDIATE|MAY_SUSPEND), \w+,(?:\s|\\)*\(([^)]*)\)\)")
ABI_HEADING = re.compile(r"^### `(\w+)\(([^)]*)\)`( ~)?", re.M)
PROOF = re.compile(r"`(test_\w+|[A-Z]\w+\.[A-Z]\w+)`")
CPP_TEST = re.compile(r"^TEST(?:_F|_P)?\((\w+),\s*(\w+)\)", re.M)
VARIABLE_NAME = re.compile(r"""["'](REALM_[A-Z0-9_]+)["']|\$ENV\{(REALM_\w+)\}""")  # a name alone in quotes is looked up
SHELL_VARIABLE = re.compile(r"\$\{?(REALM_\w+)")
CPP_TOKEN = re.compile(
    r'R"([^()\s\\]*)\(.*?\)\1"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'', re.S
)


@dataclass(frozen=True, order=True)
class Violation:
    file: str
    line: int
    rule: str
    message: str

    def __str__(self):
        return f"{self.file}:{self.line}: {self.rule}: {self.message}"


class Source:
    """One file of the tree, read once."""

    def __init__(self, root, path):
        self.path = path
        self.parts = path.split("/")
        self.name = self.parts[-1]
        self.suffix = Path(path).suffix
        self.bytes = (root / path).read_bytes()
        self.text = self.bytes.decode("utf-8", "replace")

    @cached_property
    def line_starts(self):
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def line_of(self, offset):
        return bisect.bisect_right(self.line_starts, offset)

    @cached_property
    def includes(self):
        """(line, "<" or '"', target) of each include."""
        return [(self.line_of(m.start(2)), m[1], m[2]) for m in INCLUDE.finditer(self.text)]

    @cached_property
    def prose(self):
        """The text with everything blanked that is not written for a reader: all of a page, the comments of code."""
        if self.suffix == ".md":
            return self.text
        if self.suffix in CPP or self.suffix == ".rs":
            kept = [m.span() for m in CPP_TOKEN.finditer(self.text) if m[0].startswith(("//", "/*"))]
        elif self.suffix in SCRIPTS | BUILD | {".toml"} or self.name in BUILD_NAMES:
            kept = [m.span() for m in re.finditer(r'(?:^|(?<=\s))#[^\n]*|""".*?"""', self.text, re.S)]
        else:
            kept = []
        out = []
        at = 0
        for begin, end in kept:
            out.append(blank(self.text[at:begin]))
            out.append(self.text[begin:end])
            at = end
        return "".join(out) + blank(self.text[at:])

    @cached_property
    def code(self):
        """C++ with comments, literals and preprocessor lines blanked."""
        code = CPP_TOKEN.sub(lambda m: blank(m[0]), self.text)
        return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: blank(m[0]), code, flags=re.M)


def blank(text):
    return re.sub(r"[^\n]", " ", text)


class Tree:
    def __init__(self, root):
        self.root = root
        self.paths = sorted(list_files(root))
        self.folders = {"/".join(path.split("/")[:i]) for path in self.paths for i in range(1, path.count("/") + 1)}
        self.sources = [
            Source(root, path) for path in self.paths if Path(path).suffix in TEXT or Path(path).name in BUILD_NAMES
        ]
        self.by_path = {source.path: source for source in self.sources}

    def exists(self, path):
        return path in self.by_path or path in self.folders or path in self.paths

    def with_suffix(self, *suffixes):
        return [source for source in self.sources if source.suffix in suffixes]


def list_files(root):
    """What git tracks or would track; every file when the root is no checkout."""
    git = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True)
    if git.returncode == 0 and (root / ".git").exists():
        paths = git.stdout.decode().split("\0")
    else:
        paths = [str(path.relative_to(root)) for path in root.rglob("*")]
    return {path for path in paths if path and (root / path).is_file() and not (root / path).is_symlink()}


# -- layers


def check_layers(tree):
    for source in tree.with_suffix(*CPP):
        if source.parts[0] != "src" or len(source.parts) < 3:
            continue
        layer = source.parts[1]
        if layer not in LAYERS:
            yield Violation(source.path, 1, "layer", f"src/{layer} is no layer: {', '.join(LAYERS)}")
            continue
        for line, quote, target in source.includes:
            third_party = next((allowed for pattern, allowed in THIRD_PARTY if pattern.match(target)), None)
            if third_party is not None:
                if layer not in third_party:
                    yield Violation(source.path, line, "layer", f"{target} belongs to {' and '.join(third_party)} only")
                continue
            if quote == "<":
                continue
            below = target.split("/")[0]
            if below not in LAYERS and below != "abi":
                yield Violation(source.path, line, "layer", f'"{target}" does not begin with a layer')
            elif below != layer and below not in LAYERS[layer]:
                yield Violation(source.path, line, "layer", f"{layer} must not know {below}")


# -- names, whitespace, lengths, words


def check_names(tree):
    for path in tree.paths:
        for part in path.split("/"):
            for word in re.split(r"[^a-zA-Z0-9]+", part):
                if word.lower() in VAGUE_NAMES:
                    yield Violation(path, 1, "name", f'"{word}" does not say what lives there')
        stem = Path(path).stem
        if Path(path).suffix in CPP | SCRIPTS and not re.fullmatch(r"[a-z0-9_]+", stem):
            yield Violation(path, 1, "name", "names of sources are snake_case")
    for source in tree.with_suffix(".cpp"):
        is_test = any(target.startswith(("gtest/", "gmock/")) for _, _, target in source.includes)
        if source.parts[0] == "src" and is_test != source.name.endswith("_test.cpp"):
            yield Violation(source.path, 1, "name", "unit tests, and nothing else, are named *_test.cpp")


def check_whitespace(tree):
    for source in tree.sources:
        if source.suffix not in CPP | SCRIPTS | BUILD | {".md", ".rs", ".toml"} and source.name not in BUILD_NAMES:
            continue
        for number, line in enumerate(source.bytes.split(b"\n"), 1):
            if line.endswith(b"\r"):
                yield Violation(source.path, number, "whitespace", "carriage return")
            elif line != line.rstrip():
                yield Violation(source.path, number, "whitespace", "trailing blank")
            if b"\t" in line and source.name != "Makefile" and source.suffix != ".mk":
                yield Violation(source.path, number, "whitespace", "tab")
        if source.bytes and not source.bytes.endswith(b"\n"):
            yield Violation(source.path, source.text.count("\n") + 1, "whitespace", "no newline at the end of the file")


def check_lengths(tree):
    for source in tree.with_suffix(*CPP, *SCRIPTS, *BUILD, ".md", ".rs"):
        lines = source.text.split("\n")
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_LENGTH_MAX and not (source.suffix == ".md" and line.startswith("|")):
                yield Violation(source.path, number, "line length", f"{len(line)} columns, more than {LINE_LENGTH_MAX}")
        if source.suffix in CPP | SCRIPTS and len(lines) - 1 > FILE_LINES_MAX:
            yield Violation(source.path, FILE_LINES_MAX + 1, "file length", f"{len(lines) - 1} lines, more than {FILE_LINES_MAX}")
        functions = cpp_functions(source) if source.suffix in CPP else python_functions(source) if source.suffix == ".py" else []
        for begin, end in functions:
            if end - begin + 1 > FUNCTION_LINES_MAX:
                yield Violation(
                    source.path, begin, "function length", f"{end - begin + 1} lines, more than {FUNCTION_LINES_MAX}"
                )


def python_functions(source):
    try:
        nodes = ast.walk(ast.parse(source.text))
    except SyntaxError:
        return []
    return [(n.lineno, n.end_lineno) for n in nodes if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


# What may follow the parameters before the body: qualifiers, a trailing type, a list of initialisers.
FUNCTION_TAIL = r"\s*(?:const|noexcept(?:\([^)]*\))?|override|final|mutable|try|&&?|->[^;{}:]*)"
FUNCTION_HEAD = re.compile(rf"\)(?:{FUNCTION_TAIL})*(?:\s*:[^:].*)?\s*$", re.S)
SCOPE_HEAD = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")


def cpp_functions(source):
    """First and last line of each function body that stands in a namespace or class. By braces, so macros can deceive it."""
    found = []
    stack = []  # "scope", "block", or the first line of a function
    head_begin = 0
    in_function = 0
    for match in re.finditer(r"[{};]", source.code):
        at = match.start()
        if match[0] == "{":
            head = source.code[head_begin:at]
            if in_function:
                stack.append("block")
            elif FUNCTION_HEAD.search(head) and not head.rstrip().endswith("="):
                stack.append(source.line_of(head_begin + len(head) - len(head.lstrip())))
                in_function += 1
            else:
                stack.append("scope" if SCOPE_HEAD.search(head) else "block")
        elif match[0] == "}" and stack:
            top = stack.pop()
            if isinstance(top, int):
                in_function -= 1
                found.append((top, source.line_of(at)))
        head_begin = at + 1
    return found


def check_words(tree):
    for source in tree.sources:
        if source.name.endswith(".lock"):
            continue
        for rule, pattern in [("unfinished", UNFINISHED), ("forbidden word", FORBIDDEN)]:
            for match in pattern.finditer(source.text):
                yield Violation(source.path, source.line_of(match.start()), rule, f'"{match[0]}"')


# -- dead files


def check_dead_files(tree):
    cpp = tree.with_suffix(*CPP)
    targets = {target for source in cpp for _, _, target in source.includes}
    patterns = list(build_patterns(tree))
    for source in cpp:
        if source.suffix in {".h", ".hpp"}:
            if not any("/".join(source.parts[i:]) in targets for i in range(len(source.parts))):
                yield Violation(source.path, 1, "dead file", "no file includes this header")
        elif not any(re.fullmatch(pattern, source.path) for pattern in patterns):
            # A test may compile a program itself.
            if not any(source.name in test.text for test in tree.with_suffix(".py") if test.path.startswith("tests/")):
                yield Violation(source.path, 1, "dead file", "no CMake file or test names or globs this source")
    for source in tree.sources:
        script = source.parts[0] in {"tools", "bench"} and source.suffix in SCRIPTS
        page = source.parts[0] == "docs" and source.suffix == ".md"
        if (script or page) and not any(source.name in other.text for other in tree.sources if other is not source):
            yield Violation(source.path, 1, "dead file", "no file refers to it")


def build_patterns(tree):
    """Regular expressions of the sources that the CMake files name or glob."""
    scripts = [source for source in tree.sources if source.name == "CMakeLists.txt" or source.suffix == ".cmake"]
    names = {name for source in scripts for name in re.findall(r"\brealm_layer\((\w+)", source.text)}
    for source in scripts:
        text = re.sub(r"#[^\n]*", "", source.text)
        folder = "/".join(source.parts[:-1]) if source.name == "CMakeLists.txt" else ""
        for token in re.findall(r"[\w./${}*-]+\.(?:cpp|cc|c)\b", text):
            token = re.sub(r"^\$\{(CMAKE_CURRENT_SOURCE_DIR|PROJECT_SOURCE_DIR|CMAKE_CURRENT_LIST_DIR)\}/", "", token)
            token, from_root = re.subn(r"^\$\{CMAKE_SOURCE_DIR\}/", "", token)
            for name in names if "${name}" in token else [""]:
                path = token.replace("${name}", name)
                path, from_variable = re.subn(r"^\$\{\w+\}/", "", path)
                prefix = "(?:.*/)?" if from_variable else f"{folder}/" if folder and not from_root else ""
                pattern = re.escape(path).replace(r"\*", "[^/]*")
                yield prefix + re.sub(r"\\\$\\\{\w+\\\}", "[^/]*", pattern)


# -- pages that agree with the tree


def check_paths(tree):
    for source in tree.sources:
        for match in PATH.finditer(source.prose):
            path = match[0].rstrip(".,-").rstrip("/")
            fixed = re.split(r"[*{<$]", path)[0]
            if fixed != path:  # a pattern: its folder must exist
                path = fixed.rpartition("/")[0]
            if not tree.exists(path):
                yield Violation(source.path, source.line_of(match.start()), "stale path", f"{path} does not exist")
    for source in tree.with_suffix(".md"):
        for match in LINK.finditer(source.text):
            path = os.path.normpath("/".join([*source.parts[:-1], match[1]]))
            if not tree.exists(path):
                yield Violation(source.path, source.line_of(match.start()), "stale path", f"link to {match[1]}")


def check_abi_page(tree):
    table = tree.by_path.get("abi/realm_abi.h")
    page = tree.by_path.get("docs/programs.md")
    if table is None:
        return
    if page is None:
        yield Violation(table.path, 1, "abi page", "docs/programs.md is missing")
        return
    declared = {}
    for match in ABI_ROW.finditer(table.text):
        parameters = [re.findall(r"\w+", parameter)[-1] for parameter in match[3].split(",") if parameter.strip() != "void"]
        declared[match[1]] = (", ".join(parameters), match[2] == "MAY_SUSPEND", table.line_of(match.start()))
    described = {}
    for match in ABI_HEADING.finditer(page.text):
        described[match[1]] = (match[2], match[3] is not None, page.line_of(match.start()))
    for name, (parameters, suspends, line) in declared.items():
        if name not in described:
            yield Violation(table.path, line, "abi page", f"{name} is not described in {page.path}")
        elif described[name][:2] != (parameters, suspends):
            heading = f"### `{name}({parameters})`{' ~' if suspends else ''}"
            yield Violation(page.path, described[name][2], "abi page", f"the heading of {name} must be: {heading}")
    for name, (_, _, line) in described.items():
        if name not in declared:
            yield Violation(page.path, line, "abi page", f"{name} is not in {table.path}")


def check_proofs(tree):
    """The tests that docs/threat_model.md names exist, and each of its promises names one."""
    page = tree.by_path.get("docs/threat_model.md")
    if page is None:
        return
    known = {name for source in tree.with_suffix(".py") for name in re.findall(r"^def (test_\w+)", source.text, re.M)}
    known |= {f"{m[1]}.{m[2]}" for source in tree.with_suffix(".cpp") for m in CPP_TEST.finditer(source.text)}
    for match in PROOF.finditer(page.text):
        if match[1] not in known:
            yield Violation(page.path, page.line_of(match.start()), "proof", f"there is no test {match[1]}")
    promises = re.search(r"^## Promises\n(.*?)(?=^## |\Z)", page.text, re.M | re.S)
    for row in re.finditer(r"^\|(?!-)(?! promise)[^|\n]*\|([^\n]*)\|$", promises[1] if promises else "", re.M):
        if "`" not in row[1]:
            yield Violation(page.path, page.line_of(promises.start(1) + row.start()), "proof", "a promise that no test proves")


def check_variables(tree):
    pages = [tree.by_path[path] for path in ("docs/operations.md", "README.md") if path in tree.by_path]
    documented = {name for page in pages for name in re.findall(r"\bREALM_\w+", page.text)}
    code = [source for source in tree.sources if source.suffix != ".md"]
    for source in (source for source in code if source.suffix in CPP | SCRIPTS | BUILD or source.name in BUILD_NAMES):
        pattern = SHELL_VARIABLE if source.suffix == ".sh" else VARIABLE_NAME
        for match in pattern.finditer(source.text):
            name = next(group for group in match.groups() if group)
            if name not in documented:
                yield Violation(source.path, source.line_of(match.start()), "variable", f"{name} is not in docs/operations.md")
    for page in pages:
        for match in re.finditer(r"\bREALM_\w+", page.text):
            if not any(match[0] in source.text for source in code):
                yield Violation(page.path, page.line_of(match.start()), "variable", f"no code uses {match[0]}")


CHECKS = [
    check_layers,
    check_names,
    check_whitespace,
    check_lengths,
    check_words,
    check_dead_files,
    check_paths,
    check_abi_page,
    check_proofs,
    check_variables,
]


def violations(root):
    tree = Tree(Path(root).resolve())
    return sorted({violation for check in CHECKS for violation in check(tree)})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", default=Path(__file__).resolve().parent.parent, help="the tree to check")
    found = violations(parser.parse_args().root)
    for violation in found:
        print(violation)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
