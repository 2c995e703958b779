"""Modules for tests: from text, from C++ with the kit, and by their bytes."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUEST_CXX = ["clang++-14", "--target=wasm32-wasi", "-std=c++20", "-O2", "-fexceptions", "-fignore-exceptions", "-mexec-model=reactor",
             "-Wl,--gc-sections,--strip-all,--stack-first", "-Wl,-z,stack-size=131072", "-Wl,--max-memory=67108864",
             "-I.", "-Iguest", "-Iguest/include", "guest/lib/exceptions.cpp"]


def from_text(text: str, folder: Path) -> bytes:
    (folder / "module.wat").write_text(text)
    subprocess.run(["wat2wasm", "--enable-all", folder / "module.wat", "-o", folder / "module.wasm"], check=True)
    return (folder / "module.wasm").read_bytes()


def from_cpp(source: str, folder: Path) -> bytes:
    (folder / "module.cpp").write_text(source)
    subprocess.run([*GUEST_CXX, folder / "module.cpp", "-o", folder / "module.wasm"], cwd=ROOT, check=True)
    return (folder / "module.wasm").read_bytes()


def program(body: str = "(i32.const 0)", more: str = "", memory: str = '(memory (export "memory") 1)') -> str:
    """A program in text; `body` is what `handle` does, `more` stands after the imports."""
    return f"""(module
      (import "realm" "respond" (func $respond (param i32 i32) (result i32)))
      (import "realm" "emit" (func $emit (param i32 i32 i32) (result i32)))
      (import "realm" "input_read" (func $input_read (param i32 i32 i32) (result i32)))
      (import "realm" "model_open" (func $model_open (param i32 i32) (result i32)))
      (import "realm" "seq_open" (func $seq_open (param i32 i32) (result i32)))
      (import "realm" "seq_append" (func $seq_append (param i32 i32 i32) (result i32)))
      {memory} {more}
      (func (export "realm_abi_v1"))
      (func (export "handle") (result i32) {body}))"""


def saying(text: str) -> str:
    """A program that answers every request with this text."""
    length = len(text.encode())
    return program(f"""(drop (call $respond (i32.const 200) (i32.const 3)))
      (drop (call $emit (i32.const 3) (i32.const 0) (i32.const {length}))) (i32.const 0)""", more=f'(data (i32.const 0) "{text}")')


def leb(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if value == 0:
            return bytes(out)


def section(number: int, content: bytes) -> bytes:
    return bytes([number]) + leb(len(content)) + content


def body(code: bytes) -> bytes:
    return leb(len(code) + 1) + b"\0" + code


def br_table_bomb(depth: int = 1_000, tables: int = 1_500) -> bytes:
    """A function in one piece that no machine compiles in the child's time and memory."""
    table = b"\x20\x00\x0d\x00\x20\x00\x0e" + leb(depth) + b"".join(leb(i % depth) for i in range(depth + 1))
    code = b"\x02\x40" * depth + (b"\x02\x40" + table + b"\x0b") * tables + b"\x0b" * depth + b"\x0b"
    return (b"\0asm\1\0\0\0" + section(1, b"\1\x60\1\x7f\0") + section(3, b"\1\0") + section(10, b"\1" + body(code)))


def many_functions(count: int) -> bytes:
    return (b"\0asm\1\0\0\0" + section(1, b"\1\x60\0\0") + section(3, leb(count) + b"\0" * count)
            + section(10, leb(count) + body(b"\x0b") * count))


def of_size(functions: int, instructions: int) -> bytes:
    """A program of ordinary code: sums over its memory. 5,200 functions of 14 are 1.1 MB."""
    codes = []
    for i in range(functions):
        code = b"".join(b"\x20\x00\x41" + leb((i * 7 + k) % 64) + b"\x6a\x22\x00\x20\x00\x28\x02" + leb(k * 4) + b"\x73\x21\x00"
                        for k in range(instructions))
        codes.append(body(code + b"\x20\x00\x0b"))
    functions_of = leb(functions + 2)
    codes += [body(b"\x0b"), body(b"\x41\x00\x0b")]
    names = [(b"memory", 2, 0), (b"realm_abi_v1", 0, functions), (b"handle", 0, functions + 1)]
    exports = b"".join(leb(len(name)) + name + bytes([kind]) + leb(index) for name, kind, index in names)
    return (b"\0asm\1\0\0\0" + section(1, b"\3\x60\1\x7f\1\x7f\x60\0\0\x60\0\1\x7f")
            + section(3, functions_of + b"\0" * functions + b"\1\2") + section(5, b"\1\0\2") + section(7, leb(len(names)) + exports)
            + section(10, functions_of + b"".join(codes)))


# A program that answers chats in capitals, tokens drawn as the model likes best: by itself, without realm.wasm.
SHOUT = r'''#include "realm.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

constexpr uint32_t new_tokens_max = 12;

// The value of the last field "content", without regard to escapes.
std::string last_content(const std::string& request) {
  constexpr std::string_view key = "\"content\":";
  const auto at = request.rfind(key);
  const auto begin = at == std::string::npos ? at : request.find('"', at + key.size());
  const auto end = begin == std::string::npos ? begin : request.find('"', begin + 1);
  if (end == std::string::npos) realm::fail(REALM_FAIL_BAD_REQUEST, "messages: there is none");
  return request.substr(begin + 1, end - begin - 1);
}

std::string capitals(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f || c == '"' || c == '\\') c = ' ';
  }
  return text;
}

std::string chunk(const std::string& text, const char* finish) {
  return R"({"id":"c","object":"chat.completion.chunk","created":0,"model":"shout","choices":[{"index":0,"delta":{"content":")" + text +
         R"("},"finish_reason":)" + finish + "}]}";
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const std::string request = realm::read_request();
  const bool streams = request.find("\"stream\":true") != std::string::npos || request.find("\"stream\": true") != std::string::npos;
  const realm::Model model("");
  const auto prompt = model.tokenize(last_content(request), REALM_TOKENIZE_ADD_SPECIAL);
  realm::Sequence sequence(model, static_cast<uint32_t>(prompt.size()) + new_tokens_max);
  sequence.append(prompt);
  realm::respond(200, streams ? REALM_CONTENT_EVENTS : REALM_CONTENT_JSON);
  std::string all;
  int32_t token = 0;
  while (sequence.next(&token, 1) > 0) {
    std::string text;
    model.append_text(&token, 1, 0, text);
    all += capitals(text);
    if (streams) realm::emit_event("", chunk(capitals(text), "null"));
  }
  if (streams) {
    realm::emit_event("", chunk("", "\"stop\""));
    realm::emit_event("", "[DONE]");
    return 0;
  }
  realm::emit(REALM_EMIT_BODY,
              R"({"id":"c","object":"chat.completion","created":0,"model":"shout","choices":[{"index":0,"finish_reason":"stop",)"
              R"("message":{"role":"assistant","content":")" +
                  all + R"("}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}})");
  return 0;
}
'''
