#!/usr/bin/env python3
"""Writes the declarations of the guest kits for Rust and Go from abi/realm_abi.h. With --check it only says whether they are current."""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "abi" / "realm_abi.h"
NOTE = "The program ABI, written by tools/generate_kits.py from abi/realm_abi.h. docs/programs.md explains it."

ROW = re.compile(r"(?:/\*(?P<comment>(?:[^*]|\*(?!/))*)\*/\s*)?X\((?P<name>\w+), (?:IMMEDIATE|MAY_SUSPEND), (?P<result>\w+),\s*"
                 r"\((?P<parameters>[^)]*)\)\)")
TABLES = {"realm": ("#define REALM_ABI_FUNCTIONS(X)", "#define REALM_ENV_FUNCTIONS(X)"),
          "env": ("#define REALM_ENV_FUNCTIONS(X)", "#ifdef __wasm__")}
RUST = {"int32_t": "i32", "uint32_t": "u32", "int64_t": "i64", "uint64_t": "u64", "float": "f32", "uint8_t": "u8"}
GO = {"int32_t": "int32", "uint32_t": "uint32", "int64_t": "int64", "uint64_t": "uint64", "float": "float32", "uint8_t": "byte"}
SIZES = {"int32_t": 4, "uint32_t": 4, "float": 4, "uint64_t": 8}


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def functions(header, module):
    """(name, comment, result, [(constant, type, is a pointer, name)])"""
    begin, end = TABLES[module]
    table = header[header.index(begin):header.index(end)].replace("\\\n", "\n")
    found = []
    for row in ROW.finditer(table):
        parameters = []
        for text in row["parameters"].split(","):
            if text.strip() == "void":
                continue
            constant, kind, pointer, name = re.fullmatch(r"\s*(const )?(\w+)\s*(\*)?\s*(\w+)\s*", text).groups()
            parameters.append((constant is not None, kind, pointer is not None, name))
        comment = re.sub(r"\s*\n\s*\*?\s*", " ", row["comment"] or "").strip()
        found.append((row["name"], "" if comment.startswith("--") else comment, row["result"], parameters))
    return found


def constants(header):
    found = []
    for kind, body in re.findall(r"^enum (\w+) \{(.*?)\}", without_comments(header), re.S | re.M):
        found += [(kind, name, int(value)) for name, value in re.findall(r"(\w+) = (-?\d+)", body)]
    return found


def structs(header):
    """(name, [(field, type)]); every field aligned by itself, so that no compiler adds padding."""
    found = []
    for body, name in re.findall(r"^typedef struct \w+ \{(.*?)\} realm_(\w+)_t;", without_comments(header), re.S | re.M):
        fields = [(field, kind) for kind, field in re.findall(r"(\w+) (\w+);", body)]
        at = 0
        for field, kind in fields:
            assert at % SIZES[kind] == 0, f"{name}.{field} is not aligned"
            at += SIZES[kind]
        found.append((name, fields))
    return found


def title(name):
    return "".join(word.capitalize() for word in name.split("_"))


def wrapped(comment, mark, indent):
    lines, line = [], ""
    for word in comment.split():
        if len(indent) + len(mark) + len(line) + len(word) > 110:
            lines.append(line)
            line = ""
        line += " " + word
    return "".join(f"{indent}{mark}{one}\n" for one in [*lines, line] if one)


def rust(header):
    out = f"//! {NOTE}\n\n"
    for kind, name, value in constants(header):
        out += f"pub const {name}: {'i32' if kind == 'realm_status' else 'u32'} = {value};\n"
    for name, fields in structs(header):
        out += f"\n#[repr(C)]\n#[derive(Clone, Copy, Debug, Default)]\npub struct {title(name)} {{\n"
        out += "".join(f"    pub {field}: {RUST[kind]},\n" for field, kind in fields) + "}\n"
    for module in TABLES:
        out += f'\n#[link(wasm_import_module = "{module}")]\nextern "C" {{\n{rust_functions(header, module)}}}\n'
    return out


def rust_functions(header, module):
    out = ""
    for name, comment, result, parameters in functions(header, module):
        arguments = []
        for constant, kind, pointer, argument in parameters:
            plain = RUST.get(kind) or title(kind.removeprefix("realm_").removesuffix("_t"))
            arguments.append(f"{argument}: {('*const ' if constant else '*mut ') if pointer else ''}{plain}")
        out += wrapped(comment, "///", "    ")
        line = f"    pub fn {name}({', '.join(arguments)}) -> {RUST[result]};\n"
        if len(line) > 101:
            line = f"    pub fn {name}(\n" + "".join(f"        {argument},\n" for argument in arguments) + f"    ) -> {RUST[result]};\n"
        out += line
    return out


def go(header):
    out = f"// {NOTE}\n\npackage realm\n\nimport (\n\t\"structs\"\n\t\"unsafe\"\n)\n\nconst (\n"
    names = constants(header)
    longest = max(len(name) for _, name, _ in names)
    out += "".join(f"\t{name:<{longest}} = {value}\n" for _, name, value in names) + ")\n"
    for name, fields in structs(header):
        columns = [(title(field), GO[kind]) for field, kind in fields]
        width = max(len(field) for field, _ in columns)
        out += f"\ntype {title(name)} struct {{\n\t{'_':<{width}} structs.HostLayout\n"
        out += "".join(f"\t{field:<{width}} {kind}\n" for field, kind in columns) + "}\n"
    return out + "".join(go_functions(header, module) for module in TABLES)


def go_functions(header, module):
    out = ""
    for name, comment, result, parameters in functions(header, module):
        arguments = [f"{argument} {'unsafe.Pointer' if pointer else GO[kind]}" for _, kind, pointer, argument in parameters]
        comment = f"{comment}\n" if comment else ""
        out += "\n" + wrapped(comment, "//", "") + ("//\n" if comment else "")
        out += f"//go:wasmimport {module} {name}\n//go:noescape\nfunc abi{title(name)}({', '.join(arguments)}) {GO[result]}\n"
    return out


FILES = {"guest/kits/rust/src/abi.rs": rust, "guest/kits/go/abi.go": go}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    header = HEADER.read_text()
    stale = [path for path, write in FILES.items() if not (ROOT / path).exists() or (ROOT / path).read_text() != write(header)]
    for path in stale:
        if check:
            print(f"{path} is not what tools/generate_kits.py makes of abi/realm_abi.h", file=sys.stderr)
        else:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(FILES[path](header))
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
